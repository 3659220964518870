"""What an evaluated run leaves behind: predictions, a submission, metrics and the report."""
import csv as plain_csv
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from galaxy_jax import decision_tree, report
from galaxy_jax.detection import geometry, masks
from galaxy_jax.files import write_json, write_whole
from galaxy_jax.logbook import read_history
from galaxy_jax.report import classes, instances
from galaxy_jax.tasks import instance_scores
from tfds_builders.gz2_tree import COLUMNS

logger = logging.getLogger(__name__)


class VoteResult(NamedTuple):
  """Predicted votes of a split.

  Attributes:
    split: where the galaxies come from.
    ids: (N,) int64, or texts.
    predicted: (N, 37).
    voted: (N, 37); a row of NaN where there are no votes.
    images: (N, S, S, 3) uint8.
    booleans: whether the report has a part on answers right and wrong.
    target: which of a galaxy's fractions they are, see config.data.target.
  """
  split: str
  ids: np.ndarray
  predicted: np.ndarray
  voted: np.ndarray
  images: np.ndarray
  booleans: bool = False
  target: str = "vote_fractions"

  def table(self) -> pa.Table:
    """One row a galaxy, see `vote_table`."""
    return vote_table(self.split, self.ids, self.predicted, self.voted, self.target)

  def submission(self) -> pa.Table | None:
    """What the challenge takes, see `submission_table`; None of other fractions than the challenge's."""
    return submission_table(self.ids, self.predicted) if self.target == "vote_fractions" else None

  def report(self, workdir: Path, **about) -> Path:
    """Writes the report; `about`: the fields of report.Run that are not of the galaxies."""
    return report.write(report.Run(ids=self.ids, predicted=self.predicted, voted=self.voted, images=self.images,
                                   booleans=self.booleans, **about), workdir)


class ClassResult(NamedTuple):
  """Predicted classes of a split.

  Attributes:
    split: where the galaxies come from.
    ids: (N,) int64, or texts.
    predicted: (N, C) probabilities.
    labels: (N,) classes, negative where unknown.
    images: (N, S, S, 3) uint8.
    names: of the classes.
    explain: from rows and a class for each to maps of where it is seen, see report.classes.ClassRun; or None.
  """
  split: str
  ids: np.ndarray
  predicted: np.ndarray
  labels: np.ndarray
  images: np.ndarray
  names: tuple[str, ...]
  explain: Callable | None = None

  def table(self) -> pa.Table:
    """One row a galaxy: split, galaxy_id, the probability of each class, the most probable one, the labelled one."""
    columns = {"split": pa.array([self.split] * len(self.ids)), "galaxy_id": pa.array(self.ids)}
    columns |= class_columns(self.predicted, self.names)
    columns["label"] = pa.array([self.names[label] if label >= 0 else None for label in self.labels], pa.string())
    return pa.table(columns)

  def submission(self) -> pa.Table | None:
    """None: no competition takes classes."""
    return None

  def report(self, workdir: Path, **about) -> Path:
    """Writes the report; `about`: the fields of report.classes.ClassRun that are not of the galaxies."""
    return classes.write(classes.ClassRun(ids=self.ids, predicted=self.predicted, labels=self.labels, names=self.names,
                                          images=self.images, explain=self.explain, **about), workdir)


class InstanceResult(NamedTuple):
  """Galaxies found in the images of a split.

  Attributes:
    split: where the images come from.
    ids: (N,) int64, or texts, of the images.
    predicted: what was found in each, see tasks.instances.make.
    labels: what is there, as data.instance_labels has it; all slots empty where it is unknown.
    images: (N, S, S, 3) uint8.
    names: of the classes.
  """
  split: str
  ids: np.ndarray
  predicted: dict[str, np.ndarray]
  labels: dict[str, np.ndarray]
  images: np.ndarray
  names: tuple[str, ...]

  def table(self) -> pa.Table:
    """One row a detection, image by image and the best first; images in which nothing was found have none.

    split; galaxy_id, the image's; score; predicted, the class; y0, x0, y1, x1, the box; y, x, area, axis_ratio and
    position_angle of the mask (detection.geometry.Shape), null of an empty one; mask, COCO's run lengths of mask_size²
    pixels. Pixels are those of the working image: as in the catalogues of galaxy_jax.find, (0, 0) is the first one's
    centre for y and x, and boxes count from its outer corner.
    """
    side = self.images.shape[1]
    rows = []
    for image, galaxy_id in enumerate(self.ids.tolist()):
      found = instance_scores.found(self.predicted, image, side)
      for box, score, label, mask in zip(*(found[name] for name in ("boxes", "scores", "classes", "masks")),
                                         strict=True):
        shape = geometry.shape_of(mask)
        shape = shape._replace(y=shape.y - 0.5, x=shape.x - 0.5)._asdict()
        rows.append({"split": self.split, "galaxy_id": galaxy_id, "score": float(score),
                     "predicted": self.names[label], **dict(zip(("y0", "x0", "y1", "x1"), box.tolist(), strict=True)),
                     **{name: None if np.isnan(shape[name]) else shape[name] for name in _SHAPE},
                     "mask": masks.encode_rle(mask)["counts"], "mask_size": side})
    numbers = [(name, pa.float32()) for name in ("y0", "x0", "y1", "x1", *_SHAPE)]
    return pa.Table.from_pylist(rows, pa.schema([
        ("split", pa.string()), ("galaxy_id", pa.array(self.ids).type), ("score", pa.float32()),
        ("predicted", pa.string()), *numbers, ("mask", pa.string()), ("mask_size", pa.int32())]))

  def submission(self) -> pa.Table | None:
    """None: no competition takes instances."""
    return None

  def report(self, workdir: Path, **about) -> Path:
    """Writes the report; `about`: the fields of report.instances.InstanceRun that are not of the images."""
    return instances.write(instances.InstanceRun(ids=self.ids, predicted=self.predicted, labels=self.labels,
                                                 names=self.names, images=self.images, **about), workdir)


