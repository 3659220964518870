"""From outlines to masks, in numpy alone.

One rule for all: a pixel is in the mask where its centre is inside the outline or on it. Pixel centres are at whole
numbers, x to the right and y down, so that (0, 0) is the centre of the first pixel: as in scikit-image, with which
mask_galaxy made its masks.
"""
from collections.abc import Iterator

import numpy as np

#: So many crossings of edges with rows are held at a time: no outline needs much memory, however it zigzags.
_CROSSINGS = 1 << 20


def polygon_mask(polygon, height: int, width: int) -> np.ndarray:
  """The pixels of a polygon.

  Where it crosses itself, what it goes around twice is outside (the even-odd rule).

  Args:
    polygon: (N, 2) numbers, x and y of its corners; N at least 3. The last is joined to the first.
    height: of the mask, pixels.
    width: of the mask, pixels.

  Returns:
    (height, width) bool.

  Raises:
    ValueError: fewer than three points, or one that is not finite.
  """
  points = _points(polygon, 3)
  rows, columns = _window(points[:, 1], height), _window(points[:, 0], width)
  shape = (rows.stop - rows.start, columns.stop - columns.start)
  mask = np.zeros((height, width), bool)
  if min(shape) <= 0:
    return mask
  points = points - (columns.start, rows.start)
  following = np.roll(points, -1, axis=0)

  turns = np.zeros((shape[0], shape[1] + 1), np.int32)
  outline = np.zeros(shape, bool)
  for row, x in _crossings(points, following, shape[0]):
    np.add.at(turns, (row, np.clip(np.ceil(x), 0, shape[1]).astype(np.int64)), 1)
    _mark(outline, x, row, exactly=True)
  # A horizontal edge crosses no row but runs along one; rows leave out the lower end of each edge.
  for column, y in _crossings(points[:, ::-1], following[:, ::-1], shape[1]):
    _mark(outline, column, y, exactly=True)
  _mark(outline, *points.T, exactly=True)
  mask[rows, columns] = outline | (np.cumsum(turns, axis=1)[:, :-1] % 2 == 1)
  return mask


def ellipse_mask(centre, radii, angle: float, height: int, width: int) -> np.ndarray:
  """The pixels of an ellipse.

  Args:
    centre: (x, y).
    radii: the two half axes, above 0.
    angle: of the first half axis from x towards y, which is clockwise as seen; radians.
    height: of the mask, pixels.
    width: of the mask, pixels.

  Returns:
    (height, width) bool.
  """
  x, y = (np.arange(size, dtype=np.float64) - middle for size, middle in zip((width, height), centre, strict=True))
  along = x * np.cos(angle) + y[:, None] * np.sin(angle)
  across = y[:, None] * np.cos(angle) - x * np.sin(angle)
  # Without a division, so that points on the edge of an ellipse of whole numbers are exactly on it.
  return (along * radii[1]) ** 2 + (across * radii[0]) ** 2 <= (radii[0] * radii[1]) ** 2


def line_mask(points, height: int, width: int) -> np.ndarray:
  """The pixels that a line runs through, one in each row or column it crosses; of a single point, the one it is in.

  Args:
    points: (N, 2) numbers, x and y; N at least 1.
    height: of the mask, pixels.
    width: of the mask, pixels.

  Returns:
    (height, width) bool.

  Raises:
    ValueError: no points, or one that is not finite.
  """
  points = _points(points, 1)
  mask = np.zeros((height, width), bool)
  for row, x in _crossings(points[:-1], points[1:], height):
    _mark(mask, x, row)
  for column, y in _crossings(points[:-1, ::-1], points[1:, ::-1], width):
    _mark(mask, column, y)
  _mark(mask, *points.T)
  return mask


def _points(values, fewest: int) -> np.ndarray:
  points = np.asarray(values, np.float64)
  if points.ndim != 2 or points.shape[1] != 2 or len(points) < fewest:
    raise ValueError(f"(N, 2) with N of at least {fewest} was expected, not {points.shape}")
  if not np.isfinite(points).all():
    raise ValueError("points must be finite")
  return points


def _window(values: np.ndarray, size: int) -> slice:
  """The pixels of one axis that an outline can reach."""
  return slice(int(np.clip(np.floor(values.min()), 0, size)), int(np.clip(np.floor(values.max()) + 1, 0, size)))


def _crossings(start: np.ndarray, stop: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Where edges cross the centres of the rows 0 to size - 1: yields (rows (M,) int64, x (M,) float64).

  Args:
    start: (N, 2), x and y of where each edge begins.
    stop: (N, 2), where it ends. Its upper end counts as crossed and its lower end not, so that a corner between two
      edges is crossed once, and a tip twice or never.
    size: the number of rows.
  """
  first, last = (np.clip(np.ceil(np.sort([start[:, 1], stop[:, 1]], axis=0)), 0, size)).astype(np.int64)
  number = last - first
  total = np.cumsum(number)
  begin = 0
  while begin < len(number):
    done = total[begin - 1] if begin else 0
    # At least one edge: its crossings are no more than the rows.
    end = max(begin + 1, int(np.searchsorted(total, done + _CROSSINGS, side="right")))
    edge = np.repeat(np.arange(begin, end), number[begin:end])
    row = np.arange(len(edge)) - (total[edge] - number[edge] - done) + first[edge]
    (x0, y0), (x1, y1) = start[edge].T, stop[edge].T
    # Multiplied first, so that corners of whole numbers give whole numbers exactly where there are any.
    yield row, x0 + (row - y0) * (x1 - x0) / (y1 - y0)
    begin = end


def _mark(mask: np.ndarray, x: np.ndarray, y: np.ndarray, *, exactly: bool = False) -> None:
  """Sets the pixels that points are in; `exactly`: only of points that are a pixel's centre."""
  column, row = np.rint(x), np.rint(y)
  inside = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
  if exactly:
    inside &= (column == x) & (row == y)
  mask[row[inside].astype(np.int64), column[inside].astype(np.int64)] = True
