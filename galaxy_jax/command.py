"""What the commands share: their log, how they find a config, and how they tell a user of a mistake."""
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import tqdm
from absl import app

#: What a user can mend: printed as one line. Anything else is a fault of the program and keeps its stack trace.
USER_ERRORS = (ValueError, OSError, FloatingPointError)


def packaged_config(argument: str) -> str:
  """`--config=configs/gz2.py` as the installed package's own file where there is no such file here."""
  flag, sep, value = argument.partition("=")
  if flag not in ("--config", "-config") or not sep:
    return argument
  path, colon, variant = value.partition(":")
  own = Path(__file__).parent / "configs" / Path(path).name
  if Path(path).exists() or not own.exists():
    return argument
  return f"{flag}={own}{colon}{variant}"


def run_command(main: Callable, parse_flags: Callable | None = None) -> int:
  """Runs an absl program with this project's log format; a user's mistake ends it with one line and status 1."""
  options = {"flags_parser": parse_flags} if parse_flags else {}

  def guarded(argv):
    _set_up_log()
    try:
      return main(argv)
    except USER_ERRORS as error:
      logging.getLogger(__name__).debug("Stack trace:", exc_info=True)
      print(f"error: {error}", file=sys.stderr)
      return 1

  try:
    app.run(guarded, **options)
  except SystemExit as leaving:
    return leaving.code or 0
  return 0


class _BesideBars(logging.Handler):
  """Writes lines to standard error without tearing a progress bar."""

  def emit(self, record):
    tqdm.tqdm.write(self.format(record), file=sys.stderr)


def _set_up_log():
  handler = _BesideBars()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
  # Libraries speak of their own workings at the level at which this program speaks to its user.
  for name in ("jax", "orbax", "absl", "tensorboardX", "grain"):
    logging.getLogger(name).setLevel(logging.WARNING)
