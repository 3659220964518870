"""The training loop: restore → step → log → evaluate → checkpoint, until the end or a signal.

A run begins from the first that there is of: its own latest checkpoint; the evaluated parameters of the run in
`config.init_from`; those of its pre-training in WORKDIR/pretraining, which is trained first; the published ones in
`config.model.pretrained`; random parameters. The head is a random one where the others predict something else.

Batch t and its augmentation depend on (seed, t) alone and the whole state is checkpointed, so a run that was
interrupted anywhere ends as if it had not been.
"""
import contextlib
import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import optax
import tqdm
from jax.experimental import multihost_utils

from galaxy_jax import beginnings, datasets, evaluation, experiment, feeds, growth, optim, workdirs
from galaxy_jax.checkpoint import Checkpoints
from galaxy_jax.command import is_users
from galaxy_jax.data import sources
from galaxy_jax.data.decode import Decoded
from galaxy_jax.logbook import Logbook
from galaxy_jax.parallel import Parallel
from galaxy_jax.stop_signal import StopSignal
from galaxy_jax.tasks import Task
from galaxy_jax.train_step import State, evaluated_variables, init_state, make_train_step, start_from

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
  """How a call of `train` ended: at which step of which workdir, whether that is the end, and what signal came."""
  step: int
  finished: bool
  signal: int | None
  workdir: Path


class NonFiniteLoss(FloatingPointError):
  """The loss, its gradient or the parameters became NaN or infinite."""


class _Plan(NamedTuple):
  """A run all of whose settings were looked at.

  `initial` has the shapes of its first variables; `growing` the task of each of its parts, the last of them `task`.
  """
  config: ml_collections.ConfigDict
  parallel: Parallel
  task: Task
  classes: tuple[str, ...] | None
  initial: dict
  builder: Any
  fingerprints: dict[str, dict]
  steps: int
  growing: list[Task]


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> Outcome:
  """Trains the config's run in `workdir`, from its latest checkpoint where there is one; else after its pre-training.

  Raises:
    ValueError: a setting is wrong, or the workdir belongs to another run.
    FileNotFoundError: `config.init_from` holds no run, or there is no `config.model.pretrained`.
    NonFiniteLoss: the loss became NaN or infinite.
  """
  return _train(_planned(config), Path(workdir))


def _planned(config: ml_collections.ConfigDict) -> _Plan:
  """Looks at all that can be wrong with a run, before hours of decoding and before any workdir is claimed."""
  parallel = Parallel(config.parallel)
  config = experiment.resolve(config)
  parallel.check_batch(config.train.batch_size, "config.train.batch_size", pairs=experiment.mixes(config))
  draft = experiment.make_task(config, axis_name=parallel.axis_name, all_views=True)
  experiment.make_optimizer(config, steps=1)
  feeds.check(config)
  jax.eval_shape(lambda: draft.init(jax.random.key(0)))
  if draft.accumulator:
    draft.accumulator()  # what it needs may not be installed
  builder = datasets.open_dataset(config)
  classes = datasets.class_names(config, builder)
  feeds.check_classes(config, classes)
  fingerprints = {"train": feeds.fingerprint(config, builder), "eval": sources.fingerprint(builder, config.data.eval)}
  for split in {entry["split"] for entry in fingerprints.values() if "split" in entry}:
    datasets.check_labelled(builder, split, datasets.needed(config, draft.labels))
  if classes is not None:
    fingerprints["train"]["classes"] = list(classes)
  feeds.delivery(config, builder, parallel)
  make_task = partial(experiment.make_task, axis_name=parallel.axis_name, all_views=False, classes=classes,
                      counts=datasets.class_counts(config, builder, classes))
  task = make_task(config)
  initial = jax.eval_shape(lambda: task.init(jax.random.key(0)))
  optim.check_stages(initial["params"], config.optimizer.frozen)
  return _Plan(config, parallel, task, classes, initial, builder, fingerprints,
               total_steps(config, fingerprints["train"]["records"]), growth.tasks(config, task, make_task))


def _planned_pretraining(plan: _Plan) -> _Plan:
  """The plan of the run's pre-training.

  Raises:
    ValueError: a setting of it is wrong, or its model is not the run's.
  """
  try:
    before = _planned(experiment.pretraining(plan.config))
  except ValueError as error:
    if not is_users(error):
      raise
    raise ValueError(f"In pre-training, with the changes in config.pretrain: {error}") from error
  beginnings.check_fit(before.initial, plan.initial, "The pre-training that config.pretrain describes", "there",
                       same_outputs=before.classes == plan.classes)
  return before


