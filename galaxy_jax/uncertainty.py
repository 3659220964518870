"""How far from predicted vote fractions the volunteers' own lie: intervals calibrated on galaxies held out.

Split-conformal prediction (Vovk et al. 2005; Lei et al. 2018, JASA 113, 1094): the errors on galaxies that were not
trained on say how wide an interval must be to hold a given share of the voted fractions. The width depends on the
predicted fraction, as errors at 0.5 are larger than at 0 or 1, and on the question, as fewer volunteers are asked the
later ones: by itself for galaxies of which it is asked and for the others, most of whose votes are 0 (shares that hold
within groups: Vovk 2013, Machine Learning 92, 349). Nothing is assumed of the model or of the errors' shape; galaxies
to come must be like those it is calibrated on. Widths and questions' factors come from the same galaxies, whose answers
count one by one: the shares are met about, not exactly.
"""
import itertools
from typing import Any, NamedTuple

import numpy as np

from tfds_builders.gz2_tree import QUESTIONS

#: The shares of voted fractions that intervals are calibrated for.
LEVELS = (0.5, 0.68, 0.9, 0.95)
#: The one of them that is shown.
SHOWN = 0.9
#: Into how many parts of equally many the predicted fractions are divided.
_PARTS = 12
#: A fraction below this is all but certain, and says nothing of the others' errors.
_CERTAIN = 0.005
#: A question is expected to be asked of a galaxy where its answers together are predicted at least this fraction.
ASKED = 0.2


class Intervals(NamedTuple):
  """How wide intervals are; from `fit`.

  Attributes:
    galaxies: how many they were calibrated on.
    levels: (L,) shares of the voted fractions that intervals are to hold.
    fractions: (P,) predicted fractions, ascending.
    half_widths: (L, P) at those fractions, over all questions; straight lines between.
    factors: (L, 11, 2) by which they are multiplied, for each question of QUESTIONS, where it is hardly asked and where
      it is, see ASKED.
  """
  galaxies: int
  levels: np.ndarray
  fractions: np.ndarray
  half_widths: np.ndarray
  factors: np.ndarray

  def bounds(self, predicted: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The intervals about predicted fractions (N, 37): their lower and upper ends, (N, 37) each, within [0, 1].

    Raises:
      ValueError: they were not calibrated for this level.
    """
    where = np.flatnonzero(np.isclose(self.levels, level))
    if not len(where):
      raise ValueError(f"Intervals of {level:g} are not calibrated; there are those of "
                       f"{', '.join(f'{known:g}' for known in self.levels)}.")
    width = np.interp(predicted, self.fractions, self.half_widths[where[0]])
    for question, factors, group in zip(QUESTIONS, self.factors[where[0]], asked(predicted).T, strict=True):
      width[:, question.columns] *= factors[group.astype(int)][:, None]
    return np.clip(predicted - width, 0, 1), np.clip(predicted + width, 0, 1)

  def as_json(self) -> dict[str, Any]:
    """Plain lists; `from_json` reads them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in
            self._asdict().items()}


def from_json(values: dict[str, Any]) -> Intervals:
  """The intervals that `Intervals.as_json` gave; where they do not tell who is asked, one factor is for both."""
  found = Intervals(**{name: np.asarray(value) if isinstance(value, list) else value for name, value in values.items()})
  return found if found.factors.ndim == 3 else found._replace(factors=np.stack([found.factors] * 2, axis=-1))


