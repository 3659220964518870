"""The image reader against Pillow itself, and its refusals."""
import io

import numpy as np
import pytest
from PIL import Image

from tfds_builders.images import ImageError, check_jpeg, decode, decode_numbers, encode_png


def encoded(image: Image.Image, format: str) -> bytes:
  file = io.BytesIO()
  image.save(file, format)
  return file.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (424, 300)) -> Image.Image:
  """A smooth picture, (width, height)."""
  pixels = np.random.default_rng(0).integers(0, 255, (5, 5, 3), dtype=np.uint8)
  return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_decode_gives_pillows_pixels(format):
  data = encoded(picture(), format)
  pixels = decode(data)
  assert pixels.shape == (300, 424, 3) and pixels.dtype == np.uint8
  np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode,format", [("L", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG")])
def test_decode_makes_three_channels(mode, format):
  assert decode(encoded(picture(mode), format)).shape == (300, 424, 3)


def test_decode_drops_transparency():
  image = picture()
  image.putalpha(0)
  np.testing.assert_array_equal(decode(encoded(image, "PNG")), np.asarray(picture()))


@pytest.mark.parametrize("at_least,expected", [(300, (300, 424)), (151, (300, 424)), (150, (150, 212)), (75, (75, 106)),
                                               (1, (38, 53)), ((75, 213), (300, 424)), ((75, 106), (75, 106))])
def test_decode_at_reduced_scale_is_never_smaller_than_asked(at_least, expected):
  assert decode(encoded(picture(), "JPEG"), at_least=at_least).shape[:2] == expected


def test_decode_at_half_scale_is_the_mean_of_two_by_two():
  data = encoded(picture(), "JPEG")
  means = decode(data).reshape(150, 2, 212, 2, 3).mean((1, 3))
  assert np.abs(decode(data, at_least=150) - means).mean() < 1


def test_decode_refuses_sixteen_bits():
  data = encoded(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "PNG")
  with pytest.raises(ImageError, match="8 bits"):
    decode(data)


def test_check_jpeg_accepts_colour_and_greyscale():
  check_jpeg(encoded(picture(), "JPEG"))
  check_jpeg(encoded(picture("L"), "JPEG"))


@pytest.mark.parametrize("cut", [1, 2, 3, 10, 100, 1000])
def test_check_jpeg_finds_any_truncation(cut):
  data = encoded(picture(), "JPEG")
  with pytest.raises(ImageError, match="truncated"):
    check_jpeg(data[:-cut])


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff", encoded(picture(), "PNG")],
                         ids=["empty", "a web page", "three bytes", "a PNG"])
def test_check_jpeg_refuses_what_is_no_jpeg(data):
  with pytest.raises(ImageError):
    check_jpeg(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("read", [check_jpeg, decode])
def test_a_header_that_claims_too_many_pixels_is_refused(read, monkeypatch):
  data = encoded(picture(), "JPEG")
  for limit in (424 * 300 // 2 - 1, 424 * 300 - 1):  # Pillow raises at twice its limit, and only warns before.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=r"large|pixels"):
      read(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_decode_numbers_gives_a_tiff_files_own(dtype):
  numbers = (np.arange(12).reshape(3, 4) * 11).astype(dtype)
  found = decode_numbers(encoded(Image.fromarray(numbers), "TIFF"))
  assert found.dtype == dtype
  np.testing.assert_array_equal(found, numbers)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_decode_numbers_gives_colours(format):
  data = encoded(picture(), format)
  np.testing.assert_array_equal(decode_numbers(data), np.asarray(Image.open(io.BytesIO(data))))


def test_decode_numbers_refuses_damaged_files():
  data = encoded(picture(), "TIFF")
  for spoilt in (b"", b"II*\0", data[:100], data[:-20_000]):
    with pytest.raises(ImageError):
      decode_numbers(spoilt)


def test_encode_png_is_lossless():
  pixels = np.asarray(picture())
  np.testing.assert_array_equal(decode(encode_png(pixels)), pixels)
