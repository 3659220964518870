"""CSV files read row by row: whatever is wrong with one surfaces as the one error that names file and row."""
import csv
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from tfds_builders.errors import DataError

#: Characters of the longest line that is read: a small .gz may unpack to one line that fills the memory.
_LONGEST = 1 << 24
#: What other programs put between values instead of commas.
_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


class SeparatorError(DataError):
  """The values of a table are not separated by commas."""


class CsvTable:
  """An opened CSV file. Its rows are read as they are asked for, so that a large one needs little memory.

  Attributes:
    label: what errors call it.
    header: the names in its first row, without spaces around them; empty where the file is.
  """

  def __init__(self, label: str, file: BinaryIO):
    """Reads the header.

    Args:
      label: what errors call the file.
      file: its bytes: UTF-8, with or without a byte order mark.

    Raises:
      SeparatorError: its only name holds what separates the values of other tables.
      DataError: no CSV file.
    """
    self.label = label
    self._reader = csv.reader(_lines(io.TextIOWrapper(file, "utf-8-sig", newline="")))
    self.header = [name.strip() for name in self._next() or []]
    for separator, shown in _OTHER_SEPARATORS.items():
      if len(self.header) == 1 and separator in self.header[0]:
        raise SeparatorError(f"{label}, row 1: the values are separated by {shown}; commas were expected. Save the "
                             "table again, with commas between its values.")

  def where(self, names: Iterable[str]) -> dict[str, int]:
    """The names that the header has -> their columns: by name, so that another order is not misread.

    Raises:
      DataError: the header has one of them twice.
    """
    where = {}
    for name in names:
      if self.header.count(name) > 1:
        raise DataError(f"{self.label}, row 1: the header has {name!r} {self.header.count(name)} times. Get the file "
                        "again, or mend its header.")
      if name in self.header:
        where[name] = self.header.index(name)
    return where

  def columns(self, names: Iterable[str]) -> list[int]:
    """The columns of names that must be there.

    Raises:
      DataError: the header lacks one of them, or has it twice.
    """
    names = tuple(names)
    where = self.where(names)
    if missing := [name for name in names if name not in where]:
      raise DataError(f"{self.label}, row 1: the header lacks {', '.join(map(repr, missing[:5]))}"
                      f"{', …' if len(missing) > 5 else ''}. Get the file again, or mend its header.")
    return [where[name] for name in names]

  def rows(self) -> Iterator[tuple[int, list[str]]]:
    """The number of the line that each row ends in, the header's being 1, and its values; empty lines are passed over.

    Raises:
      DataError: no CSV file after all.
    """
    while (row := self._next()) is not None:
      if row:
        yield self._reader.line_num, row

  def check_length(self, row: list[str]) -> None:
    """Raises ValueError, with the reason, for a row that has more or fewer values than the header."""
    if len(row) != len(self.header):
      raise ValueError(f"has {len(row)} values where the header has {len(self.header)}")

  def _next(self) -> list[str] | None:
    try:
      return next(self._reader, None)
    except UnicodeDecodeError as error:
      raise DataError(f"{self.label}, after row {self._reader.line_num}, is not in UTF-8 ({error}). Save the table "
                      "again as UTF-8, or get it again.") from None
    # What csv and the unpacking of a .gz raise.
    except (csv.Error, EOFError, OSError, zlib.error) as error:
      raise DataError(f"{self.label}, after row {self._reader.line_num}, is no CSV file ({error}). Get it "
                      "again.") from None


def _lines(file: io.TextIOWrapper) -> Iterator[str]:
  while line := file.readline(_LONGEST):
    if len(line) == _LONGEST and line[-1] not in "\r\n":
      raise csv.Error(f"a line has more than {_LONGEST} characters")
    yield line


def whole_number(text: str, column: str) -> int:
  """A number without sign, exact to 2⁶³ − 1; raises ValueError, with the reason, for any other text.

  Args:
    text: the value.
    column: its column, for the reason.
  """
  text = text.strip()
  # A length, as Python refuses to read very long numbers.
  if not (text.isascii() and text.isdigit()) or len(text) > 40 or int(text) >= 2**63:
    raise ValueError(f"has {text[:40]!r} for a {column}; a whole number was expected")
  return int(text)
