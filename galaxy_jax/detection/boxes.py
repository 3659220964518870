"""Boxes: area, overlap, clipping, and their coding relative to anchors.

A box is (..., 4) float32, y0, x0, y1, x1 in pixels, ends exclusive. A box whose sides are not both above 0 is empty:
it overlaps nothing and codes as zeros, so that rows of padding give no NaN, in values or in gradients.
"""
import math

import jax.numpy as jnp

#: Largest logarithm of a size ratio that decoding takes: 1000 pixels from an anchor of 16, as torchvision has it.
MAX_LOG_SCALE = math.log(1000 / 16)


def sizes(boxes):
  """(height, width) of boxes (..., 4), each (...); negative where a box is turned over."""
  return boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]


def has_area(boxes):
  """Which boxes (..., 4) are not empty: (...) bool."""
  height, width = sizes(boxes)
  return (height > 0) & (width > 0)


def area(boxes):
  """Areas of boxes (..., 4) in square pixels: (...) float32, 0 for empty ones."""
  height, width = sizes(boxes)
  return jnp.maximum(height, 0) * jnp.maximum(width, 0)


def intersection(a, b):
  """Areas shared by boxes `a` (N, 4) and `b` (M, 4): (N, M) float32, square pixels."""
  low = jnp.maximum(a[:, None, :2], b[None, :, :2])
  high = jnp.minimum(a[:, None, 2:], b[None, :, 2:])
  shared = jnp.maximum(high - low, 0)
  return shared[..., 0] * shared[..., 1]


def iou(a, b):
  """Intersection over union of boxes `a` (N, 4) and `b` (M, 4): (N, M) float32 in [0, 1]; 0 where one is empty."""
  shared = intersection(a, b)
  return _ratio(shared, area(a)[:, None] + area(b)[None] - shared)


def intersection_over_area(a, b):
  """The share of each box of `a` (N, 4) that lies in each of `b` (M, 4): (N, M) float32; 0 where one is empty.

  What COCO compares with a region to be ignored: a box within it is excused however small it is.
  """
  return _ratio(intersection(a, b), area(a)[:, None])


def clip(boxes, height, width):
  """Boxes (..., 4) with what lies outside an image of `height`×`width` pixels cut off; empty if all of it does."""
  return jnp.clip(boxes, 0.0, jnp.array([height, width, height, width], jnp.float32))


def encode(boxes, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
  """Boxes relative to anchors (Girshick et al. 2014, appendix C), y before x.

  dy = (centre of the box - centre of the anchor) / height of the anchor and dh = log(height / height of the anchor),
  the same for x. torchvision orders them dx, dy, dw, dh.

  Args:
    boxes: (..., 4) y0, x0, y1, x1, pixels.
    anchors: (..., 4), the same.
    weights: factors of dy, dx, dh, dw.

  Returns:
    (..., 4) float32 dy, dx, dh, dw; zeros where the box or the anchor is empty.
  """
  usable = (has_area(boxes) & has_area(anchors))[..., None]
  # Both inside the function: a NaN that jnp.where hides would still be one in the gradient.
  boxes, anchors = (jnp.where(usable, x, jnp.array([0.0, 0.0, 1.0, 1.0])) for x in (boxes, anchors))
  size, anchor_size = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
  shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / (2 * anchor_size)
  return jnp.concatenate([shift, jnp.log(size / anchor_size)], axis=-1) * jnp.array(weights, jnp.float32)


def decode(deltas, anchors, weights=(1.0, 1.0, 1.0, 1.0), max_log_scale=MAX_LOG_SCALE):
  """The boxes that `encode` gave the deltas of.

  Args:
    deltas: (..., 4) dy, dx, dh, dw, as `encode` has them; taken as float32.
    anchors: (..., 4) y0, x0, y1, x1, pixels. An empty one gives an empty box.
    weights: those of `encode`.
    max_log_scale: dh and dw above it are cut to it, so that a wild prediction stays finite.

  Returns:
    (..., 4) float32 y0, x0, y1, x1, pixels, not clipped to any image.
  """
  deltas = deltas.astype(jnp.float32) / jnp.array(weights, jnp.float32)
  size = jnp.maximum(anchors[..., 2:] - anchors[..., :2], 0)
  centre = (anchors[..., :2] + anchors[..., 2:]) / 2 + deltas[..., :2] * size
  half = jnp.exp(jnp.minimum(deltas[..., 2:], max_log_scale)) * size / 2
  return jnp.concatenate([centre - half, centre + half], axis=-1)


def _ratio(part, whole):
  """part / whole, 0 where there is no whole."""
  some = whole > 0
  return jnp.where(some, part / jnp.where(some, whole, 1.0), 0.0)
