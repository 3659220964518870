"""Test-time views of instances: what was found upright is classified and outlined again in turned and mirrored images.

Turns are by 90°, so that no pixel is interpolated and boxes stay upright. Positions are those of the upright image.
"""
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from galaxy_jax.models import mask_rcnn

#: Numbers of rotations that are turns by 90°.
ROTATIONS = (1, 2, 4)


def views(rotations: int, flips: bool) -> tuple[tuple[int, bool], ...]:
  """(quarter turns, mirrored) of each view; the first is (0, False)."""
  return tuple((4 // rotations * i, flip) for i in range(rotations) for flip in ((False, True) if flips else (False,)))


def turn(arrays: jax.Array, view: tuple[int, bool], axes: tuple[int, int]) -> jax.Array:
  """Arrays turned counter-clockwise in the plane of `axes`, rows and columns, and then mirrored left to right."""
  turned = jnp.rot90(arrays, view[0], axes)
  return jnp.flip(turned, axes[1]) if view[1] else turned


def turn_back(arrays: jax.Array, view: tuple[int, bool], axes: tuple[int, int]) -> jax.Array:
  """What `turn` turned."""
  return jnp.rot90(jnp.flip(arrays, axes[1]) if view[1] else arrays, -view[0], axes)


def turn_boxes(boxes: jax.Array, view: tuple[int, bool], size: float) -> jax.Array:
  """Boxes (..., 4) y0, x0, y1, x1 of square images of `size` pixels, as `turn` turns those."""
  y0, x0, y1, x1 = jnp.moveaxis(boxes, -1, 0)
  for _ in range(view[0]):
    y0, x0, y1, x1 = size - x1, y0, size - x0, y1
  if view[1]:
    x0, x1 = size - x1, size - x0
  return jnp.stack([y0, x0, y1, x1], axis=-1)


def averaged(apply, images: jax.Array, found: dict[str, jax.Array], seen: Sequence[tuple[int, bool]]):
  """What was found, with classes, scores and masks from the mean probabilities of all views; the best first again.

  Args:
    apply: network.apply with its variables.
    images: (B, S, S, C) upright, as the network takes them.
    found: in them, as mask_rcnn.MaskRCNN gives it.
    seen: the views.

  Returns:
    As `found`.
  """
  size, valid = images.shape[1], found["valid"]
  # Views are folded into the batch: a loop around convolutions is slow on CPU.
  boxes = jnp.concatenate([turn_boxes(found["boxes"], view, size) for view in seen])
  pyramid, _, _ = apply(jnp.concatenate([turn(images, view, (1, 2)) for view in seen]), method="encode")
  of_views = lambda values: jnp.stack(jnp.split(values, len(seen)))
  probabilities = jnp.mean(of_views(jax.nn.softmax(apply(pyramid, boxes, method="classify")[0])), axis=0)[..., 1:]
  classes = jnp.where(valid, 1 + jnp.argmax(probabilities, axis=-1), 0).astype(jnp.int32)
  logits = apply(pyramid, boxes, method="outline")
  masks = jax.nn.sigmoid(mask_rcnn.of_class(logits, jnp.concatenate([classes] * len(seen))))
  masks = sum(turn_back(part, view, (2, 3)) for part, view in zip(of_views(masks), seen, strict=True)) / len(seen)
  result = {"boxes": found["boxes"], "scores": jnp.where(valid, jnp.max(probabilities, axis=-1), 0.0),
            "classes": classes, "masks": jnp.where(valid[..., None, None], masks, 0.0), "valid": valid}
  # Those that are valid first, whatever their scores.
  order = jnp.argsort(-jnp.where(valid, result["scores"], -1.0), axis=1)
  return {name: jnp.take_along_axis(values, order.reshape(order.shape + (1,) * (values.ndim - 2)), axis=1)
          for name, values in result.items()}
