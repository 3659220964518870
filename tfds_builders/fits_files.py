"""FITS files opened with care: astropy reads them, but is given no header that would keep it busy for ever."""
import contextlib
import gzip
import io
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from tfds_builders import extras

#: A compressed file may unpack to this many bytes; larger ones are to be unpacked by hand, and are then read in place.
LARGEST_UNPACKED = 1 << 30
_GZIP = b"\x1f\x8b"
_BLOCK, _CARD = 2880, 80
#: Headers of more blocks are damaged ones, as are axes and columns beyond the standard's limits.
_MOST_BLOCKS = 4000
_MOST = 999
_COUNTS = (b"NAXIS", b"TFIELDS")


class FitsError(ValueError):
  """A file that is no FITS file, or a damaged one; the message is the reason, to follow the name of the file."""


def is_fits(head: bytes) -> bool:
  """Whether a file that begins with these bytes is a FITS file, or a gzip file, which may hold one."""
  return head[:9] == b"SIMPLE  =" or head[:2] == _GZIP


class FitsFile:
  """An opened FITS file. A context manager: closes what it opened.

  Attributes:
    astropy: the module `astropy.io.fits`.
  """

  def __init__(self, file: str | BinaryIO):
    """Opens it.

    Args:
      file: its path, or a seekable file object. It may be compressed with gzip.

    Raises:
      FitsError: no FITS file, or a damaged one.
      DataError: astropy is not installed.
    """
    self.astropy = extras.load("astropy.io.fits", extra="survey", purpose="Reading FITS files")
    self._close = []
    try:
      watched = self._opened(file)
      with quiet():
        # Not mapped: astropy does not map scaled numbers, and reads the rows of a section alone without.
        self._hdus = self.astropy.open(watched, memmap=False, lazy_load_hdus=True)
      self._close.append(self._hdus)
    except (FitsError, _Refused) as error:
      self.close()
      raise FitsError(str(error)) from None
    except Exception as error:  # A damaged header surfaces as OSError, VerifyError, ValueError, … .
      self.close()
      raise FitsError(f"is no FITS file that can be read ({reason(error)})") from None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Closes the file."""
    for file in reversed(self._close):
      file.close()
    self._close.clear()

  def hdus(self) -> Iterator[Any]:
    """astropy's HDUs, one after the other; raises FitsError where one is damaged."""
    number = 0
    while True:
      try:
        with quiet():
          try:
            hdu = self._hdus[number]
          except IndexError:
            return
      except _Refused as error:
        raise FitsError(str(error)) from None
      except Exception as error:
        raise FitsError(f"has a damaged header in HDU {number} ({reason(error)})") from None
      yield hdu
      number += 1

  def hdu(self, wanted: int | str) -> Any:
    """The HDU of a number, from 0, or of a name; raises FitsError."""
    for number, hdu in enumerate(self.hdus()):
      if number == wanted or (isinstance(wanted, str) and str(hdu.name).upper() == wanted.strip().upper()):
        return hdu
    raise FitsError(f"has no HDU {wanted!r}")

  def _opened(self, file):
    """The file, unpacked where it is compressed, with its headers watched."""
    if isinstance(file, str):
      file = _WatchedFile(open(file, "rb", buffering=0))
    else:
      file = _WatchedBytes(file.read())
    self._close.append(file)
    start = file.read(9)
    file.seek(0)
    if start[:2] == _GZIP:
      with gzip.open(file) as packed:
        unpacked = packed.read(LARGEST_UNPACKED + 1)
      if len(unpacked) > LARGEST_UNPACKED:
        raise FitsError(f"unpacks to more than {LARGEST_UNPACKED >> 20} MiB; unpack it with gunzip")
      file = _WatchedBytes(unpacked)
      start = unpacked[:9]
    if start != b"SIMPLE  =":
      raise FitsError(f"is no FITS file (it begins with {start.hex(' ') or 'nothing'})")
    return file


class _Watched:
  """A file whose headers, which astropy reads block by block, are looked at on their way to it."""
  _blocks, _next = 0, 0

  def read(self, size=-1):
    if size != _BLOCK:
      return super().read(size)
    if self.tell() != self._next:
      self._blocks = 0
    data = super().read(size)
    self._next = self.tell()
    self._blocks = 0 if _header_ends(data) else self._blocks + 1
    if self._blocks > _MOST_BLOCKS:
      raise _Refused(f"has a header without an end in {_MOST_BLOCKS * _BLOCK >> 20} MiB")
    return data


class _WatchedFile(_Watched, io.BufferedReader):
  pass


class _WatchedBytes(_Watched, io.BytesIO):
  pass


class _Refused(RuntimeError):
  """A header that astropy is not given. No ValueError: that it would take for the end of the file."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps astropy's warnings of what it mends by itself from whoever reads a damaged file: the error says enough."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    yield


def _header_ends(block: bytes) -> bool:
  """Looks for counts of axes or columns beyond what the standard allows; astropy would go through all of them.

  Args:
    block: 2880 bytes of a header.

  Returns:
    Whether the header ends in it.

  Raises:
    _Refused: there is one.
  """
  for place in range(0, len(block), _CARD):
    card = block[place:place + _CARD]
    keyword = card[:8].strip().upper()
    if keyword == b"END":
      return True
    if keyword in _COUNTS:
      value = card[8:].lstrip(b"= ").partition(b"/")[0].strip()
      try:
        good = 0 <= float(value.replace(b"D", b"E").replace(b"d", b"e")) <= _MOST
      except ValueError:
        continue  # No number: astropy refuses it in its own time.
      if not good:
        raise _Refused(f"has a damaged header: {keyword.decode()} is {value[:30].decode('ascii', 'replace')}")
  return False


def reason(error: BaseException) -> str:
  """An error's type and the first line of what it says."""
  lines = str(error).strip().splitlines()
  return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
