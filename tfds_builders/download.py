"""Downloads a published file whose SHA-256 is known: resumed where it was interrupted, whole or not there at all."""
import hashlib
import logging
import re
import time
from pathlib import Path

from tqdm import tqdm

from tfds_builders.errors import DataError
from tfds_builders.locks import alone

_BLOCK = 1 << 18
#: A try that brought less than so many bytes counts as one that failed.
_WORTHWHILE = 1 << 20
#: Seconds to wait for a connection, and for the next bytes.
_TIMEOUT = (15, 60)
#: Seconds before each new try after one that failed.
_PAUSES = (1, 5, 20)

_log = logging.getLogger("tfds_builders")


class _InterruptedDownload(Exception):
  """A try that did not come to its end but might do so next time; the message is the reason."""


def download(url: str, path, *, sha256: str, size: int | None = None, progress: bool = True) -> None:
  """Downloads a file, unless it is there already.

  It grows as NAME.part beside its place, and is renamed when it is complete and has the right SHA-256. What is there of
  a NAME.part is gone on from where the server can (HTTP Range), and begun again where it cannot. Several processes that
  want the same file wait for one another.

  Args:
    url: of the file, http or https.
    path: its place; the folder is made if needed.
    sha256: hexadecimal digits.
    size: bytes, for the progress bar and the error; None: not known.
    progress: show a progress bar.

  Raises:
    DataError: the server refuses, the connection breaks again and again, there is no room, or the file is not the one
      that was published. Then NAME.part is removed; in all other cases it is kept for the next time.
  """
  path = Path(path)
  part = path.with_name(f"{path.name}.part")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Where the file system has no locks, two processes at once would spoil the part, which the hash would show.
    with alone(path.with_name(f".{path.name}.lock"), str(path), _log):
      if path.exists():
        return
      _log.info("Downloading %s.", url)
      _fetch(url, part, size, progress)
      found = file_sha256(part)
      if found != sha256.lower():
        length = part.stat().st_size
        part.unlink()
        raise DataError(f"{url} is not the published file: {length} bytes with SHA-256 {found}, expected "
                        f"{sha256.lower()}{'' if size is None else f' in {size} bytes'}. What was downloaded has been "
                        "removed. Try again; if it stays so, the file has been changed: get it from elsewhere and put "
                        f"it at {path}.")
      part.replace(path)
  except OSError as error:
    raise DataError(f"{url} could not be downloaded to {path} ({error.strerror or error}). What has arrived is kept: "
                    "make room, or mend the permissions, and start again.") from None


def file_sha256(path) -> str:
  """SHA-256 of a file, hexadecimal; raises OSError."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url, part, size, progress):
  """Completes the part, trying again while that brings more; raises DataError."""
  with tqdm(desc=f"Downloading {part.stem}", total=size, unit="B", unit_scale=True, unit_divisor=1024,
            disable=None if progress else True) as bar:
    failures = 0
    while True:
      before = _length(part)
      try:
        return _try(url, part, bar)
      except _InterruptedDownload as error:
        failures = 0 if _length(part) - before >= _WORTHWHILE else failures + 1
        if failures > len(_PAUSES):
          raise DataError(f"{url} could not be downloaded ({error}). The {_length(part)} bytes that have arrived are "
                          f"kept in {part}: start again to go on from there, or get the file by other means and put it "
                          f"at {part.with_suffix('')}.") from None
        if failures:
          time.sleep(_PAUSES[failures - 1])


def _try(url, part, bar):
  """One request for what is missing; raises _InterruptedDownload, DataError, OSError."""
  import requests
  have = _length(part)
  # Compressed on the way, a range would be one of other bytes.
  headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
  try:
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
      if response.status_code == 416:
        # Nothing follows what is there: either it is complete, which the hash will tell, or it is of another file.
        if response.headers.get("Content-Range", "") == f"bytes */{have}":
          return
        part.unlink()
        raise _InterruptedDownload("what was there before is longer than the file")
      if response.status_code == 429 or response.status_code >= 500:
        raise _InterruptedDownload(f"the server answers {response.status_code} {response.reason}")
      if response.status_code not in (200, 206):
        raise DataError(f"{url} cannot be downloaded: the server answers {response.status_code} {response.reason}. Get "
                        f"the file by other means and put it at {part.with_suffix('')}.")
      start = 0
      if response.status_code == 206:
        start = _start(response.headers.get("Content-Range", ""))
        if start != have:
          part.unlink(missing_ok=True)
          raise _InterruptedDownload(f"the server sends bytes from {start} on where {have} was asked for")
      _append(response, part, start, bar)
  except (requests.exceptions.ConnectionError, requests.exceptions.Timeout,
          requests.exceptions.ChunkedEncodingError) as error:
    raise _InterruptedDownload(_reason(error)) from None
  except requests.exceptions.RequestException as error:
    raise DataError(f"{url} cannot be downloaded ({_reason(error)}). Get the file by other means and put it at "
                    f"{part.with_suffix('')}.") from None


def _append(response, part, start, bar):
  """Writes what arrives from a place in the part on."""
  bar.n = start
  bar.refresh()
  length = response.headers.get("Content-Length", "")
  expected = start + int(length) if length.isdigit() else None
  with part.open("ab") as file:
    file.truncate(start)
    for block in response.iter_content(_BLOCK):
      file.write(block)
      bar.update(len(block))
      start += len(block)
  if expected is not None and start < expected:
    raise _InterruptedDownload(f"the connection ended after {start} of {expected} bytes")


def _length(part: Path) -> int:
  return part.stat().st_size if part.exists() else 0


def _start(content_range: str) -> int:
  found = re.match(r"bytes (\d{1,18})-", content_range)
  return int(found[1]) if found else -1


def _reason(error: Exception) -> str:
  return f"{type(error).__name__}: {error}".splitlines()[0][:300]
