"""Files that are whole or not there."""
import contextlib
import json
import os
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
