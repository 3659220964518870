"""Images of concurrent requests in common device calls.

A GPU takes a batch of images in hardly more time than one; a CPU does not, but gains nothing either by calls that take
its cores from one another. So requests leave their images in a queue, and the queue's one worker thread takes as many
rows at a time as a device call holds, from one request or from several; it waits for more for a few milliseconds at
most. A request that is larger than a call is answered in parts, and what nobody waits for any more is dropped.
"""
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import jax
import numpy as np

logger = logging.getLogger(__name__)

#: Seconds that the worker waits for more images before it runs what there is.
PATIENCE = 0.005


class Full(Exception):
  """So many images wait already that no more are taken."""


class _Job:
  """The images of a request, how many of them were taken, and the parts of their answer."""

  def __init__(self, images):
    self.images, self.taken, self.parts, self.future = images, 0, [], Future()


class Batcher:
  """A queue of images and the thread that answers them."""

  def __init__(self, run: Callable[[np.ndarray], Any], *, rows: int, waiting: int, patience: float = PATIENCE):
    """Starts the thread.

    Args:
      run: from images (N, …), N ≤ rows, to a pytree of arrays with N rows each; called from one thread alone.
      rows: images a call takes.
      waiting: images that may wait.
      patience: seconds to wait for more images than there are.
    """
    self._run, self._most, self._limit, self._patience = run, rows, waiting, patience
    self._jobs, self._waiting, self._closed = deque(), 0, False
    self._changed = threading.Condition()
    self._thread = threading.Thread(target=self._work, name="batching", daemon=True)
    self._thread.start()

  @property
  def waiting(self) -> int:
    """Images in the queue."""
    with self._changed:
      self._drop()
      return self._waiting

  @property
  def alive(self) -> bool:
    """Whether images are answered."""
    return self._thread.is_alive() and not self._closed

  def submit(self, images: np.ndarray) -> Future:
    """Puts a request's images (N ≥ 1, …) into the queue.

    Returns:
      What comes to hold their rows of `run`'s result, or its exception; cancelled, none that still waits is run.

    Raises:
      Full: there is no room for them; an empty queue takes any number. Or nothing is taken any more.
    """
    job = _Job(images)
    with self._changed:
      self._drop()
      if self._closed or (self._waiting and self._waiting + len(images) > self._limit):
        raise Full(f"{self._waiting} images wait already")
      self._jobs.append(job)
      self._waiting += len(images)
      self._changed.notify()
    return job.future

  def close(self) -> None:
    """Takes no more, and returns once what waits is answered."""
    with self._changed:
      self._closed = True
      self._changed.notify()
    self._thread.join()

  def _work(self):
    while parts := self._gather():
      try:
        result = self._run(np.concatenate([job.images[start:stop] for job, start, stop in parts]))
        self._hand_out(parts, jax.tree.map(np.asarray, result))
      except Exception as error:  # whatever it is, the thread serves the requests that come after
        logger.exception("A batch of %d requests failed.", len(parts))
        for job, _, _ in parts:
          if not job.future.done() and job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)

  def _gather(self):
    """The next rows to run, as (job, first row, row after the last); empty once closed."""
    with self._changed:
      while True:
        self._changed.wait_for(lambda: self._waiting or self._closed)
        end = time.monotonic() + self._patience
        self._changed.wait_for(lambda: self._waiting >= self._most or self._closed, max(0, end - time.monotonic()))
        parts = self._taken()
        if parts or self._closed:
          return parts

  def _taken(self):
    self._drop()
    parts, free = [], self._most
    while self._jobs and free:
      job = self._jobs[0]
      left = len(job.images) - job.taken
      count = min(free, left)
      parts.append((job, job.taken, job.taken + count))
      free -= count
      job.taken += count
      self._waiting -= count
      if count == left:
        self._jobs.popleft()
    return parts

  def _drop(self):
    """Leaves out what was cancelled, or failed with an earlier part."""
    wanted = [job for job in self._jobs if not job.future.done()]
    if len(wanted) < len(self._jobs):
      self._jobs = deque(wanted)
      self._waiting = sum(len(job.images) - job.taken for job in wanted)

  def _hand_out(self, parts, result):
    first = 0
    for job, start, stop in parts:
      job.parts.append(jax.tree.map(lambda values: values[first:first + stop - start], result))
      first += stop - start
      # A future is marked as running no earlier, so that it can be cancelled until then.
      if stop == len(job.images) and job.future.set_running_or_notify_cancel():
        job.future.set_result(jax.tree.map(lambda *values: np.concatenate(values), *job.parts))
