"""Where a network looked: maps of what in an image speaks for a class.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): each channel of a stage weighs as much as the class's logit grows
with its mean, and the map is the weighted sum of the channels where that is positive. It takes any model that names a
stage with rows and columns among its features. The models know nothing of it: the traced network is cut behind the
stage, and what follows is differentiated.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

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
  """Maps of what speaks for a class, one an image; not to be called inside a compiled function.

  The stage is the last with at least six rows and columns, or else with several, in which anything matters for the
  logits: a vision transformer reads its answer from the class token, so there it is the last stage but one.

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
  for stage in _spatial_stages(apply, variables, images):
    found = jax.jit(partial(_maps, apply, stage))(variables, images, classes)
    if found is not None and bool(found[1] > 0):
      return found[0], stage
  raise NoMapError("The network's answer depends on no stage with rows and columns, so that there is no map of where "
                   "it looked.")


def _spatial_stages(apply, variables, images):
  """The names of the features (B, h, w, channels) with several rows and columns: the last first, the coarse at last."""
  order = []

  def features(variables, images):
    result = apply(variables, images)[1]
    order.extend(result)  # the order of the stages, which jax's dicts lose
    return result

  shapes = jax.eval_shape(features, variables, images)
  sides = {name: min(shapes[name].shape[1:3]) for name in reversed(order) if len(shapes[name].shape) == 4}
  return sorted((name for name in sides if sides[name] > 1), key=lambda name: sides[name] < _ENOUGH)


def _maps(apply, stage, variables, images, classes):
  """The maps of one stage and how steep its steepest slope is; None where the logits do not depend on it."""
  def forward(variables, images):
    logits, features = apply(variables, images)
    return logits, features[stage]

  cut = _cut(jax.make_jaxpr(forward)(variables, images), jax.tree.leaves((variables, images)))
  if cut is None:
    return None
  array, rest, view = cut
  slope = jax.grad(lambda array: jnp.sum(jnp.take_along_axis(rest(array), classes[:, None], axis=-1)))(array)
  features, slope = (view(values).astype(jnp.float32) for values in (array, slope))
  maps = jax.nn.relu(jnp.sum(jnp.mean(slope, axis=(1, 2), keepdims=True) * features, axis=-1))
  largest = jnp.max(maps, axis=(1, 2), keepdims=True)
  return maps / jnp.where(largest > 0, largest, 1.0), jnp.max(jnp.abs(slope))


def _cut(closed, arguments: list):
  """Divides a traced function, whose results are (outputs, stage), at the array that the stage is a view of.

  Args:
    closed: as jax.make_jaxpr gives it.
    arguments: its arguments' leaves.

  Returns:
    The array; the function from it to the outputs, all else being as it was; and that from it to the stage. None where
    the outputs do not depend on any such array.
  """
  equations = closed.jaxpr.eqns
  outputs, wanted = closed.jaxpr.outvars
  made = {variable: number for number, equation in enumerate(equations) for variable in equation.outvars}
  views = []
  while not any(wanted in equation.invars for equation in equations if equation not in views):
    equation = equations[made[wanted]] if wanted in made else None
    if equation is None or equation.primitive.name not in _VIEWS:
      return None
    views.insert(0, equation)
    wanted, = (variable for variable in equation.invars if not isinstance(variable, core.Literal))
  number = made.get(wanted, -1) + 1
  given = dict(zip([*closed.jaxpr.constvars, *closed.jaxpr.invars], [*closed.consts, *arguments], strict=True))
  before = _run(equations[:number], given)
  seen = views[-1].outvars[0] if views else wanted
  return (before[wanted], lambda array: _run(equations[number:], before | {wanted: array})[outputs],
          lambda array: _run(views, {wanted: array})[seen])


def _run(equations: list, values: dict) -> dict:
  """The values of all variables after the equations of a traced function, from those before."""
  values = dict(values)
  for equation in equations:
    taken = [v.val if isinstance(v, core.Literal) else values[v] for v in equation.invars]
    results = equation.primitive.bind(*taken, **equation.primitive.get_bind_params(equation.params))
    values.update(zip(equation.outvars, results if equation.primitive.multiple_results else [results], strict=True))
  return values
