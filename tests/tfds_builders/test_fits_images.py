"""The FITS reader against the numbers that were written, and its refusals."""
import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfds_builders.fits_images import FitsImage
from tfds_builders.images import ImageError

fits = pytest.importorskip("astropy.io.fits", reason="FITS files need astropy: pip install 'galaxy_jax[survey]'")


def written(*hdus) -> bytes:
  """The bytes of a FITS file; arrays become image HDUs, the first one the primary."""
  hdus = [hdu if not isinstance(hdu, np.ndarray) else (fits.ImageHDU if number else fits.PrimaryHDU)(hdu)
          for number, hdu in enumerate(hdus)]
  file = io.BytesIO()
  fits.HDUList(hdus).writeto(file)
  return file.getvalue()


def pixels(data: bytes, *arguments) -> np.ndarray:
  with FitsImage(io.BytesIO(data)) as image:
    return image.pixels(*arguments)


PICTURE = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_numbers_come_back(dtype, tmp_path):
  picture = PICTURE.astype(dtype)
  found = pixels(written(picture))
  assert found.dtype in (np.float32, np.float64) and found.dtype.isnative
  np.testing.assert_array_equal(found, picture)
  (tmp_path / "a.fits").write_bytes(written(picture))
  with FitsImage(str(tmp_path / "a.fits")) as image:
    np.testing.assert_array_equal(image.pixels(), picture)
    np.testing.assert_array_equal(image.pixels(None, None, (slice(1, 3), slice(0, 2))), picture[1:3, 0:2])


def test_compressed_files_are_read():
  np.testing.assert_array_equal(pixels(gzip.compress(written(PICTURE))), PICTURE)
  smooth = np.arange(64 * 64, dtype=np.int32).reshape(64, 64)
  data = written(fits.PrimaryHDU(), fits.CompImageHDU(smooth, compression_type="RICE_1"))
  np.testing.assert_array_equal(pixels(data), smooth)
  np.testing.assert_array_equal(pixels(data, 1, None, (slice(3, 9), slice(60, 64))), smooth[3:9, 60:64])


def test_blank_and_scaled_integers():
  hdu = fits.PrimaryHDU(np.arange(12, dtype=np.int16).reshape(3, 4))
  hdu.header["BLANK"] = 5
  raw = hdu.header.tostring().encode() + np.arange(12, dtype=">i2").tobytes().ljust(2880, b"\0")
  found = pixels(raw)
  assert np.isnan(found[1, 1]) and np.isfinite(found).sum() == 11
  hdu.header["BSCALE"], hdu.header["BZERO"] = 2.0, 1.0
  raw = hdu.header.tostring().encode() + np.arange(12, dtype=">i2").tobytes().ljust(2880, b"\0")
  np.testing.assert_array_equal(pixels(raw)[0], [1, 3, 5, 7])
  assert np.isnan(pixels(raw)[1, 1])


def test_hdus_and_planes():
  cube = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
  data = written(fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])]),
                 fits.ImageHDU(PICTURE, name="SCI"), cube, cube[None, :1])
  np.testing.assert_array_equal(pixels(data), PICTURE)  # The first with an image.
  np.testing.assert_array_equal(pixels(data, "SCI"), PICTURE)
  np.testing.assert_array_equal(pixels(data, 3, 1), cube[1])
  np.testing.assert_array_equal(pixels(data, 4), cube[0])  # Axes of one pixel are none.
  for arguments, reason in (((3,), "cube of 2 planes"), ((3, 2), "no plane 2"), ((9,), "no HDU 9"),
                            (("sci2",), "no HDU 'sci2'"), ((0,), "no image in HDU 0"), ((1,), "no image in HDU 1")):
    with pytest.raises(ImageError, match=reason):
      pixels(data, *arguments)


@pytest.mark.parametrize("data,reason", [
    (b"", "is no FITS file"), (b"<html>", "is no FITS file"), (b"SIMPLE  = ", "FITS|image"),
    (b"\x1f\x8b\x08garbage", "FITS"), (gzip.compress(b"hello"), "is no FITS file"),
    (written(PICTURE)[:2880], "truncated"), (written(np.zeros((200, 200)))[:-2880 * 50], "truncated"),
    (written(fits.PrimaryHDU()), "has no image"), (written(np.zeros((0, 3))), "has no image")],
    ids=["empty", "a web page", "nine bytes", "no gzip", "no FITS in it", "no data", "half the data", "no image",
         "no pixel"])
