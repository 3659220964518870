"""Figures of predicted classes: confusion, ROC and precision-recall curves, examples, and where a network looked."""
import textwrap

import numpy as np
from matplotlib import colormaps
from matplotlib.lines import Line2D
from PIL import Image

from galaxy_jax.report import measures
from galaxy_jax.report.class_measures import Scores, precision_recall, roc
from galaxy_jax.report.style import COUNTS, INK, NEUTRAL, SERIES, WIDTH, Chart, new, place, png, styled

#: With more classes than this a confusion matrix has colours alone, and a figure of curves the worst classes alone.
_MANY = 12
#: How much of a map's colour covers the image below.
_VEIL = 0.55


def confusion(counts: np.ndarray, names: list[str]) -> list[Chart]:
  """The confusion matrix twice, as counts and as rates: rows are labels and columns predictions.

  Args:
    counts: (C, C).
    names: of the classes, in words.
  """
  labelled = counts.sum(1, keepdims=True)
  rates = np.where(labelled, counts / np.maximum(labelled, 1), np.nan)
  share = lambda rate, form: form.format(rate) if np.isfinite(rate) else "–"
  off = counts - np.diag(np.diagonal(counts))
  row, column = np.unravel_index(np.argmax(off), off.shape)
  most = (f"The most frequent mistake: {off[row, column]:,} of {labelled[row, 0]:,} of the class “{names[row]}” "
          f"predicted as “{names[column]}”." if off.any() else "There is no mistake.")
  spoken = "; ".join(f"{name}: {share(rates[i, i], '{:.0%}')} of {labelled[i, 0]:,}" for i, name in enumerate(names))
  return [
      Chart("confusion_counts", "Confusion, in galaxies", _matrix(counts, rates, names, "{:,.0f}".format),
            f"Confusion matrix of counts. On the diagonal, {spoken}.",
            f"How many galaxies of each labelled class, a row, were predicted as which, a column. {most}"),
      Chart("confusion_rates", "Confusion, as rates",
            _matrix(100 * rates, rates, names, lambda rate: share(rate, "{:.0f}")),
            f"Confusion matrix of rates. On the diagonal, {spoken}.",
            "The same as per cent of each row: the diagonal is the accuracy on each class."
            + (" Rows without colour are of classes that no galaxy is labelled with." if not labelled.all() else "")),
  ]


