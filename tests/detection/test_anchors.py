"""Anchors against what torchvision publishes of its own, and against a loop."""
import numpy as np
import pytest

from galaxy_jax.detection import anchors as anchors_module
from galaxy_jax.detection.anchors import anchors, base_anchors

RATIOS = (0.5, 1.0, 2.0)


def test_base_anchors_are_those_of_torchvision():
  """torchvision's x0, y0, x1, y1 of (32,), (0.5, 1, 2), as its documentation of AnchorGenerator derives them."""
  published = np.array([[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]], np.float32)
  np.testing.assert_array_equal(base_anchors((32,), RATIOS), published[:, [1, 0, 3, 2]])


def test_exact_base_anchors_have_the_areas_and_ratios_asked_for():
  scales = (8.0, 20.0)
  result = base_anchors(scales, RATIOS, rounded=False)
  height, width = result[:, 2] - result[:, 0], result[:, 3] - result[:, 1]
  np.testing.assert_allclose(np.sqrt(height * width), np.tile(scales, 3), rtol=1e-6)
  np.testing.assert_allclose(height / width, np.repeat(RATIOS, 2), rtol=1e-6)
  np.testing.assert_allclose(result[:, :2], -result[:, 2:])


def test_places_and_order_against_a_loop():
  levels = anchors((20, 33), (8, 16), ((8, 16), (32,)), RATIOS)
  assert [level.shape for level in levels] == [(3 * 5 * 6, 4), (2 * 3 * 3, 4)]
  assert all(level.dtype == np.float32 for level in levels)
  for level, stride, scales, (rows, columns) in zip(levels, (8, 16), ((8, 16), (32,)), ((3, 5), (2, 3)), strict=True):
    expected = []
    for row in range(rows):
      for column in range(columns):
        for ratio in RATIOS:
          for scale in scales:
            h, w = scale * np.sqrt(ratio) / 2, scale / np.sqrt(ratio) / 2
            expected.append([row * stride - round(h), column * stride - round(w), row * stride + round(h),
                             column * stride + round(w)])
    np.testing.assert_array_equal(level, expected)
  # As a head's output (height, width, anchors, 4), too.
  grid = levels[0].reshape(3, 5, 6, 4)
  np.testing.assert_array_equal((grid[2, 4] - grid[0, 0]), np.broadcast_to([16, 32, 16, 32], (6, 4)))


def test_grids_count_cut_cells():
  assert anchors_module.grid_sizes((256, 250), (4, 64)) == [(64, 63), (4, 4)]


def test_wrong_settings_are_told():
  with pytest.raises(ValueError, match="3 tuples of anchor scales for 2 strides"):
    anchors((64, 64), (8, 16), ((8,), (16,), (32,)), RATIOS)
  with pytest.raises(ValueError, match="above 0"):
    anchors((64, 64), (8,), ((0,),), RATIOS)
  with pytest.raises(ValueError, match="at least one"):
    base_anchors((), RATIOS)
