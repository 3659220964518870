"""Optimisers and learning-rate schedules by name, on optax."""
from collections.abc import Sequence
from typing import Any

import jax
import optax

from galaxy_jax import models


def learning_rate_schedule(kind: str, *, peak: float, steps: int, warmup_steps: int = 0,
                           milestones: Sequence[float] = (), factor: float = 0.1) -> optax.Schedule:
  """The learning rate by step.

  Args:
    kind: 'constant', 'cosine' (to zero at `steps`) or 'step' (times `factor` at each of `milestones`).
    peak: the rate after warm-up.
    steps: the length of the run.
    warmup_steps: the rate rises linearly from zero over so many steps first.
    milestones: for 'step', shares of `steps`, each in (0, 1).
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
    places = [round(m * steps) - warmup_steps for m in milestones]
    after = optax.piecewise_constant_schedule(peak, {place: factor ** places.count(place) for place in places})
  else:
    raise ValueError(f"config.optimizer.schedule is {kind!r}; expected 'constant', 'cosine' or 'step'.")
  if not warmup_steps:
    return after
  return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup_steps), after], [warmup_steps])


def decayed(params):
  """Which parameters weight decay acts on (same tree, of booleans): those called kernel.

  Not biases, of whatever shape, nor the scales of norms and branches, nor a transformer's class token and positions.
  """
  return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def trained(params: Any, frozen: Sequence[str]) -> Any:
  """Which parameters are not of a frozen stage (same tree, of booleans)."""
  return {name: jax.tree.map(lambda _: models.stage_of(name) not in frozen, part) for name, part in params.items()}


def check_stages(params: Any, frozen: Sequence[str]) -> None:
  """Refuses to freeze what is not there, or everything.

  Raises:
    ValueError: a stage that the parameters do not have, or all of them.
  """
  stages = models.stages(params)
  if unknown := [stage for stage in frozen if stage not in stages]:
    raise ValueError(f"config.optimizer.frozen has {', '.join(map(repr, unknown))}; the stages of this model are "
                     f"{', '.join(stages)}.")
  if set(frozen) >= set(stages):
    raise ValueError("config.optimizer.frozen has every stage of the model; nothing is left to train.")


def scale_by_stage(decay: float) -> optax.GradientTransformation:
  """Multiplies what a parameter would move by `decay` for each stage that lies between its own and the output.

  The head moves at the full rate, the stage before it at `decay` times that, as in timm (after ELECTRA, Clark et al.
  2020). The stages are models.stages of the parameters; a norm after the last of them, `last_norm`, is part of it.
  """
  def scaled(updates, params):
    stages = [stage for stage in models.stages(params) if stage != "last"]
    place = lambda stage: stages.index(stage) if stage != "last" else len(stages) - 2
    factor = lambda name: decay ** (len(stages) - 1 - place(models.stage_of(name)))
    return {name: jax.tree.map(lambda u: u * factor(name), part) for name, part in updates.items()}
  return optax.stateless(scaled)


def optimizer(kind: str, schedule: optax.Schedule, *, weight_decay: float = 0.0, clip: float = 0.0,
              momentum: float = 0.9, b2: float = 0.999, layer_decay: float = 1.0,
              frozen: Sequence[str] = ()) -> optax.GradientTransformation:
  """The optimiser called `kind`.

  Args:
    kind: 'adamw' (decoupled decay, Loshchilov and Hutter 2019) or 'nesterov' (decay added to the gradient).
    schedule: the learning rate by step.
    weight_decay: acts on kernels alone, see `decayed`.
    clip: largest global norm of the gradient; 0 for no limit.
    momentum: Nesterov's momentum, or Adam's first decay rate.
    b2: Adam's second decay rate.
    layer_decay: see `scale_by_stage`.
    frozen: stages whose parameters stay as they are, weight decay included; no limit or moment looks at them.

  Raises:
    ValueError: an unknown kind.
  """
  parts = [optax.clip_by_global_norm(clip)] if clip else []
  if kind == "adamw":
    parts += [optax.adamw(schedule, b1=momentum, b2=b2, weight_decay=weight_decay, mask=decayed)]
  elif kind == "nesterov":
    parts += [optax.add_decayed_weights(weight_decay, mask=decayed),
              optax.sgd(schedule, momentum=momentum, nesterov=True)]
  else:
    raise ValueError(f"config.optimizer.name is {kind!r}; expected 'adamw' or 'nesterov'.")
  if layer_decay != 1:
    parts += [scale_by_stage(layer_decay)]
  if not frozen:
    return optax.chain(*parts)
  label = lambda params: jax.tree.map(lambda yes: "trained" if yes else "frozen", trained(params, frozen))
  return optax.partition({"trained": optax.chain(*parts), "frozen": optax.set_to_zero()}, label)
