"""Tables in the formats of catalogues, read column by column: CSV, Parquet, FITS and VOTable."""
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tfds_builders import extras
from tfds_builders.contents import Fault
from tfds_builders.csv_tables import CsvTable
from tfds_builders.errors import DataError
from tfds_builders.fits_files import FitsError, FitsFile, quiet

_CHUNK = 50_000
#: A VOTable may say that its data lie at an address, openly or by an entity; nothing is fetched for it.
_ELSEWHERE = re.compile(rb"<(\w+:)?STREAM[^>]*\bhref|<!ENTITY", re.IGNORECASE)
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<[^\0]")


class Table(NamedTuple):
  """Columns of a table.

  Attributes:
    label: what errors call the file.
    columns: name -> numbers or texts, null where there is none.
    lines: (N,) the number of each row, of a CSV file that of its line; the header's is 1.
    faults: rows that could not be read and are not among them.
  """
  label: str
  columns: dict[str, pa.ChunkedArray]
  lines: np.ndarray
  faults: tuple[Fault, ...] = ()


class TableFile:
  """A file with a table, of which columns are read by name.

  Attributes:
    path: of the file.
    label: what errors call it.
    names: of its columns.
  """

  def __init__(self, path: Path, label: str, hdu: int | str | None = None):
    """Reads the columns' names.

    Args:
      path: the file; its suffix says the format.
      label: what errors call it.
      hdu: FITS: number or name of the HDU; None: the first table.

    Raises:
      DataError: no table that can be read, or a column twice.
    """
    self.path, self.label, self._hdu = path, label, hdu
    self._kind = path.suffix.lower()
    self._loaded = None
    try:
      self.names = self._names()
    except DataError:
      raise
    except FitsError as error:
      raise DataError(f"{label} {error}.") from None
    except Exception as error:  # Each reader raises its own on damaged files.
      raise DataError(self._unreadable(error)) from None
    if twice := [name for name in dict.fromkeys(self.names) if name and self.names.count(name) > 1]:
      raise DataError(f"{label}: the table has the column {twice[0]!r} {self.names.count(twice[0])} times. Rename all "
                      "but one.")

  def read(self, columns: Sequence[str]) -> Table:
    """Reads some of the columns; raises DataError where one holds neither numbers nor texts, or is damaged."""
    try:
      if self._kind == ".csv":
        return self._read_csv(columns)
      if self._kind == ".parquet":
        loaded = pa.parquet.read_table(self.path, columns=list(columns), partitioning=None)
        make, count = _plain, loaded.num_rows
      else:
        loaded = self._astropy_table()
        make, count = _from_astropy, len(loaded)
      found = {}
      for name in columns:
        try:
          found[name] = make(loaded[name])
        except _Unusable as error:
          raise DataError(f"{self.label}: the column {name!r} holds {error}; numbers or texts were expected.") from None
    except DataError:
      raise
    except Exception as error:
      raise DataError(self._unreadable(error)) from None
    return Table(self.label, found, np.arange(1, count + 1))

  def _names(self):
    if self._kind == ".csv":
      with open(self.path, "rb") as file:
        return [name for name in CsvTable(self.label, file).header if name]
    if self._kind == ".parquet":
      return pa.parquet.read_schema(self.path).names
    return list(self._astropy_table().colnames)

  def _read_csv(self, columns):
    found, lines, faults, chunk = {name: [] for name in columns}, [], [], []

    def put_away():
      for name, values in zip(columns, zip(*chunk, strict=True) if chunk else [()] * len(columns), strict=True):
        found[name].append(pa.array(values, pa.string()))
      chunk.clear()
    with open(self.path, "rb") as file:
      table = CsvTable(self.label, file)
      where = table.columns(columns)
      for line, row in table.rows():
        try:
          table.check_length(row)
        except ValueError as error:
          faults.append(Fault(self.label, line, None, str(error)))
          continue
        lines.append(line)
        chunk.append([row[column] for column in where])
        if len(chunk) == _CHUNK:
          put_away()
      put_away()
    chunked = {name: pa.chunked_array(values, pa.string()) for name, values in found.items()}
    return Table(self.label, chunked, np.array(lines, np.int64), tuple(faults))

  def _astropy_table(self):
    """The whole table, as astropy reads it; of many columns only some are looked at."""
    if self._loaded is None:
      with quiet():
        self._loaded = self._fits() if self._kind in (".fits", ".fit") else self._votable()
    return self._loaded

  def _fits(self):
    table = extras.load("astropy.table", extra="survey", purpose="A FITS table").Table
    with FitsFile(str(self.path)) as file:
      kinds = file.astropy.BinTableHDU, file.astropy.TableHDU
      tables = (hdu for hdu in file.hdus() if isinstance(hdu, kinds))
      hdu = next(tables, None) if self._hdu is None else file.hdu(self._hdu)
      if not isinstance(hdu, kinds):
        raise DataError(f"{self.label} holds no table{'' if self._hdu is None else f' in HDU {self._hdu!r}'}.")
      # Of the rest of a header, units and the like, nothing is of use here, and it can be wrong.
      found = {}
      for column in hdu.columns if hdu.data is not None else ():
        values = hdu.data[column.name]
        has_null = column.null is not None and values.dtype.kind in "iu"
        found[column.name] = np.ma.masked_equal(values, column.null) if has_null else np.array(values)
      return table(found, copy=False)

  def _votable(self):
    votable = extras.load("astropy.io.votable", extra="survey", purpose="A VOTable")
    with open(self.path, "rb") as file:
      data = file.read()
    # astropy would unpack it, and read other encodings, in which an address would not be seen.
    if not _XML.match(data):
      raise DataError(f"{self.label} is no VOTable in plain UTF-8; unpack it if it is compressed, or save it as such.")
    if _ELSEWHERE.search(data):
      raise DataError(f"{self.label} says that its data are in another place. Save it with its data.")
    return votable.parse(str(self.path), verify="ignore").get_first_table().to_table(use_names_over_ids=True)

  def _unreadable(self, error):
    lines = str(error).strip().splitlines()
    return (f"{self.label} is no {self._kind} table that can be read ({type(error).__name__}"
            f"{f': {lines[0][:200]}' if lines else ''}). Get it again, or save it as CSV.")


