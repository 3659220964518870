"""Exact metrics and predictions over a split, with test-time averaging.

Every galaxy counts once and padding never, so no figure depends on the batch size or on the number of devices.
"""
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from flax import traverse_util

from galaxy_jax import datasets, experiment, metrics, workdirs
from galaxy_jax.checkpoint import Checkpoints, check_shapes
from galaxy_jax.data import order
from galaxy_jax.data.decode import Decoded, device_labels
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import Task
from galaxy_jax.train_step import evaluated_variables, init_state

logger = logging.getLogger(__name__)

#: The file that holds the parameters of a run that was packed, in the place of its checkpoints.
PACKED = "parameters.npz"


class Evaluator:
  """A task's predictions and metrics, compiled once for all splits."""

  def __init__(self, task: Task, parallel: Parallel, *, batch_size: int):
    """`batch_size`: rows over all devices, rounded up to what they can share."""
    self._task, self._parallel = task, parallel
    self._batch_size = -(-max(1, batch_size) // parallel.device_count) * parallel.device_count

    def step(variables, batch, *, axis_name=None):
      predicted = task.predict(variables, batch)
      sums = task.metrics(predicted, batch)
      if axis_name:
        sums = jax.lax.psum(sums, axis_name)
        predicted = jax.lax.all_gather(predicted, axis_name, tiled=True)
      return predicted, sums

    self._step = parallel.compile(step)

  def run(self, variables: Any, data: Decoded) -> tuple[Any, dict[str, float]]:
    """Predicts a whole split.

    Args:
      variables: placed by `parallel.replicate`.
      data: the decoded split, N galaxies.

    Returns:
      The task's outputs, (N, ...) each, and the finished metrics.
    """
    share = self._batch_size // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    labels = device_labels(data.labels, self._task.labels)
    predicted, sums = [], []
    scores = self._task.accumulator() if self._task.accumulator else None
    for number in range(-(-len(data.images) // self._batch_size)):
      rows, mask = order.evaluation_batch(number, batch_size=self._batch_size, n=len(data.images))
      batch = {"image": data.images[rows[mine]], "mask": mask[mine]}
      batch |= {name: values[rows[mine]] for name, values in labels.items()}
      result = self._step(variables, self._parallel.split_rows(batch))
      outputs_of_batch, totals = self._parallel.fetch(result)
      predicted.append(outputs_of_batch)
      sums.append(totals)
      if scores:  # every host has all rows: they agree on what is best
        scores.update(outputs_of_batch, {"mask": mask, **{name: values[rows] for name, values in labels.items()}})
    together = jax.tree.map(lambda *parts: np.concatenate(parts)[:len(data.images)], *predicted)
    return together, self._task.finish(metrics.merge(*sums)) | (scores.result() if scores else {})

  def metrics(self, variables: Any, data: Decoded) -> dict[str, float]:
    """The finished metrics of a whole split."""
    return self.run(variables, data)[1]


class Trained(NamedTuple):
  """A run's model: variables (replicated), their step, how many parameters, seconds of training."""
  variables: Any
  step: int
  parameters: int
  seconds: float


class Result(NamedTuple):
  """A split's evaluation: (N, ...) outputs, the decoded split, and metrics, without those that no label allows."""
  predicted: Any
  data: Decoded
  metrics: dict[str, float]


def restore(config: ml_collections.ConfigDict, workdir: Path, parallel: Parallel, checkpoint: str | int) -> Trained:
  """What a run predicts with.

  Args:
    config: the run's, as evaluated.
    workdir: the run's folder.
    parallel: where to place the variables.
    checkpoint: 'latest', 'best' or a step; of a run that was packed there is but the one.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    ValueError: `checkpoint` is none of these.
  """
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=workdirs.read_classes(workdir))
  optimizer, _ = experiment.make_optimizer(config, steps=1)
  like = jax.eval_shape(lambda: init_state(task, optimizer, seed=0, ema=config.train.ema))
  folder = workdir / "checkpoints"
  if (workdir / PACKED).exists():
    return _packed(workdir, like, parallel)
  if not folder.exists():
    raise FileNotFoundError(f"{workdir} has no checkpoint yet: train it first.")
  with Checkpoints(folder, best=task.score, read_only=True) as checkpoints:
    if checkpoint in ("latest", "best"):
      step = getattr(checkpoints, checkpoint)
    elif str(checkpoint).isdigit():
      step = int(checkpoint)
    else:
      raise ValueError(f"The checkpoint is {checkpoint!r}; expected 'latest', 'best' or a step.")
    if step is None:
      raise FileNotFoundError(f"{workdir} has no checkpoint yet: train it first.")
    state, meta = checkpoints.restore(parallel.abstract(like), step)
  return Trained(parallel.replicate(evaluated_variables(state)), step, experiment.count_parameters(state.params),
                 meta["seconds"])


def _packed(workdir, like, parallel):
  """The model of a run that was packed; there is but the one."""
  variables = read_packed(workdir / PACKED)
  check_shapes(variables, {"params": like.params, **like.collections}, f"The model in {workdir}")
  meta = json.loads((workdir / "packed.json").read_text())
  return Trained(parallel.replicate(variables), meta["step"], experiment.count_parameters(variables["params"]),
                 meta["seconds"])


def read_packed(path: Path) -> dict:
  """The variables of a packed run, float32 on the host."""
  with np.load(path, allow_pickle=False) as arrays:
    return traverse_util.unflatten_dict({name: arrays[name].astype(np.float32) for name in arrays.files}, sep="/")


def evaluate_splits(config: ml_collections.ConfigDict, workdir: Path, builder, splits: list[str],
                    checkpoint: str | int) -> tuple[Trained, dict[str, Result]]:
  """Evaluates splits of a prepared data set with all test-time views; the results by split.

  Raises:
    ValueError: a split that the data set does not have, or a wrong setting.
  """
  parallel = Parallel(config.parallel)
  for split in splits:
    if not datasets.has_split(builder, split):
      raise ValueError(f"The data set {builder.info.full_name} has no split {split!r}; it has "
                       f"{', '.join(builder.info.splits)}.")
  trained = restore(config, workdir, parallel, checkpoint)
  classes = workdirs.read_classes(workdir)
  datasets.check_same_classes(config, builder, classes)
  task = experiment.make_task(config, axis_name=parallel.axis_name, all_views=True, classes=classes)
  evaluator = Evaluator(task, parallel, batch_size=config.eval.batch_size)
  results = {}
  for split in splits:
    data = _with_labels(datasets.open_split(config, builder, split), task.absent)
    predicted, finished = evaluator.run(trained.variables, data)
    finished = {name: value for name, value in finished.items() if not np.isnan(value)}
    if task.score in finished:
      logger.info("%s, step %d: %s %.5f over %d galaxies.", split, trained.step, task.score, finished[task.score],
                  len(data.images))
    else:
      logger.info("%s, step %d: %d galaxies predicted; they have no labels.", split, trained.step,
                  len(data.images))
    results[split] = Result(predicted, data, finished)
  return trained, results


def scorer(config: ml_collections.ConfigDict, workdir: Path) -> tuple[str, Callable]:
  """What measures predictions, wherever they come from, as a run's own are measured.

  Args:
    config: that of a run whose task it is.
    workdir: the run's.

  Returns:
    The name of the metric that decides, and a function from predictions (N, ...) and the decoded split to its metrics;
    those that no label allows are left out.
  """
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=workdirs.read_classes(workdir))

  def measure(predicted: np.ndarray, data: Decoded) -> dict[str, float]:
    batch = device_labels(data.labels, task.labels) | {"mask": np.ones(len(predicted), np.float32)}
    finished = task.finish(metrics.merge(task.metrics(predicted, batch)))
    return {name: value for name, value in finished.items() if not np.isnan(value)}
  return task.score, measure


def _with_labels(data: Decoded, absent: dict[str, np.ndarray]) -> Decoded:
  """The split, with missing labels for galaxies of a data set that has none: they can be predicted."""
  absent = {name: np.broadcast_to(value, (len(data.images), *np.shape(value))) for name, value in absent.items()
            if name not in data.labels}
  return data._replace(labels=data.labels | absent) if absent else data
