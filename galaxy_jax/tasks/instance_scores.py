"""What was found in images against what is there: rows of the task's outputs and labels as objects, and scores."""
from collections.abc import Mapping, Sequence

import numpy as np

from galaxy_jax.detection import bit_planes, masks
from galaxy_jax.detection.average_precision import AveragePrecision
from galaxy_jax.detection.shape_errors import MatchedObjects


def truth(labels: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
  """The objects of one image: boxes (N, 4) y0, x0, y1, x1, masks (N, S, S), classes (N,) and ignore (N,).

  Args:
    labels: of a batch or a split, as data.instance_labels has them.
    row: of the image.
  """
  used = np.flatnonzero(labels["valid"][row])
  shapes = bit_planes.unpack(np.asarray(labels["masks"][row]), labels["valid"].shape[1])[used]
  return {"boxes": np.asarray(masks.mask_boxes(shapes)), "masks": shapes, "classes": labels["classes"][row][used],
          "ignore": labels["ignore"][row][used]}


def found(outputs: Mapping[str, np.ndarray], row: int, size: int) -> dict[str, np.ndarray]:
  """The detections in one image: boxes (D, 4), masks (D, S, S) bool, classes (D,), scores (D,).

  Args:
    outputs: of the task, see tasks.instances.make.
    row: of the image.
    size: S, side of the working image.
  """
  used = np.flatnonzero(outputs["valid"][row])
  shapes = np.zeros((len(used), size, size), bool)
  for number, i in enumerate(used):
    rows, columns, window = masks.paste_window(outputs["masks"][row, i], outputs["boxes"][row, i], size, size)
    shapes[number, rows, columns] = window
  return {"masks": shapes, **{name: outputs[name][row][used] for name in ("boxes", "classes", "scores")}}


class InstanceScores:
  """The task's accumulator: average precision, see detection.average_precision, and the errors of matched shapes.

  Beside its figures there is `error`, 1 less the mean of box_ap50 and mask_ap50: lower is better, as the loop wants it.

  Attributes:
    precision, matched: the two accumulators; neither keeps an image's masks as pixels.
  """

  def __init__(self, names: Sequence[str], *, pixel_scale: float | None = None):
    """Begins without images; `names`: of the classes; `pixel_scale`: arcsec of a working image's pixel, where known.

    Raises:
      DataError: pycocotools is not installed.
    """
    self.precision, self.matched, self._pixel_scale = AveragePrecision(names), MatchedObjects(), pixel_scale

  def update(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> None:
    """Takes the rows of a batch that are no padding."""
    for row in np.flatnonzero(batch["mask"]):
      there, seen = truth(batch, row), found(outputs, row, batch["masks"].shape[1])
      self.precision.update(there, seen)
      self.matched.update(there, seen)

  def result(self) -> dict[str, float]:
    """The figures; NaN where there is nothing to find."""
    figures = self.precision.result()
    figures |= self.matched.result(self.precision.matches("mask", "any"), pixel_scale=self._pixel_scale)
    return figures | {"error": 1 - (figures["box_ap50"] + figures["mask_ap50"]) / 2}
