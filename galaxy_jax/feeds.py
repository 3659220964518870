"""Batches into the compiled step: from the accelerators' own memory, or streamed to them, the same either way; or of
galaxies that are simulated there."""
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec

from galaxy_jax import datasets, experiment, simulate
from galaxy_jax.data import class_labels, order, resident, sources, stream
from galaxy_jax.parallel import Parallel
from galaxy_jax.simulate.instrument import CUTOUT_PIXELS
from galaxy_jax.tasks import Task
from galaxy_jax.train_step import computed_once, row_keys

logger = logging.getLogger(__name__)

# What a row's key is folded with to draw its galaxy: augmentation and dropout fold it with other numbers.
_GALAXY = 0x67616C61
#: What config.simulator.votes has networks learn, as outputs of `simulate.galaxy`.
VOTES = {"drawn": "vote_fractions", "expected": "expected_fractions"}
#: The smallest images that the simulator makes, pixels.
_SMALLEST = 8


class ResidentFeed:
  """Draws, augments and trains in one compiled call, without the host."""

  def __init__(self, data, *, task: Task, parallel: Parallel, seed: int, batch_size: int, steps_per_call: int,
               sharded: bool, rows: np.ndarray | None = None):
    """Places the decoded split `data` on the devices.

    Args:
      data: the split.
      task, parallel, seed, batch_size: of the run.
      steps_per_call: how many steps one call may take.
      sharded: see `resident.place`.
      rows: (M,) the rows of the split that an epoch has, some perhaps more than once; None: each once.
    """
    self._rows = rows
    self.examples = len(data.images) if rows is None else len(rows)
    self.steps_per_call = steps_per_call
    self._labels, self._parallel, self._seed, self._batch_size = data.labels, parallel, seed, batch_size
    self._sharded = sharded
    self._data = resident.place(data, parallel.mesh, labels=task.labels, sharded=sharded,
                                pmap=parallel.kind == "pmap")

  def compile(self, train_step: Callable) -> None:
    """Takes the step to run."""
    def one(state, data, start, axis_name):
      indices = self._in_split(order.batch_indices(self._seed, *start, self._batch_size, self.examples, jnp), jnp)
      batch = resident.draw(data, indices, mesh=self._parallel.mesh, sharded=self._sharded, axis_name=axis_name)
      return train_step(state, batch | {"place": self._parallel.rows(self._batch_size)}, axis_name=axis_name)

    def many(state, data, starts, *, axis_name=None):
      return _in_turn(lambda state, start: one(state, data, start, axis_name), state, starts)

    self._call = self._parallel.compile(many, donate=(0,))

  def advance(self, state: Any, step: int, count: int) -> tuple[Any, dict]:
    """Trains steps `step` … `step + count - 1`; returns the state and the sums, with a leading axis where count > 1."""
    starts = [order.batch_start(t, self._batch_size, self.examples) for t in range(step, step + count)]
    return self._call(state, self._data, self._parallel.replicate(tuple(map(np.array, zip(*starts, strict=True)))))

  def batch_ids(self, step: int) -> np.ndarray:
    """The ids of the galaxies in a step's batch."""
    rows = self._in_split(order.step_rows(self._seed, step, self._batch_size, self.examples))
    return self._labels["galaxy_id"][rows]

  def _in_split(self, rows, xp=np):
    """The rows of the split that these rows of an epoch are."""
    return rows if self._rows is None else xp.asarray(self._rows)[rows]


