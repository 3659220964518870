"""Checks the competition's files and arranges what is good into splits, before anything is written.

Every row of the solutions is checked, every image is read and decoded at 1/8 of its size. The first fault ends it with
one error, or, where faults are to be skipped, each is listed and the galaxy left out.
"""
import io
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfds_builders.archives import Member
from tfds_builders.contents import Contents, Fault, Faults
from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge import morph5
from tfds_builders.galaxy_zoo_challenge.kaggle_files import KaggleFiles, Table
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS
from tfds_builders.numbered_images import Images, by_number, stored, with_good_image

ID_COLUMN = "GalaxyID"
#: Published values have up to ten digits and were computed; more than this outside [0, 1] is no rounding.
_ROUNDING = 1e-6
#: One in ten is for validation, so fewer make no validation split.
_FEWEST = 10

_log = logging.getLogger("tfds_builders")


class Record(NamedTuple):
  """One galaxy to be written.

  Attributes:
    galaxy_id: the number in the file's name.
    images: where its image lies.
    member: the image in `images`.
    vote_fractions: (37,) float32 in the order of gz2_tree.COLUMNS; all NaN where unlabelled.
    label: its class in the five-class subset, -1 where it is in none.
  """
  galaxy_id: int
  images: Images
  member: Member
  vote_fractions: np.ndarray
  label: int = -1


def _warn_of_sums(votes: dict[int, np.ndarray], table: str) -> None:
  """Says how many rows have a question whose answers do not sum to the answer that leads there.

  No fault: published tables hold such rows, as where nobody answered a question that some were asked.
  """
  if not votes:
    return
  values = np.stack(list(votes.values()))
  off = np.zeros(len(values), bool)
  for question in QUESTIONS:
    expected = 1.0 if question.parent is None else values[:, question.parent]
    off |= np.abs(values[:, question.columns].sum(1) - expected) > 0.01
  if off.any():
    _log.warning("%s: in %d of %d rows, that of galaxy %d for one, a question's answers do not sum to the share of "
                 "volunteers who were asked it. They are kept as they are.", table, off.sum(), len(off),
                 list(votes)[int(np.argmax(off))])


