"""The one reader of image files: JPEG, PNG and TIFF, through Pillow. FITS is read by `fits_images`.

`decode` gives pixels, `check_jpeg` only says whether a JPEG is whole, `decode_numbers` gives TIFF and deep PNG files'
numbers as they are, which `scaling` makes colours of. None corrects orientation or colour: survey cutouts carry no such
tags, and an image is used as it was published.
"""
import io
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

#: Modes whose values are 8-bit and that convert to RGB without loss of range.
_EIGHT_BIT_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"))

#: Modes of numbers with more bits, or a fraction.
_NUMBER_MODES = frozenset(("I", "I;16", "I;16L", "I;16B", "I;16N", "F"))


class ImageError(ValueError):
  """Bytes that are no usable image; the message is the reason, to follow the name of the file."""


def _open(data: bytes, formats: tuple[str, ...]) -> Image.Image:
  """Opens an image of one of the formats without decoding it; raises ImageError."""
  try:
    image = Image.open(io.BytesIO(data), formats=formats)
  except UnidentifiedImageError:
    head = data[:8].hex(" ") or "nothing"
    raise ImageError(f"is no {' or '.join(formats)} image ({len(data)} bytes, which begin with {head})") from None
  except Image.DecompressionBombError as error:
    raise ImageError(f"is too large to be a galaxy image ({error})") from None
  except Exception as error:  # A damaged header surfaces as OSError, SyntaxError, struct.error, … .
    raise ImageError(f"has a damaged header ({error})") from None
  # Pillow only warns between one and two times its limit; one limit is enough.
  limit = Image.MAX_IMAGE_PIXELS
  if limit is not None and image.width * image.height > limit:
    raise ImageError(f"has {image.width} x {image.height} pixels, more than the {limit} allowed")
  return image


def _load(image: Image.Image) -> None:
  """Decodes an opened image; raises ImageError."""
  try:
    image.load()
  except Exception as error:  # OSError where truncated, else whatever the decoder raises.
    raise ImageError(f"cannot be decoded ({error})") from None


def open_image(data: bytes) -> Image.Image:
  """Opens a JPEG or PNG file without decoding it: its size is known, and a `draft` may still be asked for.

  Raises:
    ImageError: not a JPEG or PNG, a damaged header, more than 8 bits a channel, or absurdly large.
  """
  image = _open(data, ("JPEG", "PNG"))
  if image.mode not in _EIGHT_BIT_MODES:
    raise ImageError(f"has pixels of Pillow's mode {image.mode!r}; 8 bits a channel were expected")
  return image


def load_rgb(image: Image.Image) -> Image.Image:
  """Decodes what `open_image` opened, as RGB; greyscale is repeated, transparency dropped.

  Raises:
    ImageError: truncated or damaged.
  """
  _load(image)
  return image if image.mode == "RGB" else image.convert("RGB")


def decode(data: bytes, *, at_least: int | tuple[int, int] | None = None) -> np.ndarray:
  """Decodes a JPEG or PNG file.

  Args:
    data: the bytes of the file.
    at_least: (height, width) in pixels, or one number for both. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
      the smallest that is still at least this large in both directions; that is several times faster than decoding
      all of it, and each pixel is about the mean of those it stands for. None: full size.

  Returns:
    (H, W, 3) uint8, read-only. Greyscale is repeated over the channels, transparency is dropped.

  Raises:
    ImageError: not a JPEG or PNG, truncated, damaged, of more than 8 bits a channel, or absurdly large.
  """
  image = open_image(data)
  if at_least is not None:
    height, width = (at_least, at_least) if isinstance(at_least, int) else at_least
    image.draft(None, (max(1, width), max(1, height)))
  return np.asarray(load_rgb(image))


def decode_numbers(data: bytes) -> np.ndarray:
  """Decodes a JPEG, PNG or TIFF file of any depth; of a TIFF file's pages the first.

  Returns:
    (H, W, 3) uint8 where it is in colour, else (H, W) numbers of the file's own type: uint8, uint16, int32 or float32.
    Of colours with 16 bits a channel the upper 8 are taken; transparency is dropped.

  Raises:
    ImageError: no such file, truncated, damaged, or absurdly large.
  """
  image = _open(data, ("JPEG", "PNG", "TIFF"))
  if image.mode in ("1", "L"):
    _load(image)
    return np.asarray(image.convert("L"))
  if image.mode in _EIGHT_BIT_MODES:
    return np.asarray(load_rgb(image))
  if image.mode not in _NUMBER_MODES:
    raise ImageError(f"has pixels of Pillow's mode {image.mode!r}; colours, or numbers of 8, 16 or 32 bits were "
                     "expected")
  _load(image)
  return np.asarray(image)


def encode_png(pixels: np.ndarray) -> bytes:
  """The PNG file, lossless, of (H, W, 3) uint8; other threads run meanwhile."""
  file = io.BytesIO()
  # After PNG's filters little repeats but runs: as small as zlib's level 4, up to 1 % aside, in 60 % of its time.
  Image.fromarray(pixels).save(file, "PNG", compress_type=zlib.Z_RLE)
  return file.getvalue()


def check_jpeg(data: bytes) -> None:
  """Checks that the bytes are a whole, decodable colour or greyscale JPEG.

  All compressed data are read, but pixels are only made at 1/8 of the size: about six times faster than decoding.

  Args:
    data: the bytes of the file.

  Raises:
    ImageError: not a JPEG, truncated, damaged, not 8-bit colour or greyscale, or absurdly large.
  """
  image = _open(data, ("JPEG",))
  if image.mode not in ("RGB", "L"):
    raise ImageError(f"has pixels of Pillow's mode {image.mode!r}; colour (RGB) or greyscale (L) was expected")
  image.draft(None, (1, 1))
  _load(image)
  # The decoder is content when only the end marker, or half of it, is cut off.
  if data.rfind(b"\xff\xd9") < 0:
    raise ImageError("is truncated (the end marker is missing)")
