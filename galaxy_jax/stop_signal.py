"""The signals that ask a run to leave."""
import contextlib
import logging
import signal

logger = logging.getLogger(__name__)


class StopSignal:
  """Notes the first SIGINT or SIGTERM, so that the loop can checkpoint and leave; a second one ends at once."""

  def __init__(self):
    self.received = None

  def __enter__(self):
    self._before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
      with contextlib.suppress(ValueError):  # not in the main thread: signals are somebody else's business
        self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number, _):
    self.received = number
    logger.warning("%s: leaving after a checkpoint; the same command goes on from there. Again to leave at once.",
                   signal.Signals(number).name)
    signal.signal(number, self._before[number])
