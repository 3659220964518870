"""Objects of a data set as masks in slots: places against their image, and every way in which one may not fit."""
import io
from types import SimpleNamespace

import instances as small
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from galaxy_jax.data import decode, instance_labels
from galaxy_jax.detection import bit_planes
from tfds_builders import outlines, rle

NUMBERS = {0: 0, 2: 1}  # class 1 of the data set is not learnt
NAMES = ("spiral", "unknown", "elliptical")


def encoded(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  return file.getvalue()


def record(masks, classes, **more):
  image = np.zeros((*masks[0].shape, 3), np.uint8)
  for mask in masks:
    image[mask] = 255
  return {"image": encoded(image), "classes": classes, "masks": [rle.encode(mask) for mask in masks], **more}


def learnt(one, *, slots=3, crop=None, size=64):
  labels = instance_labels.labels_of(one, slots=slots, numbers=NUMBERS, crop=crop, size=size)
  return labels, bit_planes.unpack(labels["masks"], slots)


@pytest.mark.parametrize(("side", "crop", "size"), [
    ((64, 64), None, 64), ((64, 64), None, 48), ((64, 64), 40, 64), ((50, 70), None, 32), ((64, 64), 48, 24)])
def test_masks_lie_where_their_objects_are(side, crop, size):
  """As the image itself is cut and scaled."""
  rows, columns = np.mgrid[:side[0], :side[1]]
  mask = ((rows - 24) / 12) ** 2 + ((columns - 36) / 9) ** 2 <= 1
  one = record([mask], [0])
  labels, masks = learnt(one, crop=crop, size=size)
  pixels = decode.decode_image(one["image"], crop=crop, size=size)[..., 0] / 255
  assert labels["valid"].tolist() == [True, False, False] and masks.shape == (3, size, size)
  assert np.mean(masks[0] != (pixels > 0.5)) < 0.004
  assert labels["masks"].dtype == np.uint8 and labels["objects"] == 1


def test_polygons_and_run_lengths_give_the_same():
  polygon = outlines.to_text({"name": "polygon", "all_points_x": [10, 50, 70, 20], "all_points_y": [5, 10, 40, 50]})
  mask = outlines.mask(polygon, 64, 64)
  one = record([mask], [0])
  other = {"image": one["image"], "classes": [0], "polygons": [polygon]}  # it leaves the image
  for name, value in learnt(one)[0].items():
    np.testing.assert_array_equal(learnt(other)[0][name], value)


def test_classes_that_are_not_learnt_and_regions_of_the_data_set_are_ignored():
  masks = [small.ellipse(12, x, 8, 8) for x in (10, 30, 50)]
  labels, _ = learnt(record(masks, [2, 1, 0], ignore=np.array([False, False, True])))
  assert labels["classes"][0] == 1
  assert labels["ignore"].tolist() == [False, True, True] and labels["valid"].all() and labels["objects"] == 1


def test_more_objects_than_slots_leave_the_largest_in_their_order():
  """Regions to ignore come after all objects, however large."""
  masks = [small.ellipse(y, 32, r, r) for y, r in ((8, 4), (20, 7), (40, 10), (56, 6))]
  labels, kept = learnt(record(masks, [0, 2, 1, 0]), slots=2)
  np.testing.assert_array_equal(kept, [masks[1], masks[3]])
  assert labels["classes"].tolist() == [1, 0] and labels["objects"] == 3
  assert labels["without_slot"] == labels["ignored_without_slot"] == 1


@pytest.mark.parametrize(("side", "size"), [(8, 4), (32, 4), (12, 2)])
def test_half_a_pixel_is_enough_and_less_is_not(side, size):
  """At whole ratios a mask is weighed as pixels are there, by the box filter."""
  ratio, rng = side // size, np.random.default_rng(0)
  column = np.zeros((side, side), bool)
  column[:, ratio:ratio + ratio // 2] = True
  half = np.concatenate([rng.permutation(ratio**2) < ratio**2 // 2 for _ in range(size**2)])
  half = half.reshape(size, size, ratio, ratio).swapaxes(1, 2).reshape(side, side)
  less = half.copy()
  less[np.argmax(half[:, 0]), 0] = False
  labels, masks = learnt(record([column, half, less], [0, 0, 0]), size=size)
  expected = np.ones((3, size, size), bool)
  expected[0, :, np.arange(size) != 1] = expected[2, 0, 0] = False
  np.testing.assert_array_equal(masks, expected)
  assert labels["emptied"] == 0


def test_what_the_working_image_does_not_hold():
  """The central 32 of 64 pixels: inside, cut in half, hardly there, outside, and too thin for the scale."""
  line = np.zeros((64, 64), bool)
  line[30, 20:40] = True
  masks = [small.ellipse(32, 32, 6, 6), small.ellipse(32, 17, 6, 6), small.ellipse(32, 50, 6, 6),
           small.ellipse(8, 8, 6, 6), line]
  labels, kept = learnt(record(masks, [0] * 5), slots=4, crop=32, size=8)
  assert labels["valid"].tolist() == [True, True, True, False]
  assert labels["ignore"].tolist() == [False, False, True, False]
  assert (labels["cut_off"], labels["emptied"], labels["objects"], labels["without_slot"]) == (2, 2, 2, 0)
  assert all(mask.any() for mask in kept[:3])


def test_an_image_without_objects():
  one = {"image": encoded(np.zeros((64, 64, 3), np.uint8)), "classes": [], "polygons": [], "ignore": np.zeros(0, bool)}
  labels, kept = learnt(one)
  assert not any(np.any(value) for value in labels.values()) and kept.shape == (3, 64, 64)


def builder(**features):
  features = tfds.features.FeaturesDict(features)
  return SimpleNamespace(info=SimpleNamespace(full_name="galaxies/1.0.0", features=features))


OUTLINED = {"classes": tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
            "masks": tfds.features.Sequence(tfds.features.Text()), "image": tfds.features.Image()}


def test_names_are_the_data_sets():
  assert instance_labels.names(builder(**OUTLINED), ("unknown",)) == ("spiral", "elliptical")
  instance_labels.check_same(builder(**OUTLINED), (), NAMES)
  instance_labels.check_same(builder(image=tfds.features.Image()), (), ("spiral",))  # to be predicted
  with pytest.raises(ValueError, match=r"learnt the classes spiral; those of the objects of galaxies/1\.0\.0 are "
                                       "spiral, unknown, elliptical"):
    instance_labels.check_same(builder(**OUTLINED), (), ("spiral",))


@pytest.mark.parametrize(("features", "ignored", "message"), [
    ({"image": tfds.features.Image()}, (), "no objects with classes and outlines, .* it has image"),
    (OUTLINED, ("star",), "ignore_classes has star; the classes of galaxies/1.0.0 are spiral, unknown, elliptical"),
    (OUTLINED, NAMES, "ignore_classes has all classes")])
def test_data_sets_that_cannot_be_learnt_are_refused(features, ignored, message):
  with pytest.raises(ValueError, match=message):
    instance_labels.names(builder(**features), ignored)


def test_records_are_named_and_bad_ones_say_so(caplog):
  masks = [small.ellipse(12, x, 8, 8) for x in (10, 30)]
  records = [record(masks, [0, 1], image_id=b"a.jpg", galaxy_id=-1, boxes=np.zeros((2, 4))),
             {"image": b"no image", "classes": [], "masks": [], "galaxy_id": 7}]
  found = instance_labels.Learned(records, builder(**OUTLINED), slots=1, ignored=("unknown",), crop=None, size=64)
  assert len(found) == 2 and found[0]["galaxy_id"] == b"a.jpg" and "boxes" not in found[0]
  with pytest.raises(ValueError, match=r"Record 1 \(7\) has an image or an outline that .*--skip_bad"):
    found[1]
  labels = decode.stack([found[0], found[0]])
  with caplog.at_level("INFO"):
    instance_labels.describe(labels, "train")
  assert "Objects of train: 2 in 2 images, 0 images without one; 0 regions to ignore" in caplog.text
  assert ("0 of 2 objects and 2 of 2 regions to ignore of train, the smallest of their images, have no slot"
          in caplog.text)
  plain = instance_labels.Learned([{"image": b"", "galaxy_id": 1}], builder(image=tfds.features.Image()), slots=1,
                                  ignored=(), crop=None, size=64)
  assert plain[0] == {"image": b"", "galaxy_id": 1}
