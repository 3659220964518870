"""One process at a time in a place, and what killed ones left there."""
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

try:
  import fcntl
except ImportError:  # Windows
  fcntl = None


@contextlib.contextmanager
def alone(lock: Path, what: str, log: logging.Logger) -> Iterator[bool]:
  """Waits until no other process holds the lock, then holds it; the kernel frees it when the process dies.

  Args:
    lock: a file, created if need be; it stays, as removing it would let two in.
    what: is being made, for the line that says that another process is at it.
    log: takes that line.

  Yields:
    Whether the lock is held: False where the file system has none.

  Raises:
    OSError: the file cannot be made.
  """
  with open(lock, "a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      held = True
    except BlockingIOError:
      log.info("Another process is making %s; waiting for it.", what)
      fcntl.flock(file, fcntl.LOCK_EX)
      held = True
    except (OSError, AttributeError):
      held = False
    yield held
