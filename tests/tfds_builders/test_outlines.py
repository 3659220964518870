"""Outlines as annotation tools write them: what is kept, what they cover, and what is refused."""
import json

import numpy as np
import pytest

from tfds_builders import outlines, rle
from tfds_builders.outlines import OutlineError

POLYGON = {"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [1, 1, 4, 4]}


def pixels(outline) -> tuple:
  """(y0, x0, y1, x1) of an outline that covers a whole rectangle of a 10 x 12 image."""
  mask = outlines.mask(outlines.to_text(outline), 10, 12)
  (y0, y1), (x0, x1) = (np.flatnonzero(mask.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
  assert mask[y0:y1, x0:x1].all()
  return tuple(int(value) for value in (y0, x0, y1, x1))


def test_shapes_of_via_number_pixels():
  assert pixels(outlines.from_via(POLYGON)) == (1, 2, 5, 7)
  assert pixels(outlines.from_via({"name": "rect", "x": 2, "y": 1, "width": 4, "height": 3})) == (1, 2, 5, 7)
  assert pixels(outlines.from_via({"name": "point", "cx": 3.4, "cy": 8})) == (8, 3, 9, 4)
  circle = outlines.mask(outlines.from_via({"name": "circle", "cx": 5, "cy": 5, "r": 2}), 10, 12)
  assert circle.sum() == 13
  ellipse = {"name": "ellipse", "cx": 5, "cy": 5, "rx": 4, "ry": 1.5}
  flat, turned = (outlines.mask(outlines.from_via(ellipse | more), 11, 11) for more in ({}, {"theta": np.pi / 2}))
  np.testing.assert_array_equal(turned, flat.T)
  assert flat[5, 1:10].all() and not flat[3].any()
  line = outlines.from_via({"name": "polyline", "all_points_x": [0, 11], "all_points_y": [5, 5]})
  assert pixels(line) == (5, 0, 6, 12)
  assert [outlines.has_area(shape) for shape in (line, {"name": "point"}, POLYGON, [[0, 0]])] == [0, 0, 1, 1]


def test_polygons_of_coco_have_pixels_between_whole_numbers():
  assert pixels(outlines.from_coco([[2, 1, 6, 1, 6, 4, 2, 4]])) == (1, 2, 4, 6)
  both = outlines.mask(outlines.from_coco([[0, 0, 2, 0, 2, 2, 0, 2], [5, 5, 8, 5, 8, 8, 5, 8]]), 10, 12)
  assert both.sum() == 4 + 9


def test_run_lengths():
  mask = np.random.default_rng(0).random((10, 12)) < 0.3
  text = rle.encode(mask).decode()
  np.testing.assert_array_equal(outlines.mask(outlines.from_coco({"size": [10, 12], "counts": text}), 10, 12), mask)
  with pytest.raises(OutlineError, match="of 10 x 12 pixels, not 12 x 10"):
    outlines.mask({"size": [10, 12], "counts": text}, 12, 10)
  with pytest.raises(OutlineError, match="add up"):
    outlines.mask({"size": [10, 12], "counts": [1, 2]}, 10, 12)


def test_numbers_are_kept_exactly():
  numbers = [0.1, 1 / 3, 1e-300, 5e-324, -0.0, 255, 12.0, 999_999.999_999_999]
  shape = {"name": "polygon", "all_points_x": numbers, "all_points_y": numbers[::-1], "colour": "red"}
  text = outlines.to_text(outlines.from_via(json.loads(json.dumps(shape))))
  kept = json.loads(text)
  assert [(type(value), value.hex() if isinstance(value, float) else value) for value in kept["all_points_x"]] == [
      (type(value), value.hex() if isinstance(value, float) else value) for value in numbers]
  assert kept["all_points_y"] == numbers[::-1] and set(kept) == {"name", "all_points_x", "all_points_y"}


def test_what_reaches_out():
  assert not outlines.reaches_out(POLYGON, 10, 12)
  assert outlines.reaches_out(POLYGON, 4, 12) and outlines.reaches_out(POLYGON, 10, 6)
  assert not outlines.reaches_out([[0, 0, 12, 0, 12, 10]], 10, 12)
  assert outlines.reaches_out([[0, 0, 12.1, 0, 12, 10]], 10, 12)


@pytest.mark.parametrize("changes,message", [
    ({"name": "blob"}, "shape 'blob'; expected is one of polygon"), ({"name": ["polygon"]}, r"shape \['polygon'\]"),
    ({"all_points_x": [1, 2, 3]}, "3 x and 4 y"), ({"all_points_x": None}, "None for all_points_x"),
    ({"all_points_x": [1, 1, 1, 1], "all_points_y": [2, 2, 3, 3]}, "4 points, 2 of them different; at least 3"),
    ({"all_points_x": [1, 2], "all_points_y": [2, 2]}, "2 points"),
    ({"all_points_x": [1, 2, 3, float("nan")]}, "nan for all_points_x"),
    ({"all_points_x": [1, 2, 3, float("inf")]}, "inf for all_points_x"),
    ({"all_points_x": [1, 2, 3, 10**4000]}, "100000.*for all_points_x"),
    ({"all_points_x": [1, 2, 3, "4"]}, "'4' for all_points_x"), ({"all_points_x": [1, 2, 3, True]}, "True for"),
    ({"name": "rect", "x": 1, "y": 1, "width": 0, "height": 2}, "rect with width 0; a number above 0"),
    ({"name": "circle", "cx": 1, "cy": 1}, "None for r"), ({"name": "circle", "cx": 1, "cy": 1, "r": -3}, "r -3"),
    ({"name": "ellipse", "cx": 1, "cy": 1, "rx": 1, "ry": 1, "theta": "x"}, "'x' for theta"),
])
def test_bad_shapes_of_via(changes, message):
  with pytest.raises(OutlineError, match=message):
    outlines.from_via(POLYGON | changes)


@pytest.mark.parametrize("segmentation,message", [
    (None, "None for a segmentation"), ([], "for a segmentation"), ([[]], "0 points"), ([[1, 2, 3, 4]], "2 points"),
    ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"), ([[1, 2, 3, 4, 5, None]], "None for a polygon"), (["abcdef"], "'abcdef'"),
    ([1, 2, 3, 4, 5, 6], "1 for a polygon"), ({}, "of size None"), ({"size": [0, 3], "counts": []}, r"size \[0, 3\]"),
    ({"size": [3, 3]}, "counts None"), ({"size": [10**9, 10**9], "counts": "0"}, "size"),
])
def test_bad_segmentations(segmentation, message):
  with pytest.raises(OutlineError, match=message):
    outlines.from_coco(segmentation)
