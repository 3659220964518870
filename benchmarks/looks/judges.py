"""Two judges that are asked to tell real galaxies from simulated ones, and the distances between the two sets.

The area under the curve (AUC) is always that of galaxies a judge has not seen: 0.5 where it guesses, 1 where it knows.
"""
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from .statistics import Statistics

#: The groups of statistics that a simulator is asked to match; the others make the judge stricter.
NAMED = ("concentration", "axis_ratio", "asymmetry", "smoothness", "colour", "radius", "noise", "profile")
#: Of each but the last two, the quantity itself, as `matched` takes it.
_QUANTITIES = ("concentration/c", "axis_ratio/moments", "asymmetry/a", "smoothness/s", "colour/rg_middle",
               "colour/gb_middle", "radius/half_light")


def matched(table: Statistics) -> Statistics:
  """The quantities that a simulator is asked to match, once each.

  Concentration, axis ratio, asymmetry, smoothness, the galaxy's two colours, half-light radius, the noise's level and
  the profile of all light: the mean of the channels in each ring, whose inverse hyperbolic sine is the statistic, as it
  is of each channel. The groups NAMED hold these by channel and ring, and the noise's structure too.
  """
  column = dict(zip(table.names, table.values.T, strict=True))
  chosen = {name: column[name] for name in _QUANTITIES}
  chosen["noise/level"] = sum(column[f"noise/deviation_{channel}"] for channel in "rgb") / 3
  rings = sorted(name[-2:] for name in table.names if name.startswith("profile/r_"))
  for ring in rings:
    counts = [np.sinh(column[f"profile/{channel}_{ring}"]) for channel in "rgb"]
    chosen[f"profile/light_{ring}"] = np.arcsinh(sum(counts) / 3)
  return Statistics(tuple(chosen), np.stack(list(chosen.values()), axis=1))


class Verdict(NamedTuple):
  """What a judge finds.

  Attributes:
    auc: over all galaxies, each judged by a model that was trained without it.
    interval: the middle 95 % of the AUC under a bootstrap of the galaxies.
    scores: (N + M,) the probability of being simulated, the real ones first.
    importance: {statistic: loss of AUC when it alone is shuffled}; empty for a judge that sees images.
    group_importance: {group: loss of AUC when all its statistics are shuffled together}.
    group_auc: {group: the AUC of a judge that sees this group alone}.
  """
  auc: float
  interval: tuple[float, float]
  scores: np.ndarray
  importance: dict[str, float]
  group_importance: dict[str, float]
  group_auc: dict[str, float]


def boosting(real: Statistics, simulated: Statistics, *, seed: int = 0, folds: int = 4,
             explain: bool = True) -> Verdict:
  """Gradient boosting on statistics, cross-validated over galaxies.

  Args:
    real: (N) rows.
    simulated: (M) rows with the same names.
    seed: of the folds, the model and the shuffles.
    folds: parts the galaxies are split into.
    explain: whether to find out what gives the simulated ones away, which takes most of the time.

  Raises:
    ValueError: tables of different statistics.
  """
  # On a busy machine OpenMP's waiting threads take longer than the work; these tables are small.
  with threadpool_limits(1, "openmp"):
    return _boosting(real, simulated, seed, folds, explain)


def _boosting(real, simulated, seed, folds, explain):
  values, truth = _together(real, simulated)
  scores = np.zeros(len(truth))
  rng = np.random.default_rng(seed)
  alone, together = np.zeros(len(real.names)), dict.fromkeys(real.groups(), 0.0)
  for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, truth):
    model = _model(seed).fit(values[train], truth[train])
    scores[test] = model.predict_proba(values[test])[:, 1]
    if explain:
      whole = roc_auc_score(truth[test], scores[test])
      for column in range(values.shape[1]):
        alone[column] += (whole - _shuffled(model, values[test], truth[test], [column], rng)) / folds
      for group in together:
        columns = [i for i, name in enumerate(real.names) if name.split("/")[0] == group]
        together[group] += (whole - _shuffled(model, values[test], truth[test], columns, rng)) / folds
  apart = {}
  if explain:
    for group in together:
      apart[group] = _boosting(real.only([group]), simulated.only([group]), seed, 2, False).auc
  lost = dict(zip(real.names, alone.tolist(), strict=True))
  return Verdict(float(roc_auc_score(truth, scores)), interval(truth, scores), scores, lost if explain else {},
                 together if explain else {}, apart)


def _together(real, simulated):
  if real.names != simulated.names:
    raise ValueError(f"The two tables hold different statistics: {set(real.names) ^ set(simulated.names)}.")
  values = np.concatenate([real.values, simulated.values])
  return values, np.repeat([0, 1], [len(real.values), len(simulated.values)])