def fit(predicted: np.ndarray, voted: np.ndarray, levels: tuple[float, ...] = LEVELS) -> Intervals:
  """Calibrates intervals on galaxies that the model was not trained on.

  Args:
    predicted: (N, 37) fractions.
    voted: (N, 37); NaN where there are none.
    levels: shares of the voted fractions to hold.

  Raises:
    ValueError: too few galaxies with votes for the highest level.
  """
  predicted, voted = np.asarray(predicted, np.float64), np.asarray(voted, np.float64)
  there = np.isfinite(voted)
  galaxies, needed = int(there.all(axis=1).sum()), 1
  while rank(needed, max(levels)) > needed:
    needed += 1
  if galaxies < needed:
    raise ValueError(f"Intervals that hold {max(levels):.0%} of the votes need {needed} galaxies with votes to be "
                     f"calibrated on; there are {galaxies}.")
  errors = np.abs(predicted - voted)
  uncertain = predicted[there & (predicted > _CERTAIN)]
  edges = np.quantile(uncertain, np.linspace(0, 1, _PARTS + 1)) if len(uncertain) else np.array([0.0, 1.0])
  edges[0], edges[-1] = 0, np.nextafter(1, 2)
  members = [there & (predicted >= low) & (predicted < high) for low, high in itertools.pairwise(edges)]
  members = [part for part in members if part.any()]
  fractions = np.array([predicted[part].mean() for part in members])
  half_widths, factors, groups = [], [], asked(predicted)
  for level in levels:
    widths = np.array([_quantile(errors[part], level) for part in members])
    scores = errors / np.maximum(np.interp(predicted, fractions, widths), 1e-6)
    factors.append([_factors(scores[:, question.columns], there[:, question.columns], groups[:, number], level)
                    for number, question in enumerate(QUESTIONS)])
    half_widths.append(widths)
  return Intervals(galaxies, np.array(levels), fractions, np.array(half_widths), np.array(factors))


def coverage(bounds: tuple[np.ndarray, np.ndarray], voted: np.ndarray) -> tuple[float, dict[str, float]]:
  """The share of voted fractions (N, 37) inside intervals: of all, and by the question's name; NaN where none are."""
  there = np.isfinite(voted)
  inside = (voted >= bounds[0]) & (voted <= bounds[1])
  share = lambda columns: float(inside[:, columns].sum() / there[:, columns].sum()) if there[:, columns].any() else (
      float("nan"))
  return share(slice(None)), {question.name: share(question.columns) for question in QUESTIONS}


def cross_bounds(predicted: np.ndarray, voted: np.ndarray, levels: tuple[float, ...] = LEVELS, *, folds: int = 5,
                 seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Intervals about galaxies that they were not calibrated on, each galaxy being left out once.

  Args:
    predicted: (N, 37) fractions of galaxies that the model was not trained on.
    voted: (N, 37); NaN where there are none.
    levels: shares of the voted fractions that intervals are to hold.
    folds: parts of the galaxies, each judged by intervals calibrated on the others.
    seed: decides the parts.

  Returns:
    Their lower and upper ends, (L, N, 37) each.

  Raises:
    ValueError: as `fit`.
  """
  part = np.random.default_rng(seed).permutation(len(predicted)) % folds
  low, high = (np.full((len(levels), *np.shape(predicted)), np.nan) for _ in range(2))
  for fold in range(folds):
    out = part == fold
    intervals = fit(predicted[~out], voted[~out], levels)
    for number, level in enumerate(levels):
      low[number, out], high[number, out] = intervals.bounds(predicted[out], level)
  return low, high


def of_asked(predicted: np.ndarray, voted: np.ndarray) -> np.ndarray:
  """Voted fractions (N, 37) with NaN for the questions that are not expected to be asked of a galaxy."""
  result = np.array(voted, np.float64)
  for question, group in zip(QUESTIONS, asked(predicted).T, strict=True):
    result[~group, question.columns] = np.nan
  return result


def rank(count: int, level: float) -> int:
  """Which of so many errors, from 1 for the smallest, one to come is below with at least that chance.

  Above `count` where there are too few. Rounded to 9 digits first: 10 times 0.9 is 9, whatever floats make of it.
  """
  return int(np.ceil(round((count + 1) * level, 9)))


def _quantile(errors, level):
  """The smallest error that holds a share of those to come, not only of these; the largest where these are few."""
  place = min(rank(len(errors), level), len(errors)) - 1
  return float(np.partition(errors, place)[place])


def asked(predicted: np.ndarray) -> np.ndarray:
  """(N, 11) bool of predicted fractions (N, 37): whether each question is expected to be asked, see ASKED."""
  return np.stack([predicted[:, question.columns].sum(axis=1) for question in QUESTIONS], axis=1) >= ASKED


def _factors(scores, there, is_asked, level):
  """A question's factors where it is hardly asked and where it is; one for both where there is but one group."""
  groups = [scores[there & group[:, None]] for group in (~is_asked, is_asked)]
  known = [_quantile(group, level) if len(group) else None for group in groups]
  return [one if one is not None else other for one, other in (known, known[::-1])]
