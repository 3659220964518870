"""Writes what a model sees in every galaxy, its features, into one table, for galaxy_jax.similar or models of yours.

  python -m galaxy_jax.embed --workdir=runs/gz2 --input=images --output=features.parquet

--input is what galaxy_jax.predict takes, and it streams, goes on after a kill and lists failures as that does. The
table has `id`, the input table's own columns, `model`, `path` (where the image was) and `features`: what the model's
answers are made from, the mean over its test-time views, as a list of float32 of one length. Which model it was, of
which step and with which views stands with the column, so that nothing is compared with the features of another.
"""
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from absl import flags
from pyarrow import parquet

from galaxy_jax import pictures, predict, predictor, shards, tables
from galaxy_jax.command import run_command

#: The key of the metadata of the column `features` that says what they are of.
_ABOUT = b"galaxy_jax"
_KEYS = {"model", "fingerprint", "checkpoint", "looks", "planes", "crop", "size"}


class Features(NamedTuple):
  """A table of features.

  Attributes:
    ids: (N,) texts.
    paths: (N,) where each image was.
    values: (N, D) float32.
    about: the model: its `model` (name), `fingerprint`, `checkpoint` (the step), `looks` (rotations, flips, zooms),
      `crop` and `size`; and `planes`, which of a FITS cube it saw.
  """
  ids: list[str]
  paths: list[str]
  values: np.ndarray
  about: dict[str, Any]

  def row(self, identifier: str) -> int:
    """The row of a galaxy; raises ValueError where there is none or several."""
    rows = [row for row, name in enumerate(self.ids) if name == identifier]
    if len(rows) != 1:
      raise ValueError(f"The galaxy {identifier!r} is {len(rows)} times among the {len(self.ids)} of the features; "
                       f"expected once. {'The first is ' + repr(self.ids[0]) + '.' if not rows else ''}".rstrip())
    return rows[0]


class Embedder:
  """A model's features and where the image was, as galaxy_jax.predict asks for them; see predict.Answerer."""

  def __init__(self, model: Any, planes: Sequence[int] = ()):
    """Asks the model for nothing but the length of its features.

    Args:
      model: as predictor.load gives it.
      planes: see pictures.check_planes.

    Raises:
      ValueError: the planes are none.
    """
    pictures.check_planes(planes)
    self._model, self._planes = model, tuple(planes)
    self.name, self.batch_size = model.name, model.batch_size
    width = model.features(np.zeros((0, model.size, model.size, 3), np.uint8)).shape[1]
    about = {"model": model.name, "fingerprint": predictor.fingerprint(model.variables), "checkpoint": model.step,
             "looks": model.looks, "planes": self._planes, "crop": model.crop, "size": model.size}
    self.schema = pa.schema([("path", pa.string()), pa.field("features", pa.list_(pa.float32(), width), metadata={
        _ABOUT: json.dumps(about).encode()})])

  def pixels(self, data: bytes, name: str) -> tuple[np.ndarray, str]:
    """The image's pixels, and where it was."""
    return pictures.pixels_of(data, name, self._model, self._planes), name

  def table(self, seen: Sequence[tuple[np.ndarray, str]]) -> dict[str, pa.Array]:
    """The columns of N galaxies, one or more, from what `pixels` gives of each."""
    images, names = zip(*seen, strict=True)
    features = self._model.features(np.stack(images))
    flat = pa.array(np.ascontiguousarray(features, np.float32).reshape(-1))
    return {"path": pa.array(names, pa.string()),
            "features": pa.FixedSizeListArray.from_arrays(flat, features.shape[1])}

  def identity(self) -> dict[str, Any]:
    """What tells this job from others, as JSON values."""
    return predict.identity_of([self._model], self._planes) | {"makes": "features"}


def read(path: Path) -> Features:
  """Reads what this module writes.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no such table, or holds no galaxy.
  """
  if not path.is_file():
    raise FileNotFoundError(f"There is no table {path}. Make one with python -m galaxy_jax.embed --output={path}.")
  try:
    with parquet.ParquetFile(path) as file:
      schema = file.schema_arrow
      column = schema.field("features") if "features" in schema.names else None
      about = (column.metadata or {}).get(_ABOUT) if column is not None else None
      about = json.loads(about) if about else {}
      table = file.read(["id", "path", "features"]) if about.keys() >= _KEYS else None
  except pa.ArrowException as error:
    raise ValueError(f"{path} is no Parquet table that can be read ({str(error).splitlines()[0][:200]}).") from error
  if table is None:
    raise ValueError(f"{path} is no table of features. Make one with python -m galaxy_jax.embed.")
  if not len(table):
    raise ValueError(f"{path} holds the features of no galaxy: see {shards.failures_file(path).name} beside it.")
  values = pa.concat_arrays(table["features"].chunks)
  width = values.type.list_size
  return Features([str(value) for value in table["id"].to_pylist()], table["path"].to_pylist(),
                  values.flatten().to_numpy().reshape(len(table), width), about)


def load_model(features: Features, source: str | None) -> Any:
  """The model that made features, as it was then; `source` is its run, see predictor.load.

  Raises:
    FileNotFoundError: there is no such run, or it has no such checkpoint.
    ValueError: it is another model, or the same with other parameters.
  """
  rotations, flips, zooms = features.about["looks"]
  try:
    model = predictor.load(source, features.about["checkpoint"])
  except FileNotFoundError as error:
    raise FileNotFoundError(f"{error} The features are of the model {features.about['model']}, step "
                            f"{features.about['checkpoint']}; its run is to be named with --workdir.") from error
  check_model(features, model)
  return model.with_views(rotations, flips, tuple(zooms))


def check_model(features: Features, model: Any) -> None:
  """Refuses to compare features with a model that did not make them.

  Raises:
    ValueError: another model, or the same with other parameters.
  """
  if features.about["fingerprint"] != predictor.fingerprint(model.variables):
    raise ValueError(f"The features are of the model {features.about['model']}, and {model.name} is another, or has "
                     "other parameters by now. Name theirs with --workdir, or make them anew with galaxy_jax.embed.")


FLAGS = flags.FLAGS


def main(_) -> int:
  """Writes the features of --input into --output; returns the exit status."""
  output = Path(FLAGS.output).expanduser()
  tables.check_place(output, tables.ENDINGS["parquet"])
  return predict.run(lambda planes: Embedder(predictor.load(FLAGS.workdir, FLAGS.checkpoint, tta=FLAGS.tta,
                                                            batch_size=FLAGS.batch_size), planes), "features")


if __name__ == "__main__":
  predict.define_flags("NAME.parquet")
  sys.exit(run_command(main))
