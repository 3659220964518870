"""What the commands share: their log, how they find a config, and how they tell a user of a mistake."""
import logging
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import tqdm
from absl import app, flags

import tfds_builders

#: The exit status where all went well but for some images that could not be used.
SOME_FAILED = 3

_OURS = (str(Path(__file__).parent), str(Path(tfds_builders.__file__).parent))


def is_users(error: Exception) -> bool:
  """Whether the user can mend it: a file system's refusal, or a check of our own. Else the program is at fault."""
  if isinstance(error, (OSError, FloatingPointError)):
    return True
  frames = traceback.extract_tb(error.__traceback__)
  return isinstance(error, ValueError) and bool(frames) and frames[-1].filename.startswith(_OURS)


def packaged_config(argument: str) -> str:
  """`--config=configs/gz2.py` as the installed package's own file where there is no such file here."""
  flag, sep, value = argument.partition("=")
  path, colon, variant = value.partition(":")
  own = Path(__file__).parent / "configs" / Path(path).name
  if flag not in ("--config", "-config") or not sep or Path(path).exists():
    return argument
  if Path(path).parts[:1] != ("configs",) or not own.exists():
    names = sorted(file.stem for file in own.parent.glob("*.py") if file.stem not in ("__init__", "base"))
    raise ValueError(f"--config is {path}, and there is no such file. The experiments are "
                     f"{', '.join(f'configs/{name}.py' for name in names)}.")
  return f"{flag}={own}{colon}{variant}"


def run_command(main: Callable, prepare: Callable = lambda argv: argv) -> int:
  """Runs an absl program with this project's log; a user's mistake ends it with one line and status 1.

  Args:
    main: takes the arguments that are no flags; returns the exit status.
    prepare: changes the command line before its flags are read.
  """
  def parse(argv):
    _set_up_log()
    try:
      if empty := [argument for argument in argv[1:] if re.fullmatch(r"--?(config|workdir)=", argument)]:
        raise ValueError(f"{empty[0]} is empty. An example: {_example(main)}")
      return flags.FLAGS(prepare(argv))
    except AttributeError as error:  # what ml_collections raises for a key that the config does not have
      key, *meant = re.findall(r"['\"]+(\w+)\\*['\"]", str(error))[:2]
      meant = f" Is {meant[0]!r} meant?" if meant and meant[0] != key else ""
      raise SystemExit(f"error: the config has no key {key!r}.{meant} configs/base.py has them all; a model's own "
                       "options must be in the experiment's file.") from error
    except (flags.Error, ValueError, OSError) as error:
      if missing := re.findall(r"flag --(\w+)=None: ", str(error)):
        given = " and ".join(f"--{name}=…" for name in missing)
        raise SystemExit(f"error: {given} must be given, as in: {_example(main)} (--help lists the flags)") from error
      # A config file that fails is quoted with its whole stack trace; its last line says what is wrong.
      lines = [line.strip() for line in str(error).splitlines() if line.strip()]
      reason = lines[-1].partition("Error: ")[2] if any("Traceback" in line for line in lines) else " ".join(lines)
      raise SystemExit(f"error: {reason or lines[-1]} (--help lists the flags)") from error

  def guarded(argv):
    _set_up_log()  # again: reading its flags, absl sets its own logger's level
    try:
      return main(argv)
    except KeyboardInterrupt:
      print("Interrupted; the same command starts again from what is finished.", file=sys.stderr)
      return 128 + signal.SIGINT
    except Exception as error:
      if not is_users(error):
        raise
      print(f"error: {error}", file=sys.stderr)
      return 1

  try:
    app.run(guarded, flags_parser=parse)
  except SystemExit as leaving:
    if isinstance(leaving.code, str):
      print(leaving.code, file=sys.stderr)
      return 1
    return leaving.code or 0
  return 0


def _example(main: Callable) -> str:
  """The command that begins the documentation of the module which a program's `main` is in."""
  lines = (sys.modules[main.__module__].__doc__ or "").splitlines()
  return next((line.strip() for line in lines if line.startswith("  python -m ")), sys.argv[0])


class _BesideBars(logging.Handler):
  """Writes lines to standard error without tearing a progress bar."""

  def emit(self, record):
    tqdm.tqdm.write(self.format(record), file=sys.stderr)


def _set_up_log():
  handler = _BesideBars()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
  # Libraries speak of their own workings at the level at which this program speaks to its user.
  for name in ("jax", "orbax", "absl", "tensorboardX", "grain", "matplotlib"):
    logging.getLogger(name).setLevel(logging.ERROR)
