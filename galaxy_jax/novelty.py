"""How far an image is from those that a model knows: a distance between its features and theirs.

The features of the known galaxies are taken as one Gaussian: their leading principal axes, each in units of its own
spread, and what is left beside these in units of its own (Mahalanobis distance as in Lee et al. 2018, arXiv:1807.03888,
with the covariance that Tipping & Bishop 1999 give probabilistic principal components). What the distance means is said
by galaxies held out: a novelty of 1 is reached by one in a hundred of them.
"""
from typing import NamedTuple

import numpy as np

from galaxy_jax import uncertainty

#: The share of galaxies to come, like those held out, whose novelty is to be below 1.
ORDINARY = 0.99
#: Principal axes, at most, and galaxies for each of them, at least.
_MOST_AXES, _GALAXIES_AN_AXIS = 32, 8


class Familiar(NamedTuple):
  """What galaxies a model knows look like to it; from `fit`.

  Attributes:
    mean: (D,) of their features.
    axes: (K, D) principal axes, each of length one.
    spreads: (K,) standard deviations along them.
    rest: the standard deviation in a direction beside them.
    reference: the distance beyond which a share 1 - ORDINARY of galaxies to come are, as those held out say.
  """
  mean: np.ndarray
  axes: np.ndarray
  spreads: np.ndarray
  rest: float
  reference: float

  def novelty(self, features: np.ndarray) -> np.ndarray:
    """(N,) from features (N, D): the distance over the reference; above 1 few ordinary galaxies are."""
    return (_distance(self, features) / self.reference).astype(np.float32)


def fit(known: np.ndarray, held_out: np.ndarray) -> Familiar | None:
  """What the galaxies that a model knows look like to it.

  Args:
    known: (N, D) features of galaxies that it was trained on.
    held_out: (M, D) of others.

  Returns:
    None where there is nothing to compare: no features, features that are the same for all, or too few galaxies; of
    those held out there must be 1 / (1 - ORDINARY) but one.
  """
  known, held_out = np.asarray(known, np.float64), np.asarray(held_out, np.float64)
  count = min(_MOST_AXES, len(known) // _GALAXIES_AN_AXIS, known.shape[-1])
  rank = uncertainty.rank(len(held_out), ORDINARY)
  if count < 1 or rank > len(held_out):
    return None
  mean = known.mean(axis=0)
  _, singular, axes = np.linalg.svd(known - mean, full_matrices=False)
  variances = singular**2 / (len(known) - 1)
  if not variances[0] > 0:
    return None
  # Without a direction beside the axes, what is left there is rounding, and is to count as nothing.
  beside = variances[count:].sum() / (known.shape[1] - count) if count < known.shape[1] else variances[0]
  smallest = 1e-6 * variances[0]
  familiar = Familiar(mean.astype(np.float32), axes[:count].astype(np.float32),
                      np.sqrt(np.maximum(variances[:count], smallest)).astype(np.float32),
                      float(np.sqrt(max(beside, smallest))), 1.0)
  return familiar._replace(reference=float(np.sort(_distance(familiar, held_out))[rank - 1]))


def _distance(familiar, features):
  """(N,) from (N, D): the root of the mean square of the coordinates, each in units of its spread."""
  moved = np.asarray(features, np.float64) - familiar.mean
  along = moved @ familiar.axes.T
  beside = np.maximum((moved**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
  total = ((along / familiar.spreads) ** 2).sum(axis=1) + beside / familiar.rest**2
  return np.sqrt(total / moved.shape[1])
