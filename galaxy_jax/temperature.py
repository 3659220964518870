"""Probabilities of classes that mean what they say: one temperature for all, fitted on galaxies held out.

Guo et al. 2017 (ICML, "On calibration of modern neural networks"): networks trained to certainty are too sure of
themselves; dividing their log probabilities by one number mends most of it and changes no class.
"""
import numpy as np

#: Beyond these no network can be told from one that is certain, or that knows nothing.
COLDEST, HOTTEST = 0.02, 50.0
#: The least a probability counts as, so that one wrong certainty does not decide alone.
LEAST = 1e-7


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
  """softmax(log p / T) of (N, C) probabilities: above 1 less sure, below 1 surer. The order of classes stays."""
  logits = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST)) / temperature
  scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
  return (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)


def fit(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """The temperature under which the labels are most probable, between COLDEST and HOTTEST.

  The cross-entropy is convex in 1 / T, so its one minimum is where the slope, the mean over galaxies of the expected
  log probability less the label's, crosses zero.

  Args:
    probabilities: (N, C) of galaxies that the model was not trained on.
    labels: (N,) classes, negative where unknown.

  Raises:
    ValueError: no galaxy has a label.
  """
  labels = np.asarray(labels)
  known = labels >= 0
  if not known.any():
    raise ValueError("A temperature is fitted on galaxies with labels; none of these has one.")
  probabilities, labels = np.asarray(probabilities, np.float64)[known], labels[known]
  logits = np.log(np.maximum(probabilities, LEAST))
  of_label = logits[np.arange(len(labels)), labels]

  def slope(inverse):
    return np.mean(np.sum(apply(probabilities, 1 / inverse) * logits, axis=1) - of_label)

  low, high = 1 / HOTTEST, 1 / COLDEST
  for _ in range(60):
    middle = np.sqrt(low * high)
    low, high = (low, middle) if slope(middle) > 0 else (middle, high)
  return float(1 / np.sqrt(low * high))


def held_out(probabilities: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> np.ndarray:
  """(N, C) probabilities, those of each galaxy at the temperature that other galaxies ask for.

  Args:
    probabilities: (N, C) of galaxies that the model was not trained on.
    labels: (N,) classes, none missing.
    folds: parts of the galaxies, each tempered by what the others say; two or more.
    seed: decides the parts.

  Raises:
    ValueError: fewer than two galaxies or parts, or a label is missing.
  """
  if len(labels) < 2 or folds < 2 or np.min(labels) < 0:
    raise ValueError(f"A temperature from other galaxies takes two or more, all with labels, in two parts or more; "
                     f"there are {np.sum(np.asarray(labels) >= 0)} in {folds}.")
  part = np.random.default_rng(seed).permutation(len(labels)) % min(folds, len(labels))
  tempered = np.empty(np.shape(probabilities), np.float32)
  for fold in np.unique(part):
    out = part == fold
    tempered[out] = apply(probabilities[out], fit(probabilities[~out], labels[~out]))
  return tempered
