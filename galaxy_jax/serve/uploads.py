"""The images of a request, from its body to pixels, and the reasons why there are none.

A request's body is read into memory, after its length was looked at, and nowhere else: Werkzeug's temporary files are
not used. Whatever a request must not be is one of Werkzeug's exceptions, whose description says what was expected.
"""
import base64
import contextlib
import gzip
import io
import json
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from flask import Request
from PIL import Image
from werkzeug import exceptions

from galaxy_jax import pictures
from galaxy_jax.data.decode import cores
from tfds_builders.errors import DataError
from tfds_builders.fits_files import is_fits
from tfds_builders.fits_images import FitsImage
from tfds_builders.images import ImageError

#: Types of a body that is one image.
IMAGE_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/fits", "application/fits", "application/octet-stream")
# An id may be any text; it is not to be a file of its own.
_ID_LENGTH = 200
# However many requests there are, the memory that decoding takes is that of so many images, and of one large one: deep
# images of LARGE pixels and more take up to 30 bytes for each.
_LARGE = 4 * 10**6
_DECODING, _DECODING_LARGE = threading.BoundedSemaphore(cores()), threading.BoundedSemaphore(1)
# The values of a JSON text take up to forty times its bytes.
_JSON = threading.BoundedSemaphore(1)


class Limits(NamedTuple):
  """What a request may ask for.

  Attributes:
    bytes: of its body.
    images: in it.
    pixels: of one image, however small its file is.
    explained: images in it whose maps are asked for.
    results: of which a table is made.
    together: images that the page puts into a request, so that its first answers come soon.
    seconds: until it is answered.
    waiting: images of all requests that may wait for the device.
  """
  bytes: int = 32 * 2**20
  images: int = 64
  pixels: int = 64 * 10**6
  explained: int = 4
  results: int = 5000
  together: int = 8
  seconds: float = 60.0
  waiting: int = 512


#: Those of a server that is not told others.
USUAL = Limits()


class InMemory(Request):
  """A request whose uploaded files never touch a disk."""

  def _get_file_stream(self, total_content_length, content_type, filename=None, content_length=None):
    return io.BytesIO()


class Upload(NamedTuple):
  """A file: its name, and its bytes."""
  id: str
  data: bytes


def check_length(request: Request, limits: Limits) -> None:
  """Refuses a body by its length, before any of it is read.

  Raises:
    LengthRequired: it does not say how long it is.
    RequestEntityTooLarge: it is longer than the limit.
  """
  if request.content_length is None:
    raise exceptions.LengthRequired("The request has no Content-Length; give one.")
  if request.content_length > limits.bytes:
    raise exceptions.RequestEntityTooLarge(f"The request has {request.content_length} bytes, and {limits.bytes} are "
                                           "the most; send fewer images at a time.")


def read(request: Request, limits: Limits, end: float) -> list[Upload]:
  """The images of a request, in their order.

  Args:
    request: of which the body is read.
    limits: of a request.
    end: when by time.monotonic() to stop.

  Raises:
    HTTPException: 400 without any image or with JSON that is none, 411 and 413 of its length, 413 of too many images,
      415 of a type of body that holds no images, 422 of JSON that is not {"images": [base64, …]}, 503 too late.
  """
  check_length(request, limits)
  if request.mimetype == "multipart/form-data":
    files = ((file.filename or "", file.read()) for file in request.files.getlist("images"))
    uploads = [Upload(name, data) for name, data in files if name or data]
  elif request.mimetype == "application/json":
    with alone(limits, end):
      uploads = [Upload("", data) for data in _of_json(read_json(request, 1000 * limits.images))]
  elif request.mimetype in IMAGE_TYPES:
    data = request.get_data(cache=False)
    uploads = [Upload("image", data)] if data else []
  else:
    raise exceptions.UnsupportedMediaType(
        f"The request's Content-Type is {request.mimetype or 'missing'}; expected multipart/form-data with files in "
        f"the field 'images', application/json, or one image as {', '.join(IMAGE_TYPES)}.")
  if not uploads:
    raise exceptions.BadRequest("The request holds no image; send files in the field 'images'.")
  if len(uploads) > limits.images:
    raise exceptions.RequestEntityTooLarge(f"The request has {len(uploads)} images, and {limits.images} are the most; "
                                           "send fewer at a time.")
  return [Upload(text(upload.id) or str(number), upload.data) for number, upload in enumerate(uploads, 1)]