def validate(files: KaggleFiles, *, five_classes: bool = False, skip_bad: bool = False,
             progress: bool = False) -> Contents:
  """Checks all source files.

  Training galaxies sorted by id: the last tenth (n // 10) are the validation split, as benanne/kaggle-galaxies, the
  challenge's winner, has it. The five-class subset is split as `morph5.in_test` says, and without the unlabelled test
  images. An image without a row is a fault like a row without an image: both mean that the files do not belong
  together.

  Args:
    files: the competition's files; must stay open as long as the contents are used.
    five_classes: only the galaxies that `morph5.five_class` gives a class, with it.
    skip_bad: leave faulty galaxies out instead of raising an error.
    progress: show a progress bar.

  Raises:
    DataError: naming file, row and remedy. Also, whatever `skip_bad`, where the table's columns are wrong or fewer
      than ten good galaxies are found.
  """
  faults = Faults(skip_bad)
  training = _training(files, faults)
  if five_classes:
    morph5.check_counts([record.label for record in training])
    training, test = [record for record in training if record.label >= 0], []
    chosen = morph5.in_test([record.label for record in training])
  else:
    test = _unlabelled(files, faults)
    chosen = np.arange(len(training)) >= len(training) - len(training) // 10
  # Decided before images are looked at: a damaged one moves no other galaxy to another split.
  held_out = {record.galaxy_id for record, is_held_out in zip(training, chosen, strict=True) if is_held_out}
  with tqdm(desc="Checking images", total=len(training) + len(test), unit=" images",
            disable=None if progress else True) as bar:
    training = with_good_image(training, faults, bar)
    test = with_good_image(test, faults, bar)
  if len(training) < _FEWEST:
    raise DataError(f"{files.manual_dir} has {len(training)} usable training galaxies"
                    f"{' in the five classes' if five_classes else ''}; at least {_FEWEST} are needed. "
                    + (f"The first fault: {faults.found[0]}." if faults.found else "Download the files again."))
  splits = {"train": [record for record in training if record.galaxy_id not in held_out],
            "test" if five_classes else "validation": [record for record in training if record.galaxy_id in held_out]}
  if test:
    splits["test"] = test
  splits = {name: records for name, records in splits.items() if records}
  size = sum(record.member.size for records in splits.values() for record in records)
  return Contents(files.fingerprint(), splits, labelled_examples if five_classes else examples, faults.found,
                  size // sum(map(len, splits.values())))


def _training(files: KaggleFiles, faults: Faults) -> list[Record]:
  """The galaxies with both a row and an image, in ascending order of their ids."""
  table = files.solutions()
  votes, rows = read_solutions(table, faults)
  images = files.training_images()
  by_id, twice = by_number(images, faults)
  # A galaxy already listed as a fault is not listed again for what follows from it.
  for galaxy_id in votes:
    if galaxy_id not in by_id and galaxy_id not in twice:
      faults.add(Fault(table.label, rows[galaxy_id], galaxy_id,
                       f"names galaxy {galaxy_id}, but there is no image {galaxy_id}.jpg in {images.label}"))
  for galaxy_id, member in by_id.items():
    if galaxy_id not in rows:
      faults.add(Fault(images.name(member), None, galaxy_id, f"has no row in {table.label}"))
  _warn_of_sums(votes, table.label)
  # Of the table's own digits, before they become float32.
  labels = morph5.five_class(np.array(list(votes.values())).reshape(-1, len(COLUMNS)))
  labels = dict(zip(votes, labels.tolist(), strict=True))
  return [Record(galaxy_id, images, by_id[galaxy_id], votes[galaxy_id].astype(np.float32), labels[galaxy_id])
          for galaxy_id in sorted(votes) if galaxy_id in by_id]


def _unlabelled(files: KaggleFiles, faults: Faults) -> list[Record]:
  """The test galaxies, in ascending order of their ids; none where their images are absent."""
  if (images := files.test_images()) is None:
    return []
  unlabelled = np.full(len(COLUMNS), np.nan, np.float32)
  return [Record(galaxy_id, images, member, unlabelled)
          for galaxy_id, member in sorted(by_number(images, faults)[0].items())]


def examples(records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of the records' galaxies."""
  for record in records:
    yield record.galaxy_id, {"image": stored(record), "galaxy_id": record.galaxy_id,
                            "vote_fractions": record.vote_fractions}


def labelled_examples(records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of the records' galaxies, with their class among five."""
  for record, (key, example) in zip(records, examples(records), strict=True):
    yield key, example | {"label": record.label}


def read_solutions(table: Table, faults: Faults) -> tuple[dict[int, np.ndarray], dict[int, int]]:
  """Reads the vote fractions.

  Args:
    table: the CSV file.
    faults: takes what is wrong with single rows.

  Returns:
    galaxy id -> (37,) float64, of the good rows; galaxy id -> its (first) row, of all rows with an id, faulty or not.

  Raises:
    DataError: not a CSV file with the challenge's columns.
  """
  csv_table = CsvTable(table.label, io.BytesIO(table.data))
  header, expected = csv_table.header, (ID_COLUMN, *COLUMNS)
  missing = [name for name in expected if name not in header]
  extra = [name for i, name in enumerate(header) if name not in expected or name in header[:i]]
  if missing or extra:
    wrong = [f"{what} {', '.join(map(repr, names[:5]))}{', …' if len(names) > 5 else ''}"
             for what, names in (("lacks", missing), ("has the extra", extra)) if names]
    raise DataError(f"{table.label}, row 1: the header {' and '.join(wrong)}; expected are {ID_COLUMN} and the 37 "
                    f"columns {COLUMNS[0]} to {COLUMNS[-1]}. Download the file again, or mend its header.")
  where = csv_table.columns(expected)

  votes, rows = {}, {}
  for row_number, row in csv_table.rows():
    galaxy_id = None
    try:
      galaxy_id = whole_number("".join(row[where[0]:where[0] + 1]), ID_COLUMN)
      if galaxy_id in rows:
        raise ValueError(f"repeats galaxy {galaxy_id} of row {rows[galaxy_id]}")
      rows[galaxy_id] = row_number
      csv_table.check_length(row)
      votes[galaxy_id] = _fractions([row[column] for column in where[1:]])
    except ValueError as error:
      faults.add(Fault(table.label, row_number, galaxy_id, str(error)))
      # Of two rows for one galaxy nobody knows which is right: neither is used.
      votes.pop(galaxy_id, None)
  return votes, rows


def _fractions(texts: list[str]) -> np.ndarray:
  """(37,) float64 from as many strings; raises ValueError naming the column."""
  values = []
  for column, text in zip(COLUMNS, texts, strict=True):
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # False for NaN too.
      raise ValueError(f"has {text!r} in column {column}; a number from 0 to 1 was expected")
    values.append(value)
  return np.array(values)
