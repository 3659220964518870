"""What tiles of a field show of its objects, as one list in which each object is once. In numpy.

An object is kept as the window that its mask fills, so that memory goes with the objects, not with the field.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from galaxy_jax.detection import geometry

#: Detections are of one object where their masks overlap (intersection over union) by more than this,
SAME = 0.3
#: or where more than this share of the one lies within the other, around that one's centroid: its inner part.
INSIDE = 0.8
#: And a detection that a tile's edge cuts off is part of a whole one that has more than this share of it.
PART = 0.5


class Found(NamedTuple):
  """An object of a field.

  Attributes:
    score: of the detection, in [0, 1].
    label: the class's number.
    top, left: the first row and column of its mask in the field.
    mask: (h, w) bool, without empty rows and columns at its edges; neither is 0.
    cut_off: whether no tile shows all of it.
    shown: (y0, x0, y1, x1) pixels of the field that the tile shows in which it was found.
  """
  score: float
  label: int
  top: int
  left: int
  mask: np.ndarray
  cut_off: bool
  shown: tuple[int, int, int, int]

  @property
  def box(self) -> tuple[int, int, int, int]:
    """(y0, x0, y1, x1): field[y0:y1, x0:x1] just holds the mask."""
    return self.top, self.left, self.top + self.mask.shape[0], self.left + self.mask.shape[1]

  def shape(self) -> geometry.Shape:
    """The mask's moments in the field, see detection.geometry."""
    shape = geometry.shape_of(self.mask)
    return shape._replace(y=shape.y + self.top, x=shape.x + self.left)

  def upside_down(self, height: int) -> "Found":
    """The same object where the field's rows, `height` of them, count from the other end."""
    y0, x0, y1, x1 = self.shown
    return self._replace(top=height - self.box[2], mask=self.mask[::-1], shown=(height - y1, x0, height - y0, x1))


def merge(detections: Sequence[Found]) -> list[Found]:
  """Each object once, the best score first.

  Of detections that are whole, one is left out where it and a better one that is kept overlap by more than SAME, or
  where more than the share INSIDE of the one lies within the other and has that one's centroid in it. Of those that an
  edge cuts off, one is left out where it and a whole one that is kept overlap by more than SAME in what both tiles
  show, or the whole one has more than the share PART of it; the others are of one object where they overlap by more
  than SAME in what both tiles show, from one to the next, and the one with the largest mask stands for it. Classes do
  not matter. An object that lies off the middle of another, as a small galaxy before a large one, is one of its own.

  Args:
    detections: in any order: of equal scores the upper, then the left one is the better.
  """
  order = sorted(detections, key=lambda one: (-one.score, *one.box, one.label, one.shown))
  whole, boxes = [], _Boxes(len(order))
  for place, one in enumerate(order):
    if not one.cut_off and not any(_is_same(one, order[whole[i]]) for i in boxes.near(one.box)):
      whole.append(place)
      boxes.add(one.box)
  parts = [place for place, one in enumerate(order)
           if one.cut_off and not any(_is_part(one, order[whole[i]]) for i in boxes.near(one.box))]
  return [order[place] for place in sorted([*whole, *_largest(order, parts)])]


def _is_same(one, other):
  if _overlap(one, other) > SAME:
    return True
  inner, outer = sorted((one, other), key=lambda each: np.sum(each.mask))
  if np.sum(_within(inner, outer.box) & _within(outer, inner.box)) <= INSIDE * np.sum(inner.mask):
    return False
  shape = outer.shape()
  row, column = int(shape.y) - inner.top, int(shape.x) - inner.left
  height, width = inner.mask.shape
  return 0 <= row < height and 0 <= column < width and bool(inner.mask[row, column])


def _is_part(one, whole):
  return (_overlap(one, whole, _shared(one.shown, whole.shown)) > SAME
          or np.sum(_within(one, whole.box) & _within(whole, one.box)) > PART * np.sum(one.mask))


def _largest(order, parts):
  """Of the detections at some places, those of one object being joined, the place of the largest of each object."""
  of, boxes = list(range(len(parts))), _Boxes(len(parts))

  def first(number):
    while of[number] != number:
      number = of[number]
    return number

  for number, place in enumerate(parts):
    one = order[place]
    for i in boxes.near(one.box):
      other = order[parts[i]]
      if _overlap(one, other, _shared(one.shown, other.shown)) > SAME:
        low, high = sorted((first(number), first(i)))
        of[high] = low
    boxes.add(one.box)
  objects = {}
  for number, place in enumerate(parts):
    objects.setdefault(first(number), []).append(place)
  return [max(places, key=lambda place: np.sum(order[place].mask)) for places in objects.values()]


class _Boxes:
  """Boxes, and which of them touch another."""

  def __init__(self, most):
    self._boxes, self._count = np.zeros((most, 4), np.int64), 0

  def add(self, box):
    self._boxes[self._count] = box
    self._count += 1

  def near(self, box):
    y0, x0, y1, x1 = self._boxes[:self._count].T
    return np.flatnonzero((y0 < box[2]) & (y1 > box[0]) & (x0 < box[3]) & (x1 > box[1]))


def _shared(a, b):
  """The box that two boxes share; an empty one where they share none."""
  y0, x0 = max(a[0], b[0]), max(a[1], b[1])
  return y0, x0, max(y0, min(a[2], b[2])), max(x0, min(a[3], b[3]))


def _within(one, box):
  """The part of a mask that lies in a box which meets its own: what is of both boxes."""
  y0, x0, y1, x1 = _shared(one.box, box)
  return one.mask[y0 - one.top:y1 - one.top, x0 - one.left:x1 - one.left]


def _overlap(one, other, region=None):
  """Intersection over union of two masks, or of what of them lies in a region; 0 where neither does."""
  if region is not None:
    if region[0] == region[2] or region[1] == region[3]:
      return 0.0
    one, other = (_cut(each, region) for each in (one, other))
    if not (one.mask.size and other.mask.size):
      return 0.0
  box = _shared(one.box, other.box)
  if box[0] == box[2] or box[1] == box[3]:
    return 0.0
  both = int(np.sum(_within(one, box) & _within(other, box)))
  either = int(np.sum(one.mask)) + int(np.sum(other.mask)) - both
  return both / either if either else 0.0


def _cut(one, region):
  y0, x0, _, _ = _shared(one.box, region)
  return one._replace(top=y0, left=x0, mask=_within(one, region))
