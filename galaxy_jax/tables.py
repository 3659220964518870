"""Catalogues as files, Parquet, CSV, FITS or VOTable as their names end: read part by part, and written.

Of Parquet and CSV no more than a part is in memory at a time, read or written; astropy, which reads and writes the
other two (extra `survey`), holds them whole.
"""
import contextlib
import csv as plain_csv
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from galaxy_jax.files import write_whole
from tfds_builders import extras
from tfds_builders.errors import DataError
from tfds_builders.own_images.tables import TableFile

logger = logging.getLogger(__name__)

#: How a file of each format ends; its first ending is the one to recommend.
ENDINGS = {"parquet": (".parquet", ".pq"), "csv": (".csv",), "fits": (".fits", ".fit"),
           "votable": (".vot", ".votable", ".xml")}
#: Numbers of these digits are texts: leading zeros would be lost, or the last digits in floating point.
_NO_INTEGER, _NO_FLOAT = r"^\s*[+-]?0[0-9]", r"^\s*[+-]?[0-9]{16,}\s*$"
_NULLS = csv.ConvertOptions().null_values


class Catalogue(NamedTuple):
  """A table to be read, in one pass or from any row on.

  Attributes:
    path: the file.
    schema: names and types of its columns.
    count: its rows.
    batches: from a row's number to the batches of all rows from that one on, each of any length.
  """
  path: Path
  schema: pa.Schema
  count: int
  batches: Callable[[int], Iterator[pa.RecordBatch]]

  def parts(self, size: int, start: int = 0) -> Iterator[pa.Table]:
    """Tables of `size` rows each, the last of those left, from row `start` on; raises ValueError for a damaged file."""
    held, rows = [], 0
    for batch in self.batches(start):
      while rows + len(batch) >= size:
        take = size - rows
        yield pa.Table.from_batches([*held, batch.slice(0, take)], self.schema)
        batch, held, rows = batch.slice(take), [], 0
      if len(batch):
        held.append(batch)
        rows += len(batch)
    if rows:
      yield pa.Table.from_batches(held, self.schema)


def format_of(path: str | Path) -> str | None:
  """The format that a file's name ends in, a key of ENDINGS; None of another."""
  ending = Path(path).suffix.lower()
  return next((name for name, endings in ENDINGS.items() if ending in endings), None)


def read(path: str | Path) -> Catalogue:
  """Opens a table.

  Of a CSV file, whose types nobody says, all is looked at once: a column is of integers or of floating-point numbers
  where every value is one that keeps all its digits, else of texts. Columns of FITS and VOTable that hold arrays are
  left out, and named in the log.

  Raises:
    ValueError: no table that can be read, a column twice, or astropy is needed and missing.
    FileNotFoundError: there is no such file.
  """
  path = Path(path)
  if not path.is_file():
    raise FileNotFoundError(f"There is no table {path}.")
  openers = {"parquet": _open_parquet, "csv": _open_csv, "fits": _open_astropy, "votable": _open_astropy}
  if (kind := format_of(path)) is None:
    raise ValueError(f"{path} ends like no table; expected {', '.join(sum(ENDINGS.values(), ()))}.")
  with _readable(path):
    catalogue = openers[kind](path)
  names = catalogue.schema.names
  if twice := [name for name in names if names.count(name) > 1]:
    raise ValueError(f"{path} has the column {twice[0]!r} {names.count(twice[0])} times. Rename all but one.")
  return catalogue


