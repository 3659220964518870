"""The report of a run: one self-contained HTML page, with its figures beside it as PNG files.

Numpy arrays and plain values in, files out. `write` draws (`figures`, `hexbins`), measures (`measures`) and
lays out (`page`). matplotlib is imported when a report is written, not when this package is.
"""
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.report import measures

#: How many galaxies each gallery shows.
GALLERY = 8


class Run(NamedTuple):
  """What a report is made of.

  Attributes:
    name: the run's name, `gz2` for instance.
    facts: how it was made: model, parameters, steps, seconds, hardware, versions, seed, command, …
    data: what it was made from: dataset, splits, counts, source, fingerprint, …
    results: the final metrics by name: `rmse`, `rmse/spiral`, `accuracy`, …
    history: the curves by name, as (step, value): `train/loss`, `eval/rmse`, `learning_rate`, …
    ids: (N,) int64 or texts, the galaxies predicted.
    predicted: (N, 37) float32 vote fractions.
    voted: (N, 37) float32 vote fractions, NaN where unlabelled.
    images: (N, S, S, 3) uint8, or a function from (k,) indices to (k, S, S, 3) uint8.
    notes: lines shown before all else, "trained on simulated galaxies" for instance.
    booleans: whether each answer is predicted by itself, so that a part on answers right and wrong is of use.
  """
  name: str
  facts: dict[str, str | int | float]
  data: dict[str, str | int | float]
  results: dict[str, float]
  history: dict[str, list[tuple[int, float]]]
  ids: np.ndarray
  predicted: np.ndarray
  voted: np.ndarray
  images: np.ndarray | Callable[[np.ndarray], np.ndarray]
  notes: list[str]
  booleans: bool = False


def write(run: Run, workdir: str | Path) -> Path:
  """Writes `report.html` and `figures/*.png` into the run's folder.

  Each file is replaced in one step, the page last: a reader sees the old report or the new one, never a half.

  Args:
    run: what to report.
    workdir: the folder; made if absent.

  Returns:
    The page's path.

  Raises:
    ValueError: arrays that do not belong together, or a prediction that is not finite.
  """
  # matplotlib takes half a second: only who reports pays.
  from galaxy_jax.report import booleans, figures, hexbins, interval_figures, page

  ids, predicted, voted = (np.asarray(array) for array in (run.ids, run.predicted, run.voted))
  measures.check(ids, predicted, voted)
  labelled = np.isfinite(voted).any(axis=1)
  by_galaxy = measures.rmse_by_galaxy(predicted, voted)
  predicted_class, voted_class = measures.main_class(predicted), measures.main_class(voted)

  galleries = _galleries(run, ids, predicted, voted, by_galaxy)

  curves = figures.curves(run.history)
  errors, calibrated, panels = [], [], []
  if labelled.any():
    errors = [figures.rmse_by_question(predicted, voted)]
    calibrated = [figures.calibration(measures.calibration(predicted, voted)),
                  *filter(None, [interval_figures.coverage(predicted, voted)])]
    panels = hexbins.questions(predicted, voted)
    # Unlabelled galaxies have no voted class: the two counts are of the same galaxies.
    classes = [figures.class_occurrences(predicted_class[labelled], voted_class[labelled])]
  else:
    classes = [figures.class_occurrences(predicted_class)]
  pick = run.images if callable(run.images) else run.images.__getitem__
  answers, by_epoch = (booleans.section(ids, predicted, voted, pick, run.history, GALLERY) if run.booleans
                       else ("", []))
  sheets = [figures.contact_sheet(f"gallery_{name}", [card.image for card in cards],
                                  [page.lines(card) for card in cards]) for name, (_, cards) in galleries.items()]

  shown = "".join(f"<h3>{heading}</h3>{page.gallery(cards)}" for heading, cards in galleries.values())
  table = page.class_table(predicted_class[labelled], voted_class[labelled]) if labelled.any() else ""
  tables = "".join((page.facts("Results", "as the evaluation computed them.", run.results),
                    page.facts("Data", "what the galaxies are and where they come from.", run.data),
                    page.facts("Run", "how the model was trained, and how to do it again.", run.facts)))
  lead, numbers = _summary(predicted, voted, labelled, predicted_class, voted_class)
  sections = [
      page.Section("learning", "Learning curves", page.figures(curves)),
      page.Section("errors", "Errors and calibration", page.figures(errors + calibrated)),
      page.Section("galaxies", "Best and worst" if "best" in galleries else "Galaxies", shown, new_page=True),
      page.Section("classes", "Classes", f'<div class="pair">{"".join(map(page.figure, classes))}{table}</div>'),
      page.Section("answers", "Every answer, predicted against voted", page.figures(panels)),
      page.Section("booleans", "Answers right and wrong", answers),
      page.Section("facts", "Results, data and run", f'<div class="pair">{tables}</div>' if tables else ""),
  ]
  text = page.page(run.name, lead, [*run.notes, *_disagreement(run.results, predicted, voted)], numbers, sections)

  return page.leave(workdir, text, [*curves, *errors, *calibrated, *classes, *panels, *sheets, *by_epoch])


