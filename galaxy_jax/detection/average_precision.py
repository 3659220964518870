"""Average precision of detected boxes and masks, collected image by image.

COCO's figures are pycocotools' own. Those at an overlap of 0.5 with an interval, a class or matterport's mean over
images come from `matching`, which equals pycocotools there.
"""
import contextlib
import io
from collections.abc import Mapping, Sequence

import numpy as np

from galaxy_jax.detection.masks import encode_rle
from galaxy_jax.detection.matching import Pool, bootstrap, image_average_precision, match
from tfds_builders import extras

_NEEDS = {"extra": "masks", "purpose": "Average precision"}
#: Columns of pycocotools' figures by area, of objects below 32², to 96² and above.
_AREAS = {"": 0, "_small": 1, "_medium": 2, "_large": 3}


class AveragePrecision:
  """An accumulator: `update` for every image, then `result`.

  Classes are counted from 0, as `class_names` has them. A region to ignore excuses detections of every class that lie
  in it by the overlap asked for, whatever its own class (COCO's `iscrowd`).
  """

  def __init__(self, class_names: Sequence[str], *, masks: bool = True, limit: int = 100):
    """Begins without images.

    Args:
      class_names: of the classes.
      masks: whether truth and detections have masks; else boxes alone are judged.
      limit: the best so many detections of an image and class count; of an image, where all classes are one.

    Raises:
      DataError: pycocotools is not installed.
    """
    self._coco = extras.load("pycocotools.coco", **_NEEDS)
    self._eval = extras.load("pycocotools.cocoeval", **_NEEDS)
    self._rle = extras.load("pycocotools.mask", **_NEEDS)
    self._class_names = tuple(class_names)
    self._kinds = ("box", "mask") if masks else ("box",)
    self._limit = limit
    self._images = []

  def __len__(self) -> int:
    return len(self._images)

  def update(self, truth: Mapping, detections: Mapping) -> None:
    """Takes one image; rows of padding are to be left out before.

    Args:
      truth: boxes (N, 4) y0, x0, y1, x1, pixels; classes (N,), of regions to ignore any number; ignore (N,) bool, may
        be missing; masks: (N, H, W), or N compressed run lengths as `masks.encode_rle` gives them.
      detections: boxes (D, 4), scores (D,), classes (D,), masks as those of the truth.

    Raises:
      ValueError: arrays of different lengths, a class that there is none of, a number that is not finite, masks of
        different sizes.
    """
    image = {"truth": self._checked(truth, "truth"), "detections": self._checked(detections, "detections")}
    sizes = sorted({tuple(map(int, mask["size"])) for side in image.values() for mask in side.get("mask", ())})
    if len(sizes) > 1:
      named = " and ".join(f"{height} x {width}" for height, width in sizes)
      raise ValueError(f"The masks of image {len(self)} have {named} pixels: truth and detections of an image are "
                       "compared in one size. Scale them to it.")
    image["size"] = sizes[0] if sizes else (0, 0)
    ignore = image["truth"]["ignore"]
    crowd = ignore.astype(np.uint8).tolist()
    for kind in self._kinds:
      found, there = (image[side][kind] for side in ("detections", "truth"))
      overlap = self._rle.iou(found, there, crowd) if len(found) and len(there) else ()
      image["overlap_" + kind] = np.reshape(overlap, (len(found), len(there)))
    self._images.append(image)

  def result(self) -> dict[str, float]:
    """All figures, each beginning with box_ or mask_; NaN where there is nothing to find.

    Returns:
      ap, ap50, ap75, ap_small, ap_medium, ap_large: COCO's, the mean over classes; ap is that over the overlaps 0.5,
        0.55 … 0.95, the last three by area in pixels.
      ap_agnostic, ap50_agnostic: the same with one class for all.
      ap50_<class>: of each class.
      voc_ap50, voc_ap50_agnostic, voc_ap50_<class>: matterport's, the mean over images that have objects (of it).
    """
    figures = {}
    for kind in self._kinds:
      for agnostic in (False, True):
        figures |= {f"{kind}_{name}": value for name, value in self._coco_figures(kind, agnostic).items()}
      classes = range(len(self._class_names))
      figures |= {f"{kind}_ap50_{self._class_names[c]}": Pool(self.matches(kind, c)).average_precision()
                  for c in classes}
      variants = {"": None, "_agnostic": "any", **{f"_{self._class_names[c]}": c for c in classes}}
      figures |= {f"{kind}_voc_ap50{end}": _mean([image_average_precision(one) for one in self.matches(kind, which)])
                  for end, which in variants.items()}
    return figures

  def intervals(self, *, draws: int = 1000, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals over images of box_ and mask_ ap50, ap50_agnostic, ap50_<class>, voc_ap50.

    Images are matched once; only how often each counts is drawn.
    """
    run = lambda score: bootstrap(score, len(self), draws=draws, seed=seed, level=level)
    found = {}
    for kind in self._kinds:
      pools = {name: Pool(self.matches(kind, c)) for c, name in enumerate(self._class_names)}
      found |= {f"{kind}_ap50_{name}": run(pool.average_precision) for name, pool in pools.items()}
      found[f"{kind}_ap50"] = run(lambda times: _mean([pool.average_precision(times) for pool in pools.values()]))
      found[f"{kind}_ap50_agnostic"] = run(Pool(self.matches(kind, "any")).average_precision)
      each = np.array([image_average_precision(one) for one in self.matches(kind, None)])
      found[f"{kind}_voc_ap50"] = run(lambda times: _mean(np.repeat(each, times)))
    return found

  def matches(self, kind, which):
    """The matches at an overlap of 0.5 in every image.

    Args:
      kind: box or mask.
      which: a class; "any" for all as one class; None for all, matched where the classes agree. The limit holds for
        each class, with "any" for all together.

    Returns:
      A list of matching.Matches, whose detections and objects are numbered within what `which` leaves of the image's.
    """
    result = []
    for image in self._images:
      truth, found = image["truth"], image["detections"]
      one = which not in (None, "any")
      rows = found["classes"] == which if one else np.ones(len(found["classes"]), bool)
      columns = truth["ignore"] | (truth["classes"] == which) if one else slice(None)
      agree = (found["classes"][:, None] == truth["classes"]) | truth["ignore"]
      if which is None:
        rows = _best(found["scores"], found["classes"], self._limit)
      result.append(match(image["overlap_" + kind][rows][:, columns], found["scores"][rows],
                          truth["ignore"][columns], limit=len(rows) if which is None else self._limit,
                          may_match=None if which == "any" else agree[rows][:, columns]))
    return result

  def _coco_figures(self, kind, agnostic):
    # One category for all where classes do not count: with `useCats` off, pycocotools would put equal scores in the
    # order of their classes, and `matches` leaves them in that of the rows.
    categories = 1 if agnostic else len(self._class_names)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its every step there.
      truth, found = (self._coco_object(self._coco_side(side, kind, agnostic), categories)
                      for side in ("truth", "detections"))
      evaluation = self._eval.COCOeval(truth, found, "segm" if kind == "mask" else "bbox")
      evaluation.params.maxDets = [self._limit]
      evaluation.evaluate()
      evaluation.accumulate()
    # (overlaps, recalls, classes, areas, limits). Rounded because pycocotools adds 2⁻⁵² to what it divides by: what is
    # perfect there falls short of 1 in the last digit.
    precision = np.round(evaluation.eval["precision"], 12)
    mean = lambda overlaps, area: _mean(np.where(precision > -1, precision, np.nan)[overlaps, :, :, area, 0].ravel())
    if agnostic:
      return {"ap_agnostic": mean(slice(None), 0), "ap50_agnostic": mean(slice(0, 1), 0)}
    return {**{f"ap{end}": mean(slice(None), area) for end, area in _AREAS.items()},
            "ap50": mean(slice(0, 1), 0), "ap75": mean(slice(5, 6), 0)}

  def _coco_side(self, side, kind, agnostic):
    annotations = []
    for number, image in enumerate(self._images):
      rows = image[side]
      for i, box in enumerate(rows["box"]):
        crowd = bool(rows["ignore"][i])
        if agnostic:
          categories = [0]
        else:  # A region to ignore is there for every class.
          categories = range(len(self._class_names)) if crowd else [int(rows["classes"][i])]
        for category in categories:
          one = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box.tolist(),
                 "area": float(rows["area_" + kind][i]), "iscrowd": int(crowd)}
          if kind == "mask":
            one["segmentation"] = rows["mask"][i]
          if side == "detections":
            one["score"] = float(rows["scores"][i])
          annotations.append(one)
    return annotations

  def _coco_object(self, annotations, categories):
    result = self._coco.COCO()
    images = [{"id": i, "height": image["size"][0], "width": image["size"][1]} for i, image in enumerate(self._images)]
    result.dataset = {"annotations": annotations, "images": images,
                      "categories": [{"id": i} for i in range(categories)]}
    result.createIndex()
    return result

  def _checked(self, rows, side):
    boxes = np.asarray(rows["boxes"], np.float64).reshape(-1, 4)
    number = len(boxes)
    classes = np.asarray(rows["classes"]).astype(np.int64)
    ignore = np.asarray(rows.get("ignore", np.zeros(number)) if side == "truth" else np.zeros(number)).astype(bool)
    lengths = {"boxes": number, "classes": len(classes), "ignore": len(ignore)}
    result = {"classes": classes, "ignore": ignore}
    if side == "detections":
      result["scores"] = np.asarray(rows["scores"], np.float64)
      lengths["scores"] = len(result["scores"])
    if "mask" in self._kinds:
      result["mask"] = [x if isinstance(x, dict) else encode_rle(x) for x in rows["masks"]]
      lengths["masks"] = len(result["mask"])
    if len(set(lengths.values())) != 1:
      raise ValueError(f"The {side} of image {len(self)} have {lengths}: as many of each were expected.")
    if not np.isfinite(boxes).all() or not np.isfinite(result.get("scores", 0.0)).all():
      raise ValueError(f"The {side} of image {len(self)} have a box or a score that is not finite.")
    if wrong := sorted(set(classes[~ignore].tolist()) - set(range(len(self._class_names)))):
      raise ValueError(f"The {side} of image {len(self)} have the classes {wrong}; expected are 0 to "
                       f"{len(self._class_names) - 1}, for {', '.join(self._class_names)}.")
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    result["box"] = np.concatenate([boxes[:, [1, 0]], size[:, ::-1]], axis=1)
    result["area_box"] = size.prod(1)
    if result.get("mask"):
      # Objects are sorted into small, medium and large by their masks, as in COCO.
      result["area_mask"] = np.asarray(self._rle.area(result["mask"]), np.float64)
      if side == "truth":
        result["area_box"] = result["area_mask"]
    return {"area_mask": np.zeros(number), **result}


def _best(scores, classes, limit):
  """The rows of the best `limit` of each class, in their order; of equal scores the first comes first."""
  order = np.argsort(-scores, kind="stable")
  rows = [order[classes[order] == one][:limit] for one in np.unique(classes)]
  return np.sort(np.concatenate([np.zeros(0, np.int64), *rows]))


def _mean(values) -> float:
  """The mean of those that are not NaN; NaN where all are."""
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  return float(values.mean()) if len(values) else float("nan")
