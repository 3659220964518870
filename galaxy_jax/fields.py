"""Objects in fields of any size, by a model that looks at images of one size: scales, tiles that overlap, and back.

A field is scaled, and cut into tiles that overlap and end with it: what neighbours share tells which parts are of one
object. A field that is smaller than a tile stands in its middle, its last pixels going on around it; nothing is found
there. What tiles show is merged as `merging` says.

A detection is cut off where its box touches an edge of its tile that lies within the field. It is left out where
another tile of that scale shows the same box clear of such edges: what that one says of it counts. So no object is cut
off that is smaller than the overlap of tiles, less TOUCHES of a tile at both ends.
"""
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from galaxy_jax.detection import masks
from galaxy_jax.merging import Found, merge
from tfds_builders.images import ImageError

#: Scales that make sense.
SCALES = (0.01, 100.0)
#: The scale at which the shorter side of an image is as large as the run's working images, as it is in training on
#: cut-outs; of these a tile is the central part in which the model finds anything.
FIT = "fit"
#: The least share of a tile that the next one has to show again: with less nothing tells which parts are of one object.
LEAST_OVERLAP = 0.05
#: Least score of an object that commands show, as Farias et al. 2020 have it.
MIN_SCORE = 0.4
#: How near a box comes to an edge that it touches, and how far from one it is clear of it, as shares of a tile's side.
TOUCHES, CLEAR = 1 / 64, 1 / 32
#: An image of fewer pixels a side, once it is scaled, shows nothing.
_LEAST = 8


