"""Apache Beam, which writes the shards of data sets of millions: its options checked, its workers' errors one line."""
import contextlib
import importlib.util
import io
import logging
import re
from collections.abc import Iterator
from typing import Any

from tfds_builders.errors import DataError

_OPTION = re.compile(r"[A-Za-z][\w-]*(=.*)?", re.DOTALL)
#: How a traceback ends that a runner has as text, and what Beam adds to a worker's error.
_DATA_ERROR, _STEP = re.compile(r"\btfds_builders\.errors\.\w+: ([^\n]+)"), re.compile(r" \[while running '[^']*'\]")
_EXPECTED = "Expected are Apache Beam's pipeline options as NAME=VALUE,…, such as runner=DirectRunner."


def options(text: str) -> dict[str, Any]:
  """Reads Apache Beam's options, as TFDS's download_config takes them.

  A runner elsewhere may have options of its own, which Beam passes on to it; those with a value are taken for such.

  Args:
    text: "NAME=VALUE,…", or NAME alone of what is only turned on. Without a runner, it is DirectRunner.

  Raises:
    DataError: Beam is not installed, or there is no such option, value or runner.
  """
  if importlib.util.find_spec("apache_beam") is None:
    raise DataError("beam_options need Apache Beam: pip install 'galaxy_jax[scale]'.")
  from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
  from apache_beam.runners.runner import create_runner
  given = [option.strip() for option in text.split(",") if option.strip()]
  if wrong := [option for option in given if not _OPTION.fullmatch(option)]:
    raise DataError(f"beam_options has {wrong[0]!r}, which is no option. {_EXPECTED}")
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      parsed = PipelineOptions([f"--{option}" for option in given])
      unknown = parsed.get_all_options(retain_unknown_options=True)
      for name in PipelineOptions([]).get_all_options():
        unknown.pop(name, None)
      # Without a runner TFDS would not use Beam at all.
      runner = parsed.view_as(StandardOptions).runner or "DirectRunner"
  except SystemExit:  # as argparse ends a program
    reason = said.getvalue().strip().rpartition("error: ")[2]
    raise DataError(f"Apache Beam does not take the beam_options {text!r} ({reason}). {_EXPECTED}") from None
  try:
    create_runner(runner)
  except Exception as error:  # ValueError, or what importing the runner's own libraries raises.
    raise DataError(f"Apache Beam cannot have the runner {runner!r} ({error}).") from None
  is_local = runner.lower().endswith("directrunner")
  if refused := [name for name, value in unknown.items() if is_local or value is True]:
    raise DataError(f"beam_options has {refused[0]!r}, which is no option of Apache Beam's {runner}. {_EXPECTED} A "
                    "list is given piece by piece: experiments=A,experiments=B.")
  return {"beam_options": parsed, "beam_runner": runner}


@contextlib.contextmanager
def one_error() -> Iterator[None]:
  """Makes one DataError of what Beam makes of a worker's exception: that one wrapped, or the text of a traceback."""
  beam_log = logging.getLogger("apache_beam.runners.common")
  beam_log.addFilter(_is_not_ours)
  try:
    yield
  except Exception as error:
    found = _DATA_ERROR.findall(str(error))
    if isinstance(error, DataError):
      reason = str(error)
    elif found:
      reason = found[-1]
    else:
      lines = [line.strip() for line in str(error).splitlines() if line.strip()]
      reason = f"Apache Beam could not write the shards: {lines[-1] if lines else type(error).__name__}"
    raise DataError(f"{_STEP.sub('', reason)} Every worker of Apache Beam must find the source files and data_dir "
                    "under the same path.") from error
  finally:
    beam_log.removeFilter(_is_not_ours)


def _is_not_ours(record: logging.LogRecord) -> bool:
  """Whether Beam is to log an error of a worker's: the traceback of a DataError says nothing to a user."""
  return not (record.exc_info and isinstance(record.exc_info[1], DataError))
