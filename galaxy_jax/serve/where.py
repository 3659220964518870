"""Where in an image a model found its answer, by covering it: no gradients, any model.

A soft spot in the colour of the image's sky is put in each of GRID × GRID places; the map is by how much the leading
answer falls (occlusion, Zeiler & Fergus 2014, arXiv:1311.2901). Of votes that is smooth or features, whichever leads.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

#: Places along a side.
GRID = 8
#: The spot's standard deviation, as a share of the image's width.
SPOT = 0.09


class Maps(NamedTuple):
  """Where N images' leading answers were found.

  Attributes:
    answer: (N,) int, the column of the answer.
    fall: (N, GRID, GRID) float32, by how much it falls where that place is covered, not below 0.
  """
  answer: np.ndarray
  fall: np.ndarray


def explainer(model: Any) -> Callable[[np.ndarray], Maps]:
  """A function of decoded images (N, size, size, 3) uint8; each costs one device call of GRID² + 1 images.

  Args:
    model: a predictor.
  """
  upright = model.with_views(1, False).with_batch_size(GRID * GRID + 1)
  covers = spots(model.size)
  leaders = 2 if model.task == "votes" else len(model.columns)

  def explain(images):
    found = [_map(upright, image, covers, leaders) for image in images]
    return Maps(np.array([answer for answer, _ in found]), np.stack([fall for _, fall in found]))

  return explain


def spots(size: int) -> np.ndarray:
  """(GRID², size, size, 1) float32 in [0, 1]: how much of each pixel is covered in each place, row by row."""
  centres = (np.arange(GRID) + 0.5) / GRID * size - 0.5
  along = np.exp(-0.5 * ((np.arange(size) - centres[:, None]) / (SPOT * size)) ** 2)
  return (along[:, None, :, None] * along[None, :, None, :]).reshape(-1, size, size, 1).astype(np.float32)


def _map(model, image, covers, leaders):
  """The leading answer and by how much it falls in each place."""
  edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
  sky = np.median(edge, axis=0).astype(np.float32)
  covered = np.round(image * (1 - covers) + sky * covers).astype(np.uint8)
  plain, *fractions = model.predict(np.concatenate([image[None], covered]))
  answer = int(np.argmax(plain[:leaders]))
  fall = np.maximum(plain[answer] - np.array(fractions)[:, answer], 0)
  return answer, fall.reshape(GRID, GRID).astype(np.float32)
