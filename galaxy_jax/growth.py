"""Progressive resizing: a run whose images grow, as small ones cost less and teach first what is large.

Tan & Le 2021 (arXiv:2104.00298) and Howard's entries to DAWNBench. What is evaluated always sees the full size. Working
images are sampled as they are, so that small sizes alias what is finer than their pixels.
"""
from collections.abc import Callable, Sequence

import jax
import ml_collections

from galaxy_jax.tasks import Task

#: Sizes are multiples of it, so that a network's strides meet whole pixels.
_MULTIPLE = 8


def sizes(config: ml_collections.ConfigDict) -> list[int]:
  """Pixels that the network sees in each part of the run, all parts equally long; the last is config.augment.size.

  Raises:
    ValueError: shares that are not above 0 and below 1, or whose sizes, multiples of 8, do not grow.
  """
  shares, full = tuple(config.augment.growth), config.augment.size
  right = all(isinstance(share, int | float) and 0 < share < 1 for share in shares)
  found = [max(_MULTIPLE, int(share * full) // _MULTIPLE * _MULTIPLE) for share in shares if right] + [full]
  if not right or found != sorted(set(found)):
    raise ValueError(f"config.augment.growth is {shares}; expected growing shares of config.augment.size between 0 and "
                     "1 whose sizes are 8 pixels apart, (0.5, 0.75) for instance, or () for images of one size.")
  return found


def tasks(config: ml_collections.ConfigDict, full: Task,
          make: Callable[[ml_collections.ConfigDict], Task]) -> list[Task]:
  """The task of each part of the run.

  Args:
    config: of the run.
    full: its task, which the last part has.
    make: makes the task of a config.

  Raises:
    ValueError: as `sizes`; or the network has other parameters at another size.
  """
  result, shapes = [], jax.eval_shape(full.init, jax.random.key(0))
  for size in sizes(config)[:-1]:
    smaller = config.copy_and_resolve_references()
    smaller.augment.size = size
    try:
      task = make(smaller)
    except ValueError as error:
      raise ValueError(f"config.augment.growth has images of {size} pixels in a part: {error}") from error
    if jax.tree.map(lambda x: x.shape, jax.eval_shape(task.init, jax.random.key(0))) != jax.tree.map(
        lambda x: x.shape, shapes):
      raise ValueError(f"config.augment.growth lets images grow from {size} to {config.augment.size} pixels, and "
                       f"{config.model.name} has other parameters for each size; leave it empty.")
    result.append(task)
  return [*result, full]


def starts(parts: int, steps: int, per_call: int) -> Sequence[int]:
  """The first step of each part of a run, at the beginning of a whole call; what is shorter than one may fall away."""
  return [steps * part // parts // per_call * per_call for part in range(parts)]
