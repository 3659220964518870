"""What the task of instances learns, out of a data set's objects: masks of the working image in a number of slots.

A data set has objects where a record has `classes` (N,) and their outlines: `polygons`, as tfds_builders.outlines has
them, or `masks`, as run lengths; and perhaps `ignore` (N,) bool. Of these become, with M slots and working images of S
pixels a side:

  masks    (S, S, P) uint8, detection.bit_planes of M masks
  classes  (M,) int32, index into the names that are learnt
  valid    (M,) bool, the slots in use; those not in use are empty and come last
  ignore   (M,) bool, of these the regions to be left alone, neither object nor background: what the data set ignores,
           objects of a class that is not learnt, and those of which less than LEAST_SEEN lies in the working image

Masks are cut and scaled as the image is (decode.decode_image): a pixel is of an object where at least half of it is, at
ratios that are not whole as the filter weighs it. What lies outside the working image is cut off. An object of which
nothing is left, outside or too thin, has no slot. Of more objects than slots the largest are kept, those that count
before those to ignore, and the others are background: a warning says so. How many there were of each is kept beside the
labels, (N,) int32 of a split: `objects`, `cut_off`, `emptied`, `without_slot` of the objects that count, and
`ignored_without_slot` of the regions to ignore. A box is not kept: it follows from the mask, also when that has been
turned.
"""
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from galaxy_jax.data.decode import averaging, central_square
from galaxy_jax.data.sources import Source
from galaxy_jax.detection import bit_planes
from galaxy_jax.tasks.instances import LEAST_SEEN
from tfds_builders import outlines, rle
from tfds_builders.images import ImageError, open_image

logger = logging.getLogger(__name__)

#: The features that may hold outlines.
OUTLINES = ("polygons", "masks")
#: Raised when the same records come to give other labels.
READER = 2


def names(builder: tfds.core.DatasetBuilder, ignored: Sequence[str]) -> tuple[str, ...]:
  """The names of the classes that are learnt of a data set's objects: all but those `ignored`.

  Raises:
    ValueError: the data set has no objects with classes and outlines, no class that is to be ignored, or no other.
  """
  if not outlined(builder):
    raise ValueError(f"{builder.info.full_name} has no objects with classes and outlines, which config.task "
                     f"'instances' learns; it has {', '.join(builder.info.features)}. config.data.builder names the "
                     "data set.")
  there = _all_names(builder)
  if unknown := [name for name in ignored if name not in there]:
    raise ValueError(f"config.data.ignore_classes has {', '.join(unknown)}; the classes of {builder.info.full_name} "
                     f"are {', '.join(there)}.")
  if not (learnt := tuple(name for name in there if name not in ignored)):
    raise ValueError(f"config.data.ignore_classes has all classes of {builder.info.full_name}; nothing is left to "
                     "learn.")
  return learnt


def outlined(builder: tfds.core.DatasetBuilder) -> bool:
  """Whether a data set has objects with classes and outlines."""
  return any(name in builder.info.features for name in OUTLINES) and bool(_all_names(builder))


def check_same(builder: tfds.core.DatasetBuilder, ignored: Sequence[str], learnt: Sequence[str]) -> None:
  """Refuses to measure a run on objects of other classes than it learnt; images without objects can be predicted.

  Raises:
    ValueError: the data set's classes are others.
  """
  if outlined(builder) and (found := names(builder, ignored)) != tuple(learnt):
    raise ValueError(f"The run learnt the classes {', '.join(learnt)}; those of the objects of "
                     f"{builder.info.full_name} are {', '.join(found)}: it cannot be measured on them.")


def _all_names(builder):
  features = builder.info.features
  label = getattr(features["classes"], "feature", None) if "classes" in features else None
  return tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()


class Learned:
  """A source whose records have these labels in place of the data set's outlines, boxes and classes.

  `galaxy_id` is the image's name where it has one: a galaxy's number need not be known. Records of a data set without
  outlines keep what they have.
  """

  def __init__(self, source: Source, builder: tfds.core.DatasetBuilder, *, slots: int, ignored: Sequence[str],
               crop: int | None, size: int):
    """Takes the records.

    Args:
      source: records of `builder`.
      builder: the prepared data set.
      slots: M.
      ignored: classes that are not learnt.
      crop, size: as in decode.decode_image.
    """
    self._source, self._settings = source, None
    if outlined(builder):
      learnt = names(builder, ignored)
      numbers = {number: learnt.index(name) for number, name in enumerate(_all_names(builder)) if name in learnt}
      self._settings = {"slots": slots, "numbers": numbers, "crop": crop, "size": size}

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    record = self._source[index]
    if self._settings is None:
      return record
    kept = {"image": record["image"], "galaxy_id": record.get("image_id", record.get("galaxy_id"))}
    try:
      return kept | labels_of(record, **self._settings)
    except (ImageError, outlines.OutlineError) as error:
      raise ValueError(f"Record {index} ({kept['galaxy_id']}) has an image or an outline that {error}. Build the "
                       "dataset again from sound files, or without this record (python -m tfds_builders … --skip_bad)."
                       ) from error


