"""What an evaluated run leaves behind: predictions, a submission, metrics and the report."""
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from galaxy_jax import decision_tree, report
from galaxy_jax.files import write_json, write_whole
from galaxy_jax.logbook import read_history
from tfds_builders.gz2_tree import COLUMNS

logger = logging.getLogger(__name__)


class VoteResult(NamedTuple):
  """Predicted votes of a split: ids (N,), predicted and voted (N, 37), images (N, S, S, 3) uint8."""
  split: str
  ids: np.ndarray
  predicted: np.ndarray
  voted: np.ndarray
  images: np.ndarray


def vote_table(split: str, ids: np.ndarray, predicted: np.ndarray, voted: np.ndarray) -> pa.Table:
  """One row a galaxy: split, galaxy_id, the 37 predicted fractions, what they say, and the voted ones.

  Args:
    split: where the galaxies come from.
    ids: (N,) int64, or texts.
    predicted: (N, 37).
    voted: (N, 37); a row of NaN, written as nulls, where there are no votes.
  """
  columns = {"split": pa.array([split] * len(ids)), "galaxy_id": pa.array(ids)}
  columns |= {name: pa.array(predicted[:, i].astype(np.float32)) for i, name in enumerate(COLUMNS)}
  columns["description"] = pa.array([decision_tree.sentence(row) for row in predicted])
  columns["gz2_class"] = pa.array([decision_tree.gz2_class(row) for row in predicted])
  columns |= {f"voted_{name}": pa.array(voted[:, i].astype(np.float32), from_pandas=True)
              for i, name in enumerate(COLUMNS)}
  return pa.table(columns)


def submission_table(ids: np.ndarray, predicted: np.ndarray) -> pa.Table:
  """A submission to the Galaxy Zoo challenge: GalaxyID and the 37 columns, in ascending id order."""
  order = np.argsort(ids)
  columns = {"GalaxyID": pa.array(ids[order])}
  return pa.table(columns | {name: pa.array(predicted[order, i].astype(np.float32)) for i, name in enumerate(COLUMNS)})


def write_parquet(path: Path, table: pa.Table) -> None:
  """Writes a table as Parquet, whole or not at all."""
  write_whole(path, lambda fresh: parquet.write_table(table, fresh))


def write_csv(path: Path, table: pa.Table) -> None:
  """Writes a table as CSV, its header without quotes as Kaggle has it, whole or not at all."""
  def write(fresh):
    with open(fresh, "wb") as file:
      file.write((",".join(table.column_names) + "\n").encode())
      csv.write_csv(table, file, csv.WriteOptions(include_header=False))
  write_whole(path, write)


def write_all(workdir: Path, evaluated: VoteResult, test: VoteResult | None, *, name: str, metrics: dict,
              facts: dict, data: dict, notes: list[str]) -> None:
  """Leaves a run's predictions, submission, metrics and report in its workdir.

  Args:
    workdir: the run's folder, with its metrics.csv.
    evaluated: the evaluated split.
    test: the split without labels, where there is one.
    name: the run's name.
    metrics: the finished metrics of the evaluated split.
    facts: how the model was made.
    data: what it was made from.
    notes: what a reader of the report must know first.
  """
  parts = [evaluated] if test is None else [evaluated, test]
  tables = [vote_table(part.split, part.ids, part.predicted, part.voted) for part in parts]
  write_parquet(workdir / "predictions.parquet", pa.concat_tables(tables))
  if test is not None:
    write_csv(workdir / "submission.csv", submission_table(test.ids, test.predicted))
  write_json(workdir / "metrics.json", metrics)
  page = report.write(report.Run(
      name=name, facts=facts, data=data, results=metrics, history=read_history(workdir / "metrics.csv"),
      ids=evaluated.ids, predicted=evaluated.predicted, voted=evaluated.voted, images=evaluated.images, notes=notes),
      workdir)
  logger.info("Left in %s: predictions.parquet, %smetrics.json and %s.", workdir,
              "submission.csv, " if test is not None else "", page.name)
