"""The outline of an object as annotation tools publish it: checked, kept exactly, and made a mask on demand.

An outline is the part of the annotation's JSON that says where the object is:
  VIA   {"name": "polygon", "all_points_x": […], "all_points_y": […]}, or the rect, circle, ellipse, point or polyline
  COCO  [[x, y, x, y, …], …], polygons that together are the object; or run lengths, {"size": [h, w], "counts": …}
Data sets hold it as JSON text: Python writes the shortest text that reads back as the same number, so integers and
64-bit floats are kept exactly.

Where the two place a pixel differs. COCO's polygons have the corner of the first pixel at (0, 0), and its centre at
(0.5, 0.5). VIA's coordinates are taken as numbers of pixels, (0, 0) being the first one's centre, as mask_galaxy does
(`skimage.draw.polygon` in its `load_mask`). Sources: https://www.robots.ox.ac.uk/~vgg/software/via/ and
https://cocodataset.org/#format-data.
"""
import json
import reprlib

import numpy as np

from tfds_builders import masks, rle

#: Coordinates and sizes beyond this are a mistake; files of images have fewer pixels a side.
_LARGEST = 1_000_000

_POINTS = ("all_points_x", "all_points_y")
#: The shapes of VIA -> their numbers: those that may have any sign, and those that must be above 0.
_NUMBERS = {
    "rect": (("x", "y"), ("width", "height")),
    "circle": (("cx", "cy"), ("r",)),
    "ellipse": (("cx", "cy"), ("rx", "ry")),
    "point": (("cx", "cy"), ()),
}
#: The shapes that are given by points -> the fewest of these that make one.
_FEWEST = {"polygon": 3, "polyline": 2}

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


class OutlineError(ValueError):
  """An outline that cannot be used; the message is the reason, to follow what names the region."""


def shown(value) -> str:
  """A value from a file, of any size and depth, for an error."""
  return _short.repr(value)


def from_via(attributes) -> dict:
  """The outline in a region's `shape_attributes`: what says where it is, as it is; raises OutlineError."""
  if not isinstance(attributes, dict):
    raise OutlineError(f"has {shown(attributes)} for shape_attributes; a shape of VIA was expected")
  name = attributes.get("name")
  if not isinstance(name, str) or name not in (*_FEWEST, *_NUMBERS):
    raise OutlineError(f"has a shape {shown(name)}; expected is one of {', '.join((*_FEWEST, *_NUMBERS))}")
  if name in _FEWEST:
    outline = {"name": name} | {key: _numbers(attributes.get(key), key) for key in _POINTS}
    x, y = (outline[key] for key in _POINTS)
    if len(x) != len(y):
      raise OutlineError(f"has a {name} of {len(x)} x and {len(y)} y; as many of both were expected")
    _check_points(list(zip(x, y, strict=True)), name)
    return outline
  free, positive = _NUMBERS[name]
  if name == "ellipse" and "theta" in attributes:  # VIA 2.0.5 and later; those before had no turned ones.
    free += ("theta",)
  outline = {"name": name} | {key: _number(attributes.get(key), key) for key in free + positive}
  for key in positive:
    if not outline[key] > 0:
      raise OutlineError(f"has a {name} with {key} {shown(outline[key])}; a number above 0 was expected")
  return outline


def from_coco(segmentation) -> list | dict:
  """The outline in an annotation's `segmentation`, as it is; raises OutlineError."""
  if isinstance(segmentation, dict):
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2
            and all(type(side) is int and 0 < side <= _LARGEST for side in size)):
      raise OutlineError(f"has run lengths of size {shown(size)}; [height, width] was expected")
    if not isinstance(counts, (str, list)):
      raise OutlineError(f"has run lengths with counts {shown(counts)}; a text or a list was expected")
    return {"size": size, "counts": counts}
  if not isinstance(segmentation, list) or not segmentation:
    raise OutlineError(f"has {shown(segmentation)} for a segmentation; polygons or run lengths were expected")
  for polygon in segmentation:
    numbers = _numbers(polygon, "a polygon")
    if len(numbers) % 2:
      raise OutlineError(f"has a polygon of {len(numbers)} numbers; x and y by turns were expected")
    _check_points(list(zip(numbers[::2], numbers[1::2], strict=True)), "polygon")
  return segmentation


