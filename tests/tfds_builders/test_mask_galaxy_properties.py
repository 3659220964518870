"""Whatever bytes and JSON the parsers of annotations are given, nothing but DataError comes out."""
import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfds_builders import outlines, rle
from tfds_builders.contents import Faults
from tfds_builders.errors import DataError
from tfds_builders.mask_galaxy.annotations import read_annotations
from tfds_builders.mask_galaxy.regions import AnnotationError
from tfds_builders.mask_galaxy.validation import arrange
from tfds_builders.masks import polygon_mask

QUICK = settings(max_examples=60, deadline=None, derandomize=True)

NUMBERS = st.one_of(st.integers(-5, 40), st.floats(-5, 40), st.floats(), st.integers())
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5))
ANYTHING = st.recursive(SCALARS, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)), max_leaves=10)


def often(usual):
  """What belongs there, mostly, and else anything."""
  return st.one_of(usual, usual, usual, ANYTHING)


KEYS = ("x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "theta")
SHAPES = st.fixed_dictionaries(
    {"name": often(st.sampled_from(["polygon", "polyline", "rect", "circle", "ellipse", "point"])),
     "all_points_x": often(st.lists(NUMBERS, max_size=6)), "all_points_y": often(st.lists(NUMBERS, max_size=6))}
    | {key: often(NUMBERS) for key in KEYS})
REGIONS = st.fixed_dictionaries({
    "shape_attributes": often(SHAPES),
    "region_attributes": often(st.fixed_dictionaries({"object_name": often(st.sampled_from("SEU"))}))})
NAMES = st.sampled_from(["a.jpg", "b.jpg", "../c.jpg", "Dr7_5.jpg"])
VIA = st.dictionaries(st.text(max_size=3), often(st.fixed_dictionaries({
    "filename": often(NAMES),
    "regions": often(st.one_of(st.lists(often(REGIONS), max_size=3),
                               st.dictionaries(st.text(max_size=2), often(REGIONS), max_size=3)))})), max_size=3)

SEGMENTATIONS = st.one_of(
    st.lists(st.lists(NUMBERS, max_size=9), max_size=3),
    st.fixed_dictionaries({"size": often(st.just([32, 40])),
                           "counts": often(st.one_of(st.text("0123456789:;<=>?@ABCDEPQabo", max_size=8),
                                                     st.lists(st.integers(0, 1280), max_size=5)))}))
COCO = st.fixed_dictionaries({
    "images": often(st.lists(often(st.fixed_dictionaries({
        "id": often(st.integers(0, 2)), "file_name": often(NAMES), "height": often(st.just(32)),
        "width": often(st.just(40))})), max_size=3)),
    "categories": often(st.lists(often(st.fixed_dictionaries({
        "id": often(st.integers(0, 2)), "name": often(st.sampled_from(["S", "E", "q"]))})), max_size=3)),
    "annotations": often(st.lists(often(st.fixed_dictionaries({
        "id": often(st.integers()), "image_id": often(st.integers(0, 2)), "category_id": often(st.integers(0, 2)),
        "iscrowd": often(st.integers(0, 1)), "segmentation": often(SEGMENTATIONS)})), max_size=4))})


def read(data: bytes) -> None:
  """Reads annotations, and what is good of them as belonging to images of 32 x 40 pixels; raises DataError alone."""
  faults = Faults(skip_bad=True)
  try:
    for image in read_annotations(data, "file", faults):
      for region in image.regions:
        assert outlines.from_via(json.loads(outlines.to_text(region.outline))) == region.outline if isinstance(
            region.outline, dict) and "name" in region.outline else True
      if image.regions:
        try:
          boxes, classes, ignore = arrange(image, 32, 40, 1)
        except AnnotationError:
          continue
        assert boxes.shape == (len(image.regions), 4) and len(classes) == len(ignore) == len(boxes)
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (32, 40)).all() and (boxes[:, :2] < boxes[:, 2:]).all()
  except DataError:
    return
  for fault in faults.found:
    str(fault).encode()  # can be printed, and written


@QUICK
@given(VIA)
def test_via(document):
  read(json.dumps(document).encode())


@QUICK
@given(VIA, st.data())
def test_via_in_a_project_and_spoiled_bytes(document, data):
  text = json.dumps({"_via_img_metadata": document}).encode()
  place = data.draw(st.integers(0, len(text)))
  read(text[:place] + data.draw(st.binary(max_size=3)) + text[place + data.draw(st.integers(0, 3)):])


@QUICK
@given(COCO)
def test_coco(document):
  read(json.dumps(document).encode())


@QUICK
@given(ANYTHING)
def test_any_json(document):
  read(json.dumps(document).encode())


@QUICK
@given(st.binary(max_size=60), st.integers(0, 9), st.integers(0, 9))
def test_run_lengths_are_a_mask_or_refused(counts, height, width):
  try:
    mask = rle.decode(counts, height, width)
  except ValueError:
    return
  assert mask.shape == (height, width) and mask.dtype == bool


@QUICK
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 8))
def test_run_lengths_go_there_and_back(flat, width):
  mask = np.resize(flat, (-(-len(flat) // width), width))
  np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)


@QUICK
@given(st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 30)), min_size=3, max_size=9))
def test_a_polygons_mask_is_within_its_extent(points):
  mask = polygon_mask(points, 20, 22)
  y, x = np.nonzero(mask)
  if len(y):
    (x0, y0), (x1, y1) = np.min(points, 0), np.max(points, 0)
    assert math.floor(x0) <= x.min() and x.max() <= x1 and math.floor(y0) <= y.min() and y.max() <= y1
