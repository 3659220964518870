"""Hart et al.'s table: what volunteers answered, for each galaxy; and the split that its objid gives it.

Sources: Hart et al. 2016, MNRAS 461, 3663; Willett et al. 2013, MNRAS 435, 2835 (the columns).
"""
import hashlib
import logging
import math
from typing import NamedTuple

import numpy as np

from tfds_builders.contents import Fault, Faults
from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.errors import DataError
from tfds_builders.gz2_tree import QUESTIONS

ID_COLUMN = "dr7objid"
#: The numbers of the 37 answers in the table's columns: dust lanes were added late, and 35 is not in use.
_NUMBERS = (*range(1, 25), 38, *range(25, 35), 36, 37)
#: The beginnings of the names of an answer's columns, `t01_smooth_or_features_a01_smooth` for instance, in the order of
#: gz2_tree.ANSWER_NAMES.
ANSWERS = tuple(
    f"t{q:02d}_{question.name}_a{number:02d}_{answer}" for number, (q, question, answer) in zip(
        _NUMBERS, ((q, question, answer) for q, question in enumerate(QUESTIONS, 1) for answer in question.answers),
        strict=True))
#: Their endings -> the largest value that is taken; float32 holds whole numbers up to 2²⁴.
SUFFIXES = {"count": 2**24, "weight": 2**24, "fraction": 1, "weighted_fraction": 1, "debiased": 1, "flag": 1}
#: Those with whole numbers.
WHOLE = ("count", "flag")
#: Published values were computed; more than this above 1 is no rounding.
_ROUNDING = 1e-6
_TOTALS = ("total_classifications", "total_votes")
_DEGREES = {"ra": (0, 360), "dec": (-90, 90)}
_TEXTS = ("sample", "gz2_class")

_log = logging.getLogger("tfds_builders")


class Galaxy(NamedTuple):
  """A row of the table.

  Attributes:
    row: its line, the header being 1.
    answers: (6, 37) float32, the values of SUFFIXES for ANSWERS; NaN where the table has none.
    total_classifications, total_votes: how many volunteers, and answers; -1 where the table has none.
    ra, dec: degrees; NaN where the table has none.
    sample: the sample of galaxies; None where the table has none.
    gz2_class: the catalogue's short name of what it looks like; empty where the table has none.
  """
  row: int
  answers: np.ndarray
  total_classifications: int
  total_votes: int
  ra: float
  dec: float
  sample: str | None
  gz2_class: str

  def arrays(self) -> dict[str, np.ndarray]:
    """Suffix -> (37,): int32 with -1 for missing values where they are whole numbers, else float32 with NaN."""
    return {suffix: np.where(np.isnan(values), -1, values).astype(np.int32) if suffix in WHOLE else values
            for suffix, values in zip(SUFFIXES, self.answers, strict=True)}

  def vote_fractions(self) -> np.ndarray:
    """(37,) float32: `cumulative` of the weighted fractions."""
    return cumulative(self.answers[list(SUFFIXES).index("weighted_fraction")]).astype(np.float32)


def cumulative(fractions) -> np.ndarray:
  """Vote fractions as the Galaxy Zoo challenge counts them: times the share of volunteers who were asked.

  The table's fractions are rounded to three digits, so a question's may sum to 0.999; they are divided by their sum.

  Args:
    fractions: (..., 37) of those who were asked a question, the share that gave each answer.

  Returns:
    (..., 37) float64: a question's answers sum to the value of the answer that leads to it, or to 0 where nobody
    answered it.
  """
  values = np.array(fractions, np.float64)
  for question in QUESTIONS:
    answers = values[..., question.columns]
    total = answers.sum(-1, keepdims=True)
    # The column of the answer that leads here comes earlier, and is cumulative already.
    asked = 1.0 if question.parent is None else values[..., question.parent:question.parent + 1]
    values[..., question.columns] = answers * asked / np.where(total == 0, 1, total)
  return values


def split_of(objid: int) -> str:
  """The split of an object, by the SHA-256 digest of its decimal digits modulo 10: 0-7 train, 8 validation, 9 test."""
  digit = int(hashlib.sha256(str(objid).encode()).hexdigest(), 16) % 10
  return "train" if digit < 8 else "validation" if digit == 8 else "test"