def has_area(outline: list | dict) -> bool:
  """Whether it is the outline of something: points and polylines mark a place only."""
  return not (isinstance(outline, dict) and outline.get("name") in ("point", "polyline"))


def to_text(outline: list | dict) -> str:
  """The JSON text that data sets hold."""
  return json.dumps(outline, separators=(",", ":"))


def mask(outline: str | bytes | list | dict, height: int, width: int) -> np.ndarray:
  """The pixels of an outline: those whose centres are inside or on it (`masks` has the rule).

  Args:
    outline: what `from_via` or `from_coco` gave, or its text, as a data set's feature `polygons` holds it.
    height: of the image, pixels.
    width: of the image, pixels.

  Returns:
    (height, width) bool. What lies outside the image is cut off. Of a point or polyline, the pixels it touches.

  Raises:
    OutlineError: run lengths that are damaged, or of another image's size.
  """
  if isinstance(outline, (str, bytes)):
    outline = json.loads(outline)
  if _is_rle(outline):
    if tuple(outline["size"]) != (height, width):
      raise OutlineError("has run lengths of an image of {} x {} pixels, not {} x {}".format(
          *outline["size"], height, width))
    try:
      return rle.decode(outline["counts"], height, width)
    except ValueError as error:
      raise OutlineError(str(error)) from None
  found = np.zeros((height, width), bool)
  for draw, *arguments in _figures(outline):
    found |= draw(*arguments, height, width)
  return found


def reaches_out(outline: list | dict, height: int, width: int) -> bool:
  """Whether a corner, or for a circle or ellipse its centre, is outside the image."""
  if _is_rle(outline):
    return False
  points = np.concatenate([np.reshape(points, (-1, 2)) for _, points, *_ in _figures(outline)])
  return bool(((points < -0.5) | (points > (width - 0.5, height - 0.5))).any())


def _is_rle(outline) -> bool:
  return isinstance(outline, dict) and "counts" in outline


def _figures(outline) -> list[tuple]:
  """What an outline is drawn of: a function of `masks`, and its arguments before the size of the image."""
  if isinstance(outline, list):
    return [(masks.polygon_mask, np.reshape(polygon, (-1, 2)) - 0.5) for polygon in outline]
  name = outline["name"]
  if name in _FEWEST:
    draw = masks.polygon_mask if name == "polygon" else masks.line_mask
    return [(draw, np.stack([outline[key] for key in _POINTS], axis=-1))]
  if name == "rect":
    (x, y), (width, height) = (tuple(outline[key] for key in keys) for keys in _NUMBERS[name])
    return [(masks.polygon_mask, np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)]))]
  centre = outline["cx"], outline["cy"]
  if name == "point":
    return [(masks.line_mask, [centre])]
  radii = (outline["r"],) * 2 if name == "circle" else (outline["rx"], outline["ry"])
  return [(masks.ellipse_mask, centre, radii, outline.get("theta", 0))]


def _number(value, key: str):
  if type(value) not in (int, float):
    raise OutlineError(f"has {shown(value)} for {key}; a number was expected")
  if not -_LARGEST <= value <= _LARGEST:  # False for NaN too.
    raise OutlineError(f"has {shown(value)} for {key}; a number of pixels, at most {_LARGEST}, was expected")
  return value


def _numbers(values, key: str) -> list:
  if not isinstance(values, list):
    raise OutlineError(f"has {shown(values)} for {key}; a list of numbers was expected")
  return [_number(value, key) for value in values]


def _check_points(points: list[tuple], name: str) -> None:
  """Raises OutlineError for too few points to make one."""
  if len(set(points)) < _FEWEST[name]:
    raise OutlineError(f"has a {name} of {len(points)} points, {len(set(points))} of them different; at least "
                       f"{_FEWEST[name]} were expected")
