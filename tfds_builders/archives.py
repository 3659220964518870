"""Files inside a folder, a zip, or a zip within a zip, read in place through one interface.

This knows nothing of what the files hold; a data set's own module finds the archives and judges their members.
"""
import io
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from tfds_builders.errors import DataError

#: Bytes of a file that is read whole; a zip can claim that a few of its own become many. The largest image or table
#: that is read so has a tenth.
LARGEST_READ = 256 << 20
#: Bytes of a file that is read as a stream.
LARGEST_STREAM = 4 << 30


class ReadError(ValueError):
  """A member that cannot be read back; the message is the reason, to follow the name of the file."""


class Member(NamedTuple):
  """One file of an archive.

  Attributes:
    name: its path within the archive, with slashes.
    size: bytes, uncompressed.
    crc: the CRC-32 that the zip states, or None in a folder.
  """
  name: str
  size: int
  crc: int | None


class Folder:
  """The files below a folder, at any depth.

  Attributes:
    label: what errors call it.
  """

  def __init__(self, path: Path, label: str):
    self._path = path
    self.label = label

  def members(self) -> list[Member]:
    """All files below the folder, in no particular order; raises DataError where a link leads out of it."""
    found, root = [], self._path.resolve()
    for folder, _, names in os.walk(self._path):
      for name in names:
        path = Path(folder, name)
        try:
          if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise DataError(f"{path} is a link to {path.resolve()}, outside {self._path}. Copy the file there.")
          found.append(Member(path.relative_to(self._path).as_posix(), path.stat().st_size, None))
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other.
          raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}). Copy or unpack it "
                          "again.") from None
    return found

  def read(self, member: Member) -> bytes:
    """The bytes of a member; raises ReadError."""
    try:
      with open(self._path / member.name, "rb") as file:
        _check_size(os.fstat(file.fileno()).st_size, LARGEST_READ)
        return file.read()
    except OSError as error:
      raise ReadError(f"cannot be read ({error.strerror})") from None

  def close(self) -> None:
    """Nothing to close; here for the common interface."""


class Zip:
  """The files of a zip. Unpickled, as by another process, it opens itself again.

  Attributes:
    label: what errors call it.
  """

  def __init__(self, file, label: str, *, outer: tuple["Zip", Member] | None = None):
    """Opens a zip.

    Args:
      file: its path, or a seekable file object, which is closed with the archive.
      label: what errors call it.
      outer: the archive that this one is a member of, and which member, where `file` is no path.

    Raises:
      DataError: not a zip, or a truncated one.
    """
    self.label = label
    self._outer = outer
    self._file = None if isinstance(file, (str, os.PathLike)) else file
    try:
      self._zip = zipfile.ZipFile(file)
    except OSError as error:
      self._close_file()
      raise DataError(f"{label} cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # BadZipFile mostly; UnicodeDecodeError, struct.error, … where names are damaged.
      self._close_file()
      raise DataError(f"{label} is no complete zip file ({error}). Download it again.") from None

  def __reduce__(self):
    return (Zip, (self._zip.filename, self.label)) if self._outer is None else (Zip.nested, self._outer)

  def members(self) -> list[Member]:
    """All files of the zip, in its own order; raises DataError where a name leads out of it."""
    infos = [info for info in self._zip.infolist() if not info.is_dir()]
    for info in infos:
      path = PurePosixPath(info.filename)
      if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{self.label} holds a file named {info.filename!r}, which leads out of it. Such a zip is not "
                        "the published one: download it again.")
    return [Member(info.filename, info.file_size, info.CRC) for info in infos]

  def read(self, member: Member) -> bytes:
    """The bytes of a member, checked against its CRC; raises ReadError."""
    _check_size(member.size, LARGEST_READ)
    try:
      return self._zip.read(member.name)
    except Exception as error:  # Each kind of compression raises its own, and a damaged name UnicodeDecodeError.
      raise ReadError(f"cannot be unpacked ({error})") from None

  @contextmanager
  def stream(self, member: Member) -> Iterator[BinaryIO]:
    """A member as a file that is unpacked as it is read, whatever its size in little memory.

    Raises:
      ReadError: it cannot be opened. What goes wrong later, its CRC among it, reading raises as an OSError.
    """
    _check_size(member.size, LARGEST_STREAM)
    try:
      packed = self._zip.open(member.name)
    except Exception as error:
      raise ReadError(f"cannot be unpacked ({error})") from None
    with packed, io.BufferedReader(_Unpacked(packed), 1 << 16) as file:
      yield file

  def nested(self, member: Member) -> "Zip":
    """Opens a zip that is a member of this one.

    One that is stored is read where it lies. One that is compressed again cannot be read out of order: it is unpacked
    to an unnamed temporary file, which the system removes with the process.

    Raises:
      DataError: it is no complete zip, or there is no room for the temporary file.
    """
    label = f"{self.label}/{member.name}"
    info = self._zip.getinfo(member.name)
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
      return Zip(_window(self._zip.filename, info, label), label, outer=(self, member))
    try:
      unpacked = tempfile.TemporaryFile()
    except OSError as error:
      raise DataError(_no_room(label, error)) from None
    try:
      with self._zip.open(info) as packed:
        while block := packed.read(1 << 20):
          unpacked.write(block)
    except OSError as error:
      unpacked.close()
      raise DataError(_no_room(label, error)) from None
    except Exception as error:
      unpacked.close()
      raise DataError(f"{label} cannot be unpacked ({error}). Download it again.") from None
    return Zip(unpacked, label, outer=(self, member))

  def close(self) -> None:
    """Closes the file."""
    self._zip.close()
    self._close_file()

  def _close_file(self):
    if self._file is not None:
      self._file.close()


