"""Annotation files as a whole, names of classes, and the published outlines."""
import json

import pytest

from tfds_builders import outlines
from tfds_builders.contents import Faults
from tfds_builders.errors import DataError
from tfds_builders.mask_galaxy.annotations import read_annotations
from tfds_builders.mask_galaxy.classes import class_number


def test_names_of_classes():
  for number, names in enumerate((["S", "s ", "Spiral", "spiral edge-on", "spiral_barred", "Ser", "SBb?t(o)", "Sc+m"],
                                  ["E", "elliptical", "Er", "Ec(m)"], ["U", "artifact", "A", "UNCERTAIN"])):
    assert [class_number(name) for name in names] == [number] * len(names)
  for name in ("", "Ex", "Spirals", "SB", "person", "S" * 10**5, "é"):
    with pytest.raises(ValueError, match="has a class"):
      class_number(name)


@pytest.mark.parametrize("data,message", [
    (b"", "no JSON"), (b"{", "no JSON"), (b"\xff\xfe\xfa", "no JSON"), (b"[" * 10**5, "nested|no JSON"),
    (b'{"a":' * 10**5, "nested|no JSON"), (b"1" * 5000, "no JSON"), (b"[]", "neither"), (b"{}", "neither"),
    (b"null", "neither"), (b'{"a": 1}', "neither"), (b'{"a": {"regions": []}, "a": {}}', "key 'a' more than once"),
    (b'{"_via_img_metadata": []}', "a dict of images"), (b'{"images": {}, "annotations": []}', "a list was expected"),
    (b'{"images": [], "annotations": [], "categories": [1]}', "category 1"),
    (b'{"images": [{"id": 1}, {"id": 1}], "annotations": []}', "more than one image with the id 1"),
    (b'{"images": [], "annotations": [{"image_id": 3}]}', "1 annotations whose image_id is that of no image"),
    (b'{"images": [{"file_name": "a.jpg"}], "annotations": []}', "without an id"),
])
def test_files_that_hold_no_annotations(data, message):
  with pytest.raises(DataError, match=f"^the file .*{message}"):
    read_annotations(data, "the file", Faults(False))


def test_all_published_outlines_are_read(samples):
  data = (samples / "mask_galaxy_sample/published_polygons_without_images.json").read_bytes()
  published = json.loads(data)
  images = read_annotations(data, "published", Faults(False))
  assert len(images) == len(published) == 2828
  number = {"elliptical": 1, "artifact": 2}
  for image, (objid, entry_) in zip(images, published.items(), strict=True):
    (found,), (shape_,) = image.regions, entry_["regions"]
    assert image.filename == f"Dr7_{objid}.jpg"
    assert json.loads(outlines.to_text(found.outline)) == shape_["shape_attributes"]
    assert found.label == number.get(shape_["region_attributes"]["object_name"], 0)
    assert outlines.mask(found.outline, 256, 256).any()