def _matrix(shown, shades, names, text):
  """A square of cells with numbers in them; as a PNG."""
  count = len(names)
  left, top, right, bottom = 1.3, 1.25, 0.1, 0.3
  side = WIDTH - left - right
  labels = ["\n".join(textwrap.wrap(name, 17)[:3]) for name in names]
  with styled():
    figure = new(side + top + bottom)
    axes = place(figure, left, bottom, side, side)
    axes.imshow(shades, cmap=COUNTS, vmin=0, vmax=1)
    if count <= _MANY:
      size = 9 if count <= 6 else 7.5 if count <= 8 else 6.5
      for row in range(count):
        for column in range(count):
          # viridis is dark below and light above; a row without a galaxy has no colour.
          axes.text(column, row, text(shown[row, column]), ha="center", va="center", fontsize=size,
                    color="white" if shades[row, column] < 0.6 else INK)
    small = 8 if count <= 8 else 7 if count <= _MANY else 5
    axes.set_xticks(range(count), labels, rotation=90, fontsize=small, linespacing=0.9, parse_math=False)
    axes.set_yticks(range(count), labels, fontsize=small, linespacing=0.9, parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
      spine.set_visible(False)
    figure.text((left + side / 2) / WIDTH, 0.1 / (side + top + bottom), "columns: predicted · rows: labelled",
                ha="center", fontsize=8, color=NEUTRAL)
    return png(figure)


def curves(probabilities: np.ndarray, labels: np.ndarray, names: list[str], scores: Scores) -> list[Chart]:
  """ROC and precision-recall curves, each class against all others.

  Args:
    probabilities: (N, C).
    labels: (N,), none missing.
    names: of the classes, in words.
    scores: as `class_measures.scores` gives them.
  """
  kinds = (
      ("roc", "ROC curves", roc, scores.auc, "share of the others (false positives)", "share of the class (recall)",
       "area", "The area under each curve is the chance that a galaxy of the class gets a higher probability of it "
       "than one of another."),
      ("precision_recall", "Precision and recall", precision_recall, scores.average_precision, "recall", "precision",
       "mean", "The mean is the average precision. Where a class is rare, this says more than the ROC curve."))
  charts = []
  for name, title, curve, values, x, y, word, explanation in kinds:
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
      continue
    drawn = sorted(sorted(known, key=lambda c: values[c])[:_MANY])
    ends = [(names[c], curve(labels == c, probabilities[:, c])) for c in drawn]
    mean, worst = float(np.mean(values[known])), min(known, key=lambda c: values[c])
    left_out = f" Drawn are the {len(drawn)} lowest of {len(known)}." if len(drawn) < len(known) else ""
    caption = (f"Each class against all others, at every threshold of its probability. {explanation} Mean over the "
               f"classes {mean:.3f}; lowest for “{names[worst]}”, {values[worst]:.3f}.{left_out}")
    spoken = ", ".join(f"{names[c]} {values[c]:.3f}" for c in known)
    charts.append(Chart(name, title, curve_figure(ends, x, y, word, diagonal=name == "roc"),
                        f"{title}; {word} by class: {spoken}.", caption))
  return charts


def curve_figure(curves_by_name, x, y, word, *, diagonal):
  """Curves over a list of what is what, in one colour or dash each; as a PNG.

  Args:
    curves_by_name: (name, class_measures.Curve) of each.
    x, y: what the axes are.
    word: what a curve's value is.
    diagonal: whether to draw it.
  """
  rows = len(curves_by_name)
  side, bottom = 3.3, 0.6 + 0.19 * rows
  with styled():
    figure = new(bottom + side + 0.12)
    axes = place(figure, 0.62, bottom, WIDTH - 0.62 - 0.15, side)
    if diagonal:
      axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8)
    for number, (name, curve) in enumerate(curves_by_name):
      colour, dash = SERIES[number % len(SERIES)], ("-", (0, (4, 2)), (0, (1, 1.5)))[number // len(SERIES) % 3]
      axes.plot(curve.x, curve.y, color=colour, linestyle=dash, linewidth=1.3)
      height = (bottom - 0.62 - 0.19 * number) / (bottom + side + 0.12)
      figure.add_artist(Line2D([0.2 / WIDTH, 0.52 / WIDTH], [height, height], color=colour, linestyle=dash,
                               linewidth=1.6))
      figure.text(0.6 / WIDTH, height, textwrap.shorten(name, 44), fontsize=8.5, va="center", parse_math=False)
      figure.text(1 - 0.15 / WIDTH, height, f"{word} {curve.value:.3f}", fontsize=8.5, va="center", ha="right")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    axes.grid()
    return png(figure)


def examples(groups: list[tuple[str, np.ndarray]]) -> Chart:
  """Some galaxies of each class, a row a class.

  Args:
    groups: (name in words, (k, S, S, 3) uint8 images) of each class that has any; up to five are drawn.
  """
  across, gap, head = 5, 0.06, 0.2
  side = (WIDTH - 0.2 - (across - 1) * gap) / across
  with styled():
    figure = new(len(groups) * (side + head + gap))
    height = figure.get_figheight()
    for row, (name, images) in enumerate(groups):
      top = height - row * (side + head + gap)
      figure.text(0.1 / WIDTH, (top - 0.16) / height, name, fontsize=9, parse_math=False)
      for column, image in enumerate(images[:across]):
        axes = place(figure, 0.1 + column * (side + gap), top - head - side, side, side)
        axes.imshow(image, interpolation="bilinear")
        axes.set_axis_off()
    image = png(figure)
  spoken = ", ".join(name for name, _ in groups)
  return Chart("class_examples", "Examples of each class", image, f"Galaxies labelled {spoken}.",
               "Galaxies as they are labelled, spread evenly over the evaluated split.")


def attention(name: str, title: str, seen: np.ndarray, maps: np.ndarray, words: list[list[str]], caption: str) -> Chart:
  """Galaxies as the network sees them, each above the map of what spoke for its predicted class.

  Args:
    name: the file's.
    title: of the figure.
    seen: (k, S, S, 3) uint8.
    maps: (k, h, w) in [0, 1].
    words: lines below each galaxy.
    caption: what the reader is told.
  """
  across, gap, text = 4, 0.08, 0.72
  side = (WIDTH - (across + 1) * gap) / across
  rows = -(-len(seen) // across)
  one = 2 * side + gap + text
  with styled():
    figure = new(rows * one)
    for index, (image, heat, lines) in enumerate(zip(seen, maps, words, strict=True)):
      row, column = divmod(index, across)
      left, bottom = gap + column * (side + gap), (rows - 1 - row) * one + text
      smooth = Image.fromarray(np.asarray(heat, np.float32)).resize(image.shape[1::-1], Image.Resampling.BICUBIC)
      colour = 255 * colormaps["inferno"](np.clip(np.asarray(smooth), 0, 1))[..., :3]
      # Grey below, so that all colour is the map's.
      grey = np.asarray(image, np.float32).mean(-1, keepdims=True)
      for height, picture in ((side + gap, image), (0, ((1 - _VEIL) * grey + _VEIL * colour).astype(np.uint8))):
        axes = place(figure, left, bottom + height, side, side)
        axes.imshow(picture, interpolation="bilinear")
        axes.set_axis_off()
      said = [part for line in lines for part in textwrap.wrap(line, 19)]
      axes.text(0, -0.05, "\n".join(said[:6]), transform=axes.transAxes, va="top", fontsize=6, linespacing=1.15,
                parse_math=False)
    image = png(figure)
  spoken = "; ".join(", ".join(lines) for lines in words)
  return Chart(name, title, image, f"Galaxies with maps of where the network looked: {spoken}.", caption)


def in_words(names) -> list[str]:
  """Names of classes as people write them."""
  return [measures.words(name) for name in names]
