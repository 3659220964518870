"""Files that are whole or not there, and places where they may be written."""
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

try:
  import fcntl
except ImportError:  # Windows
  fcntl = None


def write_whole(path: Path, write: Callable[[str], None]) -> None:
  """Calls `write` with a temporary name and gives the file its own once it is whole."""
  fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    write(str(fresh))
    os.replace(fresh, path)
  finally:
    fresh.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON, whole or not at all."""
  write_whole(path, lambda fresh: Path(fresh).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n"))


def check_folder(folder: Path, flag: str) -> None:
  """Raises ValueError where no file can be made in a folder that `flag` named."""
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    raise ValueError(f"{flag} is in {folder}, where no file can be written: {error.strerror}.") from error


def check_not_read(path: Path, flag: str, source: str | Path, given: Any) -> None:
  """Refuses to write over what is read, by whatever name.

  Args:
    path: what is to be written.
    flag: the one that named it.
    source: what --input says.
    given: what that holds, see inputs.Input.

  Raises:
    ValueError: it is the input itself, or one of its images.
  """
  try:
    own = os.stat(path)
  except OSError:  # nothing is there that could be lost
    return

  def is_own(other):
    try:
      return os.path.samestat(os.stat(other), own)
    except (OSError, ValueError):
      return False
  if is_own(Path(source).expanduser()):
    raise ValueError(f"{flag} is {path}, which is --input too. Name another file.")
  if "data" in given.identity:  # the images of a data set are no files of their own
    return
  for part in given.parts(8192, 0):
    for place in part.places:
      if (shown := given.shown(place)) and is_own(shown):
        raise ValueError(f"{flag} is {path}, which is an image of --input too. Name another file.")


@contextlib.contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
  """Makes a folder this process's own until it leaves; where the file system has no locks nothing keeps others out.

  Args:
    folder: created if need be.
    name: what the user calls it, for the message.

  Raises:
    ValueError: it cannot be written, or another process has it.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "a")
  except OSError as error:
    raise ValueError(f"{name} is {folder}, which cannot be written: {error.strerror}.") from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise ValueError(f"{name} is {folder}, where another process is at work. Wait for it or choose another."
                       ) from error
    except (OSError, AttributeError):
      pass
    yield
