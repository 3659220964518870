"""Where an object is, how large and how round, from its mask; and how far a found one is off. In numpy."""
from typing import NamedTuple

import numpy as np


class Shape(NamedTuple):
  """Moments of a mask.

  Attributes:
    y, x: the centroid, pixels, (0.5, 0.5) being the first pixel's centre, as in boxes.
    area: square pixels.
    axis_ratio: minor over major axis of the ellipse with the same second moments, in (0, 1].
    position_angle: of the major axis, degrees from x towards y (clockwise as seen), in [0, 180).
    semi_major: half the major axis of that ellipse, pixels.
  """
  y: float
  x: float
  area: float
  axis_ratio: float
  position_angle: float
  semi_major: float


def shape_of(mask) -> Shape:
  """Centroid, area and the ellipse of a mask (H, W), by its moments; of an empty one all NaN, and the area 0.

  A pixel counts as a square, not as a point, so that a mask of one row of n pixels has the axis ratio 1 / n.
  """
  rows, columns = np.nonzero(mask)
  if not len(rows):
    return Shape(*[np.nan] * 2, 0.0, *[np.nan] * 3)
  y, x = rows.mean() + 0.5, columns.mean() + 0.5
  yy, xx, xy = rows.var() + 1 / 12, columns.var() + 1 / 12, np.mean((rows + 0.5 - y) * (columns + 0.5 - x))
  middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
  angle = np.rad2deg(np.arctan2(2 * xy, xx - yy) / 2) % 180
  if np.float32(angle) >= 180:  # what is just below 0 becomes 180 itself, here or in a table of single precision
    angle = 0.0
  # The second moment of a filled ellipse along an axis is the square of its half over 4.
  return Shape(float(y), float(x), float(len(rows)), float(np.sqrt((middle - half) / (middle + half))), float(angle),
               float(2 * np.sqrt(middle + half)))


def shape_errors(found, truth, *, pixel_scale: float | None = None) -> dict[str, float]:
  """How far a found mask is off from the one it was matched with.

  Args:
    found: (H, W), not 0 inside.
    truth: (H, W), the same.
    pixel_scale: arcsec/pixel, where it is known.

  Returns:
    centroid: the distance of the centroids, pixels; centroid_arcsec: the same, only with `pixel_scale`.
    area: (found - truth) / truth. axis_ratio: found - truth.
    NaN where a mask is empty.

  Raises:
    ValueError: masks of different shapes.
  """
  if np.shape(found) != np.shape(truth):
    raise ValueError(f"masks of {np.shape(found)} and {np.shape(truth)} pixels: expected the same")
  one, other = shape_of(found), shape_of(truth)
  centroid = float(np.hypot(one.y - other.y, one.x - other.x))
  errors = {"centroid": centroid, "area": (one.area - other.area) / other.area if other.area else float("nan"),
            "axis_ratio": one.axis_ratio - other.axis_ratio}
  return errors if pixel_scale is None else errors | {"centroid_arcsec": centroid * pixel_scale}
