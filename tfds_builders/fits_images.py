"""The one reader of FITS images: a plane of pixels, or a part of it, and where in it a position on the sky is.

Arrays come as the file has them: row 0 is the bottom of the picture (the standard's own convention, Pence et al. 2010,
A&A 524, A42), and so are pixel coordinates, from 0. Who makes a picture turns the rows over.
"""
import math
from typing import BinaryIO

import numpy as np
from PIL import Image

from tfds_builders import extras
from tfds_builders.fits_files import FitsError, FitsFile, quiet, reason
from tfds_builders.images import ImageError


class FitsImage:
  """An opened FITS file. A context manager: closes what it opened.

  Of an uncompressed file no more is read than is asked for: a part of a large field costs its own rows.
  """

  def __init__(self, file: str | BinaryIO):
    """Opens it.

    Args:
      file: its path, or a seekable file object. It may be compressed with gzip.

    Raises:
      ImageError: no FITS file, or a damaged one.
      DataError: astropy is not installed.
    """
    self._wcs = {}
    try:
      self._file = FitsFile(file)
    except FitsError as error:
      raise ImageError(str(error)) from None
    self._compressed = self._file.astropy.CompImageHDU

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def shape(self, hdu: int | str | None = None, plane: int | None = None) -> tuple[int, int]:
    """(height, width) in pixels of a plane, as `pixels` takes them; raises ImageError."""
    return self._find(hdu, plane)[1]

  def pixels(self, hdu: int | str | None = None, plane: int | None = None,
             window: tuple[slice, slice] | None = None) -> np.ndarray:
    """The numbers of a plane, or of a part of it.

    Args:
      hdu: the HDU's number, 0 being the first, or its name; None: the first with an image.
      plane: which plane of a cube, from 0; None: the only one.
      window: rows and columns to read, within the image; None: all.

    Returns:
      (H, W) float32 or float64, the first row being the lowest; NaN where the file says that there is no number.

    Raises:
      ImageError: no such image, or one that is truncated, damaged or absurdly large.
    """
    image, (height, width), leading = self._find(hdu, plane)
    rows, columns = window or (slice(0, height), slice(0, width))
    number = (rows.stop - rows.start) * (columns.stop - columns.start)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and number > limit:
      raise ImageError(f"has {width} x {height} pixels, more than the {limit} allowed; cut-outs of it can be read")
    # Tiles of a compressed image are unpacked whole.
    tile = math.prod(getattr(image, "tile_shape", ())) if isinstance(image, self._compressed) else 0
    if limit is not None and tile > limit:
      raise ImageError(f"is compressed in tiles of {tile} pixels, more than the {limit} allowed")
    try:
      with quiet():
        # Whole rows, which lie together, are one read; astropy would make one of each part of a row.
        read = columns if isinstance(image, self._compressed) else slice(0, width)
        data = np.asarray(image.section[(*leading, rows, read)])
        if read != columns and data.shape[1:] == (width,):
          data = data[:, columns]
      exact = np.float32 if data.dtype.itemsize <= 2 or data.dtype.str[1:] == "f4" else np.float64
      data = data.astype(exact)
    except Exception as error:  # TypeError or ValueError where truncated, else whatever the header leads to.
      raise ImageError(f"cannot be read: it is truncated or damaged ({reason(error)})") from None
    if data.shape != (rows.stop - rows.start, columns.stop - columns.start):
      raise ImageError(f"is truncated: {data.shape} of {width} x {height} pixels are there")
    return data

  def position(self, ra: float, dec: float, hdu: int | str | None = None,
               plane: int | None = None) -> tuple[float, float]:
    """Where a position on the sky (ICRS, degrees) is: (x, y) in pixels from 0; raises ImageError."""
    coordinates = extras.load("astropy.coordinates", extra="survey", purpose="A position on the sky")
    wcs = self._celestial(hdu, plane)
    try:
      with quiet():
        x, y = wcs.world_to_pixel(coordinates.SkyCoord(ra, dec, unit="deg", frame="icrs"))
    except Exception as error:  # NoConvergence, ValueError, … .
      raise ImageError(f"has no pixel for ra {ra}, dec {dec} ({reason(error)})") from None
    if not (np.isfinite(x) and np.isfinite(y)):
      raise ImageError(f"has no pixel for ra {ra}, dec {dec}")
    return float(x), float(y)

  def pixel_scale(self, hdu: int | str | None = None, plane: int | None = None) -> float:
    """Arcseconds per pixel: the root of a pixel's area; raises ImageError."""
    utils = extras.load("astropy.wcs.utils", extra="survey", purpose="A size on the sky")
    try:
      scale = 3600 * float(np.sqrt(utils.proj_plane_pixel_area(self._celestial(hdu, plane))))
    except ImageError:
      raise
    except Exception as error:
      raise ImageError(f"has no scale on the sky ({reason(error)})") from None
    if not (np.isfinite(scale) and scale > 0):
      raise ImageError(f"has a pixel scale of {scale} arcsec")
    return scale

  def _find(self, hdu, plane):
    """The HDU, the (height, width) of its planes, and the index of the plane before them."""
    try:
      image = next(filter(_shape, self._file.hdus()), None) if hdu is None else self._file.hdu(hdu)
    except FitsError as error:
      raise ImageError(str(error)) from None
    if image is None:
      raise ImageError("has no image")
    shape = _shape(image)
    if not shape:
      raise ImageError(f"has no image in HDU {hdu!r}")
    # Axes of one pixel, such as a frequency, say nothing.
    cube = [size for size in shape[:-2] if size > 1]
    if len(cube) > 1:
      raise ImageError(f"has an image of {len(cube) + 2} axes, {' x '.join(map(str, shape[::-1]))}; 2 or 3 were "
                       "expected")
    if cube and plane is None:
      raise ImageError(f"has a cube of {cube[0]} planes; say which to take: plane = …")
    planes = cube[0] if cube else 1
    if plane is not None and not 0 <= plane < planes:
      raise ImageError(f"has {planes} plane{'s' * (planes > 1)}; there is no plane {plane} (they count from 0)")
    return image, shape[-2:], tuple(0 if size == 1 else plane for size in shape[:-2])

  def _celestial(self, hdu, plane):
    image = self._find(hdu, plane)[0]
    if id(image) not in self._wcs:
      wcs = extras.load("astropy.wcs", extra="survey", purpose="A position on the sky")
      try:
        with quiet():
          celestial = wcs.WCS(image.header).celestial
      except Exception as error:
        raise ImageError(f"has no usable coordinates ({reason(error)})") from None
      if not celestial.has_celestial:
        raise ImageError("has no coordinates on the sky (WCS)")
      self._wcs[id(image)] = celestial
    return self._wcs[id(image)]


def _shape(hdu) -> tuple[int, ...]:
  """The axes of an image of pixels, the slowest first; empty where it is none."""
  try:
    with quiet():
      shape = tuple(map(int, hdu.shape)) if hdu.is_image else ()
  except Exception:  # A damaged header has no shape that can be made out.
    return ()
  return shape if len(shape) >= 2 and min(shape) > 0 else ()
