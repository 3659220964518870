"""Which galaxy is in which split: a fixed, stratified rule of row and class, and the lists that it gives as files.

Within each class the rows are ordered by the SHA-256 of the text "galaxy10/RELEASE/ROW", RELEASE being decals or sdss
and ROW the decimal row in the published file, counted from 0. The last tenth is `test`, the tenth before `validation`,
each rounded to the nearest whole number, halves upwards; the others are `train`. So the list follows from the published
file alone, the same on every machine and with every version of every library.
"""
import csv
import hashlib
from pathlib import Path

import numpy as np

from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.errors import DataError

SPLITS = ("train", "validation", "test")
#: Columns of a list: the row in the file, its class, its split.
HEADER = ("index", "label", "split")

_REMEDY = "Write the list anew: python -m tfds_builders.galaxy10.publish_splits FILE"


def stratified(labels: np.ndarray, release: str) -> np.ndarray:
  """Splits by the rule.

  Args:
    labels: (N,) int64 classes; −1 for rows that are in no split.
    release: "decals" or "sdss".

  Returns:
    (N,) int64: index into `SPLITS`; −1 for rows that are in none.
  """
  splits = np.full(len(labels), -1)
  for label in np.unique(labels[labels >= 0]):
    rows = np.flatnonzero(labels == label).tolist()
    rows.sort(key=lambda row: hashlib.sha256(f"galaxy10/{release}/{row}".encode()).digest())
    tenth = (len(rows) + 5) // 10
    splits[rows] = 0
    splits[rows[len(rows) - 2 * tenth:]] = 1
    splits[rows[len(rows) - tenth:]] = 2
  return splits


def write_list(path, rows: list[tuple[int, int, str]]) -> None:
  """Writes a list of (row, class, name of the split)."""
  with path.open("w") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)


def read_list(path: Path, labels: np.ndarray) -> np.ndarray:
  """Reads a published list and checks it against the file.

  Args:
    path: of the list.
    labels: (N,) classes of the file's rows.

  Returns:
    (N,) int64: index into `SPLITS`.

  Raises:
    DataError: a row is missing, repeated or not in the file; a class is not the file's; a split is none of `SPLITS`; or
      a class has other numbers in the splits than 80, 10 and 10 %.
  """
  splits = np.full(len(labels), -1)
  with path.open("rb") as file:
    table = CsvTable(str(path), file)
    index, label, split = table.columns(HEADER)
    for line, values in table.rows():
      try:
        table.check_length(values)
        row = whole_number(values[index], HEADER[0])
        if row >= len(labels):
          raise ValueError(f"names row {row} of a file with {len(labels)} rows")
        if splits[row] >= 0:
          raise ValueError(f"names row {row} a second time")
        if whole_number(values[label], HEADER[1]) != labels[row]:
          raise ValueError(f"has class {values[label]} for row {row}, which in the file is of class {labels[row]}")
        if values[split] not in SPLITS:
          raise ValueError(f"has the split {values[split]!r}; one of {', '.join(SPLITS)} was expected")
      except ValueError as error:
        raise DataError(f"{path}, row {line} {error}. {_REMEDY}") from None
      splits[row] = SPLITS.index(values[split])
  if (missing := np.flatnonzero(splits < 0)).size:
    raise DataError(f"{path} lacks {missing.size} rows of the file, the first is {missing[0]}. {_REMEDY}")
  for label in np.unique(labels):
    counts = np.bincount(splits[labels == label], minlength=len(SPLITS))
    tenth = (counts.sum() + 5) // 10
    if tuple(counts[1:]) != (tenth, tenth):
      raise DataError(f"{path} has {counts[1]} galaxies of class {label} in validation and {counts[2]} in test; "
                      f"{tenth} each were expected. {_REMEDY}")
  return splits