def _train(plan: _Plan, workdir: Path) -> Outcome:
  config, parallel, task, steps = plan.config, plan.parallel, plan.task, plan.steps
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(Checkpoints(workdir / "checkpoints", keep=config.train.keep, best=task.score))
    begun = checkpoints.latest is not None
    of_run = partial(beginnings.of_run, task=task, classes=plan.classes, wanted=plan.initial, parallel=parallel,
                     seed=config.seed)
    initial = of_run(config.init_from) if config.init_from and not begun else None
    if config.model.pretrained and not begun:
      initial = beginnings.published(config, task)
    before = _planned_pretraining(plan) if config.pretrain.train.steps and not begun else None
    workdirs.claim(workdir, config, plan.fingerprints, begun=begun)
    if before:
      logger.info("First %s, in %s.", before.config.name, workdir / "pretraining")
      outcome = _train(before, workdir / "pretraining")
      if outcome.signal or not outcome.finished:
        return outcome._replace(finished=False)
      initial = of_run(outcome.workdir)
    eval_data = datasets.open_split(config, plan.builder, config.data.eval)
    feed = stack.enter_context(feeds.open_feed(config, plan.builder, parallel, task))
    optimizer, schedule = experiment.make_optimizer(config, steps)
    compiled = [partial(feed.compile, make_train_step(part, optimizer, seed=config.seed, ema=config.train.ema,
                                                      frozen=tuple(config.optimizer.frozen))) for part in plan.growing]
    state = jax.jit(lambda: init_state(task, optimizer, seed=config.seed, ema=config.train.ema))()
    if initial is not None:
      state = start_from(initial, state)
    logger.info("%s, %s parameters, on %s under %s; %d galaxies, %d steps of %d.", config.model.name,
                f"{experiment.count_parameters(state.params):,}", experiment.hardware(), config.parallel,
                feed.examples, steps, config.train.batch_size)
    progress = Progress()
    if checkpoints.latest is not None:
      state, meta = checkpoints.restore(parallel.abstract(state))
      progress = Progress(**meta)
      logger.info("Going on from step %d.", checkpoints.latest)
    start = int(state.step)
    return _Loop(
        config, workdir, parallel, task, feed, schedule, steps,
        parts=deque(zip(growth.starts(len(compiled), steps, feed.steps_per_call), compiled, strict=True)),
        evaluator=evaluation.Evaluator(task, parallel, batch_size=config.eval.batch_size), eval_data=eval_data,
        checkpoints=checkpoints,
        logbook=stack.enter_context(Logbook(workdir, resume_step=start, active=jax.process_index() == 0)),
        stop=stack.enter_context(StopSignal()), state=parallel.replicate(state), step=start, progress=progress).run()


def total_steps(config: ml_collections.ConfigDict, examples: int) -> int:
  """The run's length in steps."""
  steps = config.train.steps or round(config.train.epochs * examples / config.train.batch_size)
  if steps < 1:
    raise ValueError(f"The run would have no step: config.train.epochs is {config.train.epochs}, "
                     f"config.train.steps {config.train.steps}; {examples} galaxies.")
  return steps


class Progress:
  """What the loop remembers beside the state; saved with each checkpoint, so that a resumed run's log is the same."""

  def __init__(self, window: dict | None = None, best: float | None = None, unimproved: int = 0, seconds: float = 0.0):
    self.window = {name: list(pair) for name, pair in (window or {}).items()}  # sums since the last row of the log
    self.best = math.inf if best is None else best  # the lowest score so far
    self.unimproved = unimproved  # evaluations since then
    self.seconds = seconds  # time spent in all calls of `train`

  def add(self, sums: dict) -> None:
    """Adds one step's {name: (sum, count)} to the window."""
    for name, (total, count) in sums.items():
      pair = self.window.setdefault(name, [0.0, 0.0])
      pair[0] += float(total)
      pair[1] += float(count)

  def take(self, finish: Callable) -> dict[str, float]:
    """The window's finished metrics, named `train/…`; empties it."""
    window, self.window = self.window, {}
    return {f"train/{name}": value for name, value in finish(window).items()}

  def as_dict(self) -> dict:
    """For JSON; gives the same object when passed to the constructor."""
    return {"window": self.window, "best": None if math.isinf(self.best) else self.best,
            "unimproved": self.unimproved, "seconds": self.seconds}


