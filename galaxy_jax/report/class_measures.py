"""What a report says of predicted classes in numbers: confusion, scores by class, ROC and precision-recall curves.

Plain numpy on whole arrays, in float64, apart from `galaxy_jax.metrics`: a second path to the evaluation's own numbers.
"""
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
  """Scores of C classes on labelled galaxies, (C,) each; NaN where a class has nothing to be scored on.

  Attributes:
    labelled: galaxies labelled so.
    predicted: galaxies predicted so.
    recall: the share of those labelled that are predicted so: the class's accuracy.
    precision: the share of those predicted that are labelled so.
    f1: the harmonic mean of both.
    auc: the area under the ROC curve, this class against all others.
    average_precision: the mean precision over the labelled galaxies, in the order of their probability.
  """
  labelled: np.ndarray
  predicted: np.ndarray
  recall: np.ndarray
  precision: np.ndarray
  f1: np.ndarray
  auc: np.ndarray
  average_precision: np.ndarray


class Curve(NamedTuple):
  """A curve over all thresholds, and its summary: x and y in [0, 1], the area under it or the mean of y."""
  x: np.ndarray
  y: np.ndarray
  value: float


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
  """(C, C) counts by label (row) and prediction (column), from (N,) classes of which none is missing."""
  return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def scores(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
  """Scores every class; probabilities (N, C) and labels (N,), none missing."""
  classes = probabilities.shape[1]
  counts = confusion(labels, np.argmax(probabilities, axis=1), classes).astype(np.float64)
  labelled, predicted, right = counts.sum(1), counts.sum(0), np.diagonal(counts)
  curves = [(roc(labels == c, probabilities[:, c]), precision_recall(labels == c, probabilities[:, c]))
            for c in range(classes)]
  return Scores(labelled.astype(int), predicted.astype(int), _share(right, labelled), _share(right, predicted),
                _share(2 * right, np.where(labelled > 0, labelled + predicted, 0)),
                np.array([first.value for first, _ in curves]), np.array([second.value for _, second in curves]))


def _share(part, whole):
  return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _steps(truth, score):
  """How many of the class, and how many of the others, score at least each distinct score, from the highest."""
  order = np.argsort(-score, kind="stable")
  truth, score = truth[order], score[order]
  last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # galaxies with equal scores come together
  hits = np.cumsum(truth)[last]
  return hits.astype(np.float64), (last + 1 - hits).astype(np.float64)


def roc(truth: np.ndarray, score: np.ndarray) -> Curve:
  """The share of a class's galaxies (y) against that of all others (x) above a threshold; its area.

  Args:
    truth: (N,) bool.
    score: (N,) the larger the more probably true.

  Returns:
    The curve from (0, 0) to (1, 1); without both kinds of galaxies it is empty and its area NaN.
  """
  if truth.all() or not truth.any():
    return Curve(np.array([]), np.array([]), float("nan"))
  hits, others = _steps(truth, np.asarray(score, np.float64))
  x, y = np.append(0, others / others[-1]), np.append(0, hits / hits[-1])
  return Curve(x, y, float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))


def precision_recall(truth: np.ndarray, score: np.ndarray) -> Curve:
  """The precision (y) against the recall (x) above a threshold; its value is the average precision.

  Arguments as of `roc`; without a galaxy of the class it is empty and its value NaN. The average precision is
  Σ (recall(k) - recall(k-1)) precision(k), without interpolation.
  """
  if not truth.any():
    return Curve(np.array([]), np.array([]), float("nan"))
  hits, others = _steps(truth, np.asarray(score, np.float64))
  x, y = hits / hits[-1], hits / (hits + others)
  return Curve(np.append(0, x), np.append(y[:1], y), float(np.sum(np.diff(x, prepend=0) * y)))


def check(ids: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> None:
  """Refuses arrays that do not belong together.

  Raises:
    ValueError: a shape is not (N,), (N, C) and (N,) with N ≥ 1 and C names, a label is not below C, or a probability is
      not finite.
  """
  if ids.ndim != 1 or not len(ids):
    raise ValueError(f"A report needs ids of shape (N,) with N of 1 or more, not {ids.shape}: predict at least one "
                     "galaxy first.")
  if probabilities.shape != (len(ids), len(names)) or labels.shape != ids.shape:
    raise ValueError(f"A report needs probabilities of shape ({len(ids)}, {len(names)}), one row an id and one column "
                     f"a name, and labels of shape ({len(ids)},), not {probabilities.shape} and {labels.shape}.")
  if labels.max() >= len(names):
    raise ValueError(f"Galaxy {ids[int(np.argmax(labels))]} has the label {labels.max()}, but there are "
                     f"{len(names)} classes, counted from 0.")
  bad = np.argwhere(~np.isfinite(probabilities))
  if len(bad):
    row, column = bad[0]
    raise ValueError(f"The probability of {names[column]} of galaxy {ids[row]} is {probabilities[row, column]}, and "
                     f"{len(bad)} values in all are not finite: a report needs finite predictions. Use an earlier "
                     "checkpoint.")