def _summary(predicted, voted, labelled, predicted_class, voted_class):
  """The lead sentence and the tiles."""
  total, count = len(labelled), int(labelled.sum())
  if not count:
    return (f"{total:,} galaxies were predicted. None of them has votes to compare with.",
            [("Galaxies", f"{total:,}", "none with votes")])
  ours = measures.rmse(predicted, voted)
  constant = measures.rmse(np.broadcast_to(measures.mean_vote(voted), voted.shape), voted)
  both = (predicted_class >= 0) & (voted_class >= 0)
  agree = f"{np.mean(predicted_class[both] == voted_class[both]):.1%}" if both.any() else "–"
  error = measures.calibration(predicted, voted).error
  galaxies = "galaxy" if count == 1 else "galaxies"
  lead = (f"On {count:,} labelled {galaxies} the predicted vote fractions differ from the volunteers’ by {ours:.4f} "
          f"(RMSE). Answering every one with the mean vote would differ by {constant:.4f}.")
  return lead, [("RMSE", f"{ours:.4f}", f"mean predictor {constant:.4f}"),
                ("Same class", agree, f"as voted, of {len(measures.MAIN_CLASSES)}"),
                ("Calibration error", f"{error:.4f}", "mean gap to the votes"),
                ("Galaxies", f"{count:,}", f"with votes, of {total:,}")]


def _disagreement(results, predicted, voted):
  """A note where the evaluation's own RMSE is not that of these predictions, which can only be a mistake."""
  ours, theirs = measures.rmse(predicted, voted), results.get("rmse", np.nan)
  if np.isfinite(ours) and np.isfinite(theirs) and abs(ours - theirs) > 1e-3 * ours:
    return [f"The evaluation reports an RMSE of {theirs:.4f}, the predictions shown here have {ours:.4f}: they are not "
            "of the same galaxies or the same model."]
  return []


def _galleries(run, ids, predicted, voted, by_galaxy):
  """{name: (heading, cards)}: the best and the worst, or the first few where nothing is labelled."""
  from galaxy_jax.report import page

  complete = np.flatnonzero(np.isfinite(voted).all(axis=1))
  order = complete[np.argsort(by_galaxy[complete], kind="stable")]
  if len(order):
    best = order[:min(GALLERY, (len(order) + 1) // 2)]
    worst = order[::-1][:min(GALLERY, len(order) // 2)]
    chosen = {"best": ("Closest to the votes", best), "worst": ("Furthest from the votes", worst)}
  else:
    chosen = {"first": ("The first of them", np.arange(min(GALLERY, len(ids))))}
  result = {}
  for name, (heading, rows) in chosen.items():
    if not len(rows):
      continue
    images = np.asarray(run.images(rows) if callable(run.images) else run.images[rows])
    if images.ndim != 4 or images.shape[0] != len(rows) or images.shape[-1] != 3 or images.dtype != np.uint8:
      raise ValueError(f"A report needs images of shape ({len(rows)}, S, S, 3) and type uint8 for {len(rows)} indices, "
                       f"not {images.shape} of {images.dtype}: turn greyscale into three channels, scale to 0–255.")
    result[name] = (heading, [page.vote_card(ids[i].item(), image, _in_words(predicted[i]),
                                             _in_words(voted[i]) if len(order) else "", by_galaxy[i],
                                             _miss(predicted[i], voted[i]) if len(order) else "")
                              for i, image in zip(rows, images, strict=True)])
  return result


def _in_words(votes):
  # A network without an output layer of the tree may fall slightly below 0, which words cannot say.
  votes = np.maximum(votes, 0)
  return f"{decision_tree.sentence(votes)}\u00a0·\u00a0{decision_tree.gz2_class(votes)}"


def _miss(predicted, voted):
  column = int(np.argmax(np.abs(predicted - voted)))
  return f"{measures.answer_in_words(column)}: {predicted[column]:.2f} predicted, {voted[column]:.2f} voted"
