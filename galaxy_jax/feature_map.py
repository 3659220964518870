"""Pictures of galaxies from a table of features: thumbnails, a sheet of a few, and a map of many.

The map is one HTML page that needs nothing but itself. The galaxies lie where two coordinates put them, as thumbnails
on a canvas that can be zoomed and moved; all thumbnails are one embedded JPEG. The page is `feature_map.html`, into
which `write_map` puts what is on the map.
"""
import base64
import io
import json
import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from galaxy_jax import inputs, pictures
from galaxy_jax.data import decode
from galaxy_jax.files import write_whole
from tfds_builders.images import ImageError

logger = logging.getLogger(__name__)

#: More thumbnails than this are no page that a browser opens gladly.
LARGEST = 5000
_TEMPLATE = Path(__file__).with_name("feature_map.html")
#: Sides of a thumbnail in pixels, by up to how many there are: the sheet stays below 4,096 pixels.
_SIDES = ((1000, 96), (2500, 72), (LARGEST, 56))
_QUALITY = 82
#: The grey of a picture that is not there.
_BLANK = 64

#: Pixels of a picture on a sheet, of the lines below it, and of the space between pictures; pictures in a row.
TILE, _CAPTION, _GAP, _COLUMNS = 192, 40, 12, 6
_PAPER, _INK, _SOFT, _ACCENT = (255, 255, 255), (29, 33, 38), (91, 99, 110), (0, 114, 178)


class Pictures:
  """The images of a table's galaxies, read when they are asked for."""

  def __init__(self, ids: Sequence[str], paths: Sequence[str], crop: int | None, planes: Sequence[int] = (),
               given: inputs.Input | None = None):
    """Looks nothing up yet.

    Args:
      ids: (N,) of the galaxies.
      paths: (N,) where their images were: files, or members of a zip as `archive.zip/member`.
      crop: side of the central square that is shown, in pixels of the file; None: the largest there is.
      planes: of FITS cubes that are shown, see pictures.check_planes.
      given: where the images are by their ids, instead of by their paths.
    """
    self._ids, self._paths, self._crop, self._planes, self._given = ids, paths, crop, planes, given

  def thumbnails(self, rows: Sequence[int], side: int) -> np.ndarray:
    """(len(rows), side, side, 3) uint8; grey, and counted in the log, where an image is not to be had."""
    readers = self._readers(rows)

    def one(row):
      try:
        return pictures.pixels_of(readers[row](), self._paths[row] or "", _Square(self._crop, side), self._planes)
      except (KeyError, ImageError):
        return None
    with ThreadPoolExecutor(decode.cores()) as pool:
      images = list(pool.map(one, map(int, rows)))
    if missing := sum(image is None for image in images):
      logger.warning("The images of %d of %d galaxies are not where the table says, and stay grey. --input says where "
                     "they are now.", missing, len(images))
    blank = np.full((side, side, 3), _BLANK, np.uint8)
    return np.stack([blank if image is None else image for image in images]) if images else blank[None][:0]

  def _readers(self, rows):
    """For each row whose image may be there: a function that reads its bytes."""
    wanted = {int(row) for row in rows}
    if self._given:
      by_id = {self._ids[row]: row for row in wanted}
      return {by_id[name]: partial(self._given.read, place) for part in self._given.parts(8192, 0)
              for name, place in zip(map(str, part.ids.to_pylist()), part.places, strict=True) if name in by_id}
    return {row: partial(inputs.read_file, self._paths[row]) for row in wanted if self._paths[row]}


class _Square(NamedTuple):
  """What pictures.pixels_of wants of a model."""
  crop: int | None
  side: int

  def decode(self, data):
    return decode.decode_image(data, crop=self.crop, size=self.side)


