"""ROIAlign (He et al. 2017, section 3): features of fixed size from boxes of any size, at the level that suits each.

The convention is torchvision's with `aligned=True`: a pixel's value belongs to its centre, each bin of the result is
the mean of `sampling_ratio`² points, bilinearly interpolated; a point up to one pixel outside takes the nearest value
of the border, one beyond that counts as 0.

All points of all boxes are read from the levels laid end to end, and their gradients are added there by one scatter.
benchmarks/detection_parts.py measures it beside the other way, products with matrices of weights, which reads every
level for every box.
"""
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.detection.boxes import area

#: Added to the logarithm of a box's size, as in torchvision: a box of the canonical size is of its level for certain.
_TIE = 1e-6


def assign_levels(boxes, strides: Sequence[int], *, canonical_size: float = 224.0, canonical_level: int = 4):
  """The level of the pyramid for each box: Lin et al. 2017, equation 1.

  Args:
    boxes: (..., 4) y0, x0, y1, x1, pixels.
    strides: of the levels, powers of two and each twice the one before; level l has stride 2^l.
    canonical_size: square root of the area of a box of `canonical_level`, pixels. 224 is for photographs in which
      objects are small; galaxies nearly fill their cut-outs and want less.
    canonical_level: see there.

  Returns:
    (...) int32, an index into `strides`. Empty boxes are of the first.

  Raises:
    ValueError: the strides are no such row.
  """
  first = int(math.log2(strides[0]))
  if list(strides) != [2 ** (first + i) for i in range(len(strides))]:
    raise ValueError(f"a pyramid of strides {tuple(strides)}: powers of two were expected, each twice the one before")
  size = jnp.sqrt(jnp.maximum(area(boxes), 1e-12))
  level = jnp.floor(canonical_level + jnp.log2(size / canonical_size) + _TIE) - first
  return jnp.clip(level, 0, len(strides) - 1).astype(jnp.int32)


def roi_align(pyramid: Sequence[jax.Array], boxes: jax.Array, strides: Sequence[int], output_size: int,
              sampling_ratio: int = 2, canonical_size: float = 224.0, canonical_level: int = 4) -> jax.Array:
  """Features of boxes, each from the level of the pyramid that fits its size.

  Args:
    pyramid: levels (B, H, W, C), of one C and dtype.
    boxes: (B, R, 4) y0, x0, y1, x1, pixels of the image. They pass no gradient. Empty ones give what is at their
      place, finite.
    strides: of the levels, see `assign_levels`.
    output_size: S, bins a side.
    sampling_ratio: points a bin along each axis.
    canonical_size: see `assign_levels`.
    canonical_level: see there.

  Returns:
    (B, R, S, S, C), of the pyramid's dtype; rows are y. Weights and positions are float32 throughout.

  Raises:
    ValueError: levels that do not fit the strides, or of different channels or batches.
  """
  if len(pyramid) != len(strides) or len({(x.shape[0], x.shape[-1]) for x in pyramid}) != 1:
    raise ValueError(f"levels of shapes {[x.shape for x in pyramid]} for strides {tuple(strides)}: one (B, H, W, C) "
                     "for each was expected, of one B and C")
  boxes = jax.lax.stop_gradient(boxes.astype(jnp.float32))
  level = assign_levels(boxes, strides, canonical_size=canonical_size, canonical_level=canonical_level)
  of_level = lambda values: jnp.asarray(np.asarray(values, np.int32))[level]
  heights, widths = ([x.shape[axis] for x in pyramid] for axis in (1, 2))
  starts = np.concatenate([[0], np.cumsum([h * w for h, w in zip(heights, widths, strict=True)])[:-1]])
  flat = jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in pyramid], axis=1)
  scaled = boxes / of_level(strides).astype(jnp.float32)[..., None]
  sample = lambda *row: sample_boxes(*row, output_size, sampling_ratio)
  return jax.vmap(sample)(flat, scaled, of_level(starts), of_level(heights), of_level(widths))


def sample_boxes(flat, boxes, starts, heights, widths, output_size: int, sampling_ratio: int):
  """Means of bilinear samples in the bins of boxes, each from its own part of one array.

  Args:
    flat: (P, C) maps laid end to end, each row by row.
    boxes: (R, 4) y0, x0, y1, x1 in pixels of their maps.
    starts: (R,) int32, where in `flat` the map of each box begins.
    heights, widths: (R,) int32, the size of that map.
    output_size: S, bins a side.
    sampling_ratio: points a bin along each axis.

  Returns:
    (R, S, S, C), of the dtype of `flat` where that is floating, else float32.
  """
  rows, row_weights = _taps(boxes[:, 0], boxes[:, 2], heights, output_size, sampling_ratio)
  columns, column_weights = _taps(boxes[:, 1], boxes[:, 3], widths, output_size, sampling_ratio)
  # (R, S, S, rows of a bin, columns of a bin)
  indices = (starts[:, None, None, None, None] + rows[:, :, None, :, None] * widths[:, None, None, None, None]
             + columns[:, None, :, None, :])
  weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
  bins = indices.shape[:3]
  return _weighted_sum(flat, indices.reshape(*bins, -1), weights.reshape(*bins, -1))


@jax.custom_vjp
def _weighted_sum(flat, indices, weights):
  """Σ_t flat[indices[..., t]] weights[..., t]: (P, C), (..., T), (..., T) → (..., C), with a gradient for `flat` alone.

  A sum of T gathers is one pass that writes nothing in between. Its own derivative would be T scatters one after the
  other, hence the derivative by hand.
  """
  total = jnp.zeros((*indices.shape[:-1], flat.shape[-1]), jnp.float32)
  for tap in range(indices.shape[-1]):
    total += flat.at[indices[..., tap]].get(mode="promise_in_bounds") * weights[..., tap, None]
  return total.astype(flat.dtype if jnp.issubdtype(flat.dtype, jnp.floating) else jnp.float32)


def _weighted_sum_forward(flat, indices, weights):
  # Of `flat` the derivative needs its shape and dtype alone.
  return _weighted_sum(flat, indices, weights), (flat[:, :0], indices, weights)


def _weighted_sum_backward(saved, gradient):
  like, indices, weights = saved
  # Added up in float32, whatever the features are: many boxes share a pixel.
  total = jnp.zeros((like.shape[0], gradient.shape[-1]), jnp.float32)
  parts = gradient.astype(jnp.float32)[..., None, :] * weights[..., None]
  return total.at[indices].add(parts, mode="promise_in_bounds").astype(like.dtype), None, None


_weighted_sum.defvjp(_weighted_sum_forward, _weighted_sum_backward)


def _taps(low, high, length, bins, ratio):
  """What each bin of one axis reads: (R, bins, 2 × ratio) int32 positions and float32 weights that sum to 1 at most."""
  step = (np.arange(bins * ratio, dtype=np.float32).reshape(bins, ratio) + 0.5) / (bins * ratio)
  position = low[:, None, None] + (high - low)[:, None, None] * step - 0.5
  length = length[:, None, None]
  inside = (position >= -1) & (position <= length)
  position = jnp.clip(position, 0, length - 1)
  below = jnp.floor(position).astype(jnp.int32)
  share = position - below
  weights = jnp.where(inside, jnp.stack([1 - share, share]), 0) / ratio
  taps = jnp.stack([below, jnp.minimum(below + 1, length - 1)])
  join = lambda x: jnp.moveaxis(x, 0, -1).reshape(len(low), bins, 2 * ratio)
  return join(taps), join(weights)
