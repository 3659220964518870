"""Errors of matched objects against displacements and sizes that are known."""
import numpy as np
import pytest

from galaxy_jax.detection.matching import match
from galaxy_jax.detection.shape_errors import MatchedObjects
from tfds_builders.masks import ellipse_mask

SIDE = 120


def disc(y, x, radius):
  return ellipse_mask((x, y), (radius, radius), 0.0, SIDE, SIDE)


def image(true, found, scores, classes=None, ignore=None):
  """Truth and detections of discs (y, x, radius), and their matches where all classes count as one."""
  side = lambda rows: np.array([disc(*row) for row in rows]).reshape(-1, SIDE, SIDE)
  there = {"masks": side(true), "classes": np.zeros(len(true), int),
           "ignore": np.zeros(len(true), bool) if ignore is None else np.array(ignore)}
  seen = {"masks": side(found), "classes": np.array(classes or [0] * len(found), int), "scores": np.array(scores)}
  flat = [rows["masks"].reshape(-1, SIDE * SIDE).astype(float) for rows in (seen, there)]
  both = flat[0] @ flat[1].T
  union = flat[0].sum(1)[:, None] + flat[1].sum(1) - both
  return there, seen, match(both / np.maximum(union, 1), seen["scores"], there["ignore"])


def gathered(*images):
  matched = MatchedObjects()
  for there, seen, _ in images:
    matched.update(there, seen)
  return matched, [matches for *_, matches in images]


def test_discs_that_are_moved_and_grown():
  """The first is scored lower: numbers follow the order of scores, as matches do."""
  matched, matches = gathered(
      image([(80, 80, 20), (30, 30, 10)], [(80, 84, 20), (33, 30, 10)], [0.3, 0.9], classes=[1, 0]),
      image([(60, 60, 10), (20, 20, 9)], [(60, 60, 12)], [0.5]))
  errors = matched.errors(matches)
  np.testing.assert_allclose(errors["centroid"], [3, 4, 0], atol=1e-9)
  np.testing.assert_allclose(errors["centroid_share"], [0.3, 0.2, 0], atol=0.01)
  np.testing.assert_allclose(errors["area"], [0, 0, 0.44], atol=0.06)
  np.testing.assert_array_equal(errors["same_class"], [1, 0, 1])
  figures = matched.result(matches, pixel_scale=0.396)
  assert figures["matched"] == 3 / 4 and figures["matched_accuracy"] == pytest.approx(2 / 3)
  assert figures["centroid_median"] == pytest.approx(3) and figures["centroid_arcsec_median"] == pytest.approx(1.188)
  assert figures["centroid_68"] == pytest.approx(3.36)  # of 0, 3, 4: 0.36 of the way from 3 to 4
  assert figures["area_median"] == pytest.approx(0) and figures["area_68"] > 0.1
  assert "centroid_arcsec_median" not in matched.result(matches)
  np.testing.assert_allclose(matched.errors(matches, least=0.5)["centroid"], [3, 0], atol=1e-9)


def test_errors_have_their_sign_and_spreads_their_amount():
  matched, matches = gathered(image([(60, 60, 20)], [(60, 60, 16)], [1.0]))
  figures = matched.result(matches)
  assert figures["area_median"] == pytest.approx(-0.36, abs=0.02)
  assert figures["area_68"] == pytest.approx(0.36, abs=0.02)


def test_regions_to_ignore_are_no_objects():
  matched, matches = gathered(image([(30, 30, 10), (80, 80, 12)], [(80, 80, 12), (30, 30, 10)], [0.9, 0.8],
                                    ignore=[False, True]))
  figures = matched.result(matches)
  assert figures["matched"] == 1 and len(matched.errors(matches)["centroid"]) == 1


def test_nothing_matched_is_nan():
  matched, matches = gathered(image([(30, 30, 10)], [], []), image([], [(30, 30, 10)], [0.5]))
  figures = matched.result(matches)
  assert figures["matched"] == 0
  assert all(np.isnan(value) for name, value in figures.items() if name != "matched")
  with pytest.raises(ValueError, match="matches of 1 images, and shapes of 2"):
    matched.result(matches[:1])
