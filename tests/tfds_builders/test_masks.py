"""Masks against arithmetic in fractions, pycocotools, and figures counted by hand."""
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tfds_builders.masks import ellipse_mask, line_mask, polygon_mask


def inside(polygon, x: int, y: int) -> bool:
  """Whether a pixel's centre is on a polygon's edge, or a ray from it crosses the edges an odd number of times."""
  odd = False
  for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
    across = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
    if across == 0 and min(x0, x1) <= x <= max(x0, x1) and min(y0, y1) <= y <= max(y0, y1):
      return True
    odd ^= (y0 > y) != (y1 > y) and x < x0 + Fraction((y - y0) * (x1 - x0)) / (y1 - y0)
  return odd


@pytest.mark.parametrize("unit", [1, Fraction(1, 2), Fraction(1, 64)])
def test_polygons_are_those_of_exact_arithmetic(unit):
  """Of whole numbers, halves and finer ones, crossing themselves and the image's edge."""
  rng = np.random.default_rng(0)
  for _ in range(60):
    points = rng.integers(int(-4 / unit), int(16 / unit), (rng.integers(3, 9), 2))
    polygon = [(int(x) * unit, int(y) * unit) for x, y in points]
    expected = [[inside(polygon, x, y) for x in range(14)] for y in range(12)]
    np.testing.assert_array_equal(polygon_mask(np.array(polygon, float), 12, 14), expected)


def test_known_polygons():
  square = polygon_mask([(1, 2), (3, 2), (3, 5), (1, 5)], 8, 6)
  assert square.sum() == 12 and square[2:6, 1:4].all()
  star = [(10, 0), (16, 19), (0, 7), (20, 7), (4, 19)]
  assert not polygon_mask(star, 20, 21)[10, 10]  # gone around twice
  notch = polygon_mask([(0, 0), (8, 0), (4, 4), (8, 8), (0, 8)], 9, 9)
  assert notch[4].tolist() == [True] * 5 + [False] * 4
  assert polygon_mask([(-5, -5), (99, -5), (99, 99), (-5, 99)], 7, 5).all()
  assert not polygon_mask([(20, 20), (30, 20), (30, 30)], 7, 5).any()
  assert not polygon_mask([(0, 20), (3, 20), (3, 30)], 7, 5).any()


def test_rotation_and_reflection_go_along():
  rng = np.random.default_rng(1)
  for _ in range(20):
    x, y = rng.integers(0, 21, (2, 7))
    mask = polygon_mask(np.stack([x, y], 1), 21, 21)
    np.testing.assert_array_equal(polygon_mask(np.stack([y, x], 1), 21, 21), mask.T)
    np.testing.assert_array_equal(polygon_mask(np.stack([20 - x, y], 1), 21, 21), mask[:, ::-1])
    np.testing.assert_array_equal(polygon_mask(np.stack([x, 20 - y], 1)[::-1], 21, 21), mask[::-1])


def test_pycocotools_differs_only_at_the_edge():
  """It traces the outline on a grid five times finer, so that a pixel may differ whose centre is near the edge."""
  rng = np.random.default_rng(2)
  for _ in range(40):
    angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radius = rng.uniform(8, 28, 12)
    polygon = np.stack([32 + radius * np.cos(angles), 30 + radius * np.sin(angles)], 1)
    encoded = coco_mask.frPyObjects([polygon.ravel().tolist()], 60, 64)
    theirs = coco_mask.decode(coco_mask.merge(encoded)).astype(bool)
    ours = polygon_mask(polygon - 0.5, 60, 64)  # COCO has pixel centres at halves
    following = np.roll(polygon, -1, axis=0)
    for y, x in np.argwhere(ours != theirs):
      point = np.array([x, y]) + 0.5
      edge = following - polygon
      along = np.clip(((point - polygon) * edge).sum(1) / (edge**2).sum(1), 0, 1)[:, None]
      assert np.hypot(*(polygon + along * edge - point).T).min() < 0.75
    assert (ours & theirs).sum() > 0.93 * (ours | theirs).sum()


def test_a_polygon_needs_three_finite_points():
  for polygon in ([(0, 0), (1, 1)], [], [0, 1, 2], [(0, 0, 0)] * 3, [(0, 0), (1, 1), (0, np.nan)]):
    with pytest.raises(ValueError, match=r"expected|finite"):
      polygon_mask(polygon, 5, 5)


def test_a_zigzag_of_many_edges_needs_little_memory():
  x = np.arange(6000) / 3
  zigzag = np.stack([x, np.where(np.arange(6000) % 2, 0, 2000)], 1)
  tracemalloc.start()
  mask = polygon_mask(zigzag, 2000, 2000)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert mask.any() and peak < 250e6  # 12 million crossings; together they would be twice that and more


def test_ellipses():
  circle = ellipse_mask((10, 8), (5, 5), 0, 20, 20)
  assert circle.sum() == 81  # points of a lattice within a circle of radius 5, the 12 on it among them
  assert circle[8, 15] and circle[12, 13] and not circle[12, 14]
  long = ellipse_mask((20, 10), (9, 3), 0, 21, 41)
  np.testing.assert_array_equal(ellipse_mask((10, 20), (9, 3), np.pi / 2, 41, 21), long.T)
  y, x = np.nonzero(ellipse_mask((20, 20), (12, 2), np.pi / 4, 41, 41))
  assert np.corrcoef(x, y)[0, 1] > 0.9  # down to the right


def test_lines():
  assert np.argwhere(line_mask([(3, 2)], 5, 6)).tolist() == [[2, 3]]
  assert np.argwhere(line_mask([(1, 1), (4, 4)], 6, 6)).tolist() == [[1, 1], [2, 2], [3, 3], [4, 4]]
  assert line_mask([(0, 2), (1e6, 2)], 5, 6)[2].all()
  steep = line_mask([(1, 0), (2, 8), (2, -50)], 9, 4)
  assert steep.any(1).all() and not steep[:, [0, 3]].any()
  assert not line_mask([(50, 50), (60, 60)], 9, 9).any()
