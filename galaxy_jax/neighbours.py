"""Which galaxies are alike and which are odd, from their features: functions on arrays.

All is done in principal components. scikit-learn does the work (extra `similar`).
"""
from typing import NamedTuple

import numpy as np

from tfds_builders import extras

#: How the features may be laid out in two dimensions.
LAYOUTS = ("pca", "umap")
#: Directions with less than this part of the largest one's variance are noise of rounding.
_ROUNDING = 1e-6
#: The score of what a user finds dull, and how much the most interesting scores more (Lochner & Bassett 2021).
_DULL, _INTERESTING = 0.1, 0.85


class Components(NamedTuple):
  """The linear map of features to their principal components.

  Attributes:
    mean: (D,) float32.
    matrix: (D, K) float32, its columns ordered by the variance of what they take in, the largest first.
  """
  mean: np.ndarray
  matrix: np.ndarray

  def of(self, features: np.ndarray) -> np.ndarray:
    """(N, K) float32 from features (N, D)."""
    return (np.asarray(features, np.float32) - self.mean) @ self.matrix


def principal(features: np.ndarray, share: float = 0.99, *, whiten: bool = False) -> Components:
  """The principal components of features (N, D).

  Args:
    features: of at least two galaxies that differ.
    share: the part of the variance that the components kept hold together, at most 1.
    whiten: whether each is scaled to a variance of 1. A classifier's features weigh by themselves what matters to its
      task, and whitening takes that away (benchmarks/similar_search.py); where every direction shall count the same,
      as for features that say nothing by their scale, it is right.

  Raises:
    ValueError: a number that is not finite, fewer than two galaxies, or all the same.
    DataError: scikit-learn is not installed.
  """
  features = np.asarray(features, np.float32)
  if not np.isfinite(features).all():
    row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
    raise ValueError(f"Row {row} of the features has a number that is not finite. Make them again from a sound model.")
  if len(features) < 2 or np.ptp(features, axis=0).max(initial=0) == 0:
    raise ValueError(f"The features are those of {len(features)} galaxies that do not differ; likeness needs at least "
                     "two that do.")
  pca = _sklearn("decomposition").PCA(svd_solver="covariance_eigh" if len(features) > features.shape[1] else "full")
  pca.fit(features)
  variance = pca.explained_variance_
  held = np.cumsum(variance) / variance.sum()
  count = min(int(np.searchsorted(held, share * (1 - 1e-6))) + 1, int(np.sum(variance > _ROUNDING * variance[0])))
  matrix = pca.components_[:count] / (np.sqrt(variance[:count, None]) if whiten else 1.0)
  return Components(pca.mean_.astype(np.float32), matrix.T.astype(np.float32))


def nearest(points: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
  """The points that are nearest by the cosine distance, exactly.

  Args:
    points: (N, K).
    queries: (Q, K).
    count: how many for each query; N where there are fewer.

  Returns:
    Distances (Q, count), from 0 to 2, the nearest first, and the points' rows (Q, count).

  Raises:
    DataError: scikit-learn is not installed.
  """
  search = _sklearn("neighbors").NearestNeighbors(n_neighbors=min(count, len(points)), metric="cosine",
                                                  algorithm="brute").fit(points)
  return search.kneighbors(queries)


def nearest_to_row(points: np.ndarray, row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """`nearest` of one of the points, itself left out: distances and rows, (count,) each."""
  distances, rows = (values[0] for values in nearest(points, points[row:row + 1], count + 1))
  others = rows != row
  return distances[others][:count], rows[others][:count]


def oddness(points: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """How odd each point is by an isolation forest (Liu, Ting & Zhou 2008): (N,) from 0, the least odd, to 1.

  Raises:
    DataError: scikit-learn is not installed.
  """
  forest = _sklearn("ensemble").IsolationForest(n_estimators=200, random_state=seed).fit(points)
  scores = -forest.score_samples(points)
  spread = np.ptp(scores)
  return (scores - scores.min()) / (spread if spread > 0 else 1.0)


def modulated(points: np.ndarray, odd: np.ndarray, rows: np.ndarray, interesting: np.ndarray, *,
              seed: int = 0) -> np.ndarray:
  """Oddness, modulated by what a user finds interesting: the active learning of Astronomaly.

  S tanh(exp(d / mean d) - 1 + artanh(0.1 + 0.85 U)) (Lochner & Bassett 2021, arXiv:2010.11202, eq. 4 and the
  defaults of their code): U is a random forest's regression of the labels, d the distance to the nearest labelled
  galaxy. Far from all labels the oddness S stays as it is; near to them the user's opinion counts.

  Args:
    points: (N, K).
    odd: (N,), S, as `oddness` gives it.
    rows: (L,) the labelled points; where there are none, nothing changes.
    interesting: (L,) from 0, dull, to 1.
    seed: of the random forest.

  Returns:
    (N,), a higher one for what to look at first.

  Raises:
    DataError: scikit-learn is not installed.
  """
  if not len(rows):
    return np.asarray(odd)
  forest = _sklearn("ensemble").RandomForestRegressor(n_estimators=100, random_state=seed)
  opinion = forest.fit(points[rows], interesting).predict(points)
  search = _sklearn("neighbors").NearestNeighbors(n_neighbors=1).fit(points[rows])
  distance = search.kneighbors(points)[0][:, 0]
  scale = distance.mean()
  # Beyond a few mean distances the tanh is 1; the limit keeps the exponential finite.
  unknown = np.expm1(np.minimum(distance / (scale if scale > 0 else 1.0), 20.0))
  return odd * np.tanh(unknown + np.arctanh(_DULL + _INTERESTING * opinion))


def plane(points: np.ndarray, method: str = "pca", *, seed: int = 0) -> np.ndarray:
  """Points (N, K), their first directions the widest, in two dimensions: (N, 2) float32.

  By UMAP, or their first two directions; of these the tails are drawn in (asinh, in units of the spread between the
  quartiles), as a few odd galaxies would leave no room for the others.

  Raises:
    ValueError: an unknown method.
    DataError: UMAP is not installed.
  """
  if method not in LAYOUTS:
    raise ValueError(f"The layout is {method!r}; expected {' or '.join(LAYOUTS)}.")
  if method == "umap" and len(points) > 3:
    umap = extras.load("umap", extra="umap", purpose="A map by UMAP")
    reducer = umap.UMAP(n_neighbors=min(15, len(points) - 1), metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(points), np.float32)
  flat = np.zeros((len(points), 2), np.float32)
  flat[:, :min(2, points.shape[1])] = points[:, :2]
  low, middle, high = np.percentile(flat, [25, 50, 75], axis=0)
  return np.arcsinh((flat - middle) / np.where(high > low, high - low, 1.0)).astype(np.float32)


def _sklearn(part):
  return extras.load(f"sklearn.{part}", extra="similar", purpose="Looking for galaxies that are alike or odd")