def labels_of(record: Mapping[str, Any], *, slots: int, numbers: Mapping[int, int], crop: int | None,
              size: int) -> dict[str, np.ndarray]:
  """The labels of one record.

  Args:
    record: with `image`, `classes` and outlines.
    slots: M.
    numbers: from a class of the data set to the one learnt, without those that are not.
    crop, size: as in decode.decode_image.

  Returns:
    See the module's docstring.

  Raises:
    ImageError: the image cannot be opened.
    OutlineError: damaged run lengths.
  """
  width, height = open_image(record["image"]).size
  square = central_square(width, height, crop)
  classes = np.asarray(record["classes"], np.int64).reshape(-1)
  ignore = np.asarray(record.get("ignore", np.zeros(len(classes))), bool).reshape(-1)
  ignore = ignore | ~np.isin(classes, list(numbers))
  masks, seen = np.zeros((len(classes), size, size), bool), np.zeros(len(classes))
  for number, whole in enumerate(_masks(record, height, width)):
    masks[number], seen[number] = _scaled(whole, square, size)
  areas = masks.sum((1, 2))
  some = areas > 0
  ignore = ignore | (seen < LEAST_SEEN)
  # Sorted back, so that slots follow the data set's order.
  best = np.lexsort((-areas, ignore, ~some))[:min(slots, int(some.sum()))]
  rows = np.sort(best)
  used = len(rows)
  left_out = some & ~np.isin(np.arange(len(areas)), rows)
  fill = lambda values, kind: np.concatenate([values[rows], np.zeros((slots - used, *values.shape[1:]))]).astype(kind)
  learnt = np.array([numbers.get(int(label), 0) for label in classes], np.int32).reshape(-1)
  count = lambda which: np.int32(np.sum(which))
  return {"masks": bit_planes.pack(fill(masks, bool)), "classes": fill(learnt, np.int32),
          "valid": np.arange(slots) < used, "ignore": fill(ignore, bool), "objects": count(~ignore & some),
          "cut_off": count((seen < 1) & some), "emptied": count(~some), "without_slot": count(left_out & ~ignore),
          "ignored_without_slot": count(left_out & ignore)}


def _masks(record, height, width):
  """The masks (height, width) of a record's objects, one after the other."""
  if "polygons" in record:
    return (outlines.mask(outline, height, width) for outline in record["polygons"])
  return (rle.decode(counts, height, width) for counts in record["masks"])


def _scaled(mask, square, size):
  """A mask of the file's pixels as one of the working image's, and the share of it that lies in that."""
  left, top, side = square
  inside = mask[top:top + side, left:left + side]
  share = inside.sum() / max(mask.sum(), 1)
  if side == size:
    return inside, share
  kind = Image.Resampling.BILINEAR if side < size else averaging(side, size)
  scaled = Image.fromarray(inside.astype(np.float32)).resize((size, size), kind)
  # Exact halves are in, and may have been rounded down.
  return np.asarray(scaled) > 0.5 - 1e-6, share


def describe(labels: Mapping[str, np.ndarray], split: str) -> None:
  """Says in the log what objects a split has, and what became of those that the working images do not hold."""
  if "objects" not in labels:
    return
  objects, ignored = labels["objects"], (labels["ignore"] & labels["valid"]).sum()
  logger.info("Objects of %s: %d in %d images, %d images without one; %d regions to ignore; %d cut off at the edge, %d "
              "with nothing left in the working image.", split, objects.sum(), len(objects), (objects == 0).sum(),
              ignored, labels["cut_off"].sum(), labels["emptied"].sum())
  lost, regions = labels["without_slot"].sum(), labels["ignored_without_slot"].sum()
  if lost or regions:
    logger.warning("%d of %d objects and %d of %d regions to ignore of %s, the smallest of their images, have no slot "
                   "and count as background: raise config.data.max_instances.", lost, objects.sum(), regions,
                   regions + ignored, split)
