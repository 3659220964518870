"""The report of a run that predicts classes: one self-contained HTML page, with its figures beside it as PNG files.

Numpy arrays and plain values in, files out, as in `report.write` for votes. matplotlib is imported when a report is
written.
"""
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from galaxy_jax.report import class_measures

#: How many galaxies each gallery shows, and how many each figure of where the network looked.
GALLERY = 8
_LOOKED_AT = 8


class ClassRun(NamedTuple):
  """What a report of classes is made of.

  Attributes:
    name, facts, data, results, history, notes: as of report.Run.
    ids: (N,) int64 or texts, the galaxies predicted.
    predicted: (N, C) float32 probabilities.
    labels: (N,) classes, negative where unknown.
    names: the C classes.
    images: (N, S, S, 3) uint8.
    explain: (rows (k,), classes (k,)) → what the network sees of those galaxies, (k, S, S, 3) in [0, 1]; maps of where
      it sees the class, (k, h, w) in [0, 1]; and the stage they come from; or a sentence that says why there are no
      maps. None: nobody can tell.
  """
  name: str
  facts: dict[str, str | int | float]
  data: dict[str, str | int | float]
  results: dict[str, float]
  history: dict[str, list[tuple[int, float]]]
  ids: np.ndarray
  predicted: np.ndarray
  labels: np.ndarray
  names: tuple[str, ...]
  images: np.ndarray
  notes: list[str]
  explain: Callable | None = None


def write(run: ClassRun, workdir: str | Path) -> Path:
  """Writes `report.html` and `figures/*.png` into the run's folder.

  Returns:
    The page's path.

  Raises:
    ValueError: arrays that do not belong together, or a probability that is not finite.
  """
  from galaxy_jax.report import class_figures, confidence, figures, page

  ids, predicted, labels = (np.asarray(array) for array in (run.ids, run.predicted, run.labels))
  class_measures.check(ids, predicted, labels, run.names)
  names = class_figures.in_words(run.names)
  best = np.argmax(predicted, axis=1)
  known = np.flatnonzero(labels >= 0)
  # The error is the accuracy once more.
  curves = figures.curves({name: points for name, points in run.history.items() if not name.endswith("/error")})
  galleries = _galleries(predicted, labels, best, known, names)
  confusion, thresholds, shown_examples, table = [], [], [], ""
  if len(known):
    counts = class_measures.confusion(labels[known], best[known], len(names))
    scores = class_measures.scores(predicted[known], labels[known])
    confusion = class_figures.confusion(counts, names)
    sureness = confidence.chart(predicted[known], labels[known])
    thresholds = class_figures.curves(predicted[known], labels[known], names, scores) + ([sureness] if sureness else [])
    shown_examples = [class_figures.examples([(names[c], run.images[_spread(np.flatnonzero(labels == c), 5)])
                                              for c in range(len(names)) if (labels == c).any()])]
    table = _table(scores, names)
  meaning = "Galaxies by class, the most probable one of each."
  occurrences = figures.class_occurrences(best[known] if len(known) else best, labels[known] if len(known) else None,
                                          names=names, truth="labelled", meaning=meaning)
  looked, excuse = _looked(run, predicted, labels, best, known, names)
  cards = {name: (heading, [_card(run, row, names) for row in rows]) for name, (heading, rows) in galleries.items()}
  sheets = [figures.contact_sheet(f"gallery_{name}", [card.image for card in shown], list(map(page.lines, shown)))
            for name, (_, shown) in cards.items()]
  galleries = "".join(f"<h3>{escape(heading)}</h3>{page.gallery(shown)}" for heading, shown in cards.values())
  tables = "".join((page.facts("Results", "as the evaluation computed them.", run.results),
                    page.facts("Data", "what the galaxies are and where they come from.", run.data),
                    page.facts("Run", "how the model was trained, and how to do it again.", run.facts)))
  lead, numbers = _summary(predicted, labels, best, known, names)
  sections = [
      page.Section("learning", "Learning curves", page.figures(curves)),
      page.Section("confusion", "Which classes are confused",
                   page.figures(confusion) + table),
      page.Section("thresholds", "What probabilities are worth", page.figures(thresholds)),
      page.Section("classes", "Classes", page.figures([occurrences, *shown_examples])),
      page.Section("galaxies", "Right and wrong" if len(known) else "Galaxies", galleries, new_page=True),
      page.Section("looked", "Where the network looked",
                   page.figures(looked) or (f"<p>{escape(excuse)}</p>" if excuse else "")),
      page.Section("facts", "Results, data and run", f'<div class="pair">{tables}</div>' if tables else ""),
  ]
  text = page.page(run.name, lead, [*run.notes, *_disagreement(run.results, labels, best, known)], numbers, sections)
  return page.leave(workdir, text, [*curves, *confusion, *thresholds, occurrences, *shown_examples, *looked, *sheets])


