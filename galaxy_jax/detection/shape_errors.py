"""How well a split's objects are found beside being found: errors of position, size and shape of those matched.

Of every object only a few numbers are kept, so that a split of any size can be gone through.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from galaxy_jax.detection.geometry import shape_of
from galaxy_jax.detection.matching import Matches

#: The share of objects whose errors are below the figures that end in _68: one standard deviation of a normal error.
WITHIN = 68.0


class _Side(NamedTuple):
  """The objects or detections of one image: (N, 4) y, x, area and axis ratio, (N,) classes, (N,) to be ignored."""
  shapes: np.ndarray
  classes: np.ndarray
  ignore: np.ndarray


class MatchedObjects:
  """An accumulator beside average_precision.AveragePrecision: `update` for every image, then `errors` or `result`."""

  def __init__(self):
    self._images = []

  def update(self, truth: Mapping, detections: Mapping) -> None:
    """Takes one image.

    Args:
      truth, detections: as AveragePrecision.update takes them, with masks as arrays.
    """
    best_first = np.argsort(-np.asarray(detections["scores"], np.float64), kind="stable")
    true, found = _side(truth), _side(detections)
    self._images.append((true, _Side(*(values[best_first] for values in found))))

  def errors(self, matches: Sequence[Matches], *, least: float = -np.inf) -> dict[str, np.ndarray]:
    """The errors of each matched object.

    Args:
      matches: of the same images in the same order, where all classes count as one: AveragePrecision.matches of "any".
      least: detections of a lower score are left out.

    Returns:
      {name: (M,)} of the M matched objects, NaN where a mask is empty:
        centroid: distance of the centroids, pixels of the working image.
        centroid_share: the same over the object's radius, that of a circle of its area.
        area: (found - truth) / truth.
        axis_ratio: found - truth.
        same_class: 1.0 where the classes agree, else 0.0.

    Raises:
      ValueError: matches of another number of images.
    """
    if len(matches) != len(self._images):
      raise ValueError(f"There are matches of {len(matches)} images, and shapes of {len(self._images)}: expected as "
                       "many.")
    true, found, same = [np.zeros((0, 4))], [np.zeros((0, 4))], [np.zeros(0)]
    for (there, seen), one in zip(self._images, matches, strict=True):
      places = np.flatnonzero((one.partners >= 0) & (one.scores >= least))
      partners = one.partners[places]
      true.append(there.shapes[partners])
      found.append(seen.shapes[places])
      same.append(seen.classes[places] == there.classes[partners])
    true, found = np.concatenate(true), np.concatenate(found)
    centroid = np.hypot(*(found - true)[:, :2].T)
    area = np.where(true[:, 2] > 0, true[:, 2], np.nan)
    return {"centroid": centroid, "centroid_share": centroid / np.sqrt(area / np.pi),
            "area": (found[:, 2] - true[:, 2]) / area, "axis_ratio": found[:, 3] - true[:, 3],
            "same_class": np.concatenate(same).astype(np.float64)}

  def result(self, matches: Sequence[Matches], *, pixel_scale: float | None = None) -> dict[str, float]:
    """Figures of all matched objects; NaN where none is.

    Args:
      matches: as of `errors`.
      pixel_scale: arcsec a pixel of the working image, where it is known.

    Returns:
      matched: how many of the objects are.
      matched_accuracy: how many of the matched have the right class.
      centroid_median, centroid_68, centroid_share_median, centroid_share_68: what half, and 68 %, lie below.
      centroid_arcsec_median, centroid_arcsec_68: the same in arcsec, with `pixel_scale` only.
      area_median, axis_ratio_median: of the errors with their sign. area_68, axis_ratio_68: of their amounts.
    """
    errors = self.errors(matches)
    objects = sum(int((~true.ignore).sum()) for true, _ in self._images)
    number = len(errors["centroid"])
    figures = {"matched": number / objects if objects else float("nan"),
               "matched_accuracy": float(errors["same_class"].mean()) if number else float("nan")}
    quantities = {name: errors[name] for name in ("centroid", "centroid_share", "area", "axis_ratio")}
    if pixel_scale is not None:
      quantities["centroid_arcsec"] = quantities["centroid"] * pixel_scale
    for name, values in quantities.items():
      values = values[np.isfinite(values)]
      figures[f"{name}_median"] = float(np.median(values)) if len(values) else float("nan")
      figures[f"{name}_68"] = float(np.percentile(np.abs(values), WITHIN)) if len(values) else float("nan")
    return figures


def _side(rows):
  shapes = [shape_of(mask) for mask in rows["masks"]]
  table = np.array([(shape.y, shape.x, shape.area, shape.axis_ratio) for shape in shapes], np.float64).reshape(-1, 4)
  return _Side(table, np.asarray(rows["classes"]), np.asarray(rows.get("ignore", np.zeros(len(table))), bool))
