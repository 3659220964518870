"""What a user may hand over to be predicted, in any of its forms, as galaxies in a fixed order.

One image, a folder, a pattern, a zip, a table that names images, or a split of a data set. Names and tables are looked
at once; images are read when their turn comes.
"""
import datetime
import functools
import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import tfds_builders
from galaxy_jax import columns, tables
from galaxy_jax.pictures import FITS_ENDINGS
from tfds_builders.archives import ReadError, Zip
from tfds_builders.contents import printable
from tfds_builders.errors import DataError
from tfds_builders.fits_files import FitsError, FitsFile
from tfds_builders.images import ImageError

#: How images end whose names are not given one by one.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", *FITS_ENDINGS)

_ENDING = re.compile("|".join(sorted(map(re.escape, IMAGE_ENDINGS), key=len, reverse=True)).join(("(", ")$")), re.I)
_LARGEST = 1 << 30  # bytes of a file that is read whole
_SPLIT = re.compile(r"(\w+(?:/\w+)?):(.+)")


class Part(NamedTuple):
  """Some galaxies of an input, in its order.

  Attributes:
    ids: (N,) of them.
    places: (N,) where their images are, as the input's `read` takes them.
    carried: the columns that the input has beside, N rows; of an input without any, no rows either.
  """
  ids: pa.Array
  places: Sequence[Any]
  carried: pa.Table


class Input(NamedTuple):
  """Galaxies to be predicted.

  Attributes:
    count: how many there are.
    ids: the type of their ids.
    columns: what is carried along beside them.
    identity: what tells this input from others, as JSON values.
    parts: from a size and a number of parts of that size to all parts from that one on.
    read: from a place to the image's bytes; by several threads at once. Raises ImageError.
    shown: from a place to what tells a user which image it is: of a file its path.
    holds: in words, what was looked at, where `count` is 0.
  """
  count: int
  ids: pa.DataType
  columns: pa.Schema
  identity: dict[str, Any]
  parts: Callable[[int, int], Iterator[Part]]
  read: Callable[[Any], bytes]
  shown: Callable[[Any], str]
  holds: str


def find(text: str, *, path_column: str | None = None, id_column: str | None = None, data_dir: str | None = None,
         manual_dir: str | None = None) -> Input:
  """What `--input` means.

  Args:
    text: an image, a folder (taken with all below it), a pattern such as `images/*.jpg`, a zip, a table, or
      BUILDER[/CONFIG]:SPLIT.
    path_column: of a table: where its images' paths are, relative to the table's folder; None: one of columns.PATHS.
    id_column: of a table: what its galaxies are called; None: one of columns.IDS, else the paths.
    data_dir: of a split: where the data set is, or is built.
    manual_dir: of a split: the folder with the published files.

  Raises:
    ValueError: it is none of these, or holds no image.
  """
  path = Path(text).expanduser()
  split = _SPLIT.fullmatch(text)
  is_split = bool(split) and not path.exists() and any(
      split[1] in (name, name.partition("/")[0]) for name in tfds_builders.BUILDERS)
  if not is_split and (data_dir or manual_dir):
    raise ValueError(f"--data_dir and --manual_dir are of data sets, but --input={text} is none; expected "
                     "BUILDER:SPLIT, such as galaxy_zoo_challenge/votes:test.")
  is_catalogue = path.is_file() and tables.format_of(path) is not None and not _is_fits_image(path)
  if not is_catalogue and (path_column or id_column):
    raise ValueError(f"--path_column and --id_column are of tables, but --input={text} is no table.")
  if is_split:
    found = _of_split(*split.groups(), data_dir, manual_dir)
  elif is_catalogue:
    found = _of_table(path, path_column, id_column)
  elif path.is_dir():
    found = _of_files(path, list(_below(path)), "no file in it, or in the folders in it, is an image")
  elif path.suffix.lower() == ".zip" and path.is_file():
    found = _of_zip(path)
  elif path.is_file():
    found = _of_files(path.parent, [path.name], "")
  elif glob.has_magic(text):
    found = _of_pattern(path)
  else:
    raise FileNotFoundError(f"There is no {text}. --input takes an image, a folder, a pattern in quotes, a zip, a "
                            f"table ({', '.join(sum(tables.ENDINGS.values(), ()))}) or BUILDER:SPLIT.")
  if not found.count:
    raise ValueError(f"{text} holds no image to predict: {found.holds}.")
  return found


