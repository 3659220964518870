"""What a report says in numbers: errors, calibration and class counts of predicted vote fractions.

Plain numpy on whole arrays, in float64, apart from `galaxy_jax.metrics` (which works on batches inside
the compiled step): the page is then a second path to the evaluation's own numbers. Votes may be NaN
where a galaxy was not labelled; such values count nowhere.
"""
from typing import NamedTuple

import numpy as np

from tfds_builders.gz2_tree import COLUMNS, QUESTIONS, Question

# How the catalogue's names read on a page, where replacing the underscores is not enough.
_SPELLING = {"cant_tell": "can't tell", "cigar_shaped": "cigar-shaped", "rmse": "RMSE",
             "macro_f1": "mean F1 of the classes", "balanced_accuracy": "mean accuracy of the classes",
             "top_2_accuracy": "accuracy of two guesses"}
_QUESTION_SPELLING = {"edgeon": "edge-on", "spiral": "spiral arms", "odd": "anything odd", "rounded": "roundness",
                      "arms_winding": "arm winding", "arms_number": "number of arms"}

#: The main classes, in the order of `main_class`.
MAIN_CLASSES = ("smooth, completely round", "smooth, in between", "smooth, cigar-shaped", "edge-on disk",
                "barred spiral", "unbarred spiral", "featured, no spiral arms", "star or artifact")

_BY_NAME = {question.name: question for question in QUESTIONS}


class Calibration(NamedTuple):
  """Predicted against voted fractions, in bins of the predicted one; arrays have one entry a bin.

  Attributes:
    edges: (B + 1,) the bins' edges, in [0, 1].
    count: (B,) how many values fall into each bin.
    predicted: (B,) mean predicted fraction, NaN in an empty bin.
    voted: (B,) mean voted fraction, NaN in an empty bin.
    low: (B,) the 16th percentile of the votes in the bin, NaN in an empty one.
    high: (B,) the 84th percentile.
    error: expected calibration error, Σ count |predicted − voted| / Σ count.
  """
  edges: np.ndarray
  count: np.ndarray
  predicted: np.ndarray
  voted: np.ndarray
  low: np.ndarray
  high: np.ndarray
  error: float


def words(name: str) -> str:
  """A name as people write it: the answer `cant_tell` reads "can't tell"."""
  return _SPELLING.get(name, name.replace("_", " "))


def question_in_words(question: Question) -> str:
  """A question's name as people write it: "number of arms"."""
  return _QUESTION_SPELLING.get(question.name, words(question.name))


def capital(text: str) -> str:
  """The text with a capital first letter, the others as they are."""
  return text[:1].upper() + text[1:]


def answer_in_words(column: int) -> str:
  """Question and answer of one of the 37 columns, "roundness, cigar-shaped" for column 17."""
  question = next(q for q in QUESTIONS if q.columns.start <= column < q.columns.stop)
  return f"{question_in_words(question)}, {words(question.answers[column - question.start])}"


def rmse(predicted: np.ndarray, voted: np.ndarray) -> float:
  """The challenge's score: the root of the mean squared error over every labelled value; NaN without any."""
  error = np.asarray(predicted, np.float64) - np.asarray(voted, np.float64)
  known = np.isfinite(error)
  return float(np.sqrt(np.mean(np.square(error[known])))) if known.any() else float("nan")


def rmse_by_galaxy(predicted: np.ndarray, voted: np.ndarray) -> np.ndarray:
  """RMSE of each galaxy over its labelled answers: (N,) float64, NaN where it has none."""
  error = np.asarray(predicted, np.float64) - np.asarray(voted, np.float64)
  known = np.isfinite(error)
  count = known.sum(axis=1)
  total = np.square(np.where(known, error, 0.0)).sum(axis=1)
  return np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), np.nan)