def read_votes(table: CsvTable, faults: Faults) -> tuple[dict[int, Galaxy], set[int]]:
  """Reads the table.

  Args:
    table: the CSV file.
    faults: takes what is wrong with single rows. An empty value is wrong, but in a `_debiased` column: the published
      table has such, where no correction could be found.

  Returns:
    objid -> galaxy, of the good rows; the objids of the faulty ones.

  Raises:
    DataError: not a CSV file with `dr7objid` and at least one column of answers.
  """
  id_column, = table.columns([ID_COLUMN])
  wanted = [f"{answer}_{suffix}" for suffix in SUFFIXES for answer in ANSWERS]
  where = table.where([*wanted, *_TOTALS, *_DEGREES, *_TEXTS])
  present = np.array([i for i, name in enumerate(wanted) if name in where])
  if not len(present):
    raise DataError(f"{table.label}, row 1: the header has none of the columns of answers, {wanted[0]} for one. "
                    "Download the file again.")
  if lacking := [name for name in wanted if name not in where]:
    _log.warning("%s has %d of the %d columns of answers; the values of the others, %s for one, are NaN, or -1.",
                 table.label, len(present), len(wanted), lacking[0])
  columns = [where[wanted[i]] for i in present]
  names = [wanted[i] for i in present]
  suffixes = [list(SUFFIXES)[i // len(ANSWERS)] for i in present]
  highest = np.array([SUFFIXES[suffix] + _ROUNDING for suffix in suffixes])
  whole = np.array([suffix in WHOLE for suffix in suffixes])
  may_be_empty = np.array([suffix == "debiased" for suffix in suffixes])

  def answers(row):
    texts = [row[column].strip() for column in columns]
    try:
      values = np.array([float(text) if text else math.nan for text in texts])
    except ValueError:
      values = np.array(list(map(_number, texts)))
    good = (values >= 0) & (values <= highest) & (~whole | (values == np.floor(values)))
    if not good.all():
      good |= may_be_empty & np.array([text.lower() in ("", "nan") for text in texts])
    if not good.all():
      i = int(np.argmin(good))
      expected = ("0 or 1" if suffixes[i] == "flag" else "a whole number" if whole[i]
                  else "a number from 0 to 1" if highest[i] < 2 else "a number that is not negative")
      raise ValueError(f"has {texts[i][:40]!r} in column {names[i]}; {expected} was expected")
    found = np.full(len(wanted), np.nan, np.float32)
    found[present] = values
    return found.reshape(len(SUFFIXES), len(ANSWERS))

  galaxies, rows, faulty = {}, {}, set()
  for row_number, row in table.rows():
    objid = None
    try:
      objid = whole_number("".join(row[id_column:id_column + 1]), ID_COLUMN)
      if objid in rows:
        raise ValueError(f"repeats galaxy {objid} of row {rows[objid]}")
      rows[objid] = row_number
      table.check_length(row)
      galaxies[objid] = Galaxy(
          row_number, answers(row),
          *(whole_number(row[where[name]], name) if name in where else -1 for name in _TOTALS),
          *(_degrees(row[where[name]], name) if name in where else math.nan for name in _DEGREES),
          *(row[where[name]].strip() if name in where else nothing for name, nothing in zip(
              _TEXTS, (None, ""), strict=True)))
    except ValueError as error:
      faults.add(Fault(table.label, row_number, objid, str(error)))
      # Of two rows for one galaxy nobody knows which is right: neither is used.
      galaxies.pop(objid, None)
      if objid is not None:
        faulty.add(objid)
  return galaxies, faulty


def _number(text: str) -> float:
  """A number, NaN for anything else."""
  try:
    return float(text)
  except ValueError:
    return math.nan


def _degrees(text: str, column: str) -> float:
  low, high = _DEGREES[column]
  value = _number(text)
  if not low <= value <= high:
    raise ValueError(f"has {text[:40]!r} in column {column}; degrees from {low} to {high} were expected")
  return value
