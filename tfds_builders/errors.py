"""The one exception for data that cannot be used as they are, and how a command ends with it."""
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


class DataError(ValueError):
  """Source files or a prepared data set that cannot be used.

  The message is for people: the file, the row and the value found, what was expected, and the command that mends it.
  """


class MissingDataError(DataError):
  """Source files that are not there at all: where a caller has another way to get data, it may take it."""


def lacking(folder: Path, files: Sequence[str], how_to_get: str) -> MissingDataError:
  """The error that a folder lacks files: which, what is there instead, and the lines that say how to get them."""
  found = sorted(path.name for path in folder.iterdir())[:8] if folder.is_dir() else []
  return MissingDataError(f"{folder} lacks {' and '.join(files)} (found there: {', '.join(found) or 'nothing'}).\n"
                          f"{how_to_get}")


def exit_status(work: Callable[[], object], nothing: str) -> int:
  """Does a command's work; returns its exit status: 0, or, after saying why, 1 for an error, 130 for an interruption.

  `nothing` says what was not done then, "Nothing was built." for instance; a DataError says it itself.
  """
  try:
    work()
  except DataError as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  except OSError as error:  # No room, no permission: the message names the file.
    print(f"error: {error}. {nothing}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print(f"Interrupted. {nothing}", file=sys.stderr)
    return 130
  return 0