class _Unusable(ValueError):
  """A column of a type that nothing is made of; the message is what it holds."""


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
  """A Parquet column as numbers or strings; raises _Unusable."""
  kind = column.type
  if pa.types.is_dictionary(kind):
    column = column.cast(kind.value_type)
    kind = column.type
  if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_string(kind):
    return column
  if pa.types.is_boolean(kind) or pa.types.is_null(kind):
    return column.cast(pa.int8())
  if pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_string_view(kind):
    return column.cast(pa.string())
  if pa.types.is_float16(kind) or pa.types.is_decimal(kind):
    return column.cast(pa.float64())
  raise _Unusable(f"values of type {kind}")


def _from_astropy(column: Any) -> pa.ChunkedArray:
  """A column of an astropy table as numbers or strings; raises _Unusable."""
  mask = np.ma.getmaskarray(np.ma.asarray(column))
  values = np.ma.getdata(np.ma.asarray(column))
  if values.ndim != 1:
    raise _Unusable(f"arrays of shape {values.shape[1:]} in each row")
  if values.dtype.kind == "b":
    values = values.astype(np.int8)
  if values.dtype.kind in "iuf":
    return pa.chunked_array([pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask)])
  if values.dtype.kind in "SUO":
    texts = [None if gone else _text(value) for value, gone in zip(values.tolist(), mask.tolist(), strict=True)]
    return pa.chunked_array([pa.array(texts, pa.string())])
  raise _Unusable(f"values of type {values.dtype}")


def _text(value):
  if isinstance(value, bytes):
    value = value.decode()
  if not isinstance(value, str):
    raise _Unusable(f"values such as {value!r}"[:80])
  return value.rstrip("\0 ")
