"""Shapes of masks against ellipses of known axes."""
import numpy as np
import pytest

from galaxy_jax.detection import geometry
from tfds_builders.masks import ellipse_mask


@pytest.mark.parametrize("radii,angle", [((30, 12), 0.0), ((25, 10), 0.7), ((28, 20), 2.5), ((21, 14), 1.2)])
def test_an_ellipse_has_its_axes(radii, angle):
  found = geometry.shape_of(ellipse_mask((41, 37), radii, angle, 80, 90))
  np.testing.assert_allclose((found.y, found.x), (37.5, 41.5), atol=0.02)
  assert found.area == pytest.approx(np.pi * radii[0] * radii[1], rel=0.02)
  assert found.axis_ratio == pytest.approx(radii[1] / radii[0], abs=0.01)
  assert found.semi_major == pytest.approx(radii[0], rel=0.01)
  assert abs((found.position_angle - np.rad2deg(angle) + 90) % 180 - 90) < 1.5


def test_lines_and_single_pixels_have_a_shape():
  line = np.zeros((9, 9), bool)
  line[4, 2:6] = True
  assert geometry.shape_of(line).axis_ratio == pytest.approx(1 / 4)
  assert geometry.shape_of(line.T).position_angle == pytest.approx(90)
  one = geometry.shape_of(line & (np.arange(9) == 2))
  assert (one.y, one.x, one.area, one.axis_ratio) == (4.5, 2.5, 1, 1)


def test_a_position_angle_is_below_180_degrees():
  """In single precision too, in which tables have it."""
  nearly = [[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0]]
  masks = [nearly, *(np.random.default_rng(0).random((4000, 4, 4)) < 0.6)]
  angles = np.array([geometry.shape_of(mask).position_angle for mask in masks], np.float32)
  assert angles.min() >= 0 and angles.max() < 180 and angles[0] == 0


def test_errors_of_a_mask_that_is_moved_and_of_one_that_is_smaller():
  truth = ellipse_mask((40, 40), (24, 12), 0.3, 80, 80)
  moved = geometry.shape_errors(np.roll(truth, (3, 4), (0, 1)), truth, pixel_scale=0.396)
  assert moved == pytest.approx({"centroid": 5, "centroid_arcsec": 5 * 0.396, "area": 0, "axis_ratio": 0}, abs=1e-9)
  smaller = geometry.shape_errors(ellipse_mask((40, 40), (18, 12), 0.3, 80, 80), truth)
  assert smaller["area"] == pytest.approx(-0.25, abs=0.01)
  assert smaller["axis_ratio"] == pytest.approx(12 / 18 - 0.5, abs=0.01)
  assert "centroid_arcsec" not in smaller


def test_empty_masks_are_nan_and_others_refused():
  empty = np.zeros((6, 6), bool)
  errors = geometry.shape_errors(empty, ~empty)
  assert errors["area"] == -1 and np.isnan(errors["centroid"]) and np.isnan(errors["axis_ratio"])
  assert all(np.isnan(x) for x in geometry.shape_errors(~empty, empty).values())
  with pytest.raises(ValueError, match="expected the same"):
    geometry.shape_errors(empty, np.zeros((6, 7)))
