"""Pixels of the working size: against averages of the full image, and out of the cache."""
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from galaxy_jax.data import decode


def full(data):
  return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def area_mean(pixels, left, top, side, size):
  """The exact mean over each of the (size, size) cells of a square of `pixels`."""
  def weights(start, length):
    edges = start + np.arange(size + 1) * side / size
    cells = np.arange(length)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.clip(overlap, 0, None) * size / side
  rows, columns = weights(top, pixels.shape[0]), weights(left, pixels.shape[1])
  return np.einsum("yh,xw,hwc->yxc", rows, columns, pixels, optimize=True)


def centroid(pixels):
  """The (x, y) of the light, in pixels."""
  light = pixels.sum(-1) - 30.0
  return np.sum(light * np.mgrid[:pixels.shape[1], :pixels.shape[0]].swapaxes(1, 2), (1, 2)) / light.sum()


# Whole and broken ratios, with and without the decoder's own scaling, odd sides, and no square.
@pytest.mark.parametrize("width, height, crop, size", [
    (424, 424, None, 212), (424, 424, 384, 144), (424, 424, 256, 96), (424, 424, 256, 64), (424, 424, 207, 69),
    (424, 424, None, 53), (424, 424, 424, 40), (301, 203, 150, 70), (301, 203, None, 40), (203, 301, 190, 45)])