@contextlib.contextmanager
def alone(limits: Limits, end: float) -> Iterator[None]:
  """What one request at a time does, as the values of a JSON text take much memory.

  Raises:
    ServiceUnavailable: its turn did not come by `end`, of time.monotonic().
  """
  if not _JSON.acquire(timeout=max(0.0, end - time.monotonic())):
    raise late(limits)
  try:
    yield
  finally:
    _JSON.release()


def read_json(request: Request, most: int) -> Any:
  """The JSON of a body.

  Raises:
    BadRequest: it is none.
    RequestEntityTooLarge: it may have more than `most` values.
  """
  data = request.get_data(cache=False)
  # Every value is the first in its brackets, or comes after a comma.
  if sum(map(data.count, (b",", b"[", b"{"))) > most:
    raise exceptions.RequestEntityTooLarge(f"The JSON has more than {most} values; send less at a time.")
  try:
    return json.loads(data)
  except (ValueError, RecursionError) as error:
    reason = "nested too deeply" if isinstance(error, RecursionError) else error
    raise exceptions.BadRequest(f"The request's body is no JSON: {reason}.") from None


def text(name: str) -> str:
  """A name as any table can hold it."""
  return name.encode("utf-8", "replace").decode("utf-8")[:_ID_LENGTH]


def _of_json(body):
  if not isinstance(body, dict) or set(body) != {"images"} or not isinstance(body["images"], list):
    raise exceptions.UnprocessableEntity('The JSON is to be {"images": [base64, …]} and nothing else.')
  for number, item in enumerate(body["images"]):
    try:
      yield base64.b64decode(item, validate=True)
    except (TypeError, ValueError):  # binascii.Error is one
      raise exceptions.UnprocessableEntity(f"images[{number}] is no text in base64.") from None


def decoded(uploads: list[Upload], reader: pictures.DecodesImages, limits: Limits, end: float) -> list[Any]:
  """Decodes uploads.

  Args:
    uploads: the files.
    reader: decodes one.
    limits: of a request.
    end: when by time.monotonic() to stop.

  Returns:
    For each what the reader makes of it, or a sentence on why that is nothing.

  Raises:
    ServiceUnavailable: it was not done in time.
  """
  found = []
  for upload in uploads:
    try:
      free = _DECODING if _count_pixels(upload.data, limits.pixels) < _LARGE else _DECODING_LARGE
      left = end - time.monotonic()
      if left <= 0 or not free.acquire(timeout=left):
        raise late(limits)
      try:
        found.append(_decode(upload, reader, limits.pixels))
      finally:
        free.release()
    except ImageError as error:
      found.append(f"{upload.id} {error}.")
  return found


def late(limits: Limits) -> exceptions.ServiceUnavailable:
  """The refusal of what takes too long."""
  return exceptions.ServiceUnavailable(f"The answer took longer than {limits.seconds:g} s; send fewer images at a "
                                       "time, or try again later.", retry_after=5)


def _decode(upload, reader, limit):
  try:
    if is_fits(upload.data):
      _check_axes(upload.data, limit)
    return pictures.pixels_of(upload.data, upload.id, reader)
  except DataError as error:  # of FITS files, where astropy is not installed
    raise ImageError(f"cannot be read here: {str(error).rstrip('.')}") from None


def _count_pixels(data, limit):
  """How many pixels there are by an image's header, many where only who decodes it can tell; more are refused."""
  if data.startswith(b"\x1f\x8b"):
    _check_packed(data, 8 * limit)
    return max(limit, _LARGE)
  try:
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF")) as image:
      width, height = image.size
  except Image.DecompressionBombError as error:
    raise ImageError(f"is too large to be a galaxy image ({error})") from None
  except Exception:
    return max(limit, _LARGE)
  if width * height > limit:
    raise ImageError(f"has {width} x {height} pixels, more than the {limit} allowed")
  return width * height


def _check_axes(data, limit):
  """Refuses a FITS image by its axes; called by one thread at a time, as astropy's readers need it."""
  try:
    with FitsImage(io.BytesIO(data)) as opened:
      height, width = opened.shape()
  except ImageError:
    return  # who decodes it says it better
  if width * height > limit:
    raise ImageError(f"has {width} x {height} pixels, more than the {limit} allowed")


def _check_packed(data, limit):
  """Unpacks a gzip file, keeping nothing, until it is larger than any image may be."""
  try:
    with gzip.open(io.BytesIO(data)) as packed:
      size = 0
      while part := packed.read(1 << 20):
        size += len(part)
        if size > limit:
          raise ImageError(f"unpacks to more than {limit} bytes")
  except (OSError, EOFError, zlib.error):
    return
