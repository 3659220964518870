"""Predictions and votes made boolean: the answers of more than half of the volunteers, and galaxies right and wrong.

For output layers that take each answer by itself, where being right is a question of 37 answers.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from galaxy_jax.report import measures

#: An answer is given where its fraction is larger.
THRESHOLD = 0.5


class Comparison(NamedTuple):
  """Booleans compared.

  Attributes:
    wrong: (N,) how many of a galaxy's answers differ, -1 where none was voted on.
    right: how many galaxies have all their answers right, of `galaxies`.
    galaxies: how many were voted on.
    answers: the share of all voted answers that are right.
  """
  wrong: np.ndarray
  right: int
  galaxies: int
  answers: float


def compare(predicted: np.ndarray, voted: np.ndarray) -> Comparison:
  """Compares (N, 37) fractions, both above THRESHOLD or not; NaN votes count nowhere."""
  known = np.isfinite(voted)
  differs = ((predicted > THRESHOLD) != (voted > THRESHOLD)) & known
  labelled = known.any(axis=1)
  wrong = np.where(labelled, differs.sum(axis=1), -1)
  share = 1 - differs.sum() / known.sum() if known.any() else float("nan")
  return Comparison(wrong, int(np.sum(wrong == 0)), int(labelled.sum()), float(share))


def chosen(comparison: Comparison, count: int) -> dict[str, np.ndarray]:
  """{heading: rows} of up to `count` galaxies with the fewest answers wrong, and as many others with the most."""
  rows = np.flatnonzero(comparison.wrong >= 0)
  rows = rows[np.argsort(comparison.wrong[rows], kind="stable")]
  groups = {"Most answers right": rows[:min(count, (len(rows) + 1) // 2)],
            "Most answers wrong": rows[::-1][:min(count, len(rows) // 2)]}
  return {heading: rows for heading, rows in groups.items() if len(rows)}


def in_words(fractions: np.ndarray) -> str:
  """The answers given, "smooth or features, smooth; roundness, in between", of one vector (37,)."""
  given = [measures.answer_in_words(column) for column in np.flatnonzero(np.asarray(fractions) > THRESHOLD)]
  return "; ".join(given) or "none of the answers"


def section(ids: np.ndarray, predicted: np.ndarray, voted: np.ndarray, pick: Callable[[np.ndarray], np.ndarray],
            history: dict, count: int):
  """The report's part on answers by themselves: its HTML and its charts; both empty where nothing is labelled.

  Args:
    ids: (N,).
    predicted: (N, 37) fractions.
    voted: (N, 37) fractions, NaN where unlabelled.
    pick: from (k,) indices to (k, S, S, 3) uint8 images.
    history: the run's curves, see `epochs.by_epoch`.
    count: galaxies of either kind, at most.
  """
  from galaxy_jax.report import epochs, page

  comparison = compare(predicted, voted)
  if not comparison.galaxies:
    return "", []
  charts = epochs.charts(history)
  body = page.figures(charts)
  body += (f"<p>Made boolean, an answer being given where its fraction is above {THRESHOLD:g}, "
           f"{comparison.answers:.1%} of the answers are right, and all of a galaxy’s for {comparison.right:,} of "
           f"{comparison.galaxies:,} galaxies.</p>")
  for heading, rows in chosen(comparison, count).items():
    cards = [_card(ids[i].item(), image, predicted[i], voted[i], comparison.wrong[i])
             for i, image in zip(rows, pick(rows), strict=True)]
    body += f"<h3>{heading}</h3>{page.gallery(cards)}"
  return body, charts


def _card(identifier, image, predicted, voted, wrong):
  """A galaxy with the answers given and, where any differs, the one that is furthest off."""
  from galaxy_jax.report import page

  differs = ((predicted > THRESHOLD) != (voted > THRESHOLD)) & np.isfinite(voted)
  said = [("Predicted", in_words(predicted)), ("Voted", in_words(voted))]
  if differs.any():
    column = int(np.argmax(np.where(differs, np.abs(predicted - voted), 0.0)))
    said.append(("Furthest off", f"{measures.answer_in_words(column)}: {predicted[column]:.2f} predicted, "
                                 f"{voted[column]:.2f} voted"))
  return page.Card(identifier, image, tuple(said), f"{wrong} of {np.isfinite(voted).sum()} wrong",
                   f"Volunteers saw: {in_words(voted)}.")
