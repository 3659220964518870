"""Several models' predictions as one: their weighted mean, with equal weights or with those that score best."""
from collections.abc import Callable

import numpy as np


def combine(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The weighted mean of (M, N, ...) predictions of M models under (M,) weights that sum to 1: (N, ...) float32.

  Vote fractions that obey the decision tree, and probabilities, do so in the mean as well.
  """
  return np.tensordot(np.asarray(weights, np.float64), np.asarray(predictions, np.float64), 1).astype(np.float32)


def uniform(count: int) -> np.ndarray:
  """Equal weights for so many models."""
  return np.full(count, 1 / count)


def greedy(predictions: np.ndarray, score: Callable[[np.ndarray], float], *, rounds: int = 40) -> np.ndarray:
  """Weights by forward selection with replacement (Caruana et al. 2004, ICML).

  Model after model joins the mean, each time the one with which the score is lowest, the same one again if that is
  best; the weights are those of the round with the lowest score. So no weight is negative, and a few rounds cannot fit
  the galaxies that closely.

  Args:
    predictions: (M, N, ...) of galaxies that no model was trained on.
    score: from predictions (N, ...) to a number; lower is better.
    rounds: how often a model joins.

  Returns:
    (M,) float64, multiples of one over the number of rounds taken; their sum is 1.

  Raises:
    ValueError: the score of every model is no number.
  """
  predictions = np.asarray(predictions, np.float64)
  total, counts = np.zeros(predictions.shape[1:]), np.zeros(len(predictions), int)
  best, best_counts = np.inf, None
  for members in range(1, rounds + 1):
    scores = [score(((total + one) / members).astype(np.float32)) for one in predictions]
    if np.isnan(scores).all():
      raise ValueError("No model can be scored on these galaxies: have they labels?")
    chosen = int(np.nanargmin(scores))
    total += predictions[chosen]
    counts[chosen] += 1
    if scores[chosen] < best:
      best, best_counts = scores[chosen], counts.copy()
  return best_counts / best_counts.sum()