class SimulatedFeed:
  """Draws new galaxies, augments and trains in one compiled call: neither disk nor host, and none comes twice."""

  def __init__(self, *, task: Task, parallel: Parallel, seed: int, batch_size: int, steps_per_call: int, size: int,
               crop: int, mix: str, quality: int, votes: str, epoch: int):
    """Takes what decides the galaxies, see `simulate.galaxy`.

    `votes`: a key of VOTES; `epoch`: how many galaxies are said to be an epoch.
    """
    self.examples = epoch
    self.steps_per_call = steps_per_call
    self._parallel, self._seed, self._batch_size = parallel, seed, batch_size
    self._galaxy = partial(simulate.galaxy, size=size, crop=crop, mix=mix, quality=quality)
    self._outputs = {"image": "image"} | {name: name for name in task.labels}
    if "vote_fractions" in self._outputs:
      self._outputs["vote_fractions"] = VOTES[votes]

  def compile(self, train_step: Callable) -> None:
    """Takes the step to run."""
    def one(state, step, axis_name):
      rows, own = self._parallel.rows(self._batch_size), self.draw
      if axis_name is None:
        axis, = self._parallel.mesh.axis_names
        # The partitioner would be free to have every device draw every row.
        own = jax.shard_map(self.draw, mesh=self._parallel.mesh, in_specs=(PartitionSpec(), PartitionSpec(axis)),
                            out_specs=PartitionSpec(axis), check_vma=False)
      batch = computed_once(own(step, rows), step)
      return train_step(state, batch | {"place": rows}, axis_name=axis_name)

    def many(state, steps, *, axis_name=None):
      return _in_turn(lambda state, step: one(state, *step, axis_name), state, (steps,))

    self._call = self._parallel.compile(many, donate=(0,))

  def draw(self, step: jax.Array, rows: jax.Array) -> dict[str, jax.Array]:
    """Inside a compiled function: rows (b,) of batch `step`."""
    keys = jax.vmap(lambda key: jax.random.fold_in(key, _GALAXY))(row_keys(self._seed, step, rows))
    galaxies = jax.vmap(self._galaxy)(keys)
    # The simulator's `mask` is the galaxy's outline; a batch's says which rows count.
    batch = {name: galaxies[output] for name, output in self._outputs.items()}
    return batch | {"mask": jnp.ones(rows.shape, jnp.float32)}

  def advance(self, state: Any, step: int, count: int) -> tuple[Any, dict]:
    """As ResidentFeed's."""
    return self._call(state, self._parallel.replicate(np.arange(step, step + count, dtype=np.int32)))

  def batch_ids(self, step: int) -> np.ndarray:
    """The galaxies of a step's batch, counted from the run's first."""
    return step * self._batch_size + np.arange(self._batch_size)


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


Feed = ResidentFeed | SimulatedFeed | StreamFeed


def _in_turn(one: Callable, state: Any, steps: tuple) -> tuple[Any, dict]:
  """Runs `one(state, step)` for every step of `steps`, a tuple of arrays with a leading axis."""
  if len(steps[0]) == 1:  # no scan around convolutions on CPU: XLA runs them on a slow path there
    return one(state, tuple(array[0] for array in steps))
  return jax.lax.scan(one, state, steps)


def check(config: ml_collections.ConfigDict) -> None:
  """Refuses settings that no feed takes.

  Raises:
    ValueError: an unknown loader, several steps a call on CPU, what the simulator does not make, or classes to be
      repeated where there are none or that weigh more already.
  """
  if config.data.repeat_rare and (config.task != "classes" or config.data.source == "simulated"):
    raise ValueError(f"config.data.repeat_rare is {config.data.repeat_rare}, which repeats galaxies of rare classes of "
                     "a data set; it is for config.task 'classes' and not for config.data.source 'simulated'.")
  if config.data.repeat_rare and config.loss.class_weights == "balanced":
    raise ValueError("config.data.repeat_rare and config.loss.class_weights 'balanced' both make up for rare classes; "
                     "leave one of them out.")
  if config.data.source == "simulated":
    if experiment.finds_instances(config):
      raise ValueError("config.data.source is 'simulated', which draws single galaxies; instances are learnt from "
                       "stored fields: config.data.builder='galaxy_sim/scenes' and config.data.source='auto'.")
    if config.task == "votes" and config.data.target != "vote_fractions":
      raise ValueError(f"config.data.target is {config.data.target!r}; of simulated galaxies (config.data.source) the "
                       "vote_fractions can be learnt.")
    if config.task == "classes" and config.data.label not in simulate.CLASSES:
      raise ValueError(f"config.data.label is {config.data.label!r}; of simulated galaxies (config.data.source) "
                       f"{', '.join(simulate.CLASSES)} can be learnt.")
    if config.simulator.mix not in simulate.MIXES:
      raise ValueError(f"config.simulator.mix is {config.simulator.mix!r}; expected one of "
                       f"{', '.join(simulate.MIXES)}.")
    if config.simulator.votes not in VOTES:
      raise ValueError(f"config.simulator.votes is {config.simulator.votes!r}; expected {' or '.join(VOTES)}.")
    if config.data.crop > CUTOUT_PIXELS:
      raise ValueError(f"config.data.crop is {config.data.crop}; a simulated galaxy has {CUTOUT_PIXELS} pixels to keep "
                       "some of, or 0 for all.")
    if config.data.size < _SMALLEST:
      raise ValueError(f"config.data.size is {config.data.size}; a simulated image has at least {_SMALLEST} pixels a "
                       "side.")
  if config.data.loader not in ("auto", "resident", "stream"):
    raise ValueError(f"config.data.loader is {config.data.loader!r}; expected 'auto', 'resident' or 'stream'.")
  if config.train.steps_per_call > 1 and jax.default_backend() == "cpu":
    raise ValueError(f"config.train.steps_per_call is {config.train.steps_per_call}; on CPU it must be 1 (or 0, for "
                     "the default): XLA runs convolutions inside a loop 20 to 90 times slower there.")


