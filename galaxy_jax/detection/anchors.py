"""Anchors: the boxes that the region proposal network starts from, as constants."""
from collections.abc import Sequence

import numpy as np


def base_anchors(scales: Sequence[float], ratios: Sequence[float], *, rounded: bool = True) -> np.ndarray:
  """Anchors around the origin, as torchvision's `AnchorGenerator.generate_anchors`, y before x.

  Args:
    scales: square roots of their areas, pixels.
    ratios: height over width.
    rounded: to whole pixels, halves to the even one. torchvision does, matterport's Mask R-CNN does not.

  Returns:
    (A, 4) float32 y0, x0, y1, x1, pixels; A = len(ratios) × len(scales), the scale changing fastest.

  Raises:
    ValueError: a scale or ratio is missing, or not above 0.
  """
  if not len(scales) or not len(ratios) or min(*scales, *ratios) <= 0:
    raise ValueError(f"anchors of scales {tuple(scales)} and ratios {tuple(ratios)}: at least one of each was "
                     "expected, all above 0")
  # float32 from the start, as there: in another precision a rounded half may fall to the other side.
  height_ratios = np.sqrt(np.asarray(ratios, np.float32))
  heights = np.ravel(height_ratios[:, None] * np.asarray(scales, np.float32))
  widths = np.ravel((1 / height_ratios)[:, None] * np.asarray(scales, np.float32))
  base = np.stack([-heights, -widths, heights, widths], axis=1) / 2
  return np.round(base) if rounded else base


def grid_sizes(image_size: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
  """(height, width) of each level's grid for an image of (height, width) pixels: cells of its stride, the last cut."""
  return [(-(-image_size[0] // stride), -(-image_size[1] // stride)) for stride in strides]


def anchors(image_size: Sequence[int], strides: Sequence[int], scales: Sequence[Sequence[float]],
            ratios: Sequence[float], *, rounded: bool = True) -> list[np.ndarray]:
  """All anchors of an image, level by level, in torchvision's order and places.

  The anchors of a cell are centred at its upper left corner (row × stride, column × stride). They come row by row,
  within a row column by column, within a cell in the order of `base_anchors`: a head whose output is
  (height, width, A × 4) with the anchor before the coordinate is reshaped to (height × width × A, 4) to match. Of a
  network converted from torchvision the coordinates dx, dy, dw, dh become dy, dx, dh, dw.

  Args:
    image_size: (height, width), pixels.
    strides: pixels of the image in a cell, one a level.
    scales: sizes of anchors in pixels, one tuple a level.
    ratios: height over width, the same at every level.
    rounded: see `base_anchors`.

  Returns:
    One (H × W × A, 4) float32 array a level, y0, x0, y1, x1 in pixels. They are not clipped to the image.

  Raises:
    ValueError: another number of scales than of strides, or sizes that are not above 0.
  """
  if len(scales) != len(strides):
    raise ValueError(f"{len(scales)} tuples of anchor scales for {len(strides)} strides: one a level was expected")
  if min(*image_size, *strides) <= 0:
    raise ValueError(f"anchors for an image of {tuple(image_size)} pixels with strides {tuple(strides)}: all must be "
                     "above 0")
  levels = []
  for stride, level_scales, (height, width) in zip(strides, scales, grid_sizes(image_size, strides), strict=True):
    y, x = np.meshgrid(np.arange(height) * stride, np.arange(width) * stride, indexing="ij")
    corners = np.stack([y, x, y, x], axis=-1).reshape(-1, 1, 4).astype(np.float32)
    levels.append((corners + base_anchors(level_scales, ratios, rounded=rounded)).reshape(-1, 4))
  return levels