@dataclasses.dataclass
class _Loop:
  """One call of `train` after everything is open."""
  config: ml_collections.ConfigDict
  workdir: Path
  parallel: Parallel
  task: Task
  feed: feeds.Feed
  schedule: optax.Schedule
  steps: int
  parts: deque[tuple[int, Callable[[], None]]]  # first steps, and what compiles the step from there on
  evaluator: evaluation.Evaluator
  eval_data: Decoded
  checkpoints: Checkpoints
  logbook: Logbook
  stop: StopSignal
  state: State
  step: int
  progress: Progress

  def __post_init__(self):
    t, per_call = self.config.train, self.feed.steps_per_call
    in_calls = lambda every: max(per_call, round(every / per_call) * per_call)
    self.log_every = in_calls(t.log_every)
    self.eval_every = in_calls(max(1, round(t.eval_every * self.steps)))
    self.pending = deque()  # calls whose sums are still on the device: (first step, count, sums)
    self.finished = self.step >= self.steps or self._out_of_patience()

  def run(self) -> Outcome:
    """Steps until the end, a signal or the end of patience; the last checkpoint is on disk when it returns."""
    self.last_save = self.last_log = time.monotonic()
    self.logged_step = self.step
    stopping = 0
    with tqdm.tqdm(total=self.steps, initial=self.step, unit="step", dynamic_ncols=True,
                   disable=None if jax.process_index() == 0 else True) as self.bar:
      while not self.finished:
        # To the next multiple of a whole call, where logs and evaluations fall, also after a resume in between.
        self._enter_part()
        per_call = self.feed.steps_per_call
        count = min(per_call - self.step % per_call, self.steps - self.step)
        self.state, sums = self.feed.advance(self.state, self.step, count)
        self.pending.append((self.step, count, sums))
        self.step += count
        self.bar.update(count)
        if len(self.pending) > 2:  # a queue lets the device run ahead; a short one finds a bad loss early
          self._receive()
        ended = self.step >= self.steps
        at_log = ended or self.step % self.log_every == 0
        # Hosts ask each other only at log steps: to agree costs a round trip.
        ask = jax.process_count() == 1 or at_log
        stopping = self._agree(self.stop.received or 0) if ask else 0
        due = ask and self._agree(time.monotonic() - self.last_save > 60 * self.config.train.checkpoint_minutes)
        if at_log:
          self._log()
        if ended or self.step % self.eval_every == 0:
          metrics = self._evaluate()
          self.finished = ended or self._out_of_patience()
          self._save(metrics)
        elif stopping or due:
          self._save(None)
        if stopping and not self.finished:
          break
    self.checkpoints.wait()
    return Outcome(self.step, self.finished, stopping or None, self.workdir)

  def _enter_part(self):
    """Compiles the step of the part of the run that this step is in, where it is a new one."""
    compile_step = None
    while self.parts and self.parts[0][0] <= self.step:
      _, compile_step = self.parts.popleft()
    if compile_step:
      compile_step()

  def _agree(self, mine: int) -> int:
    """The largest of what the hosts say."""
    return int(mine) if jax.process_count() == 1 else int(np.max(multihost_utils.process_allgather(np.array(mine))))

  def _out_of_patience(self):
    patience = self.config.train.patience
    return bool(patience) and self.progress.unimproved >= patience

  def _receive(self):
    """Takes the oldest call's sums into the window, or stops the run at the first that is no number."""
    first, count, stacked = self.pending.popleft()
    stacked = self.parallel.fetch(stacked)
    for i in range(count):
      sums = {name: (np.ravel(total)[i], np.ravel(n)[i]) for name, (total, n) in stacked.items()}
      bad = [f"{name} {total}" for name, (total, _) in sorted(sums.items(), key=lambda item: item[0] != "loss")
             if not np.isfinite(total)]
      if bad:
        saved = self.checkpoints.latest
        raise NonFiniteLoss(
            f"Step {first + i + 1} gave {', '.join(bad)}. Its batch held the galaxies "
            f"{', '.join(map(str, self.feed.batch_ids(first + i)))}. The last good checkpoint is "
            f"{f'that of step {saved} in {self.checkpoints.folder}' if saved else 'none yet'}. Look at those images "
            "and labels, or start anew in another --workdir with a lower config.optimizer.learning_rate or a "
            "config.optimizer.clip.")
      self.progress.add(sums)

  def _receive_all(self):
    while self.pending:
      self._receive()

  def _log(self):
    self._receive_all()
    now = time.monotonic()
    rate = (self.step - self.logged_step) * self.config.train.batch_size / max(now - self.last_log, 1e-9)
    self.last_log, self.logged_step = now, self.step
    means = self.progress.take(self.task.finish)
    self.logbook.write(self.step, means | {"learning_rate": float(self.schedule(self.step - 1)),
                                           "epoch": self.step * self.config.train.batch_size / self.feed.examples,
                                           "images_per_second": rate})
    self.bar.set_postfix(loss=f"{means['train/loss']:.4f}")

  def _evaluate(self):
    self._receive_all()
    began = time.monotonic()
    metrics = self.evaluator.metrics(evaluated_variables(self.state), self.eval_data)
    self.logbook.write(self.step, {f"eval/{name}": value for name, value in metrics.items()})
    score = metrics[self.task.score]
    improved = score < self.progress.best
    self.progress.best = min(score, self.progress.best)
    self.progress.unimproved = 0 if improved else self.progress.unimproved + 1
    logger.info("step %d of %d: %s %.5f on %s%s", self.step, self.steps, self.task.score, score,
                self.config.data.eval, "" if improved else f" (best {self.progress.best:.5f})")
    self.last_log += time.monotonic() - began  # evaluations do not count in images a second
    return metrics

  def _save(self, metrics):
    self._receive_all()
    now = time.monotonic()
    self.progress.seconds += now - self.last_save
    self.last_save = now
    self.checkpoints.save(self.step, self.parallel.globalise(self.state), self.progress.as_dict(), metrics)
