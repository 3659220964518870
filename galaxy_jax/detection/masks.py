"""Instance masks: pasted from the head's small squares into the image, as run lengths, boxes and outlines.

`paste` and `mask_boxes` run on the device, with static shapes; the rest is numpy. Rasterising outlines is
`tfds_builders.masks`, COCO's compressed run lengths are `tfds_builders.rle`.
"""
import jax
import jax.numpy as jnp
import numpy as np

from tfds_builders import masks as raster
from tfds_builders import rle

#: The eight neighbours of a pixel as (row, column), clockwise as seen, from the right.
_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def paste(masks, boxes, height: int, width: int, threshold: float = 0.5):
  """Masks of boxes as masks of the image.

  A pixel takes the value of the box's mask at its centre, bilinearly interpolated, that of the nearest cell within
  half a cell of the box's edge.

  Args:
    masks: (R, S, S) probabilities that a cell of the box is of the object; rows are y.
    boxes: (R, 4) y0, x0, y1, x1, pixels. Of an empty box nothing is pasted.
    height: of the image, pixels.
    width: of the image, pixels.
    threshold: probability from which a pixel is in the mask.

  Returns:
    (R, height, width) bool. This is the reference of `paste_window`, which the package uses: it needs memory for the
    boxes alone.
  """
  rows, inside_rows = _cells(jnp, boxes[:, 0], boxes[:, 2], height, masks.shape[1])
  columns, inside_columns = _cells(jnp, boxes[:, 1], boxes[:, 3], width, masks.shape[2])
  values = jnp.einsum("ryi,rij,rxj->ryx", rows, masks.astype(jnp.float32), columns, precision=jax.lax.Precision.HIGHEST)
  return (values >= threshold) & inside_rows[:, :, None] & inside_columns[:, None, :]


def paste_window(mask, box, height: int, width: int, threshold: float = 0.5):
  """What `paste` does for one box, in numpy, computing the part of the image that the box reaches alone.

  Args:
    mask: (S, S) probabilities.
    box: (4,) y0, x0, y1, x1, pixels.
    height: of the image, pixels.
    width: of the image, pixels.
    threshold: probability from which a pixel is in the mask.

  Returns:
    rows, columns: slices of the image; empty ones where the box is empty or outside.
    window: bool, the mask of that part.
  """
  y0, x0, y1, x1 = (float(x) for x in box)
  reach = lambda low, high, size: slice(*(int(np.clip(x, 0, size)) for x in (np.floor(low), np.ceil(high))))
  rows, columns = reach(y0, max(y0, y1), height), reach(x0, max(x0, x1), width)
  ends = lambda *values: np.array(values, np.float32)[:, None]
  of_rows, inside_rows = _cells(np, *ends(y0, y1), rows.stop - rows.start, len(mask), rows.start)
  of_columns, inside_columns = _cells(np, *ends(x0, x1), columns.stop - columns.start, len(mask), columns.start)
  values = of_rows[0] @ np.asarray(mask, np.float32) @ of_columns[0].T
  return rows, columns, (values >= threshold) & inside_rows[0][:, None] & inside_columns[0]


def _cells(xp, low, high, pixels, cells, first=0):
  """How pixels of one axis read the cells of boxes: weights (R, pixels, cells), and which are inside (R, pixels)."""
  centre = first + xp.arange(pixels, dtype=xp.float32) + 0.5
  low, high = low[:, None], high[:, None]
  size = xp.where(high > low, high - low, 1)
  position = xp.clip((centre - low) / size * cells - 0.5, 0, cells - 1)
  weights = xp.maximum(1 - abs(position[..., None] - xp.arange(cells, dtype=xp.float32)), 0)
  return weights, (centre > low) & (centre < high)


def mask_boxes(masks):
  """The boxes that just hold masks (..., H, W): (..., 4) float32 y0, x0, y1, x1, pixels; zeros of empty masks."""
  masks = masks != 0

  def ends(axis):
    there = jnp.any(masks, axis=axis)
    return jnp.argmax(there, axis=-1), there.shape[-1] - jnp.argmax(there[..., ::-1], axis=-1)

  (y0, y1), (x0, x1) = ends(-1), ends(-2)
  boxes = jnp.stack([y0, x0, y1, x1], axis=-1).astype(jnp.float32)
  return jnp.where(jnp.any(masks, axis=(-2, -1))[..., None], boxes, 0.0)


