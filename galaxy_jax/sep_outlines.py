"""Which pixels of an image belong to which object, by SEP: Source Extractor's algorithms, without a network.

The classical answer, to begin annotations with and to compare networks with. An object is where the smoothed image lies
so many times the noise of the sky above the background, over enough connected pixels; what has several peaks is parted
where each branch holds enough of the light.

The background of an image up to 512 pixels a side is one value, of a larger one a mesh of 256 pixels: galaxies fill a
good part of a cut-out, and a finer mesh would take their outskirts for sky. Noise is taken to be at least one count of
255: where a cut-out's sky is flat, black from clipping for instance, its measured noise is near 0, and every ripple
that JPEG leaves around a galaxy would be an object.

Sources: Barbary 2016 (JOSS 1, 58); Bertin and Arnouts 1996 (A&AS 117, 393).
"""
from typing import NamedTuple

import numpy as np

from galaxy_jax.detection.masks import outlines
from tfds_builders import extras

#: Counts of 255, see above.
LEAST_NOISE = 1.0
#: Sides of images up to which the background is one value, and the mesh of larger ones, pixels.
_ONE_MESH, _MESH = 512, 256
#: Objects that one blend may be parted into; SEP's own limit of 1024 is reached by noise.
_PARTS = 8192


class Objects(NamedTuple):
  """What was found in an image.

  Attributes:
    labels: (H, W) int32, k + 1 on the pixels of object k, 0 on those of none.
    flux: (K,) float64, the light above the background, counts.
    noise: of the sky, as it was used, counts.
  """
  labels: np.ndarray
  flux: np.ndarray
  noise: float

  def masks(self) -> np.ndarray:
    """(K, H, W) bool; no two of them share a pixel."""
    return self.labels == np.arange(1, len(self.flux) + 1, dtype=np.int32).reshape(-1, 1, 1)


def find(image: np.ndarray, *, threshold: float = 1.5, min_area: int = 50, deblend_contrast: float = 0.005) -> Objects:
  """Finds the objects of an image.

  Args:
    image: (H, W) or (H, W, C) numbers on the scale of 8 bits; of colours the mean is looked at.
    threshold: how many times the noise an object's pixels lie above the background.
    min_area: pixels that an object has at least.
    deblend_contrast: share of a blend's light from which a branch is an object of its own; 1: nothing is parted.

  Returns:
    The objects, from the first row on.

  Raises:
    ValueError: settings outside their ranges.
    DataError: SEP is not installed.
  """
  if not threshold > 0 or min_area < 1 or not 0 <= deblend_contrast <= 1:
    raise ValueError(f"The threshold is {threshold}, the least area {min_area} and the contrast {deblend_contrast}; "
                     "expected a threshold above 0, at least 1 pixel, and a contrast from 0 to 1.")
  sep = extras.load("sep", extra="annotate", purpose="Finding outlines")
  light = np.ascontiguousarray(np.mean(image, axis=-1) if np.ndim(image) == 3 else image, dtype=np.float32)
  height, width = light.shape
  if light.min() == light.max():
    return Objects(np.zeros(light.shape, np.int32), np.zeros(0), LEAST_NOISE)
  mesh = {"bw": width, "bh": height} if max(height, width) <= _ONE_MESH else {"bw": _MESH, "bh": _MESH}
  background = sep.Background(light, **mesh)
  noise = max(float(background.globalrms), LEAST_NOISE)
  # Both are limits of the library for all its callers; they only ever grow.
  sep.set_extract_pixstack(max(sep.get_extract_pixstack(), 2 * light.size))
  sep.set_sub_object_limit(max(sep.get_sub_object_limit(), _PARTS))
  rows, labels = sep.extract(light - background.back(), threshold, err=noise, minarea=min_area,
                             deblend_cont=deblend_contrast, segmentation_map=True)
  there, numbered = np.unique(labels, return_inverse=True)
  if there[0] != 0:  # not one pixel of sky is left
    there, numbered = np.r_[0, there], numbered + 1
  return Objects(numbered.reshape(labels.shape).astype(np.int32), rows["flux"][there[1:] - 1].astype(np.float64), noise)


def polygons(found: Objects, tolerance: float = 0.0) -> list[np.ndarray]:
  """The outlines of objects, of one in several parts the largest's; one that is a mere line has none.

  Args:
    found: as `find` gives them.
    tolerance: pixels that a corner left out may lie off the outline, see detection.masks.outlines.

  Returns:
    (N, 2) int64 of each, x and y of its corners, (0, 0) being the first pixel's centre.
  """
  result = []
  for number, (y0, x0, y1, x1) in enumerate(_boxes(found.labels).tolist(), 1):
    parts = outlines(found.labels[y0:y1, x0:x1] == number, tolerance)
    result += [part.astype(np.int64) + (x0, y0) for part in parts[:1]]
  return result


def _boxes(labels):
  """(K, 4) y0, x0, y1, x1 of the objects 1 … K, each of which has a pixel, in one pass over the map."""
  rows, columns = np.nonzero(labels)
  if not len(rows):
    return np.zeros((0, 4), np.int64)
  order = np.argsort(labels[rows, columns], kind="stable")
  rows, columns, numbers = rows[order], columns[order], labels[rows, columns][order]
  first = np.flatnonzero(np.diff(numbers, prepend=0))
  return np.stack([np.minimum.reduceat(rows, first), np.minimum.reduceat(columns, first),
                   np.maximum.reduceat(rows, first) + 1, np.maximum.reduceat(columns, first) + 1], axis=1)


def nearest_to_middle(boxes: np.ndarray, height: int, width: int) -> int:
  """The row of the box (K, 4) y0, x0, y1, x1 whose centre is nearest to the image's, as the builder mask_galaxy has it.

  K is at least 1.
  """
  middle = (np.asarray(boxes, np.float64)[:, :2] + np.asarray(boxes, np.float64)[:, 2:]) / 2 - (height / 2, width / 2)
  return int(np.argmin(np.hypot(*middle.T)))
