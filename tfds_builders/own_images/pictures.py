"""A galaxy's image: found below the survey's folder, checked, and as the bytes that are stored.

JPEG and PNG files of 8 bits are stored as they are. Of all else, FITS, TIFF, deep or transparent PNG and cut-outs, an
8-bit RGB PNG is made, without loss after the scaling.
"""
import collections
import functools
import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfds_builders.fits_files import is_fits
from tfds_builders.fits_images import FitsImage
from tfds_builders.images import ImageError, check_jpeg, decode_numbers, encode_png, load_rgb, open_image
from tfds_builders.own_images.settings import Cutout, ImageSettings
from tfds_builders.scaling import Scaling, missing_pixels, to_rgb

#: Files opened at once: of cut-outs several lie in one field, of three bands.
_OPEN = 12
#: Bytes of a file that is decoded whole.
_LARGEST = 1 << 30
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class Recipe(NamedTuple):
  """How a survey's images are made.

  Attributes:
    image, scaling, cutout: the settings of these names.
  """
  image: ImageSettings
  scaling: Scaling
  cutout: Cutout | None


class Picture(NamedTuple):
  """Where a galaxy's image is.

  Attributes:
    files: one path, or three: red, green, blue.
    position: of a cut-out: x and y in pixels from 0, or ra and dec in degrees; else None.
  """
  files: tuple[str, ...]
  position: tuple[float, float] | None = None


class Checked(NamedTuple):
  """What is known of an image before it is stored.

  Attributes:
    stored_as_is: whether it is the file's bytes.
    nan_pixels: how many pixels were filled.
    size: about how many bytes.
  """
  stored_as_is: bool
  nan_pixels: int
  size: int


def locate(folder: Path, path: str, *, allow_outside: bool) -> tuple[str, int]:
  """The absolute path and the size of a file, which is named relative to the survey's folder.

  Raises:
    ImageError: it is not there, no file, or outside the folder.
  """
  if not allow_outside and os.path.isabs(path):
    raise ImageError("is an absolute path; paths are relative to the folder of the settings, unless allow_outside = "
                     "true")
  try:
    found = Path(folder, path).resolve(strict=True)
    if not found.is_file():
      raise ImageError("is no file")
    if not allow_outside and not found.is_relative_to(_real(folder)):
      raise ImageError("lies outside the folder, through .. or a symbolic link; allow_outside = true takes it all the "
                       "same")
    return str(found), found.stat().st_size
  except (FileNotFoundError, NotADirectoryError):
    raise ImageError("is not there") from None
  except ImageError:
    raise
  except (OSError, RuntimeError, ValueError) as error:  # A loop of links, a name too long, a null byte.
    raise ImageError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


@functools.lru_cache(maxsize=8)
def _real(folder):
  return folder.resolve()


class Files:
  """Opened image files, the last few of which stay open. A context manager."""

  def __init__(self):
    self._open = collections.OrderedDict()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    while self._open:
      self._close(self._open.popitem()[1])

  def get(self, path: str) -> FitsImage | np.ndarray:
    """A FITS file opened, or the numbers of another (`images.decode_numbers`); raises ImageError."""
    if path not in self._open:
      self._open[path] = FitsImage(path) if is_fits(_read(path, 16)) else decode_numbers(_read(path))
      if len(self._open) > _OPEN:
        self._close(self._open.popitem(last=False)[1])
    self._open.move_to_end(path)
    return self._open[path]

  @staticmethod
  def _close(opened):
    if isinstance(opened, FitsImage):
      opened.close()


def check(picture: Picture, recipe: Recipe, files: Files) -> Checked:
  """Reads an image and looks whether it can be stored; raises ImageError."""
  data = _published(picture, recipe)
  if data is not None:
    return Checked(True, 0, len(data))
  pixels, missing = _pixels(picture, recipe, files)
  return Checked(False, missing, 2 * pixels[0].size)


def stored(picture: Picture, recipe: Recipe, files: Files) -> tuple[bytes, int]:
  """The bytes that are stored of an image that `check` has passed, and its `nan_pixels`; raises ImageError."""
  data = _published(picture, recipe, whole=False)
  if data is not None:
    return data, 0
  bands, missing = _pixels(picture, recipe, files)
  return encode_png(_colours(bands, recipe)), missing


def _colours(bands, recipe):
  if bands[0].ndim == 3:
    return np.ascontiguousarray(bands[0])
  if len(bands) == 1 and bands[0].dtype == np.uint8:
    return np.stack(bands * 3, axis=-1)
  return to_rgb(bands, recipe.scaling)