def encode_rle(mask) -> dict:
  """A mask (H, W) as COCO's compressed `segmentation`: {"size": [H, W], "counts": text}, see tfds_builders.rle."""
  mask = np.asarray(mask) != 0
  return {"size": [int(side) for side in mask.shape], "counts": rle.encode(mask).decode("ascii")}


def decode_rle(segmentation: dict) -> np.ndarray:
  """The mask (H, W) bool of what `encode_rle` gives, as tables hold it; raises ValueError where its size is another."""
  return rle.decode(segmentation["counts"], *segmentation["size"])


def outlines(mask, tolerance: float = 0.0) -> list[np.ndarray]:
  """The outer outlines of a mask's parts, as annotation tools draw them.

  Lines run through the centres of the outermost pixels, so that `tfds_builders.masks.polygon_mask` gives a part back
  exactly, its holes filled, if `tolerance` is 0. Pixels that touch by a corner are of one part.

  Args:
    mask: (H, W), not 0 inside.
    tolerance: pixels that corners left out may lie off the outline (Douglas and Peucker 1973).

  Returns:
    One (N, 2) float64 array a part, x and y of its corners, (0, 0) being the first pixel's centre as in
    `tfds_builders.masks`; N at least 3. The largest part first. Parts that are a mere pixel or straight line have no
    outline and are left out.
  """
  left = np.asarray(mask) != 0
  found = []
  while left.any():
    start = np.unravel_index(np.argmax(left), left.shape)
    points = np.array(_trace(left, (int(start[0]), int(start[1]))), np.float64)[:, ::-1]
    draw = raster.polygon_mask if len(points) > 2 else raster.line_mask
    part = draw(points, *left.shape)
    left = left & ~part
    corners = _simplified(points, 0.0)
    if len(corners) > 2:
      simpler = _simplified(points, tolerance)
      found.append((int(part.sum()), simpler if len(simpler) > 2 else corners))
  return [corners for _, corners in sorted(found, key=lambda pair: -pair[0])]


def _trace(mask, start):
  """Moore's boundary of the part that `start`, its first pixel row by row, is of: [(row, column), …]."""
  height, width = mask.shape
  inside = lambda row, column: 0 <= row < height and 0 <= column < width and mask[row, column]
  points, pixel, background, first = [], start, 4, None  # Nothing of the part lies left of its first pixel.
  while True:
    for turn in range(1, 9):
      direction = (background + turn) % 8
      dy, dx = _NEIGHBOURS[direction]
      if inside(pixel[0] + dy, pixel[1] + dx):
        break
    else:
      return [start]
    if (pixel, direction) == first:  # About to leave the start as at first: it may be passed through before.
      return points
    first = first or (pixel, direction)
    points.append(pixel)
    py, px = _NEIGHBOURS[(direction - 1) % 8]
    pixel = (pixel[0] + dy, pixel[1] + dx)
    background = _NEIGHBOURS.index((py - dy, px - dx))


def _simplified(points, tolerance):
  """A closed line (N, 2) without the corners that lie within `tolerance` of it."""
  far = int(np.argmax(((points - points[0]) ** 2).sum(1)))
  closed = np.concatenate([points, points[:1]])
  keep = np.zeros(len(closed), bool)
  keep[[0, far]] = True
  stack = [(0, far), (far, len(points))]
  while stack:
    first, last = stack.pop()
    if last - first < 2:
      continue
    along, offset = closed[last] - closed[first], closed[first + 1:last] - closed[first]
    # To the piece of line, not the infinite one: an outline may turn back beyond its ends.
    share = np.clip(offset @ along / max(along @ along, 1e-12), 0, 1)
    distance = np.hypot(*(offset - share[:, None] * along).T)
    worst = int(np.argmax(distance))
    if distance[worst] > max(tolerance, 1e-9):
      middle = first + 1 + worst
      keep[middle] = True
      stack += [(first, middle), (middle, last)]
  return points[keep[:-1]]
