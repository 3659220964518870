"""The objects in galaxies' images, by a run that finds them, in pixels of the files that were sent.

Looked at is what the page's own model sees of a file, the central square, which the page shows; and it is scaled to be
as large as the run's working images (fields.FIT), as a finder sees the cut-outs that it learns from. With looks from
nearer as well, the outlines of 30 real galaxies in such squares became no better, and worse where those were twice as
near.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from galaxy_jax import field_files, fields
from galaxy_jax.data import decode
from galaxy_jax.merging import Found
from tfds_builders import images

#: Sides of squares, in the finder's sizes, beyond which they are scaled down: masks have no more detail.
_DETAIL = 2


class Square(NamedTuple):
  """What a model sees of a file's image.

  Attributes:
    pixels: (S, S, 3) uint8, the rows from the top; maybe scaled down.
    top, left, side: where it lies in the file's image, its pixels.
    height: of the file's image.
  """
  pixels: np.ndarray
  top: int
  left: int
  side: int
  height: int


class Seen(NamedTuple):
  """A file's image as the model takes it, (size, size, 3) uint8, and as a finder looks at it, if any does."""
  pixels: np.ndarray
  square: Square | None


class Reader:
  """Decodes files for a model and a finder; see pictures.DecodesImages."""

  def __init__(self, model: Any, finder: Any = None):
    """Takes a predictor, and what finds objects, see finder.Finder, or None."""
    self._model, self._finder = model, finder

  def decode(self, data: bytes) -> Seen:
    """The bytes of a JPEG or PNG file as both take them; raises ImageError."""
    pixels = self._model.decode(data)
    if self._finder is None:
      return Seen(pixels, None)
    width, height = images.open_image(data).size
    left, top, side = decode.central_square(width, height, self._model.crop)
    size = min(side, _DETAIL * self._finder.size)
    return Seen(pixels, Square(decode.decode_image(data, crop=self._model.crop, size=size), top, left, side, height))


def warm_up(finder: Any) -> None:
  """Lets a finder look at nothing, so that no request waits until it is compiled."""
  finder.find(np.zeros((1, finder.size, finder.size, 3), np.uint8))


def find(finder: Any, squares: Sequence[Square],
         ask: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> Iterator[list[Found]]:
  """The objects of some squares, in their order and in the pixels that they have here, the best of each first.

  Args:
    finder: says how large the images are that it takes, and how many it takes at a time, see fields.Finds.
    squares: which share calls.
    ask: from as many images to the finder's outputs for them.
  """
  asked = SimpleNamespace(size=finder.size, seen=finder.seen, batch_size=finder.batch_size, find=ask)
  given = ((number, square.pixels) for number, square in enumerate(squares))
  return (found for _, _, found in fields.find_all(asked, given, scales=(fields.FIT,), min_score=fields.MIN_SCORE))


def described(square: Square, found: Sequence[Found], classes: Sequence[str], *, upside_down: bool) -> dict[str, Any]:
  """What is said of a file's objects, as JSON values.

  Args:
    square: in which they were found.
    found: the objects.
    classes: names by label.
    upside_down: whether the file's rows count from the bottom, as those of FITS do.
  """
  scale = square.side / len(square.pixels)
  rows = lambda ends: [square.height - end for end in reversed(ends)] if upside_down else list(ends)

  def box_of(y0, x0, y1, x1):
    (y0, y1), (x0, x1) = rows((square.top + y0, square.top + y1)), (square.left + x0, square.left + x1)
    return [round(end) for end in (y0, x0, y1, x1)]

  def corners(points):
    x, y = ((points + 0.5) * scale + (square.left, square.top) - 0.5).T
    y = square.height - 1 - y if upside_down else y
    return np.round(np.stack([x, y], axis=1), 1).tolist()

  objects = []
  for one, parts in zip(found, field_files.outlines(found), strict=True):
    shape = one.shape()
    objects.append({
        "class": classes[one.label], "score": round(one.score, 4), "box": box_of(*(scale * end for end in one.box)),
        "outline": [corners(points) for points in parts], "area": round(shape.area * scale ** 2, 1),
        "axis_ratio": round(shape.axis_ratio, 4)})
  return {"objects": objects, "seen": {"box": box_of(0, 0, square.side, square.side),
                                       "first_row": "bottom" if upside_down else "top"}}


def schema(classes: Sequence[str]) -> dict[str, Any]:
  """The properties of a result that `described` has, as JSON Schema."""
  number = {"type": "number"}
  box = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
  point = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
  about = {"class": {"enum": list(classes)}, "score": number | {"minimum": 0, "maximum": 1},
           "box": box | {"description": "[y0, x0, y1, x1]: the rows y0 to y1 - 1 and the columns x0 to x1 - 1."},
           "outline": {"type": "array", "minItems": 1, "description":
                       "A polygon for each of its parts, of points [x, y]; [0, 0] is the first pixel's centre.",
                       "items": {"type": "array", "minItems": 3, "items": point}},
           "area": number | {"description": "Pixels."},
           "axis_ratio": number | {"description": "Of the ellipse with the same moments.", "minimum": 0, "maximum": 1}}
  strict = lambda properties: {"type": "object", "required": list(properties), "additionalProperties": False,
                               "properties": properties}
  return {
      "objects": {"type": "array", "items": strict(about), "description":
                  "What was found in the part of the image that the model sees, the best score first, in pixels of the "
                  "image that was sent."},
      "seen": strict({
          "box": box | {"description": "That part, as an object's box."},
          "first_row": {"enum": ["top", "bottom"], "description": "Where rows count from: bottom of FITS images."}})}