def write(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
  """Writes tables of one schema, one after the other, as one file, whole or not at all.

  Raises:
    ValueError: as `check_writable`.
  """
  check_writable(path, schema)
  writers = {"parquet": _write_parquet, "csv": _write_csv, "fits": _write_astropy, "votable": _write_astropy}
  kind = format_of(path)
  write_whole(Path(path), lambda fresh: writers[kind](fresh, schema, parts, kind))


def check_writable(path: str | Path, schema: pa.Schema | None = None) -> None:
  """Refuses what `write` could not write there; without a schema the place alone is looked at.

  Raises:
    ValueError: no format ends so, there is no such folder, astropy is needed and missing, or the format does not hold
      a column of that type.
  """
  path, kind = Path(path), format_of(path)
  check_place(path, [endings[0] for endings in ENDINGS.values()] if kind is None else [path.suffix])
  if kind in ("fits", "votable"):
    extras.load("astropy.table", extra="survey", purpose=f"Writing {path.name}")
  for field in schema or () if kind != "parquet" else ():
    if not (_is_number(field.type) or _is_text(field.type)):
      raise ValueError(f"The column {field.name!r} holds values of type {field.type}, for which {path.suffix} has no "
                       "place. Write .parquet, or take the column out of the input.")


def check_place(path: Path, endings: Sequence[str], flag: str = "--output") -> None:
  """Refuses a name under which no file can be written; `flag` is the one that named it.

  Raises:
    ValueError: it ends in none of `endings`, it is a folder, or its folder is not there.
  """
  if path.suffix.lower() not in map(str.lower, endings):
    raise ValueError(f"{flag} is {path}; expected a name that ends in {' or '.join(endings)}.")
  if path.is_dir():
    raise ValueError(f"{flag} is {path}, which cannot be written: it is a folder. Name a file.")
  if not path.absolute().parent.is_dir():
    raise ValueError(f"{flag} is {path}, which cannot be written: there is no folder {path.parent}. Make it first.")


def _is_number(kind):
  return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_text(kind):
  """Whether values of a type are texts, or written as such."""
  return (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
          or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


@contextlib.contextmanager
def _readable(path):
  """Makes one error of what pyarrow makes of a damaged file."""
  try:
    yield
  except pa.ArrowException as error:
    raise ValueError(f"{path} is no {path.suffix} table that can be read ({str(error).splitlines()[0][:200]}). Get it "
                     "again, or save it anew.") from error


def _open_parquet(path):
  with parquet.ParquetFile(path) as file:
    schema = pa.schema([pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type)
                                 else field.type) for field in file.schema_arrow])
    groups = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]

  def batches(start):
    first = 0
    while first < len(groups) and start >= groups[first]:
      start -= groups[first]
      first += 1
    with _readable(path), parquet.ParquetFile(path) as file:
      read = file.iter_batches(row_groups=list(range(first, len(groups)))) if first < len(groups) else ()
      yield from _from(start, (_cast(batch, schema) for batch in read))
  return Catalogue(path, schema, sum(groups), batches)


def _cast(batch, schema):
  return pa.record_batch([column if column.type == field.type else column.cast(field.type)
                          for column, field in zip(batch.columns, schema, strict=True)], schema=schema)


def _from(start, batches):
  """The batches without their first `start` rows."""
  for batch in batches:
    if start < len(batch):
      yield batch.slice(start)
    start = max(0, start - len(batch))


