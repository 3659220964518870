"""Values of a TOML file, checked: each check takes a value and returns it, or raises `Wrong` with what was expected."""
import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any

from tfds_builders.errors import DataError

Check = Callable[[Any], Any]


class Wrong(ValueError):
  """A value that cannot be; the message is what was expected."""


def text(value: Any) -> str:
  """A text that is not empty."""
  if not isinstance(value, str) or not value.strip():
    raise Wrong("a text in quotation marks")
  return value


def flag(value: Any) -> bool:
  """true or false."""
  if not isinstance(value, bool):
    raise Wrong("true or false")
  return value


def whole(low: int, high: int) -> Check:
  """A whole number from low to high."""
  def check(value):
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
      raise Wrong(f"a whole number from {low} to {high}")
    return value
  return check


def number(low: float = -1e30, high: float = 1e30, *, above: bool = False) -> Check:
  """A number from low to high; `above`: and larger than low."""
  def check(value):
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    if not good or (above and value == low) or not math.isfinite(value):
      ends = (f"{'above' if above else 'at least'} {low:g}" * (low > -1e30), f"at most {high:g}" * (high < 1e30))
      raise Wrong(" ".join(filter(None, ("a number,", " and ".join(filter(None, ends))))).rstrip(","))
    return float(value)
  return check


def one_of(*values: str) -> Check:
  """One of some texts."""
  def check(value):
    if value not in values:
      raise Wrong(" or ".join(f'"{name}"' for name in values))
    return value
  return check


def either(*checks: Check) -> Check:
  """What the first of some checks takes that takes it."""
  def check(value):
    expected = []
    for one in checks:
      try:
        return one(value)
      except Wrong as wrong:
        expected.append(str(wrong))
    raise Wrong(", or ".join(expected))
  return check


def list_of(one: Check, lengths: tuple[int, ...] = (), *, distinct: bool = False) -> Check:
  """A list of values, of one of some lengths, or of any but 0; as a tuple."""
  many = " or ".join(map(str, lengths)) if lengths else "one or more"

  def check(value):
    if not isinstance(value, list):
      raise Wrong(f"a list of {many}")
    if len(value) not in lengths if lengths else not value:
      raise Wrong(f"a list of {many}, not {len(value)}")
    try:
      result = tuple(one(item) for item in value)
    except Wrong as wrong:
      raise Wrong(f"a list of {many}, each {wrong}") from None
    if distinct and len(set(result)) < len(result):
      raise Wrong("a list without repetitions")
    return result
  return check


def one_or_three(one: Check) -> Check:
  """A value for all bands, or a list of three: red, green, blue; as a tuple of one or three."""
  three = list_of(one, (3,))

  def check(value):
    if isinstance(value, list):
      try:
        return three(value)
      except Wrong as wrong:
        raise Wrong(f"{wrong} (red, green, blue)") from None
    return (one(value),)
  return check


def rising(pair: Check) -> Check:
  """A pair of numbers, the second above the first."""
  def check(value):
    low, high = pair(value)
    if not low < high:
      raise Wrong("two numbers, the second larger than the first")
    return low, high
  return check


def section(file: str, name: str, values: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
  """The values of a section (of the file's top level where `name` is empty), each checked.

  Raises:
    DataError: it has an unknown key, or a value that cannot be.
  """
  where = f"{file}: [{name}]" if name else f"{file}:"
  if not isinstance(values, dict):
    raise DataError(f"{file}: {name} is {shown(values)}; a section was expected: [{name}] on a line of its own, and "
                    "its keys below.")
  result = {}
  for key, value in values.items():
    if key not in checks:
      near = difflib.get_close_matches(key, checks, 1)
      raise DataError(f"{where} has no key {key[:60]!r}{f'; is {near[0]!r} meant?' if near else '.'} Its keys are "
                      f"{', '.join(checks)}.")
    try:
      result[key] = checks[key](value)
    except Wrong as wrong:
      raise DataError(f"{where} {key} is {shown(value)}; expected is {wrong}.") from None
  return result


def shown(value: Any) -> str:
  """A value for an error, not too long."""
  try:
    written = repr(value)
  except ValueError:  # A hexadecimal number of thousands of digits, which Python does not write in decimals.
    return "a number that is too long to show"
  return written if len(written) <= 80 else f"{written[:77]}…"
