"""A table's columns as numbers and texts, exactly: a text is read as one only where it is one, without rounding.

Every function takes a column of `tables.Table`, and `missing`: numbers and texts that mean no value beside the empty
text, null and NaN. Values that cannot be read come back as {row: text}.
"""
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,18})")

#: How a missing number is written among texts.
NAN = ("nan", "NaN", "NAN")

Missing = Sequence[float | str]


class Inexact(ValueError):
  """A column of floating-point numbers where exact ones are needed; the message is why."""


def is_text(column: pa.ChunkedArray) -> bool:
  """Whether the column holds texts, as all of a CSV file's do."""
  return pa.types.is_string(column.type)


def floats(column: pa.ChunkedArray, missing: Missing) -> tuple[np.ndarray, dict[int, str]]:
  """(N,) float64, NaN where missing or bad; and the bad values."""
  if is_text(column):
    values, bad = _parsed(column, missing, _float, np.float64, np.nan)
  else:
    values = pa.compute.fill_null(pa.compute.cast(column, pa.float64(), safe=False), np.nan).to_numpy()
    values, bad = values.copy(), {}
  for value in missing:
    if isinstance(value, float):
      values[values == value] = np.nan
  return values, bad


def integers(column: pa.ChunkedArray, missing: Missing) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
  """(N,) int64, 0 where missing or bad; (N,) bool, whether there is a value; and the bad values.

  Raises:
    Inexact: the column is of floating-point numbers, which do not hold every whole number.
  """
  if pa.types.is_floating(column.type):
    raise Inexact("floating-point numbers, which are exact up to 2⁵³ only; save it as 64-bit integers or as text")
  if is_text(column):
    missing = (*missing, *NAN)
    values, bad = _parsed(column, missing, _whole, np.int64, 0)
    there = np.array([text is not None for text in texts(column, missing)], bool)
  else:
    there = pa.compute.is_valid(column).to_numpy()
    bad = {}
    if pa.types.is_uint64(column.type):
      large = np.asarray(pa.compute.fill_null(column, 0).to_numpy() >= 2**63)
      bad = {int(row): str(column[int(row)].as_py()) for row in np.flatnonzero(large)}
    values = pa.compute.fill_null(pa.compute.cast(column, pa.int64(), safe=False), 0).to_numpy().copy()
  for value in missing:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
      there &= values != int(value)
  there = there.copy()
  there[list(bad)] = False
  values[~there] = 0
  return values, there, bad


def texts(column: pa.ChunkedArray, missing: Missing) -> list[str | None]:
  """The values as texts, without spaces around them, None where missing.

  Raises:
    Inexact: the column is of floating-point numbers that are not all whole.
  """
  if is_text(column):
    gone = _gone(missing)
    stripped = (None if value is None else value.strip() for value in column.to_pylist())
    return [None if value in gone else value for value in stripped]
  if pa.types.is_floating(column.type):
    values, _ = floats(column, missing)
    whole = np.isnan(values) | ((values == np.floor(values)) & (np.abs(values) < 2**53))
    if not whole.all():
      raise Inexact(f"floating-point numbers such as {values[~whole][0]}; whole numbers or texts were expected")
    return [None if np.isnan(value) else str(int(value)) for value in values]
  values, there, bad = integers(column, missing)
  return [str(value) if known else bad.get(row) for row, (value, known)
          in enumerate(zip(values.tolist(), there.tolist(), strict=True))]


def whole_number(text: str) -> int | None:
  """The number that a text is, written as Python would, within 64 bits; else None."""
  if not _WHOLE.fullmatch(text) or text == "-0" or not -2**63 <= int(text) < 2**63:
    return None
  return int(text)


def _gone(missing: Missing) -> set[str]:
  """The texts that mean no value; a number's are those that people write."""
  numbers = [value for value in missing if isinstance(value, float)]
  return {"", *(value for value in missing if isinstance(value, str)), *map(repr, numbers),
          *(str(int(value)) for value in numbers if value.is_integer())}


def _float(text: str) -> float:
  if "_" in text:  # Python would read 1_000.
    raise ValueError
  return float(text)


def _whole(text: str) -> int:
  number = whole_number(text)
  if number is None:
    raise ValueError
  return number


def _parsed(column, missing, parse: Callable[[str], Any], dtype, default):
  """Reads each distinct text once."""
  encoded = column.combine_chunks()
  encoded = pa.compute.dictionary_encode(encoded)
  if isinstance(encoded, pa.ChunkedArray):
    encoded = encoded.combine_chunks() if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
  gone = _gone(missing)
  known = encoded.dictionary.to_pylist()
  values, wrong = np.full(len(known) + 1, default, dtype), np.zeros(len(known) + 1, bool)
  for number, text in enumerate(known):
    if (text := text.strip()) not in gone:
      try:
        values[number] = parse(text)
      except ValueError:
        wrong[number] = True
  # The last place is that of nulls.
  where = encoded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
  return values[where], {int(row): known[where[row]].strip() for row in np.flatnonzero(wrong[where])}