def _summary(predicted, labels, best, known, names):
  """The lead sentence and the tiles."""
  if not len(known):
    return (f"The classes of {len(labels):,} galaxies were predicted. None of them has a label to compare with.",
            [("Galaxies", f"{len(labels):,}", "none with a label")])
  accuracy, error = _accuracy(labels, best, known)
  counts = np.bincount(labels[known], minlength=len(names))
  common = int(np.argmax(counts))
  scores = class_measures.scores(predicted[known], labels[known])
  first_two = np.argsort(-predicted[known], axis=1, kind="stable")[:, :2]
  second = np.mean((first_two == labels[known, None]).any(axis=1))
  galaxies = "galaxy" if len(known) == 1 else "galaxies"
  lead = (f"Of {len(known):,} labelled {galaxies} {accuracy:.1%} are predicted to have the class they are labelled "
          f"with (standard error {100 * error:.1f} points). Calling all of them “{names[common]}” would be right for "
          f"{counts[common] / len(known):.1%}.")
  return lead, [("Accuracy", f"{accuracy:.1%}", f"most frequent class {counts[common] / len(known):.1%}"),
                ("Mean of the classes", f"{np.nanmean(scores.recall):.1%}",
                 f"mean accuracy of {int(np.sum(scores.labelled > 0))} classes"),
                ("In two guesses", f"{second:.1%}", "the label is among the two most probable"),
                ("Galaxies", f"{len(known):,}", f"with a label, of {len(labels):,}")]


def _accuracy(labels, best, known):
  """The accuracy and its standard error, from the binomial distribution."""
  accuracy = float(np.mean(best[known] == labels[known]))
  return accuracy, float(np.sqrt(accuracy * (1 - accuracy) / len(known)))


def _disagreement(results, labels, best, known):
  """A note where the evaluation's own accuracy is not that of these predictions, which can only be a mistake."""
  theirs = results.get("accuracy", np.nan)
  if len(known) and np.isfinite(theirs) and abs(_accuracy(labels, best, known)[0] - theirs) > 0.5 / len(known):
    return [f"The evaluation reports an accuracy of {theirs:.4f}, the predictions shown here have "
            f"{_accuracy(labels, best, known)[0]:.4f}: they are not of the same galaxies or the same model."]
  return []


def _table(scores, names):
  from galaxy_jax.report import page

  number = lambda value, form: form.format(value) if np.isfinite(value) else "–"
  rows = [(name, f"{scores.labelled[c]:,}", f"{scores.predicted[c]:,}", number(scores.recall[c], "{:.1%}"),
           number(scores.precision[c], "{:.1%}"), number(scores.f1[c], "{:.3f}"), number(scores.auc[c], "{:.3f}"))
          for c, name in enumerate(names)]
  rows.append(("all, mean of the classes", f"{scores.labelled.sum():,}", f"{scores.predicted.sum():,}",
               *(number(_mean(values), form) for values, form in (
                   (scores.recall, "{:.1%}"), (scores.precision, "{:.1%}"), (scores.f1, "{:.3f}"),
                   (scores.auc, "{:.3f}")))))
  return page.table(("class", "labelled", "predicted", "found", "right", "F1", "AUC"), rows, "Scores by class.",
                    "Found: the share of a class’s galaxies that were predicted as such (recall, the class’s accuracy)."
                    " Right: the share of those predicted as such that are labelled so (precision). F1: their harmonic "
                    "mean. AUC: the area under the ROC curve.")