def test_refuses_what_is_no_whole_image(data, reason, tmp_path):
  with pytest.raises(ImageError, match=reason):
    pixels(data)
  (tmp_path / "a.fits").write_bytes(data)
  with pytest.raises(ImageError, match=reason), FitsImage(str(tmp_path / "a.fits")) as image:
    image.pixels()


def test_bombs_are_refused_before_they_are_read(monkeypatch):
  claims = fits.PrimaryHDU(np.zeros((2, 2), np.float32))
  header = claims.header.tostring().replace(f"NAXIS1  ={2:>21}", f"NAXIS1  ={9_000_000_000:>21}")
  with pytest.raises(ImageError, match=r"more than the \d+ allowed"):
    pixels(header.encode() + bytes(2880))
  monkeypatch.setattr("tfds_builders.fits_files.LARGEST_UNPACKED", 5000)
  with pytest.raises(ImageError, match="unpacks to more"):
    pixels(gzip.compress(bytes(6000)))
  for count in (1000, -1, 10**12, 1e30):
    with pytest.raises(ImageError, match="NAXIS is"):
      pixels(SOUND.replace(f"NAXIS   ={2:>21}".encode(), f"NAXIS   ={count!s:>21}".encode(), 1))
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)
  with pytest.raises(ImageError, match="more than the 11 allowed"):
    pixels(written(PICTURE))
  assert pixels(written(PICTURE), None, None, (slice(0, 2), slice(0, 4))).shape == (2, 4)


def field() -> fits.PrimaryHDU:
  """100 x 80 pixels of 0.5 arcsec around ra 150, dec 2: north up, east left."""
  hdu = fits.PrimaryHDU(np.zeros((80, 100), np.float32))
  hdu.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 50.5,
                     "CRPIX2": 40.5, "CD1_1": -0.5 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.5 / 3600})
  return hdu


def test_positions_on_the_sky():
  with FitsImage(io.BytesIO(written(field()))) as image:
    assert image.pixel_scale() == pytest.approx(0.5)
    assert image.position(150.0, 2.0) == pytest.approx((49.5, 39.5))  # CRPIX counts from 1.
    x, y = image.position(150.0 + 5 / 3600 / np.cos(np.radians(2)), 2.0 + 10 / 3600)
    assert (x, y) == pytest.approx((39.5, 59.5), abs=1e-3)  # 5 arcsec east is left, 10 north is up.
    with pytest.raises(ImageError, match="no pixel"):
      image.position(330.0, -2.0)  # The other side of the sky.
  with FitsImage(io.BytesIO(written(PICTURE))) as image, pytest.raises(ImageError, match="no coordinates"):
    image.position(150.0, 2.0)


SOUND = written(field(), PICTURE)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2879), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4),
       st.integers(0, len(SOUND)))
def test_damaged_headers_raise_nothing_else(changes, cut):
  data = bytearray(SOUND)
  for start, bytes_ in changes:
    data[start:start + len(bytes_)] = bytes_
  try:
    with FitsImage(io.BytesIO(bytes(data[:cut] if cut % 2 else data))) as image:
      image.pixels()
      image.position(150.0, 2.0)
      image.pixel_scale()
  except ImageError:
    pass


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "CRVAL1", "CD1_1", "CTYPE1", "BSCALE", "BLANK",
                        "GCOUNT"]),
       st.one_of(st.integers(-10**12, 10**12), st.floats(), st.sampled_from(["T", "''", "'RA'", "", "(1, 2)"])))
def test_wrong_values_raise_nothing_else(keyword, value):
  card = f"{keyword:<8}= {value!s:>20}".ljust(80)[:80]
  start = SOUND.find(f"{keyword:<8}=".encode())
  data = SOUND[:start] + card.encode() + SOUND[start + 80:] if start >= 0 else card.encode() + SOUND
  try:
    with FitsImage(io.BytesIO(data)) as image:
      image.pixels()
      image.position(150.0, 2.0)
  except ImageError:
    pass
