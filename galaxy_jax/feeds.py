"""Batches into the compiled step: from the accelerators' own memory, or streamed to them, the same either way."""
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from galaxy_jax import experiment
from galaxy_jax.data import order, resident, sources, stream
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import Task

logger = logging.getLogger(__name__)


class ResidentFeed:
  """Draws, augments and trains in one compiled call, without the host."""

  def __init__(self, data, *, task: Task, parallel: Parallel, seed: int, batch_size: int, steps_per_call: int,
               sharded: bool):
    """Places the decoded split `data` on the devices. `steps_per_call`: how many steps one call may take."""
    self.examples = len(data.images)
    self.steps_per_call = steps_per_call
    self._labels, self._parallel, self._seed, self._batch_size = data.labels, parallel, seed, batch_size
    self._sharded = sharded
    self._data = resident.place(data, parallel.mesh, labels=task.labels, sharded=sharded,
                                pmap=parallel.kind == "pmap")

  def compile(self, train_step: Callable) -> None:
    """Takes the step to run."""
    def one(state, data, start, axis_name):
      indices = order.batch_indices(self._seed, *start, self._batch_size, self.examples, jnp)
      batch = resident.draw(data, indices, mesh=self._parallel.mesh, sharded=self._sharded, axis_name=axis_name)
      return train_step(state, batch | {"place": self._parallel.rows(self._batch_size)}, axis_name=axis_name)

    def many(state, data, starts, *, axis_name=None):
      if len(starts[0]) == 1:  # no scan around convolutions on CPU: XLA runs them on a slow path there
        return one(state, data, (starts[0][0], starts[1][0]), axis_name)
      return jax.lax.scan(lambda state, start: one(state, data, start, axis_name), state, starts)

    self._call = self._parallel.compile(many, donate=(0,))

  def advance(self, state: Any, step: int, count: int) -> tuple[Any, dict]:
    """Trains steps `step` … `step + count - 1`; returns the state and the sums, with a leading axis where count > 1."""
    starts = [order.batch_start(t, self._batch_size, self.examples) for t in range(step, step + count)]
    return self._call(state, self._data, self._parallel.replicate(tuple(map(np.array, zip(*starts, strict=True)))))

  def batch_ids(self, step: int) -> np.ndarray:
    """The ids of the galaxies in a step's batch."""
    rows = order.step_rows(self._seed, step, self._batch_size, self.examples)
    return self._labels["galaxy_id"][rows]


class StreamFeed:
  """Trains on batches that workers decode on the way, for a split that fits no device."""
  steps_per_call = 1

  def __init__(self, source: sources.Source, *, task: Task, parallel: Parallel, seed: int, batch_size: int,
               crop: int | None, size: int, workers: int):
    """Arguments as `stream.training_batches`."""
    self.examples = len(source)
    self._source, self._parallel, self._seed, self._batch_size = source, parallel, seed, batch_size
    self._labels, self._decoding = task.labels, {"crop": crop, "size": size, "workers": workers}
    self._batches, self._next = None, None

  def compile(self, train_step: Callable) -> None:
    """Takes the step to run."""
    def step(state, batch, *, axis_name=None):
      return train_step(state, batch | {"place": self._parallel.rows(self._batch_size)}, axis_name=axis_name)
    self._call = self._parallel.compile(step, donate=(0,))

  def advance(self, state: Any, step: int, count: int) -> tuple[Any, dict]:
    """As ResidentFeed's, one step a call."""
    if step != self._next:
      self.close()
      self._batches = stream.training_batches(
          self._source, labels=self._labels, seed=self._seed, batch_size=self._batch_size, start=step,
          process_index=jax.process_index(), process_count=jax.process_count(), **self._decoding)
    self._next = step + 1
    batch = next(self._batches)
    return self._call(state, self._parallel.split_rows(batch))

  def batch_ids(self, step: int) -> np.ndarray:
    """As ResidentFeed's."""
    rows = order.step_rows(self._seed, step, self._batch_size, self.examples)
    return np.array([self._source[int(row)]["galaxy_id"] for row in rows])

  def close(self) -> None:
    """Ends the workers."""
    if self._batches is not None:
      self._batches.close()


def check(config: ml_collections.ConfigDict) -> None:
  """Refuses settings that no feed takes.

  Raises:
    ValueError: an unknown loader, or several steps a call on CPU.
  """
  if config.data.loader not in ("auto", "resident", "stream"):
    raise ValueError(f"config.data.loader is {config.data.loader!r}; expected 'auto', 'resident' or 'stream'.")
  if config.train.steps_per_call > 1 and jax.default_backend() == "cpu":
    raise ValueError(f"config.train.steps_per_call is {config.train.steps_per_call}; on CPU it must be 1 (or 0, for "
                     "the default): XLA runs convolutions inside a loop 20 to 90 times slower there.")


@contextlib.contextmanager
def open_feed(config: ml_collections.ConfigDict, builder, parallel: Parallel,
              task: Task) -> Iterator[ResidentFeed | StreamFeed]:
  """The config's training split as a feed; `auto` keeps it on the devices where it fits.

  Raises:
    ValueError: see `check`; or a resident split that does not fit.
  """
  check(config)
  d = config.data
  source = sources.split_source(builder, d.train)
  size = len(source) * d.size**2 * 3
  room = _room(size, parallel)
  if d.loader == "resident" and room == "stream":
    raise ValueError(f"config.data.loader is 'resident', but the split's {size / 2**30:.1f} GiB do not fit the "
                     "devices; choose 'stream' or 'auto', or a smaller config.data.size.")
  common = {"task": task, "parallel": parallel, "seed": config.seed, "batch_size": config.train.batch_size}
  if d.loader == "stream" or (d.loader == "auto" and room == "stream"):
    logger.info("Training images are streamed.")
    with contextlib.closing(StreamFeed(source, crop=d.crop or None, size=d.size, workers=d.workers, **common)) as feed:
      yield feed
    return
  logger.info("Training images stay on the devices, %s.", "a share on each" if room == "sharded" else "all on each")
  steps_per_call = config.train.steps_per_call or (1 if jax.default_backend() == "cpu" else 16)
  yield ResidentFeed(experiment.open_split(config, builder, d.train), steps_per_call=steps_per_call,
                     sharded=room == "sharded", **common)


def _room(size: int, parallel: Parallel) -> str:
  """Where `size` bytes fit; the tightest of the hosts decides, or they would not meet in the same call."""
  kinds = ("replicated", "sharded", "stream")
  mine = kinds.index(resident.fits(size, list(parallel.mesh.devices.flat)))
  if jax.process_count() > 1:
    mine = int(np.max(multihost_utils.process_allgather(np.array(mine))))
  return kinds[mine]