def _model(seed):
  return HistGradientBoostingClassifier(learning_rate=0.08, max_iter=250, max_leaf_nodes=24, min_samples_leaf=20,
                                        l2_regularization=1.0, random_state=seed)


def _shuffled(model, values, truth, columns, rng):
  values = values.copy()
  values[:, columns] = values[rng.permutation(len(values))][:, columns]
  return roc_auc_score(truth, model.predict_proba(values)[:, 1])


def interval(truth: np.ndarray, scores: np.ndarray, *, draws: int = 200) -> tuple[float, float]:
  """The middle 95 % of the AUC under a bootstrap of the galaxies."""
  rng = np.random.default_rng(0)
  values = []
  for _ in range(draws):
    rows = rng.integers(len(truth), size=len(truth))
    values.append(roc_auc_score(truth[rows], scores[rows]))
  low, high = np.percentile(values, [2.5, 97.5])
  return float(low), float(high)


class Distance(NamedTuple):
  """How far apart the two sets are in one statistic.

  Attributes:
    name: of the statistic.
    real: 10th, 50th and 90th percentile of the real ones.
    simulated: the same of the simulated ones.
    kolmogorov_smirnov: the largest gap between the two cumulative distributions, 0 to 1.
    wasserstein: the mean shift between them, in standard deviations of the real ones (of the middle 98 %).
  """
  name: str
  real: tuple[float, float, float]
  simulated: tuple[float, float, float]
  kolmogorov_smirnov: float
  wasserstein: float


def distances(real: Statistics, simulated: Statistics) -> list[Distance]:
  """The two-sample distances of each statistic, in the tables' order."""
  _together(real, simulated)
  result = []
  for column, name in enumerate(real.names):
    ours, theirs = simulated.values[:, column].astype(float), real.values[:, column].astype(float)
    low, high = np.percentile(theirs, [1, 99])
    spread = np.clip(theirs, low, high).std() + 1e-6
    result.append(Distance(name, tuple(np.percentile(theirs, [10, 50, 90]).tolist()),
                           tuple(np.percentile(ours, [10, 50, 90]).tolist()),
                           float(stats.ks_2samp(theirs, ours).statistic),
                           float(stats.wasserstein_distance(theirs, ours) / spread)))
  return result


def couplings(real: Statistics, simulated: Statistics, *, count: int = 15) -> list[tuple[str, str, float, float]]:
  """The pairs of statistics that go together otherwise than in real galaxies, which no single distribution shows.

  Rank correlations are compared on Fisher's scale, where 0.90 and 0.99 are far apart; a statistic appears once.

  Returns:
    (statistic, statistic, real correlation, simulated correlation), the largest difference first.
  """
  _together(real, simulated)
  with np.errstate(invalid="ignore"):  # a statistic that never varies correlates with nothing
    found = [np.corrcoef(stats.rankdata(table.values, axis=0), rowvar=False) for table in (real, simulated)]
  theirs, ours = (np.arctanh(np.clip(np.nan_to_num(matrix), -0.995, 0.995)) for matrix in found)
  apart = np.tril(np.abs(theirs - ours), -1)
  result, seen = [], set()
  for place in np.argsort(-apart, axis=None):
    i, j = np.unravel_index(place, apart.shape)
    if len(result) == count:
      break
    if not seen & {i, j}:
      seen |= {i, j}
      result.append((real.names[j], real.names[i], float(np.tanh(theirs[i, j])), float(np.tanh(ours[i, j]))))
  return result


def table(found: list[Distance], verdict: Verdict, *, rows: int | None = None) -> str:
  """The distances as text, what the judge needs most first."""
  # Where the judge needs no single statistic, the distance orders them.
  order = sorted(found, key=lambda item: (-round(verdict.importance.get(item.name, 0.0), 3), -item.kolmogorov_smirnov))
  lines = [f"{'statistic':26s}{'loss of AUC':>12s}{'K-S':>7s}{'W/spread':>9s}   {'real 10/50/90 %':29s}"
           "simulated 10/50/90 %"]
  for item in order[:rows]:
    real, ours = (" ".join(f"{value:8.3g}" for value in triple) for triple in (item.real, item.simulated))
    lines.append(f"{item.name:26s}{verdict.importance.get(item.name, 0.0):12.4f}{item.kolmogorov_smirnov:7.3f}"
                 f"{item.wasserstein:9.2f}   {real}   {ours}")
  return "\n".join(lines)
