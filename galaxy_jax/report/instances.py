"""The report of a run that finds galaxies: one self-contained HTML page, with its figures beside it as PNG files.

Numpy arrays and plain values in, files out, as in `report.classes`. matplotlib is imported when a report is written.
"""
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from galaxy_jax.detection.matching import image_average_precision
from galaxy_jax.report import instance_measures, measures
from galaxy_jax.tasks import instance_scores

#: How many images each gallery shows.
GALLERY = 8
#: Curves of the loop that are drawn: the others say the same of single classes or overlaps.
_CURVES = ("loss", "box_ap50", "mask_ap50", "box_ap50_agnostic", "mask_ap50_agnostic", "learning_rate", "gradient_norm",
           "images_per_second")
#: Rows of the table of scores: the metric's name without box_ or mask_, in words.
_SCORES = (("ap50", "AP at an overlap of 0.5, mean of the classes"), ("ap50_agnostic", "… with one class for all"),
           ("ap", "AP, mean over overlaps of 0.5 to 0.95"), ("ap75", "AP at 0.75"),
           ("ap_small", "AP, below 32² pixels"), ("ap_medium", "AP, 32² to 96² pixels"),
           ("ap_large", "AP, above 96² pixels"), ("voc_ap50", "AP at 0.5 of each image, mean of the images"))


class InstanceRun(NamedTuple):
  """What a report of found galaxies is made of.

  Attributes:
    name, facts, data, results, history, notes: as of report.Run.
    ids: (N,) int64 or texts, the images.
    predicted: what was found, see tasks.instances.make.
    labels: what is there, see data.instance_labels.
    names: of the classes.
    images: (N, S, S, 3) uint8.
  """
  name: str
  facts: dict[str, str | int | float]
  data: dict[str, str | int | float]
  results: dict[str, float]
  history: dict[str, list[tuple[int, float]]]
  ids: np.ndarray
  predicted: dict[str, np.ndarray]
  labels: dict[str, np.ndarray]
  names: tuple[str, ...]
  images: np.ndarray
  notes: list[str]


def write(run: InstanceRun, workdir: str | Path) -> Path:
  """Writes `report.html` and `figures/*.png` into the run's folder; returns the page's path."""
  from galaxy_jax.report import figures, instance_figures, page

  scores = instance_scores.InstanceScores(run.names)
  scores.update(run.predicted, {**run.labels, "mask": np.ones(len(run.ids), bool)})
  judged = scores.precision
  agnostic = judged.matches("mask", "any")
  objects = sum(one.objects for one in agnostic)
  least = instance_measures.operating_score(agnostic)
  curves = figures.curves({name: points for name, points in run.history.items()
                           if name.rpartition("/")[2] in _CURVES})
  charts, table, shapes = [], "", []
  if objects:
    intervals = judged.intervals()
    table = _table(run, intervals)
    charts = [instance_figures.precision_recall(_precision_recall(run, judged, kind), words)
              for kind, words in (("box", "boxes"), ("mask", "outlines"))]
    errors = scores.matched.errors(agnostic, least=least)
    errors = {name: errors[name][np.isfinite(errors[name])] for name, _, _ in instance_measures.SHAPES}
    shapes = [instance_figures.shapes(errors, least)] if min(map(len, errors.values())) else []
  galleries = {name: (heading, [_card(run, row, least) for row in rows])
               for name, (heading, rows) in _galleries(judged, objects).items()}
  sheets = [figures.contact_sheet(f"gallery_{name}", [card.image for card in cards], list(map(page.lines, cards)))
            for name, (_, cards) in galleries.items()]
  shown = "".join(f"<h3>{escape(heading)}</h3>{page.gallery(cards)}" for heading, cards in galleries.values())
  tables = "".join((page.facts("Results", "as the evaluation computed them.", run.results),
                    page.facts("Data", "what the images are and where they come from.", run.data),
                    page.facts("Run", "how the model was trained, and how to do it again.", run.facts)))
  lead, numbers = _summary(run, objects, intervals if objects else {})
  sections = [
      page.Section("learning", "Learning curves", page.figures(curves)),
      page.Section("scores", "How many are found", table + page.figures(charts)),
      page.Section("shapes", "Position, size and shape", page.figures(shapes)),
      page.Section("galaxies", "Outlines", f"<p>{escape(_key(run, least))}</p>{shown}", new_page=True),
      page.Section("facts", "Results, data and run", f'<div class="pair">{tables}</div>' if tables else ""),
  ]
  text = page.page(run.name, lead, run.notes, numbers, sections)
  return page.leave(workdir, text, [*curves, *charts, *shapes, *sheets])