#: What a table has of the shape of a mask.
_SHAPE = ("y", "x", "area", "axis_ratio", "position_angle")

#: What a split's predictions are to be written as.
Result = VoteResult | ClassResult | InstanceResult


def vote_table(split: str, ids: np.ndarray, predicted: np.ndarray, voted: np.ndarray, target: str) -> pa.Table:
  """One row a galaxy: split, galaxy_id, target, the 37 predicted fractions, what they say, and the voted ones.

  Args:
    split: where the galaxies come from.
    ids: (N,) int64, or texts.
    predicted: (N, 37).
    voted: (N, 37); a row of NaN, written as nulls, where there are no votes.
    target: which fractions they are, the same in every row: vote_fractions, cumulative, or debiased, of those who were
      asked.
  """
  columns = {"split": pa.array([split] * len(ids)), "galaxy_id": pa.array(ids), "target": pa.array([target] * len(ids))}
  columns |= fraction_columns(predicted) | word_columns(predicted) | fraction_columns(voted, before="voted_")
  return pa.table(columns)


def fraction_columns(fractions: np.ndarray, *, before: str = "", after: str = "") -> dict[str, pa.Array]:
  """(N, 37) fractions by the names of COLUMNS, with what stands before and after these; NaN becomes null."""
  return {f"{before}{name}{after}": pa.array(fractions[:, i].astype(np.float32), from_pandas=True)
          for i, name in enumerate(COLUMNS)}


def word_columns(fractions: np.ndarray) -> dict[str, pa.Array]:
  """What (N, 37) fractions say: a description, and a class as Galaxy Zoo 2 writes it."""
  return {"description": pa.array([decision_tree.sentence(row) for row in fractions], pa.string()),
          "gz2_class": pa.array([decision_tree.gz2_class(row) for row in fractions], pa.string())}


def class_columns(probabilities: np.ndarray, names: Sequence[str]) -> dict[str, pa.Array]:
  """(N, C) probabilities, one column a class, and the name of the most probable one."""
  columns = {f"probability_{name}": pa.array(probabilities[:, i].astype(np.float32)) for i, name in enumerate(names)}
  best = np.argmax(probabilities, axis=1)
  return columns | {"predicted": pa.array([names[number] for number in best], pa.string())}


def submission_table(ids: np.ndarray, predicted: np.ndarray) -> pa.Table:
  """A submission to the Galaxy Zoo challenge: GalaxyID and the 37 columns, in ascending id order."""
  order = np.argsort(ids)
  columns = {"GalaxyID": pa.array(ids[order])}
  return pa.table(columns | {name: pa.array(predicted[order, i].astype(np.float32)) for i, name in enumerate(COLUMNS)})


def write_parquet(path: Path, table: pa.Table) -> None:
  """Writes a table as Parquet, whole or not at all."""
  write_whole(path, lambda fresh: parquet.write_table(table, fresh))


def write_csv(path: Path, table: pa.Table) -> None:
  """Writes a table as CSV, its header without needless quotes as Kaggle has it, whole or not at all."""
  def write(fresh):
    header = io.StringIO()
    plain_csv.writer(header, lineterminator="\n").writerow(table.column_names)
    with open(fresh, "wb") as file:
      file.write(header.getvalue().encode())
      csv.write_csv(table.combine_chunks(), file, csv.WriteOptions(include_header=False))
  write_whole(path, write)


def table_writer(path, flag: str) -> Callable[[Path, pa.Table], None]:
  """What writes a table there: as Parquet or as CSV, as the name ends.

  Raises:
    ValueError: it ends in neither, or there is no such folder; `flag` is the one that named it.
  """
  writers = {".parquet": write_parquet, ".csv": write_csv}
  path = Path(path)
  if path.suffix.lower() not in writers:
    raise ValueError(f"{flag} is {path}; a file that ends in {' or '.join(writers)} was expected.")
  if not path.absolute().parent.is_dir():
    raise ValueError(f"{flag} is {path}, but its folder does not exist.")
  return writers[path.suffix.lower()]


def write_all(workdir: Path, evaluated: Result, test: Result | None, *, name: str,
              metrics: dict, facts: dict, data: dict, notes: list[str]) -> None:
  """Leaves a run's predictions, submission, metrics and report in its workdir.

  Args:
    workdir: the run's folder, with its metrics.csv.
    evaluated: the evaluated split.
    test: another split to predict, where there is one.
    name: the run's name.
    metrics: the finished metrics of the evaluated split.
    facts: how the model was made.
    data: what it was made from.
    notes: what a reader of the report must know first.
  """
  parts = [evaluated] if test is None else [evaluated, test]
  write_parquet(workdir / "predictions.parquet", pa.concat_tables([part.table() for part in parts]))
  submission = None if test is None else test.submission()
  if submission is not None:
    write_csv(workdir / "submission.csv", submission)
  page = evaluated.report(workdir, name=name, facts=facts, data=data, results=metrics, notes=notes,
                          history=read_history(workdir / "metrics.csv"))
  write_json(workdir / "facts.json", {"name": name, "run": facts, "data": data, "notes": notes})
  write_json(workdir / "metrics.json", metrics)
  logger.info("Left in %s: predictions.parquet, %smetrics.json, facts.json and %s.", workdir,
              "submission.csv, " if submission is not None else "", page.name)