def test_is_the_mean_over_the_crop(make_records, width, height, crop, size):
  data = make_records(1, width, height)[0]["image"]
  side = min(width, height, crop or width)
  expected = area_mean(full(data), (width - side) // 2, (height - side) // 2, side, size)
  got = decode.decode_image(data, crop=crop, size=size)
  assert got.shape == (size, size, 3) and got.dtype == np.uint8
  assert np.sqrt(np.mean((got - expected) ** 2)) < 1
  np.testing.assert_allclose(centroid(got), centroid(expected), atol=0.05)


def test_without_scaling_pixels_are_the_file_s(make_records):
  data = make_records(1, 61, 60)[0]["image"]
  np.testing.assert_array_equal(decode.decode_image(data, crop=None, size=60), full(data)[:, :60])
  np.testing.assert_array_equal(decode.decode_image(data, crop=31, size=31), full(data)[14:45, 15:46])


def test_small_images_are_scaled_from_what_is_there(make_records):
  data = make_records(1, 30, 40)[0]["image"]
  np.testing.assert_array_equal(decode.decode_image(data, crop=256, size=96),
                                decode.decode_image(data, crop=30, size=96))
  back = Image.fromarray(decode.decode_image(data, crop=None, size=120)).resize((30, 30), Image.Resampling.BOX)
  assert np.sqrt(np.mean((np.asarray(back) - full(data)[5:35].astype(float)) ** 2)) < 2


def test_png_and_greyscale(make_records):
  pixels = full(make_records(1)[0]["image"])
  for image in (Image.fromarray(pixels), Image.fromarray(pixels).convert("L")):
    file = io.BytesIO()
    image.save(file, "PNG")
    got = decode.decode_image(file.getvalue(), crop=None, size=16)
    assert np.abs(got - area_mean(np.asarray(image.convert("RGB")), 0, 0, 64, 16)).max() <= 1


class Unreadable(list):
  """A source that must not be read."""

  def __getitem__(self, index):
    raise AssertionError("the source was read")


def settings(tmp_path, **changes):
  return {"crop": 48, "size": 24, "cache_dir": tmp_path, "key": {"dataset": "test"}} | changes


def test_the_second_time_nothing_is_decoded(tmp_path, records):
  first = decode.decoded(records, **settings(tmp_path))
  second = decode.decoded(Unreadable(records), **settings(tmp_path))
  for got in (first, second):
    assert got.images.shape == (21, 24, 24, 3) and not got.images.flags.writeable
    np.testing.assert_array_equal(got.images[13], decode.decode_image(records[13]["image"], crop=48, size=24))
    assert got.labels.keys() == {"galaxy_id", "vote_fractions"} and got.labels["galaxy_id"].dtype == np.int64
    for name, values in got.labels.items():
      np.testing.assert_array_equal(values, [record[name] for record in records])


@pytest.mark.parametrize("change", [{"crop": 47}, {"crop": None}, {"size": 25}, {"key": {"dataset": "other"}}])
def test_other_settings_are_another_cache(tmp_path, records, change):
  decode.decoded(records, **settings(tmp_path))
  with pytest.raises(AssertionError, match="was read"):
    decode.decoded(Unreadable(records), **settings(tmp_path, **change))


def test_a_torn_cache_is_decoded_again(tmp_path, records):
  first = np.array(decode.decoded(records, **settings(tmp_path)).images)
  path, = tmp_path.glob("*/images.npy")
  with open(path, "r+b") as file:
    file.truncate(path.stat().st_size // 2)
  np.testing.assert_array_equal(decode.decoded(records, **settings(tmp_path)).images, first)


def test_any_number_of_workers_decodes_the_same(tmp_path, make_records):
  source = make_records(150)  # more than two threads' portions
  one, three = (decode.decoded(source, **settings(tmp_path, key=workers), workers=workers) for workers in (1, 3))
  np.testing.assert_array_equal(one.images, three.images)
  np.testing.assert_array_equal(one.labels["galaxy_id"], three.labels["galaxy_id"])


def test_images_of_several_sizes(tmp_path, make_records):
  source = make_records(2) + make_records(2, 100, 50) + make_records(2, 20, 20)
  got = decode.decoded(source, **settings(tmp_path))
  np.testing.assert_array_equal(got.images[4], decode.decode_image(source[4]["image"], crop=48, size=24))


@pytest.mark.parametrize("spoil, reason", [
    (lambda data: data[:200], "cannot be decoded|damaged"), (lambda data: b"<html>404", "is no JPEG or PNG")])
def test_unusable_images_are_named(tmp_path, records, spoil, reason):
  source = [record | {"image": spoil(record["image"])} if i == 17 else record for i, record in enumerate(records)]
  with pytest.raises(ValueError, match=rf"Record 17 \(galaxy_id 1119\).*({reason}).*--skip_bad"):
    decode.decoded(source, **settings(tmp_path))
  assert not list(tmp_path.glob("[!.]*"))


def test_missing_images_and_labels_are_named(tmp_path, records):
  with pytest.raises(ValueError, match=r"Record 1 .*has no image"):
    decode.decoded([records[0], {"galaxy_id": 3}], **settings(tmp_path))
  with pytest.raises(ValueError, match=r"Record 1 .*has the labels"):
    decode.decoded([records[0], {"image": records[0]["image"], "galaxy_id": 3}], **settings(tmp_path))


def test_labels_without_one_shape_for_all_are_left_out():
  stacked = decode.stack([{"id": n, "boxes": np.zeros((n, 4))} for n in (1, 2)])
  assert set(stacked) == {"id"} and stacked["id"].tolist() == [1, 2]


def test_a_full_disk_is_named(tmp_path, records, monkeypatch):
  monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
  with pytest.raises(ValueError, match="another cache folder or a smaller size"):
    decode.decoded(records, **settings(tmp_path))


@pytest.mark.parametrize("change", [{"crop": 0}, {"size": 0}])
def test_bad_sizes_are_refused(tmp_path, records, change):
  with pytest.raises(ValueError, match="at least 1 pixel"):
    decode.decoded(records, **settings(tmp_path, **change))


def test_device_labels_have_types_that_devices_hold():
  labels = {"fractions": np.array([.1, .2]), "label": np.array([3, 4]), "object": np.array([2**40, 1]),
            "name": np.array(["a", "b"])}
  kept = decode.device_labels(labels, ["fractions", "label"])
  assert {name: values.dtype.name for name, values in kept.items()} == {"fractions": "float32", "label": "int32"}
  np.testing.assert_array_equal(kept["label"], [3, 4])
  for name, reason in (("object", "beyond 32 bits"), ("name", "no device holds"), ("votes", "fractions, label, name")):
    with pytest.raises(ValueError, match=reason):
      decode.device_labels(labels, [name])
