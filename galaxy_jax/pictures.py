"""An image file's bytes, whatever astronomers keep their images in, as the pixels that a model takes."""
import io
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tfds_builders.fits_files import is_fits
from tfds_builders.fits_images import FitsImage
from tfds_builders.images import ImageError, decode_numbers, encode_png
from tfds_builders.scaling import Scaling, to_rgb

#: How files end that are read as FITS even where they do not begin so.
FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fz")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_ASTROPY = threading.Lock()  # its readers change the warnings of the whole process while they read


class DecodesImages(Protocol):
  """A model, of which no more is needed here than `decode`."""

  def decode(self, data: bytes) -> np.ndarray:
    """The bytes of a JPEG or PNG file as the model takes them; raises ImageError."""


def pixels_of(data: bytes, name: str, model: DecodesImages, planes: Sequence[int] = ()) -> np.ndarray:
  """An image file's bytes as a model takes them.

  JPEG and PNG are decoded as in training. What is no picture yet, FITS and deep TIFF or PNG, is made one as the builder
  own_images makes it by default: one plane by an asinh between its percentiles, three by Lupton's scaling.

  Args:
    data: the bytes of a JPEG, PNG, TIFF or FITS file, the last maybe compressed.
    name: the file's, whose ending says whether FITS was meant.
    model: cuts and scales them, see predictor.Predictor.decode.
    planes: of a FITS cube: see check_planes.

  Returns:
    (size, size, 3) uint8.

  Raises:
    ImageError: they are no usable image.
    DataError: a FITS file, and astropy is not installed.
  """
  if data.startswith(_JPEG) or (data.startswith(_PNG) and data[24:26] != b"\x10\0"):  # grey of 16 bits is numbers
    return model.decode(data)
  if is_fits(data) or name.lower().endswith(FITS_ENDINGS):
    bands = _fits_bands(data, planes)
  else:
    bands = [decode_numbers(data)]
  if bands[0].ndim == 3:
    colours = np.ascontiguousarray(bands[0])
  elif bands[0].dtype == np.uint8:
    colours = np.stack(bands * 3, axis=-1)
  elif not any(np.isfinite(band).any() for band in bands):
    raise ImageError("has no pixel that is a number: all are NaN or infinite")
  else:
    colours = to_rgb(bands, Scaling())
  return model.decode(encode_png(colours))


def check_planes(planes: Sequence[int]) -> None:
  """Raises ValueError where these are not the planes of a FITS cube, from 0, to be red, green and blue, or a grey one.

  None at all is right as well: for images that are no cubes.
  """
  if len(planes) not in (0, 1, 3) or not all(isinstance(plane, (int, np.integer)) and plane >= 0 for plane in planes):
    raise ValueError(f"The planes are {','.join(map(str, planes))}; expected the numbers, from 0, of three planes, "
                     "red, green and blue, or of one.")


def parse_planes(texts: Sequence[str] | None) -> tuple[int, ...]:
  """The planes that a flag names; raises ValueError as `check_planes`."""
  planes = tuple(int(text) if text.isdecimal() else text for text in texts or ())
  check_planes(planes)
  return planes


def _fits_bands(data, planes):
  """One plane or three of a FITS file, the rows from the top."""
  with _ASTROPY, FitsImage(io.BytesIO(data)) as opened:
    try:
      bands = [opened.pixels(plane=plane) for plane in planes or (None,)]
    except ImageError as error:  # the builder's remedy is a line of its settings
      raise ImageError(str(error).replace("plane = …", "planes 2,1,0 make the third red and the first blue")) from None
  return [band[::-1] for band in bands]