class KeptOpen:
  """Zips that are open together. A context manager: closes them all."""

  def __init__(self):
    self._open: list[Zip] = []

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Closes the zips."""
    for archive in reversed(self._open):
      archive.close()
    self._open.clear()

  def _keep(self, archive: Zip) -> Zip:
    self._open.append(archive)
    return archive


def _check_size(size: int, largest: int) -> None:
  if size > largest:
    raise ReadError(f"has {size} bytes, more than the {largest} that any such file may have")


def _no_room(label: str, error: OSError) -> str:
  return (f"{label} is compressed twice and could not be unpacked to a temporary file in {tempfile.gettempdir()} "
          f"({error.strerror or error}). Unpack the outer zip yourself, or name a folder with room: TMPDIR=….")


class _Unpacked(io.RawIOBase):
  """A member of a zip, whose every fault is an OSError."""

  def __init__(self, packed: BinaryIO):
    super().__init__()
    self._packed = packed

  def readable(self):
    return True

  def readinto(self, buffer):
    try:
      data = self._packed.read(len(buffer))
    except Exception as error:  # as in Zip.read
      raise OSError(f"cannot be unpacked: {error}") from None
    buffer[:len(data)] = data
    return len(data)


class _Window(io.RawIOBase):
  """A part of a file as a seekable file of its own."""

  def __init__(self, path: str, start: int, size: int):
    super().__init__()
    self._file = open(path, "rb")
    self._start = start
    self._size = size
    self._position = 0

  def readable(self):
    return True

  def seekable(self):
    return True

  def tell(self):
    return self._position

  def seek(self, offset, whence=io.SEEK_SET):
    position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
    if position < 0:
      raise OSError(22, "Seek before the start of a zip within a zip")
    self._position = position
    return position

  def readinto(self, buffer):
    wanted = max(0, min(len(buffer), self._size - self._position))
    self._file.seek(self._start + self._position)
    count = self._file.readinto(memoryview(buffer)[:wanted])
    self._position += count
    return count

  def close(self):
    self._file.close()
    super().close()


def _window(path: str, info: zipfile.ZipInfo, label: str) -> io.BufferedReader:
  """A stored member of the zip at `path` as a seekable file; raises DataError."""
  with open(path, "rb") as file:
    file.seek(info.header_offset)
    header = file.read(30)
  # The local header repeats the name and has its own extra field: only it says where the data begin.
  if len(header) < 30 or header[:4] != b"PK\x03\x04":
    raise DataError(f"{label} has a damaged local header. Download it again.")
  name_length, extra_length = struct.unpack("<HH", header[26:30])
  return io.BufferedReader(_Window(path, info.header_offset + 30 + name_length + extra_length, info.file_size))
