"""Optimisers and learning-rate schedules by name, on optax."""
from collections.abc import Sequence

import jax
import optax


def learning_rate_schedule(kind: str, *, peak: float, steps: int, warmup_steps: int = 0,
                           milestones: Sequence[float] = (), factor: float = 0.1) -> optax.Schedule:
  """The learning rate by step.

  Args:
    kind: 'constant', 'cosine' (to zero at `steps`) or 'step' (times `factor` at each of `milestones`).
    peak: the rate after warm-up.
    steps: the length of the run.
    warmup_steps: the rate rises linearly from zero over so many steps first.
    milestones: for 'step', shares of `steps`, ascending, each in (0, 1).
    factor: for 'step'.

  Raises:
    ValueError: an unknown kind, or milestones outside (0, 1).
  """
  if kind == "constant":
    after = optax.constant_schedule(peak)
  elif kind == "cosine":
    after = optax.cosine_decay_schedule(peak, max(1, steps - warmup_steps))
  elif kind == "step":
    if not all(0 < m < 1 for m in milestones):
      raise ValueError(f"config.optimizer.milestones are {tuple(milestones)}; expected shares of the run, between 0 "
                       "and 1.")
    after = optax.piecewise_constant_schedule(peak, {round(m * steps) - warmup_steps: factor for m in milestones})
  else:
    raise ValueError(f"config.optimizer.schedule is {kind!r}; expected 'constant', 'cosine' or 'step'.")
  if not warmup_steps:
    return after
  return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), after], [warmup_steps])


def decayed(params):
  """Which parameters weight decay acts on: kernels, but neither norms' scales nor biases (same tree, of booleans)."""
  return jax.tree.map(lambda p: p.ndim > 1, params)


def optimizer(kind: str, schedule: optax.Schedule, *, weight_decay: float = 0.0, clip: float = 0.0,
              momentum: float = 0.9, b2: float = 0.999) -> optax.GradientTransformation:
  """The optimiser called `kind`.

  Args:
    kind: 'adamw' (decoupled decay, Loshchilov and Hutter 2019) or 'nesterov' (decay added to the gradient).
    schedule: the learning rate by step.
    weight_decay: acts on kernels alone, see `decayed`.
    clip: largest global norm of the gradient; 0 for no limit.
    momentum: Nesterov's momentum, or Adam's first decay rate.
    b2: Adam's second decay rate.

  Raises:
    ValueError: an unknown kind.
  """
  first = [optax.clip_by_global_norm(clip)] if clip else []
  if kind == "adamw":
    return optax.chain(*first, optax.adamw(schedule, b1=momentum, b2=b2, weight_decay=weight_decay, mask=decayed))
  if kind == "nesterov":
    return optax.chain(*first, optax.add_decayed_weights(weight_decay, mask=decayed),
                       optax.sgd(schedule, momentum=momentum, nesterov=True))
  raise ValueError(f"config.optimizer.name is {kind!r}; expected 'adamw' or 'nesterov'.")