def mean_vote(voted: np.ndarray) -> np.ndarray:
  """Mean vote fraction of each answer over the galaxies that have one: (37,) float64, NaN without any."""
  voted = np.asarray(voted, np.float64)
  known = np.isfinite(voted)
  count = known.sum(axis=0)
  return np.where(count > 0, np.where(known, voted, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def calibration(predicted: np.ndarray, voted: np.ndarray, bins: int = 10) -> Calibration:
  """Compares predicted with voted fractions in equal bins of the predicted one, over all answers together.

  Args:
    predicted: (N, 37) predicted vote fractions. A value outside [0, 1] counts in the nearest bin.
    voted: (N, 37) vote fractions, NaN where unlabelled.
    bins: how many bins; as many as `galaxy_jax.metrics` has, so that both state the same error.
  """
  predicted, voted = np.asarray(predicted, np.float64).ravel(), np.asarray(voted, np.float64).ravel()
  known = np.isfinite(voted)
  predicted, voted = predicted[known], voted[known]
  edges = np.linspace(0.0, 1.0, bins + 1)
  index = np.clip((predicted * bins).astype(int), 0, bins - 1)
  count = np.bincount(index, minlength=bins)
  mean = np.full((2, bins), np.nan)
  spread = np.full((2, bins), np.nan)
  for b in np.flatnonzero(count):
    inside = index == b
    mean[:, b] = predicted[inside].mean(), voted[inside].mean()
    spread[:, b] = np.quantile(voted[inside], (0.16, 0.84))
  gap = np.nansum(count * np.abs(mean[0] - mean[1]))
  error = float(gap / count.sum()) if count.sum() else float("nan")
  return Calibration(edges, count, mean[0], mean[1], spread[0], spread[1], error)


def main_class(votes: np.ndarray) -> np.ndarray:
  """The class at the end of the tree's main path, following the leading answer at each question.

  Smooth galaxies divide by roundness; the others into edge-on disks, spirals with and without a bar,
  and those without spiral arms.

  Args:
    votes: (N, 37) vote fractions.

  Returns:
    (N,) int64, indices into `MAIN_CLASSES`; −1 where a value is missing or where a question on the path
    got no vote, so that no answer leads.
  """
  votes = np.asarray(votes, np.float64)

  def lead(name):
    asked = votes[:, _BY_NAME[name].columns]
    return np.where(np.nan_to_num(asked).max(axis=1) > 0, np.argmax(asked, axis=1), -1)

  first, rounded, edgeon, bar, spiral = map(lead, ("smooth_or_features", "rounded", "edgeon", "bar", "spiral"))
  barred = np.select([bar == 0, bar == 1], [4, 5], -1)
  face_on = np.select([spiral == 0, spiral == 1], [barred, 6], -1)
  disk = np.select([edgeon == 0, edgeon == 1], [3, face_on], -1)
  index = np.select([first == 0, first == 1, first == 2], [rounded, disk, 7], -1)
  return np.where(np.isfinite(votes).all(axis=1), index, -1)


def check(ids: np.ndarray, predicted: np.ndarray, voted: np.ndarray) -> None:
  """Refuses arrays that do not belong together.

  Raises:
    ValueError: a shape is not (N,), (N, 37) and (N, 37) with N ≥ 1, or a prediction is not finite.
  """
  columns = len(COLUMNS)
  if ids.ndim != 1 or not len(ids):
    raise ValueError(f"A report needs ids of shape (N,) with N of 1 or more, not {ids.shape}: predict at least one "
                     "galaxy first.")
  for name, array in (("predicted", predicted), ("voted", voted)):
    if array.shape != (len(ids), columns):
      raise ValueError(f"A report needs {name} of shape ({len(ids)}, {columns}), one row an id, not {array.shape}.")
  bad = np.argwhere(~np.isfinite(predicted))
  if len(bad):
    row, column = bad[0]
    raise ValueError(f"Prediction {COLUMNS[column]} of galaxy {ids[row]} is {predicted[row, column]}, and {len(bad)} "
                     "values in all are not finite: a report needs finite predictions. Use an earlier checkpoint.")