def stem(name: str) -> str:
  """A file's name without folders and ending, galaxy.fits.gz's for instance galaxy."""
  base = name.rpartition("/")[2]
  ending = _ENDING.search(base)
  return base[:ending.start()] if ending else os.path.splitext(base)[0]


def _is_fits_image(path):
  """Whether a FITS file holds an image, not a table."""
  if tables.format_of(path) != "fits":
    return False
  try:
    with FitsFile(str(path)) as file:
      return any(hdu.is_image and len(hdu.shape) >= 2 for hdu in file.hdus())
  except FitsError as error:
    raise ValueError(f"{path} {error}.") from error


def _is_image(name):
  base = name.rpartition("/")[2]
  return base.lower().endswith(IMAGE_ENDINGS) and not base.startswith(".")


def _below(folder):
  """The paths of all images below a folder, relative to it, in one order everywhere.

  Links to folders are followed, but to each folder once: links may lead in circles.
  """
  seen = {os.path.realpath(folder)}
  for place, folders, files in os.walk(folder, onerror=_stop, followlinks=True):
    folders.sort()
    real = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
    folders[:] = [name for name in folders if real[name] not in seen and not seen.add(real[name])]
    inner = Path(place).relative_to(folder).as_posix()
    yield from (name if inner == "." else f"{inner}/{name}" for name in sorted(files) if _is_image(name))


def _stop(error):
  raise error


def _of_pattern(path):
  """The images that a pattern matches; their names are relative to the last folder without a wildcard."""
  fixed = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
  names = sorted(Path(name).relative_to(fixed).as_posix() for name in glob.iglob(str(path), recursive=True)
                 if os.path.isfile(name))
  return _of_files(fixed, list(filter(_is_image, names)), f"{len(names)} files match, none an image")


def _of_files(folder, names, holds):
  def read(name):
    return read_file(folder / name)
  return _of_names(names, names, read, lambda name: str((folder / name).absolute()), {
      "input": str(folder.absolute())}, holds)


def _of_zip(path):
  archive = Zip(path, str(path))
  members = [member for member in archive.members()
             if _is_image(member.name) and not member.name.startswith("__MACOSX/")]

  def read(member):
    try:
      return archive.read(member)
    except ReadError as error:
      raise ImageError(str(error)) from None
  return _of_names([member.name for member in members], members, read,
                   lambda member: f"{path.absolute()}/{member.name}",
                   _file(path), "no file in it is an image")


def _of_names(names, places, read, shown, identity, holds):
  """An input of files, called by their names, and by their paths where several have the same."""
  seen, repeated, digest = set(), set(), hashlib.sha256()
  for name in names:
    (repeated if (called := stem(name)) in seen else seen).add(called)
    digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
  seen.clear()

  def parts(size, start):
    for first in range(start * size, len(names), size):
      some = names[first:first + size]
      ids = [printable(name if stem(name) in repeated else stem(name)) for name in some]
      yield Part(pa.array(ids, pa.string()), places[first:first + size], pa.table({}))
  return Input(len(names), pa.string(), pa.schema([]), identity | {"names": digest.hexdigest(), "images": len(names)},
               parts, read, shown, f"{holds}, as these end in {', '.join(IMAGE_ENDINGS)}")


