"""Labels and other features out of a table's columns: checked, in the types they are stored in."""
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tfds_builders.errors import DataError
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS
from tfds_builders.own_images import columns
from tfds_builders.own_images.settings import Labels, Settings

#: Published values were computed; more than this outside [0, 1] is no rounding.
_ROUNDING = 1e-6
#: Whoever has more classes has probably named a column of ids.
_MOST_CLASSES = 1000

_log = logging.getLogger("tfds_builders")

#: Takes a row and what is wrong with it.
Refuse = Callable[[int, str], None]


class Features(NamedTuple):
  """What the table says of each galaxy.

  Attributes:
    values: name -> a value for each row.
    class_names: of the feature `label`; empty without it.
  """
  values: dict[str, Sequence[Any]]
  class_names: tuple[str, ...]


def read(table: dict[str, pa.ChunkedArray], settings: Settings, refuse: Refuse, label: str) -> Features:
  """Reads what the settings name.

  Args:
    table: the columns.
    settings: with `labels.vote_fractions` resolved.
    refuse: is told of rows with a value that cannot be.
    label: what errors call the table.

  Raises:
    DataError: a column that cannot be what it is named for.
  """
  values, names, refused = {}, (), set()
  labels, missing = settings.labels, settings.missing
  refuse_row = refuse

  def refuse(row, reason):
    refused.add(row)
    refuse_row(row, reason)

  def say_unlabelled(what, unlabelled):
    """Of the rows that are kept: why the others are not has been said."""
    unlabelled[list(refused)] = False
    if unlabelled.any():
      _log.info("%s: %d of %d rows have no %s; they are kept, without that label.", label, unlabelled.sum(),
                len(unlabelled), what)

  if labels.vote_fractions:
    fractions = _answers(table, labels.vote_fractions, missing, refuse, 1 + _ROUNDING, "a number from 0 to 1")
    values["vote_fractions"] = _cumulative(fractions) if labels.conditional else fractions
    say_unlabelled("vote fractions", np.isnan(values["vote_fractions"]).all(1))
  if labels.vote_counts:
    values["vote_counts"] = _answers(table, labels.vote_counts, missing, refuse, np.inf, "a number of votes")
    say_unlabelled("vote counts", np.isnan(values["vote_counts"]).all(1))
  if labels.label is not None:
    values["label"], names = _classes(table[labels.label], labels, missing, refuse, label)
    say_unlabelled("class", values["label"] < 0)
  for name in settings.keep:
    values[name], bad = columns.floats(table[name], missing)
    for row, text in bad.items():
      refuse(row, f"has {text[:40]!r} in column {name}; a number was expected")
  for name in settings.keep_integer:
    try:
      found, there, bad = columns.integers(table[name], missing)
    except columns.Inexact as error:
      raise DataError(f"{label}: the column {name!r}, named in keep_integer, holds {error}.") from None
    values[name] = np.where(there, found, -1)
    for row, text in bad.items():
      refuse(row, f"has {text[:40]!r} in column {name}; a whole number was expected")
  for name in settings.keep_text:
    values[name] = ["" if text is None else text for text in texts(table, name, missing, label)]
  return Features(values, names)


def texts(table: dict[str, pa.ChunkedArray], name: str, missing: columns.Missing, label: str) -> list[str | None]:
  """A column's values as texts, None where missing; raises DataError where they cannot be."""
  try:
    return columns.texts(table[name], missing)
  except columns.Inexact as error:
    raise DataError(f"{label}: the column {name!r} holds {error}.") from None


def _answers(table, names, missing, refuse, most, expected):
  """(N, 37) float32, NaN where missing."""
  length = next(len(table[name]) for name in names if name is not None)
  result = np.full((length, len(COLUMNS)), np.nan, np.float32)
  for number, name in enumerate(names):
    if name is None:
      continue
    values, bad = columns.floats(table[name], missing)
    outside = ~(np.isnan(values) | ((values >= -_ROUNDING) & (values <= most) & np.isfinite(values)))
    for row in np.flatnonzero(outside):
      bad[int(row)] = f"{values[row]:g}"
    for row, text in bad.items():
      refuse(row, f"has {text[:40]!r} in column {name}; {expected} was expected")
    values[list(bad)] = np.nan
    result[:, number] = values
  return result


def _cumulative(conditional: np.ndarray) -> np.ndarray:
  """Fractions of those who were asked, times the share of all who were: (N, 37) to (N, 37)."""
  result = conditional.copy()
  for question in QUESTIONS:
    if question.parent is not None:
      asked = result[:, question.parent, None]
      # Tables have no fractions where nobody was asked.
      result[:, question.columns] = np.where(asked == 0, 0, asked * conditional[:, question.columns])
  return result


def _classes(column: pa.ChunkedArray, labels: Labels, missing, refuse, label):
  """(N,) int64 classes, -1 where missing, and the classes' names."""
  try:
    found = columns.texts(column, (*missing, *columns.NAN, -1.0))
  except columns.Inexact as error:
    raise DataError(f"{label}: the column {labels.label!r} of classes holds {error}.") from None
  distinct = {text for text in found if text is not None}
  whole = {text: columns.whole_number(text) for text in distinct}
  if not labels.names:
    if not distinct:
      raise DataError(f"{label}: the column {labels.label!r} of classes is empty.")
    if len(distinct) > _MOST_CLASSES:
      raise DataError(f"{label}: the column {labels.label!r} has {len(distinct)} different values, too many for "
                      "classes. Name another, or give [labels] names.")
    numbers = all(number is not None for number in whole.values())
    names = tuple(sorted(distinct, key=(lambda text: whole[text]) if numbers else None))
    known = {name: number for number, name in enumerate(names)}
    if broken := [name for name in names if "\n" in name or "\r" in name]:
      raise DataError(f"{label}: the class {broken[0][:60]!r} has a line break in it. Mend the column "
                      f"{labels.label!r}.")
  else:
    names = labels.names
    known = {name: number for number, name in enumerate(names)}
    # Numbers count the names, unless names are numbers themselves.
    known |= {text: number for text, number in whole.items()
              if number is not None and text not in known and 0 <= number < len(names)
              and not any(columns.whole_number(name) is not None for name in names)}
  result = np.full(len(found), -1, np.int64)
  for row, text in enumerate(found):
    if text is None:
      continue
    if text in known:
      result[row] = known[text]
    else:
      refuse(row, f"has the class {text[:40]!r} in column {labels.label}; expected are {', '.join(names[:20])}"
             + (", …" if len(names) > 20 else f", or 0 to {len(names) - 1}"))
  return result, names