def _summary(run, objects, intervals):
  """The lead sentence and the tiles."""
  images = f"{len(run.ids):,} images"
  if not objects:
    return (f"Galaxies were looked for in {images}. None of them has outlines to compare with.",
            [("Images", f"{len(run.ids):,}", "none with outlines")])
  results = run.results

  def tile(name, words):
    low, high = intervals[name]
    return words, f"{results.get(name, np.nan):.3f}", f"95 % of draws of images: {low:.3f} to {high:.3f}"
  lead = (f"Of {objects:,} galaxies in {images}, outlines are found with an average precision of "
          f"{results.get('mask_ap50_agnostic', np.nan):.3f} whatever their class, and of "
          f"{results.get('mask_ap50', np.nan):.3f} as the mean of the classes, at an overlap of 0.5.")
  return lead, [tile("mask_ap50", "Outlines, by class"), tile("box_ap50", "Boxes, by class"),
                tile("mask_ap50_agnostic", "Outlines, any class"), tile("box_ap50_agnostic", "Boxes, any class")]


def _table(run, intervals):
  from galaxy_jax.report import page

  def cells(name):
    value = run.results.get(name, np.nan)
    low, high = intervals.get(name, (np.nan, np.nan))
    return (f"{value:.3f}" if np.isfinite(value) else "–",
            f"{low:.3f} to {high:.3f}" if np.isfinite(low) else "–")
  scores = [*_SCORES, *((f"ap50_{name}", f"AP at 0.5 of “{measures.words(name)}”") for name in run.names)]
  rows = [(words, *cells(f"box_{name}"), *cells(f"mask_{name}")) for name, words in scores]
  return page.table(("score", "boxes", "95 %", "outlines", "95 %"), rows, "Average precision.",
                    "COCO’s, by pycocotools; regions to ignore count neither as galaxies nor as background. Intervals "
                    "hold 95 % of the scores of images drawn again, with replacement. The mean of the images is what "
                    "matterport’s Mask R-CNN and the paper of mask_galaxy report.")


def _precision_recall(run, judged, kind):
  """(name, curve) of each class and of all as one."""
  parts = [("any class", "any", f"{kind}_ap50_agnostic")]
  parts += [(measures.words(name), number, f"{kind}_ap50_{name}") for number, name in enumerate(run.names)]
  return [(words, instance_measures.precision_recall(judged.matches(kind, which), run.results[name]))
          for words, which, name in parts if name in run.results]


def _galleries(judged, objects):
  """{name: (heading, rows)}: images with the highest and with the lowest AP of their own; or the first few."""
  if not objects:
    return {"first": ("The first of them", np.arange(min(GALLERY, len(judged))))}
  each = np.array([image_average_precision(one) for one in judged.matches("mask", None)])
  order = np.argsort(-each, kind="stable")[:int(np.isfinite(each).sum())]
  best, worst = order[:GALLERY], order[max(GALLERY, len(order) - GALLERY):][::-1]
  return {name: (heading, rows) for name, heading, rows in (
      ("best", "Found best", best), ("worst", "Found worst", worst)) if len(rows)}


def _key(run, least):
  from galaxy_jax.report.instance_figures import colour_of

  classes = ", ".join(f"{colour_of(number)[1]}: {measures.words(name)}" for number, name in enumerate(run.names))
  return (f"White: outlines of the data set; grey: its regions to ignore. Found, with a score of at least {least:.2f}, "
          f"where precision and recall are best together: {classes}.")


def _card(run, row, least):
  from galaxy_jax.report import instance_figures, page

  # The masks of the few that are shown, once more: those of a split do not fit into memory together.
  truth, found = (instance_scores.truth(run.labels, row),
                  instance_scores.found(run.predicted, row, run.images.shape[1]))

  def said(rows):
    counts = np.bincount(rows, minlength=len(run.names))
    return ", ".join(f"{count} {measures.words(name)}" for name, count in zip(run.names, counts, strict=True)
                     if count) or "none"
  image = instance_figures.outlined(np.asarray(run.images[row]), truth, found, least)
  outlined = said(truth["classes"][~truth["ignore"]])
  return page.Card(run.ids[row].item(), image, (("Found", said(found["classes"][found["scores"] >= least])),
                                                ("Outlined", outlined)), alt=f"Outlined: {outlined}.")