def _of_table(path, path_column, id_column):
  table = tables.read(path)
  names = table.schema.names
  where = columns.of_paths(str(path), names, path_column, "--path_column")
  called = columns.of_ids(str(path), names, id_column, "--id_column") or where
  kind, folder = table.schema.field(where).type, path.parent
  if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
    raise ValueError(f"{path}: the column {where!r} is to hold paths of images, and holds values of type {kind}. Name "
                     "another: --path_column.")
  ids = columns.kind_of_ids(str(path), called, table.schema.field(called).type, "--id_column")
  # A column that becomes `id` as it is, under that very name, is not there twice.
  kept = [name for name in names if not (name == called == "id")]

  def parts(size, start):
    for part in table.parts(size, start * size):
      yield Part(columns.ids(part[called].combine_chunks(), ids, called), part[where].to_pylist(), part.select(kept))

  def read(place):
    if not place:
      raise ImageError(f"has no path in column {where}")
    return read_file(folder / place)
  shown = lambda place: str((folder / place).absolute()) if place else ""
  return Input(table.count, ids, pa.schema([table.schema.field(name) for name in kept]),
               _file(path) | {"path column": where, "id column": called}, parts, read, shown,
               "the table has no rows")


def _of_split(name, split, data_dir, manual_dir):
  from galaxy_jax.data import sources
  from tfds_builders.prepare import prepare
  builder = prepare(name, data_dir=data_dir or None, manual_dir=manual_dir or None)
  if "image" not in builder.info.features:
    raise ValueError(f"{builder.info.full_name} has no images.")
  source, known = sources.split_source(builder, split), sources.fingerprint(builder, split)
  identify = lambda index: _plain(source[index].get("galaxy_id", index))
  kind = pa.array([identify(0)]).type

  def parts(size, start):
    for first in range(start * size, len(source), size):
      rows = range(first, min(first + size, len(source)))
      ids = [identify(row) for row in rows]
      yield Part(pa.array(ids, kind), rows, pa.table({}))
  return Input(len(source), kind, pa.schema([]), {"input": f"{builder.info.full_name}:{split}", "data": known},
               parts, lambda row: source[row]["image"], lambda row: f"{builder.info.full_name}:{split}, record {row}",
               "the split has no records")


def _plain(identity):
  return identity.decode() if isinstance(identity, bytes) else identity if isinstance(identity, str) else int(identity)


def _file(path):
  """What tells a file from others without reading all of it."""
  status = path.stat()
  changed = datetime.datetime.fromtimestamp(status.st_mtime_ns // 10**9, datetime.UTC)
  return {"input": str(path.absolute()), "bytes": status.st_size,
          "changed": f"{changed:%Y-%m-%dT%H:%M:%S}.{status.st_mtime_ns % 10**9:09d}"}


def read_file(path: str | Path) -> bytes:
  """The bytes of an image file, or of a member of a zip, ARCHIVE.zip/MEMBER.

  Raises:
    ImageError: there are none to be had.
  """
  try:
    with open(path, "rb") as file:
      if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
        raise ImageError(f"has {size >> 20} MiB, which is too large for an image")
      return file.read()
  except (FileNotFoundError, NotADirectoryError):
    return _read_member(Path(path))
  except (OSError, ValueError) as error:
    if isinstance(error, ImageError):
      raise
    raise ImageError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _read_member(path):
  """What a path that is no file's means in the zip that is above it; raises ImageError."""
  try:
    archive = next((above for above in path.parents if above.suffix.lower() == ".zip" and above.is_file()), None)
    if archive is None:
      raise ImageError("is not there")
    opened, members = _opened(archive, archive.stat().st_mtime_ns)
    name = path.relative_to(archive).as_posix()
    if name not in members:
      raise ImageError(f"is not in {archive}")
    return opened.read(members[name])
  except (OSError, DataError, ReadError) as error:
    raise ImageError(f"cannot be read ({error})") from None


@functools.lru_cache(maxsize=8)
def _opened(archive, _):
  """A zip, and its members by name; `_` is when it was changed."""
  opened = Zip(archive, str(archive))
  return opened, {member.name: member for member in opened.members()}