def _open_csv(path):
  parsing = csv.ParseOptions(newlines_in_values=True)
  with csv.open_csv(path, parse_options=parsing) as file:
    names = file.schema.names
  if "" in names:
    raise ValueError(f"{path} has a column without a name in its header.")
  texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
  kinds, count = [None] * len(names), 0
  with csv.open_csv(path, parse_options=parsing, convert_options=texts) as file:
    for batch in file:
      count += len(batch)
      kinds = [_number_of(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
  schema = pa.schema([(name, kind or pa.string()) for name, kind in zip(names, kinds, strict=True)])
  options = csv.ConvertOptions(column_types=schema)

  def batches(start):
    with _readable(path), csv.open_csv(path, parse_options=parsing, convert_options=options) as file:
      yield from _from(start, file)
  return Catalogue(path, schema, count, batches)


def _number_of(texts, kind):
  """The first type, from `kind` on, that holds all texts: None where there are none, int64, float64, string."""
  if kind == pa.string():
    return kind
  texts = texts.filter(pc.invert(pc.is_in(texts, pa.array(_NULLS))))
  if not len(texts):
    return kind
  for number, none in ((pa.int64(), _NO_INTEGER), (pa.float64(), f"{_NO_INTEGER}|{_NO_FLOAT}")):
    if kind == pa.float64() and number == pa.int64():
      continue
    if pc.any(pc.match_substring_regex(texts, f"{none}|[xX]")).as_py():  # 0x1F is a number to pyarrow
      continue
    with contextlib.suppress(pa.ArrowInvalid):
      pc.cast(texts, number)
      return number
  return pa.string()


def _open_astropy(path):
  file = TableFile(path, str(path))
  columns, left_out = {}, []
  for name in file.names:
    try:
      columns[name] = file.read([name]).columns[name]
    except DataError as error:
      if f"{name!r} holds" not in str(error):
        raise
      left_out.append(name)
  if left_out:
    logger.warning("Left out of %s, as they hold neither numbers nor texts: %s.", path, ", ".join(left_out))
  table = pa.table(columns)
  return Catalogue(path, table.schema, len(table), lambda start: iter(table.slice(start).to_batches()))


def _write_parquet(fresh, schema, parts, _):
  with parquet.ParquetWriter(fresh, schema) as writer:
    for part in parts:
      writer.write_table(part)


def _write_csv(fresh, schema, parts, _):
  with open(fresh, "w", newline="", encoding="utf-8") as file:  # pyarrow's own header has needless quotes
    plain_csv.writer(file, lineterminator="\n").writerow(schema.names)
  with open(fresh, "ab") as file, csv.CSVWriter(file, schema, write_options=csv.WriteOptions(
      include_header=False)) as writer:
    for part in parts:
      if len(part):  # pyarrow 25 and 26 put zero bytes into a file without a header where a chunk without rows is first
        writer.write_table(part.combine_chunks())


def _write_astropy(fresh, schema, parts, kind):
  make = extras.load("astropy.table", extra="survey", purpose="Writing FITS and VOTable").Table
  table = pa.concat_tables([schema.empty_table(), *parts])
  column = partial(for_astropy, ascii_only=kind == "fits")
  made = make({name: column(table[name].combine_chunks(), name) for name in schema.names})
  options = {"tabledata_format": "binary2"} if kind == "votable" else {}
  made.write(fresh, format=kind, **options)


def for_astropy(column: pa.Array | pa.ChunkedArray, name: str, *, ascii_only: bool = False) -> np.ndarray:
  """A column as FITS and VOTable hold it: null is NaN, an empty text, or, of whole numbers, masked."""
  if isinstance(column, pa.ChunkedArray):
    column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
  kind = column.type
  if pa.types.is_unsigned_integer(kind) or kind == pa.int8() or (pa.types.is_boolean(kind) and column.null_count):
    # VOTable has no unsigned numbers but bytes, and FITS no signed bytes.
    wider = {pa.uint32(): pa.int64(), pa.uint64(): pa.int64(), pa.uint16(): pa.int32()}.get(kind, pa.int16())
    large = kind == pa.uint64() and (pc.max(column).as_py() or 0) >= 2**63
    column = column.cast(pa.string() if large else wider)
  if _is_text(column.type):
    texts = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    if ascii_only and not all(map(str.isascii, texts)):
      logger.warning("FITS holds ASCII alone: other letters of the column %r are written as in \\xe9.", name)
      texts = [text.encode("ascii", "backslashreplace").decode() for text in texts]
    return np.array(texts, f"U{max(map(len, texts), default=1) or 1}")
  if pa.types.is_floating(column.type):
    values = pc.fill_null(column, np.nan) if column.null_count else column
    return values.to_numpy(zero_copy_only=False).astype(np.float64 if column.type == pa.float64() else np.float32)
  if not column.null_count:
    return column.to_numpy(zero_copy_only=False)
  missing = pc.is_null(column).to_numpy(zero_copy_only=False)
  values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
  return np.ma.MaskedArray(values, missing, fill_value=np.iinfo(values.dtype).min)