def scaled(pixels: np.ndarray, side: int) -> np.ndarray:
  """An image (H, W, 3) uint8 as (side, side, 3)."""
  return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def write_sheet(path: Path, images: np.ndarray, captions: Sequence[tuple[str, str]], *, marked: int = 0) -> None:
  """Writes images with two lines below each as one PNG, whole or not at all.

  Args:
    path: of the PNG.
    images: (N, TILE, TILE, 3) uint8.
    captions: (N,) the two lines of each; what is too long loses its middle.
    marked: how many, from the first on, are framed.
  """
  columns = max(1, min(_COLUMNS, len(images)))
  rows = -(-len(images) // columns)
  width, height = (columns * (TILE + _GAP) + _GAP, rows * (TILE + _CAPTION + _GAP) + _GAP)
  sheet = Image.new("RGB", (width, height), _PAPER)
  pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
  for number, (image, (first, second)) in enumerate(zip(images, captions, strict=True)):
    x, y = _GAP + number % columns * (TILE + _GAP), _GAP + number // columns * (TILE + _CAPTION + _GAP)
    sheet.paste(Image.fromarray(image), (x, y))
    if number < marked:
      pen.rectangle((x - 5, y - 5, x + TILE + 4, y + TILE + 4), outline=_ACCENT, width=4)
    for line, (text, colour) in enumerate(((first, _INK), (second, _SOFT))):
      pen.text((x, y + TILE + 5 + 17 * line), _fitting(text, font), fill=colour, font=font)
  write_whole(path, lambda fresh: sheet.save(fresh, "PNG"))


def _fitting(text, font):
  """A text without its middle where it is wider than a picture."""
  kept = len(text)
  shown = text
  while font.getlength(shown) > TILE and kept > 2:
    kept -= 1
    shown = f"{text[:kept // 2]}…{text[len(text) - (kept - kept // 2):]}"
  return shown


def thumbnail_side(count: int) -> int:
  """Pixels of a thumbnail on a map of so many."""
  return next(side for most, side in _SIDES if count <= most)


def sprite_sheet(thumbnails: np.ndarray) -> tuple[np.ndarray, int]:
  """Thumbnails (N, side, side, 3) uint8 row by row as one image (H, W, 3), and how many stand in a row."""
  count, side = thumbnails.shape[:2]
  columns = max(1, int(np.ceil(np.sqrt(count))))
  rows = max(1, -(-count // columns))
  sheet = np.full((rows * columns, side, side, 3), _BLANK, np.uint8)
  sheet[:count] = thumbnails
  return sheet.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3), columns


def write_map(path: Path, positions: np.ndarray, thumbnails: np.ndarray, labels: Sequence[str], *, title: str,
          about: str) -> None:
  """Writes the page, whole or not at all.

  Args:
    path: of the page.
    positions: (N, 2) in any unit; the map is scaled to them.
    thumbnails: (N, side, side, 3) uint8.
    labels: (N,) what each is called.
    title: of the page.
    about: a sentence on what is shown.

  Raises:
    ValueError: no galaxy, more than LARGEST, or a position that is not finite.
  """
  if not 1 <= len(positions) <= LARGEST:
    raise ValueError(f"A map shows 1 to {LARGEST} galaxies; got {len(positions)}.")
  if not np.isfinite(positions).all():
    raise ValueError("A map needs finite positions.")
  sheet, columns = sprite_sheet(thumbnails)
  buffer = io.BytesIO()
  Image.fromarray(sheet).save(buffer, "JPEG", quality=_QUALITY)
  data = {"x": _unit(positions[:, 0]), "y": _unit(-positions[:, 1]), "labels": list(map(str, labels)),
          "columns": columns, "side": int(thumbnails.shape[1])}
  filled = {
      "TITLE": escape(title), "ABOUT": escape(about),
      # Within a script element only "<" could end it.
      "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
      "SPRITES": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")}
  page = re.sub(f"@({'|'.join(filled)})@", lambda found: filled[found[1]], _TEMPLATE.read_text(encoding="utf-8"))
  write_whole(path, lambda fresh: Path(fresh).write_text(page, encoding="utf-8"))


def _unit(values):
  """Values scaled to [0, 1], the middle where they are all the same; four digits are a pixel of any screen."""
  spread = np.ptp(values)
  scaled = (values - values.min()) / spread if spread > 0 else np.full(len(values), 0.5)
  return [round(float(value), 4) for value in scaled]