def _published(picture, recipe, *, whole=True):
  """The file's bytes where they are stored as they are, else None; `whole`: they are checked."""
  if recipe.cutout is not None or recipe.image.bands > 1:
    return None
  path, = picture.files
  head = _read(path, 16)
  if not head.startswith((_JPEG, _PNG)):
    return None
  data = _read(path)
  if head.startswith(_PNG) and data[24:26] == b"\x10\0":
    return None  # Grey of 16 bits. Of colours with as many, every reader takes the upper eight.
  if head.startswith(_PNG) and (data[25:26] in b"\4\6" or b"tRNS" in data[:max(0, data.find(b"IDAT"))]):
    return None  # Transparent: readers would give four channels.
  if whole and head.startswith(_JPEG):
    check_jpeg(data)
  elif whole:
    load_rgb(open_image(data))
  return data


def _pixels(picture, recipe, files):
  """The bands of the image, or one array of its colours, as rows from the top; and how many pixels are missing."""
  image, bands, window, outside = recipe.image, [], None, 0
  for number in range(image.bands):
    file, hdu, plane = (values[min(number, len(values) - 1)] for values in (picture.files, image.hdu, image.plane))
    opened = files.get(file)
    is_field = isinstance(opened, FitsImage)
    if not is_field and (hdu is not None or plane is not None):
      raise ImageError("is no FITS file, but [image] has an hdu or a plane of one")
    shape = opened.shape(hdu, plane) if is_field else opened.shape[:2]
    if number == 0:
      first = shape
      window = None if recipe.cutout is None else _window(picture, recipe.cutout, opened, hdu, plane, shape)
    elif shape != first:
      raise ImageError(f"has {shape[1]} x {shape[0]} pixels, the first band {first[1]} x {first[0]}; bands must have "
                       "the same")
    inner, padding = (None, None) if window is None else _within(window, shape)
    if is_field:
      band = opened.pixels(hdu, plane, inner)
    else:
      band = opened if inner is None else opened[inner]
    if band.ndim == 3 and image.bands > 1:
      raise ImageError("is in colour; each of three bands must be in grey")
    if padding is not None and any(map(any, padding)):
      blank = np.nan if band.dtype.kind == "f" else 0
      outside = window[2] ** 2 - band.shape[0] * band.shape[1]
      band = np.pad(band, padding + ((0, 0),) * (band.ndim - 2), constant_values=blank)
    bands.append(band[::-1] if is_field and image.origin == "lower" else band)
  for band in bands:
    if band.dtype.kind == "f" and not np.isfinite(band).any():
      raise ImageError("has no pixel that is a number: all are NaN or infinite")
  return bands, max(outside, missing_pixels(bands)) if bands[0].ndim == 2 else outside


def _window(picture, cutout, opened, hdu, plane, shape):
  """(first row, first column, side) of the cut-out, in the order of the file's rows; raises ImageError."""
  is_field = isinstance(opened, FitsImage)
  if not is_field and (cutout.ra is not None or cutout.size_arcsec is not None):
    raise ImageError("is no FITS file: without its coordinates (WCS) cut-outs need x, y and size in pixels")
  if cutout.ra is not None:
    x, y = opened.position(*picture.position, hdu, plane)
  else:
    x, y = (value - cutout.first_pixel for value in picture.position)
  side = cutout.size
  if side is None:
    side = max(1, round(cutout.size_arcsec / opened.pixel_scale(hdu, plane)))
    if side > 8192:
      raise ImageError(f"would be cut to {side} pixels, which is too large; mend [cutout] size_arcsec")
  column, row = (math.floor(value - (side - 1) / 2 + 0.5) for value in (x, y))
  height, width = shape
  reaches_out = column < 0 or row < 0 or column + side > width or row + side > height
  if column + side <= 0 or row + side <= 0 or column >= width or row >= height or (
      reaches_out and cutout.edge == "error"):
    raise ImageError(f"has {width} x {height} pixels; a cut-out of {side} around x {x:.1f}, y {y:.1f} (from 0) reaches "
                     "beyond them" + (": give another size, or fill what is outside: [cutout] edge = \"fill\""
                                      if cutout.edge == "error" else " wholly"))
  return row, column, side


def _within(window, shape):
  """The part of a window that is in the image, as slices, and what is missing before and after it."""
  slices, padding = [], []
  for start, length in zip(window[:2], shape, strict=True):
    low, high = max(0, start), min(length, start + window[2])
    slices.append(slice(low, high))
    padding.append((low - start, start + window[2] - high))
  return tuple(slices), tuple(padding)


def _read(path, count=None):
  """The first bytes of a file, or all; raises ImageError."""
  try:
    with open(path, "rb") as file:
      if count is not None:
        return file.read(count)
      if (size := os.fstat(file.fileno()).st_size) > _LARGEST:
        raise ImageError(f"has {size >> 20} MiB, which is too large for an image")
      return file.read()
  except OSError as error:
    raise ImageError(f"cannot be read ({error.strerror})") from None
