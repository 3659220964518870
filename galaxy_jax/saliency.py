"""Where a network looked: maps of what in an image speaks for a class.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): each channel of a stage weighs as much as the class's logit grows
with its mean, and the map is the weighted sum of the channels where that is positive. It takes any model that names a
stage with rows and columns among its features. The models know nothing of it: the traced network is cut behind the
stage, and what follows is differentiated.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

# A map of fewer rows says nothing of where; small images end in stages of 2×2.
_ENOUGH = 6
# What only looks at an array differently: a stage may be named after it, while the network goes on from before.
_VIEWS = ("reshape", "slice", "squeeze", "transpose", "convert_element_type")


class NoMapError(ValueError):
  """The network keeps no rows and columns, so that there is no map of where it looked."""


def grad_cam(apply: Callable, variables: Any, images: jax.Array, classes: jax.Array) -> tuple[jax.Array, str]:
  """Maps of what speaks for a class, one an image; compiled at each call.

  The stage is the last with at least six rows and columns, or else with several, that the logits are made from: a
  vision transformer reads its answer from the class token, so there it is the last stage but one.

  Args:
    apply: (variables, images) → (logits (B, C), features by stage), without randomness, and not itself compiled: the
      cut would be inside of it.
    variables: the network's.
    images: (B, H, W, channels) as the network takes them.
    classes: (B,) the class that each map is of.

  Returns:
    (B, h, w) float32 on the stage's own grid, in [0, 1], each image's largest value being 1, all 0 where nothing there
    speaks for the class; and the stage's name.

  Raises:
    NoMapError: the logits depend on no stage with rows and columns.
  """
  names, closed = _traced(apply, variables, images)
  logits, *stages = closed.jaxpr.outvars
  for stage, variable in sorted(reversed(list(zip(names, stages, strict=True))), key=lambda pair: _is_coarse(pair[1])):
    cut = _cut(closed.jaxpr, logits, variable) if _is_spatial(variable) else None
    if cut is not None:
      return jax.jit(lambda *arguments: _maps(closed, cut, logits, *arguments))(variables, images, classes), stage
  raise NoMapError("The network's answer depends on no stage with rows and columns, so that there is no map of where "
                   "it looked.")


def _traced(apply, variables, images):
  """The names of the stages, first to last, and the network as a closed jaxpr to the logits and the stages."""
  names = []

  def flat(variables, images):
    logits, features = apply(variables, images)
    names.extend(features)  # in the order that jax's dicts lose
    return logits, *features.values()

  return names, jax.make_jaxpr(flat)(variables, images)


def _is_spatial(variable):
  """Whether an array (B, h, w, channels) has several rows and columns."""
  return variable.aval.ndim == 4 and min(variable.aval.shape[1:3]) > 1


def _is_coarse(variable):
  return _is_spatial(variable) and min(variable.aval.shape[1:3]) < _ENOUGH


class _Cut(NamedTuple):
  """Where a jaxpr is divided: behind its first `number` equations, at `array`, which the stage is `views` of."""
  number: int
  array: core.Var
  views: list[core.JaxprEqn]


def _cut(jaxpr, logits, stage) -> _Cut | None:
  """The cut at the array that the network goes on from, the stage being a view of it.

  None where there is no such array, or the logits are made from none of what the stage sees of it.
  """
  made = {variable: number for number, equation in enumerate(jaxpr.eqns) for variable in equation.outvars}
  array, views = stage, []
  while not any(array in equation.invars for equation in jaxpr.eqns if equation not in views):
    equation = jaxpr.eqns[made[array]] if array in made else None
    if equation is None or equation.primitive.name not in _VIEWS:
      return None
    views.insert(0, equation)
    array, = (variable for variable in equation.invars if not isinstance(variable, core.Literal))
  number = made.get(array, -1) + 1
  reached = {array}
  for equation in jaxpr.eqns[number:]:
    if reached.intersection(v for v in equation.invars if not isinstance(v, core.Literal)) and not (
        views and _are_apart(views[0], equation)):
      reached.update(equation.outvars)
  return _Cut(number, array, views) if logits in reached else None


def _are_apart(one, other):
  """Whether two equations slice the same array and have none of its elements in common."""
  if not one.primitive.name == other.primitive.name == "slice" or one.invars[0] is not other.invars[0]:
    return False
  ends = (e.params[key] for e in (one, other) for key in ("start_indices", "limit_indices"))
  return any(start >= other_end or other_start >= end
             for start, end, other_start, other_end in zip(*ends, strict=True))


def _maps(closed, cut, logits, variables, images, classes):
  """The maps of the array at the cut, (B, h, w)."""
  jaxpr, first, rest = closed.jaxpr, closed.jaxpr.eqns[:cut.number], closed.jaxpr.eqns[cut.number:]
  given = [*jaxpr.constvars, *jaxpr.invars]
  known = {*given, *(v for equation in first for v in equation.outvars)} - {cut.array}
  needed = [v for v in dict.fromkeys(v for equation in rest for v in equation.invars
                                     if not isinstance(v, core.Literal)) if v in known]
  array, *others = _function(given, first, [cut.array, *needed])(
      *closed.consts, *jax.tree.leaves((variables, images)))
  follow = _function([cut.array, *needed], rest, [logits])
  view = _function([cut.array], cut.views, [cut.views[-1].outvars[0] if cut.views else cut.array])

  def score(array):
    return jnp.sum(jnp.take_along_axis(follow(array, *others)[0], classes[:, None], axis=-1))

  features, slope = (view(values)[0].astype(jnp.float32) for values in (array, jax.grad(score)(array)))
  maps = jax.nn.relu(jnp.sum(jnp.mean(slope, axis=(1, 2), keepdims=True) * features, axis=-1))
  largest = jnp.max(maps, axis=(1, 2), keepdims=True)
  return maps / jnp.where(largest > 0, largest, 1.0)


def _function(arguments, equations, results):
  """The function that equations of a jaxpr are, from some of its variables to others."""
  return core.jaxpr_as_fun(core.ClosedJaxpr(core.Jaxpr((), arguments, results, equations), ()))
