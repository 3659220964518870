"""Checks the competition's files and arranges what is good into splits, before anything is written.

Every row of the solutions is checked, every image is read and decoded at 1/8 of its size. The first fault ends it with
one error, or, where faults are to be skipped, each is listed and the galaxy left out.
"""
import csv
import io
import logging
import math
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfds_builders.archives import Member, ReadError
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge.kaggle_files import Images, KaggleFiles, Table
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS
from tfds_builders.images import ImageError, check_jpeg

ID_COLUMN = "GalaxyID"
#: Published values have up to ten digits and were computed; more than this outside [0, 1] is no rounding.
_ROUNDING = 1e-6
#: One in ten is for validation, so fewer make no validation split.
_FEWEST = 10

_log = logging.getLogger("tfds_builders")


class Fault(NamedTuple):
  """Something wrong with one galaxy.

  Attributes:
    file: the file it was found in.
    row: the line of the CSV file, the header being 1; None for an image.
    galaxy_id: the galaxy, or None where the id is what is wrong.
    reason: what is wrong, to follow "FILE, row ROW".
  """
  file: str
  row: int | None
  galaxy_id: int | None
  reason: str

  def __str__(self):
    return f"{self.file}{'' if self.row is None else f', row {self.row}'} {self.reason}"


class Record(NamedTuple):
  """One galaxy to be written.

  Attributes:
    galaxy_id: the number in the file's name.
    images: where its image lies.
    member: the image in `images`.
    vote_fractions: (37,) float32 in the order of gz2_tree.COLUMNS; all NaN where unlabelled.
  """
  galaxy_id: int
  images: Images
  member: Member
  vote_fractions: np.ndarray


class Contents(NamedTuple):
  """What a data set is built from, all of it checked.

  Attributes:
    fingerprint: the digest of the source files.
    splits: split name -> its galaxies in ascending order of their ids.
    left_out: the faults that were skipped.
  """
  fingerprint: str
  splits: dict[str, list[Record]]
  left_out: list[Fault]


class _Faults:
  """Raises the first fault, or collects them all."""

  def __init__(self, skip_bad: bool):
    self.skip_bad = skip_bad
    self.found = []

  def add(self, fault: Fault) -> None:
    if not self.skip_bad:
      raise DataError(f"{fault}. Nothing was built. Mend the file or download it again, or build without such "
                      "galaxies: --skip_bad (skip_bad=True in Python, --config.data.skip_bad=True for "
                      "galaxy_jax.main).")
    self.found.append(fault)


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


def validate(files: KaggleFiles, *, skip_bad: bool = False, progress: bool = False) -> Contents:
  """Checks all source files.

  Training galaxies sorted by id: the last tenth (n // 10) are the validation split, as benanne/kaggle-galaxies, the
  challenge's winner, has it. An image without a row is a fault like a row without an image: both mean that the
  files do not belong together.

  Args:
    files: the competition's files; must stay open as long as the contents are used.
    skip_bad: leave faulty galaxies out instead of raising an error.
    progress: show a progress bar.

  Raises:
    DataError: naming file, row and remedy. Also, whatever `skip_bad`, where the table's columns are wrong or fewer
      than ten good galaxies are found.
  """
  faults = _Faults(skip_bad)
  table = files.solutions()
  votes, rows = read_solutions(table, faults)
  images = files.training_images()
  by_id, twice = _by_id(images, faults)
  # A galaxy already listed as a fault is not listed again for what follows from it.
  for galaxy_id in votes:
    if galaxy_id not in by_id and galaxy_id not in twice:
      faults.add(Fault(table.label, rows[galaxy_id], galaxy_id,
                       f"names galaxy {galaxy_id}, but there is no image {galaxy_id}.jpg in {images.label}"))
  for galaxy_id, member in by_id.items():
    if galaxy_id not in rows:
      faults.add(Fault(images.name(member), None, galaxy_id, f"has no row in {table.label}"))
  _warn_of_sums(votes, table.label)
  training = [Record(galaxy_id, images, by_id[galaxy_id], votes[galaxy_id])
              for galaxy_id in sorted(votes) if galaxy_id in by_id]

  test = []
  if (images := files.test_images()) is not None:
    unlabelled = np.full(len(COLUMNS), np.nan, np.float32)
    test = [Record(galaxy_id, images, member, unlabelled)
            for galaxy_id, member in sorted(_by_id(images, faults)[0].items())]

  with tqdm(desc="Checking images", total=len(training) + len(test), unit=" images",
            disable=None if progress else True) as bar:
    training = _with_good_image(training, faults, bar)
    test = _with_good_image(test, faults, bar)
  if len(training) < _FEWEST:
    raise DataError(f"{files.manual_dir} has {len(training)} usable training galaxies; at least {_FEWEST} are needed. "
                    + (f"The first fault: {faults.found[0]}." if faults.found else "Download the files again."))
  held_out = len(training) // 10
  splits = {"train": training[:-held_out], "validation": training[-held_out:]}
  if test:
    splits["test"] = test
  return Contents(files.fingerprint(), splits, faults.found)