def check_classes(config: ml_collections.ConfigDict, classes: Sequence[str] | None) -> None:
  """Refuses to train on simulated galaxies of other classes than those that are evaluated.

  Args:
    config: checked by `check`.
    classes: the names of the data set's classes; None where the task has none.

  Raises:
    ValueError: the simulator's names, or their order, are others.
  """
  if config.data.source == "simulated" and classes is not None:
    drawn = simulate.CLASSES[config.data.label]
    if tuple(classes) != drawn:
      raise ValueError(f"config.data.source is 'simulated', but what the simulator calls {config.data.label!r} are "
                       f"{', '.join(drawn)}, and in the data set {config.data.builder} they are {', '.join(classes)}. "
                       "Choose another config.data.label, or evaluate on galaxy_sim/demo.")


def fingerprint(config: ml_collections.ConfigDict, builder) -> dict[str, Any]:
  """What the run trains on, as plain JSON values, see `sources.fingerprint`: a split, or the simulator's galaxies."""
  if config.data.source != "simulated":
    found = sources.fingerprint(builder, config.data.train)
    if not config.data.repeat_rare:
      return found
    return found | {"records": len(_repeated_rows(config, builder)), "different": found["records"]}
  return {"simulator": simulate.VERSION, "records": config.simulator.epoch, "mix": config.simulator.mix,
          "quality": config.simulator.quality, "votes": config.simulator.votes}


@contextlib.contextmanager
def open_feed(config: ml_collections.ConfigDict, builder, parallel: Parallel, task: Task) -> Iterator[Feed]:
  """What the config trains on as a feed; of a split, `auto` keeps it on the devices where it fits.

  Raises:
    ValueError: see `check` and `delivery`.
  """
  check(config)
  d, way = config.data, delivery(config, builder, parallel)
  common = {"task": task, "parallel": parallel, "seed": config.seed, "batch_size": config.train.batch_size}
  steps_per_call = config.train.steps_per_call or (1 if jax.default_backend() == "cpu" else 16)
  if way == "simulated":
    logger.info("Training images are simulated on the devices.")
    yield SimulatedFeed(size=d.size, crop=d.crop, steps_per_call=steps_per_call, **config.simulator, **common)
    return
  if way == "stream":
    logger.info("Training images are streamed.")
    source = datasets.open_source(config, builder, d.train)
    if d.repeat_rare:
      source = sources.Rows(source, _repeated_rows(config, builder))
    with contextlib.closing(StreamFeed(source, crop=d.crop or None, size=d.size, workers=d.workers, **common)) as feed:
      yield feed
    return
  logger.info("Training images stay on the devices, %s.", "a share on each" if way == "sharded" else "all on each")
  data = datasets.open_split(config, builder, d.train)
  rows = _repeated_rows(config, builder) if d.repeat_rare else None
  yield ResidentFeed(data, rows=rows, steps_per_call=steps_per_call, sharded=way == "sharded", **common)


def _repeated_rows(config, builder):
  """The rows of the training split that an epoch has, with those of rare classes repeated."""
  labels = datasets.labels_of(config, builder, config.data.train)
  return class_labels.repeated_rows(labels, config.data.repeat_rare)


def delivery(config: ml_collections.ConfigDict, builder, parallel: Parallel) -> str:
  """How what the config trains on comes to the devices: 'simulated', 'stream', 'replicated' or 'sharded'.

  Raises:
    ValueError: a resident split that does not fit.
  """
  d = config.data
  if d.source == "simulated":
    return "simulated"
  if d.loader == "stream":
    return "stream"
  size = len(sources.split_source(builder, d.train)) * datasets.bytes_of_a_row(config)
  room = _room(size, parallel)
  if d.loader == "resident" and room == "stream":
    raise ValueError(f"config.data.loader is 'resident', but the split's {size / 2**30:.1f} GiB do not fit the "
                     "devices; choose 'stream' or 'auto', or a smaller config.data.size.")
  return room


def _room(size: int, parallel: Parallel) -> str:
  """Where `size` bytes fit; the tightest of the hosts decides, or they would not meet in the same call."""
  kinds = ("replicated", "sharded", "stream")
  mine = kinds.index(resident.fits(size, list(parallel.mesh.devices.flat)))
  if jax.process_count() > 1:
    mine = int(np.max(multihost_utils.process_allgather(np.array(mine))))
  return kinds[mine]
