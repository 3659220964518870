"""Detections against the truth at one overlap, and the average precision that follows: COCO's and matterport's.

In numpy. Both match alike; they differ in what is averaged. COCO puts the detections of all images in one order by
score. matterport's Mask R-CNN, whose figure mask_galaxy publishes, takes an average precision of each image and
averages those.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Recalls at which COCO reads the precision.
RECALLS = np.linspace(0, 1, 101)


class Matches(NamedTuple):
  """The detections of one image, best first, at one overlap.

  Attributes:
    scores: (D,) float64.
    hit: (D,) bool, which found an object.
    excused: (D,) bool, which lie in a region to ignore and count as nothing.
    objects: how many there were to find.
    partners: (D,) int64, the object that each found, -1 where none.
  """
  scores: np.ndarray
  hit: np.ndarray
  excused: np.ndarray
  objects: int
  partners: np.ndarray


def match(overlap, scores, ignore, *, may_match=None, threshold: float = 0.5, limit: int = 100) -> Matches:
  """Gives each detection, best first, the free object that it overlaps most.

  Args:
    overlap: (D, N) intersection over union of detections and objects; over the detection's area in columns of regions
      to ignore.
    scores: (D,); of equal ones the first comes first.
    ignore: (N,) bool, columns that are regions to ignore: any number of detections may lie in one, if they match no
      object.
    may_match: (D, N) bool, which may be matched (the classes agree); None: all.
    threshold: overlap from which they match.
    limit: the best so many detections count.
  """
  scores, ignore = np.asarray(scores, np.float64), np.asarray(ignore, bool)
  overlap = np.asarray(overlap, np.float64).reshape(len(scores), len(ignore))
  allowed = overlap >= min(threshold, 1 - 1e-10)
  if may_match is not None:
    allowed &= may_match
  order = np.argsort(-scores, kind="stable")[:limit]
  partners, excused = np.full(len(order), -1), np.zeros(len(order), bool)
  free = ~ignore
  for place, detection in enumerate(order):
    candidates = np.flatnonzero(allowed[detection] & free)
    if len(candidates):
      values = overlap[detection, candidates]
      partners[place] = candidates[len(values) - 1 - np.argmax(values[::-1])]  # of equal ones COCO takes the last
      free[partners[place]] = False
    else:
      excused[place] = (allowed[detection] & ignore).any()
  return Matches(scores[order], partners >= 0, excused, int((~ignore).sum()), partners)


class Pool:
  """The matches of many images in one order by score, laid out so that images can be drawn again and again."""

  def __init__(self, images: Sequence[Matches]):
    counted = [~one.excused for one in images]
    join = lambda parts, kind: np.concatenate([np.zeros(0, kind), *parts])
    scores = join([one.scores[which] for one, which in zip(images, counted, strict=True)], np.float64)
    order = np.argsort(-scores, kind="stable")
    self._hit = join([one.hit[which] for one, which in zip(images, counted, strict=True)], bool)[order]
    self._image = np.repeat(np.arange(len(images)), [which.sum() for which in counted])[order]
    self._objects = np.array([one.objects for one in images], np.int64)

  def average_precision(self, times=None) -> float:
    """COCO's: the mean over 101 recalls of the best precision at that recall or a higher one.

    Args:
      times: (images,) how often each image counts; None: once.

    Returns:
      In [0, 1]; NaN where there is no object.
    """
    times = np.ones(len(self._objects), np.int64) if times is None else times
    objects = times @ self._objects
    if not objects:
      return float("nan")
    weight = times[self._image]
    found, drawn = np.cumsum(weight * self._hit), np.cumsum(weight)
    precision = np.maximum.accumulate((found / np.maximum(drawn, 1))[::-1])[::-1]
    place = np.searchsorted(found / objects, RECALLS, side="left")
    return float(np.append(precision, 0.0)[place].mean())


def image_average_precision(matches: Matches) -> float:
  """matterport's `utils.compute_ap`: the area under one image's precision envelope over recall; NaN without objects.

  Detections in regions to ignore are left out, which matterport does not know.
  """
  if not matches.objects:
    return float("nan")
  hit = matches.hit[~matches.excused]
  precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
  envelope = np.maximum.accumulate(precision[::-1])[::-1]
  return float(envelope[hit].sum() / matches.objects)  # recall rises by 1 / objects at each hit


def bootstrap(score, images: int, *, draws: int, seed: int, level: float = 0.95) -> tuple[float, float]:
  """The interval of a score over images drawn again with replacement.

  Args:
    score: takes (images,) int64, how often each image counts.
    images: how many there are.
    draws: how many times all are drawn.
    seed: of the draws.
    level: probability inside the interval.

  Returns:
    The quantiles (1 ∓ level) / 2 of the scores that are not NaN; NaN where all are.
  """
  if not images:
    return float("nan"), float("nan")
  rng = np.random.default_rng(seed)
  scores = [score(np.bincount(rng.integers(0, images, images), minlength=images)) for _ in range(draws)]
  scores = [value for value in scores if not np.isnan(value)]
  if not scores:
    return float("nan"), float("nan")
  low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)