def _mean(values):
  known = values[np.isfinite(values)]
  return float(known.mean()) if len(known) else float("nan")


def _galleries(predicted, labels, best, known, names):
  """{name: (heading, rows)}: the surest right and wrong ones, and the class that is found worst; or the first few."""
  if not len(known):
    return {"first": ("The first of them", np.arange(min(GALLERY, len(labels))))}
  surest = known[np.argsort(-predicted[known, best[known]], kind="stable")]
  right = best[surest] == labels[surest]
  result = {"right": ("Right, and surest of it", surest[right][:GALLERY]),
            "wrong": ("Wrong, and surest of it", surest[~right][:GALLERY])}
  recall = class_measures.scores(predicted[known], labels[known]).recall
  if np.sum(np.isfinite(recall)) > 1:
    worst = int(np.nanargmin(recall))
    # From where its own probability is lowest: those that look least like the class to the network.
    members = known[labels[known] == worst]
    members = members[np.argsort(predicted[members, worst], kind="stable")]
    result["worst_class"] = (f"The class that is found least often: “{names[worst]}”, {recall[worst]:.0%} of "
                             f"{len(members):,}", members[_spread(np.arange(len(members)), GALLERY)])
  return {name: (heading, rows) for name, (heading, rows) in result.items() if len(rows)}


def _card(run, row, names):
  from galaxy_jax.report import page

  order = np.argsort(-run.predicted[row], kind="stable")[:2]
  first, *others = (f"{names[c]}, {run.predicted[row, c]:.0%}" for c in order)
  label = names[run.labels[row]] if run.labels[row] >= 0 else ""
  said = [("Predicted", first)]
  if label:
    said.append(("Labelled", f"{label}, given {run.predicted[row, run.labels[row]]:.0%}"))
  if others:
    said.append(("Next", others[0]))
  return page.Card(run.ids[row].item(), np.asarray(run.images[row]), tuple(said),
                   alt=f"Labelled {label}." if label else "")


def _looked(run, predicted, labels, best, known, names):
  """Charts of where the network looked; and, where there are none, why."""
  from galaxy_jax.report import class_figures

  if run.explain is None:
    return [], ""
  if len(known):
    right = known[best[known] == labels[known]]
    wrong = known[best[known] != labels[known]]
    groups = (("right", "Where it looked, when right", right), ("wrong", "Where it looked, when wrong", wrong))
  else:
    groups = (("all", "Where it looked", np.arange(len(labels))),)
  groups = [(name, title, _spread(rows, _LOOKED_AT)) for name, title, rows in groups if len(rows)]
  together = np.concatenate([rows for _, _, rows in groups])
  found = run.explain(together, best[together])  # once: each call is compiled anew
  if isinstance(found, str):
    return [], found
  all_seen, all_maps, stage = np.round(255 * np.asarray(found[0])).astype(np.uint8), np.asarray(found[1]), found[2]
  charts, end = [], 0
  for name, title, rows in groups:
    seen, maps = (array[end:end + len(rows)] for array in (all_seen, all_maps))
    end += len(rows)
    words = [[f"{run.ids[row]}: {names[best[row]]}, {predicted[row, best[row]]:.0%}",
              *([f"labelled {names[labels[row]]}"] if name == "wrong" else [])] for row in rows]
    charts.append(class_figures.attention(
        f"attention_{name}", title, seen, maps, words,
        "Above, galaxies as the network sees them; below, what in them spoke for the class it predicted, the brighter "
        f"the more (Grad-CAM; {maps.shape[1]} × {maps.shape[2]} cells of {stage}, smoothed). Dark all over: nothing "
        "there did."))
  return charts, ""


def _spread(rows, count):
  """Up to `count` of the rows, evenly spread."""
  return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