class Finds(Protocol):
  """What is asked about tiles, see finder.Finder."""
  size: int
  seen: int
  batch_size: int

  def find(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
    """The outputs of tasks.instances.make for up to `batch_size` images (N, size, size, 3) uint8."""


class Tile(NamedTuple):
  """A part of a scaled field.

  Attributes:
    scale: the field's, (y, x): pixels of the scaled field for one of the field.
    side: of the part, pixels of the scaled field.
    top, left: its first row and column there; below 0 where the field is smaller.
    size: height and width of the scaled field.
    tops, lefts: those of all tiles of this scale: each top with each left is one.
  """
  scale: tuple[float, float]
  side: int
  top: int
  left: int
  size: tuple[int, int]
  tops: tuple[int, ...]
  lefts: tuple[int, ...]

  def shown(self) -> tuple[int, int, int, int]:
    """(y0, x0, y1, x1): what it shows, in whole pixels of the field."""
    ends = zip((self.top, self.left), self.size, self.scale, strict=True)
    low, high = zip(*((round(max(0, start) / scale), round(min(start + self.side, length) / scale))
                      for start, length, scale in ends), strict=True)
    return *low, *high

  def cuts(self, box: np.ndarray) -> bool:
    """Whether a box, in pixels of the scaled field, touches an edge of the tile that lies within the field."""
    margin = TOUCHES * self.side
    return not (self._clear(box, 0, self.top, margin) and self._clear(box, 1, self.left, margin))

  def another_shows(self, box: np.ndarray) -> bool:
    """Whether some tile of this scale shows the box clear of such edges."""
    margin = CLEAR * self.side
    return (any(self._clear(box, 0, top, margin) for top in self.tops)
            and any(self._clear(box, 1, left, margin) for left in self.lefts))

  def _clear(self, box, axis, start, margin):
    end, length = start + self.side, self.size[axis]
    return ((start <= 0 or box[axis] >= start + margin)
            and (end >= length or box[axis + 2] <= end - margin))


def starts(length: int, side: int, overlap: float, least: int = 1) -> tuple[int, ...]:
  """The first pixels of tiles that cover a line.

  Args:
    length: of the line, pixels.
    side: of a tile, pixels.
    overlap: the least share of a tile that it has in common with the next, from LEAST_OVERLAP to less than 1.
    least: pixels that it has in common with the next at least.

  Returns:
    Evenly spread; the first is 0, and the last tile ends with the line. Of a line shorter than a tile one alone, 0 or
    less, with the line in its middle.

  Raises:
    ValueError: an overlap outside its range.
  """
  if not LEAST_OVERLAP <= overlap < 1:
    raise ValueError(f"The overlap of tiles is {overlap:g}; expected a share from {LEAST_OVERLAP:g} to less than 1: "
                     "tiles that share less do not show which parts are of one object.")
  if length <= side:
    return (-((side - length) // 2),)
  step = max(1, side - max(least, round(overlap * side)))
  count = -(-(length - side) // step) + 1
  return tuple(np.linspace(0, length - side, count).round().astype(int).tolist())


def tiles(pixels: np.ndarray, scale: float | str, *, size: int, seen: int,
          overlap: float) -> Iterator[tuple[Tile, np.ndarray]]:
  """The tiles of a field, each with its pixels (size, size, 3), row by row.

  Args:
    pixels: (H, W, 3) uint8.
    scale: pixels that one of the field becomes, or FIT.
    size: side of the images that the model takes.
    seen: side of their central part in which it finds anything; around it they show what is around the tile.
    overlap: see `starts`; at a large scale more, so that neighbours share two pixels of the field, up to half a tile.

  Raises:
    ImageError: at this scale the field has too few pixels, or too many.
    ValueError: as `starts`.
  """
  height, width = _new_size(pixels, scale, size)
  scaled = _scaled(pixels, (height, width))
  tops, lefts = (starts(new, seen, overlap, min(seen // 2, math.ceil(2 * new / old)))
                 for new, old in zip((height, width), pixels.shape[:2], strict=True))
  margin, reach = (size - seen) // 2, np.arange(size)
  for top in tops:
    rows = scaled[np.clip(top - margin + reach, 0, height - 1)]
    for left in lefts:
      yield (Tile((height / pixels.shape[0], width / pixels.shape[1]), seen, top, left, (height, width), tops, lefts),
             rows[:, np.clip(left - margin + reach, 0, width - 1)])


def _new_size(pixels, scale, size):
  """Height and width of a field once it is scaled; raises ImageError."""
  if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
    raise ImageError(f"is an array {pixels.shape} of {pixels.dtype}; (H, W, 3) uint8 was expected")
  height, width = pixels.shape[:2]
  scale = size / min(height, width) if scale == FIT else scale
  new, limit = (round(height * scale), round(width * scale)), Image.MAX_IMAGE_PIXELS
  if min(new) < _LEAST or (limit is not None and new[0] * new[1] > limit):
    raise ImageError(f"has {width} x {height} pixels, which the scale {scale:.4g} makes {new[1]} x {new[0]}; from "
                     f"{_LEAST} a side to {limit} in all can be looked at")
  return new


def _scaled(pixels, new):
  old = pixels.shape[:2]
  if new == old:
    return pixels
  if new[0] > old[0]:
    kind = Image.Resampling.BICUBIC
  else:  # as data.decode scales
    whole = old[0] % new[0] == 0 and old[1] % new[1] == 0
    kind = Image.Resampling.BOX if whole else Image.Resampling.HAMMING
  return np.asarray(Image.fromarray(pixels).resize((new[1], new[0]), kind))


def detections(tile: Tile, outputs: Mapping[str, np.ndarray], row: int, *, height: int, width: int, size: int,
               min_score: float) -> list[Found]:
  """What a model finds in a tile, as objects of the field; see the module's docstring for what is left out.

  Args:
    tile: which it is.
    outputs: of tasks.instances.make, in pixels of the model's image.
    row: of the tile in them.
    height, width: of the field, pixels.
    size: side of the model's image.
    min_score: objects of lower scores are left out.
  """
  found, margin, scale = [], (size - tile.side) // 2, np.array(tile.scale * 2)
  for i in np.flatnonzero(outputs["valid"][row] & (outputs["scores"][row] >= min_score)):
    box = np.asarray(outputs["boxes"][row, i], np.float64) - margin + np.array([tile.top, tile.left] * 2)
    cut_off = tile.cuts(box)
    if cut_off and tile.another_shows(box):
      continue
    rows, columns, mask = masks.paste_window(outputs["masks"][row, i], box / scale, height, width)
    if not mask.any():  # nothing of it is in the field, or it is thinner than a pixel there
      continue
    (y0, y1), (x0, x1) = (np.flatnonzero(mask.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
    found.append(Found(float(outputs["scores"][row, i]), int(outputs["classes"][row, i]), rows.start + int(y0),
                       columns.start + int(x0), mask[y0:y1, x0:x1].copy(), cut_off, tile.shown()))
  return found


class _Field:
  """A field whose tiles are being looked at."""

  def __init__(self, key, pixels):
    self.key, self.pixels, self.found, self.left = key, pixels, [], 0


def find_all(finder: Finds, images: Iterable[tuple[Any, np.ndarray]], *, scales: Sequence[float | str] = (1.0,),
             overlap: float = 0.5, min_score: float = 0.0, refused: Callable[[Any, str], Any] | None = None,
             advance: Callable[[int], Any] = lambda tiles: None) -> Iterator[tuple[Any, np.ndarray, list[Found]]]:
  """The objects of many fields, in their order; tiles of several fields share a call of the model.

  Args:
    finder: the model.
    images: what a field is called, and its pixels (H, W, 3) uint8.
    scales: see `tiles`; what they show is merged.
    overlap: see `starts`.
    min_score: objects of lower scores are left out, MIN_SCORE for instance; 0: all that the run's own model gives.
    refused: is told what a field is called that cannot be looked at, and why; None: that is an error.
    advance: is told how many more tiles were looked at.

  Yields:
    What a field is called, its pixels, and its objects as `merge` has them, rows from the top as in the pixels.

  Raises:
    ImageError: a field has too few pixels at a scale, or too many, and `refused` is None.
  """
  open_fields, waiting = deque(), []

  def run():
    outputs = finder.find(np.stack([pixels for _, _, pixels in waiting]))
    for row, (field, tile, _) in enumerate(waiting):
      height, width = field.pixels.shape[:2]
      field.found += detections(tile, outputs, row, height=height, width=width, size=finder.size, min_score=min_score)
      field.left -= 1
    advance(len(waiting))
    waiting.clear()

  def finished():
    while open_fields and not open_fields[0].left:
      field = open_fields.popleft()
      yield field.key, field.pixels, merge(field.found)

  for key, pixels in images:
    field = _Field(key, pixels)
    try:
      for scale in scales:
        _new_size(pixels, scale, finder.size)
    except ImageError as error:
      if refused is None:
        raise
      refused(key, str(error))
      continue
    open_fields.append(field)
    field.left += 1  # itself, until all its tiles are waiting
    for scale in scales:
      for tile, part in tiles(pixels, scale, size=finder.size, seen=finder.seen, overlap=overlap):
        field.left += 1
        waiting.append((field, tile, part))
        if len(waiting) == finder.batch_size:
          run()
    field.left -= 1
    yield from finished()
  if waiting:
    run()
  yield from finished()


def find(finder: Finds, pixels: np.ndarray, **options: Any) -> list[Found]:
  """The objects of one field (H, W, 3) uint8; the options are those of `find_all`."""
  (_, _, found), = find_all(finder, [(None, pixels)], **options)
  return found


def segmentation(found: Sequence[Found], height: int, width: int) -> np.ndarray:
  """A field's map (height, width) int32: 0 where nothing is, else the object's place in `found`, from 1.

  Of objects that overlap the pixels are the first's, which is the one with the best score.
  """
  shown = np.zeros((height, width), np.int32)
  for number, one in reversed(list(enumerate(found, 1))):
    y0, x0, y1, x1 = one.box
    shown[y0:y1, x0:x1][one.mask] = number
  return shown