def read_solutions(table: Table, faults: _Faults) -> tuple[dict[int, np.ndarray], dict[int, int]]:
  """Reads the vote fractions.

  Args:
    table: the CSV file.
    faults: takes what is wrong with single rows.

  Returns:
    galaxy id -> (37,) float32, of the good rows; galaxy id -> its (first) row, of all rows with an id, faulty or not.

  Raises:
    DataError: not a CSV file with the challenge's columns.
  """
  try:
    reader = csv.reader(io.StringIO(table.data.decode("utf-8-sig"), newline=""))
    header = [name.strip() for name in next(reader, [])]
    body = [(reader.line_num, row) for row in reader if row]
  except (UnicodeDecodeError, csv.Error) as error:
    raise DataError(f"{table.label} is no CSV file ({error}). Download it again.") from None
  expected = (ID_COLUMN, *COLUMNS)
  missing = [name for name in expected if name not in header]
  extra = [name for i, name in enumerate(header) if name not in expected or name in header[:i]]
  if missing or extra:
    wrong = [f"{what} {', '.join(map(repr, names[:5]))}{', …' if len(names) > 5 else ''}"
             for what, names in (("lacks", missing), ("has the extra", extra)) if names]
    raise DataError(f"{table.label}, row 1: the header {' and '.join(wrong)}; expected are {ID_COLUMN} and the 37 "
                    f"columns {COLUMNS[0]} to {COLUMNS[-1]}. Download the file again, or mend its header.")
  # By name, so that a table written with its columns in another order is not misread.
  where = [header.index(name) for name in expected]

  votes, rows = {}, {}
  for row_number, row in body:
    galaxy_id = None
    try:
      galaxy_id = _galaxy_id("".join(row[where[0]:where[0] + 1]).strip())
      if galaxy_id in rows:
        raise ValueError(f"repeats galaxy {galaxy_id} of row {rows[galaxy_id]}")
      rows[galaxy_id] = row_number
      if len(row) != len(header):
        raise ValueError(f"has {len(row)} values where the header has {len(header)}")
      votes[galaxy_id] = _fractions([row[column] for column in where[1:]])
    except ValueError as error:
      faults.add(Fault(table.label, row_number, galaxy_id, str(error)))
      # Of two rows for one galaxy nobody knows which is right: neither is used.
      votes.pop(galaxy_id, None)
  return votes, rows


def _galaxy_id(text: str) -> int:
  if not (text.isascii() and text.isdigit()) or int(text) >= 2**63:
    raise ValueError(f"has {text!r} for a {ID_COLUMN}; a whole number was expected")
  return int(text)


def _fractions(texts: list[str]) -> np.ndarray:
  """(37,) float32 from as many strings; raises ValueError naming the column."""
  values = []
  for column, text in zip(COLUMNS, texts, strict=True):
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not -_ROUNDING <= value <= 1 + _ROUNDING:  # False for NaN too.
      raise ValueError(f"has {text!r} in column {column}; a number from 0 to 1 was expected")
    values.append(value)
  return np.array(values, np.float32)


def _by_id(images: Images, faults: _Faults) -> tuple[dict[int, Member], set[int]]:
  """Galaxy id -> image, and the ids with more than one image. Those, and images whose name is no id, are faults."""
  found, twice = {}, set()
  for member in images.members:
    stem = PurePosixPath(member.name).stem
    try:
      galaxy_id = _galaxy_id(stem)
    except ValueError:
      faults.add(Fault(images.name(member), None, None, f"is named {stem!r}; a galaxy's id was expected"))
      continue
    if galaxy_id in found:
      faults.add(Fault(images.name(member), None, galaxy_id, f"is a second image of galaxy {galaxy_id}, beside "
                       f"{images.name(found[galaxy_id])}"))
      twice.add(galaxy_id)
    else:
      found[galaxy_id] = member
  return {galaxy_id: member for galaxy_id, member in found.items() if galaxy_id not in twice}, twice


def _with_good_image(records: list[Record], faults: _Faults, bar: tqdm) -> list[Record]:
  """The records whose image can be read and decoded; the others are faults."""
  good = []
  for record in records:
    try:
      check_jpeg(record.images.read(record.member))
      good.append(record)
    except (ReadError, ImageError) as error:
      faults.add(Fault(record.images.name(record.member), None, record.galaxy_id, str(error)))
    bar.update()
  return good
