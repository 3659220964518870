"""The report's figures but the hexbins: learning curves, errors by question, calibration, classes, galleries.

Each function takes plain arrays and returns `Chart`s: the PNG with the words that belong to it.
"""
import re
import textwrap

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator

from galaxy_jax.report import measures
from galaxy_jax.report.style import ACCENT, INK, NEUTRAL, SERIES, WIDTH, Chart, new, place, png, styled
from tfds_builders.gz2_tree import QUESTIONS

#: A curve with more points than this, that goes up and down, is drawn pale under its moving mean.
_MANY = 150
#: Letters of a series' name that are drawn beside its curve; the caption has it in full.
_LONGEST_NAME = 14
#: Inches, of a figure of curves.
CURVES_HEIGHT = 2.95


def _moving_mean(values, window):
  """Mean over `window` neighbours, over fewer at the ends."""
  kernel = np.ones(window)
  return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def _noisy(values, log):
  values = np.log(values) if log else values
  # The ways up and down of a curve with a single bend add up to twice its range at most.
  return len(values) > _MANY and np.abs(np.diff(values)).sum() > 3 * np.ptp(values)


def _by_quantity(history):
  """{"train/loss": …} → {"loss": {"train": (steps, values)}}, finite points in the order of steps.

  Curves of single questions are left out: they would fill the page; and the epoch, which rises with the step.
  """
  single = {question.name for question in QUESTIONS}
  quantities = {}
  for name, points in history.items():
    series, _, quantity = name.partition("/") if "/" in name else ("", "", name)
    if "/" in quantity or quantity in single or quantity == "epoch":
      continue
    array = np.asarray(points, np.float64).reshape(-1, 2)
    array = array[np.isfinite(array).all(axis=1)]
    if len(array):
      array = array[np.argsort(array[:, 0], kind="stable")]
      steps = np.diff(array[:, 0])
      if series == "train" and len(steps) > 3 and steps[-1] < np.median(steps) / 2:
        array = array[:-1]  # the mean of the few steps that were left at the end
      quantities.setdefault(quantity, {})[series] = (array[:, 0], array[:, 1])
  first = {"loss": 0, "rmse": 1, "accuracy": 1, "learning_rate": 3}
  return dict(sorted(quantities.items(), key=lambda item: first.get(item[0], 2)))


def _best(quantity, values):
  """The index of a curve's best point with the word for it, or None where neither end is better."""
  if "accuracy" in quantity or quantity == "macro_f1":
    return int(np.argmax(values)), "highest"
  if quantity in ("error", "cross_entropy") or "loss" in quantity or "rmse" in quantity:
    return int(np.argmin(values)), "lowest"
  return None


def curve_axes(figure, names, values, *, linear=False):
  """The axes of a figure of curves, with room for the curves' names on their right.

  Args:
    figure: `CURVES_HEIGHT` inches tall.
    names: of the curves.
    values: (N,) of all curves; positive ones that span more than a factor of 20 get a logarithmic axis.
    linear: whether the axis is linear in any case.

  Returns:
    The axes; `axes.get_yscale()` tells which they are.
  """
  margin = 0.15 + 0.09 * min(_LONGEST_NAME, max(map(len, names)))
  axes = place(figure, 0.66, 0.5, WIDTH - 0.66 - margin, 2.2)
  if not linear and values.min() > 0 and values.max() > 20 * values.min():
    axes.set_yscale("log")
  axes.grid(axis="y")
  return axes


def label_ends(axes, ends):
  """Writes each curve's name at its right end, moved apart where two would meet.

  Args:
    axes: with the curves drawn.
    ends: (name, last value, colour) of each.
  """
  axes.autoscale_view()
  at = axes.transData + axes.transAxes.inverted()
  heights = sorted((at.transform((0, y))[1], name, colour) for name, y, colour in ends)
  gap, last = 0.075, -np.inf
  for height, name, colour in heights:
    last = max(height, last + gap)
    axes.text(1.02, last, name[:_LONGEST_NAME], color=colour, va="center", transform=axes.transAxes, parse_math=False)


def curves(history, *, of="", suffix="") -> list[Chart]:
  """One chart for each quantity logged: loss, RMSE and accuracy first, the learning rate last.

  Args:
    history: {"train/loss": [(step, value), …], …}; what follows the first slash is the quantity.
    of: what the quantities are of, for the titles, where other curves have the same quantities.
    suffix: of the charts' names, then.

  Returns:
    A chart for each quantity with a finite value; none from an empty history.
  """
  charts = []
  quantities = _by_quantity(history)
  # One colour for a series in every figure.
  names = list(dict.fromkeys(name for series in quantities.values() for name in series))
  colours = dict(zip(names, SERIES * len(names), strict=False))
  for quantity, series in quantities.items():
    label = f"{measures.words(quantity)}, {of}" if of else measures.words(quantity)
    said, ends = [], []
    with styled():
      figure = new(CURVES_HEIGHT)
      axes = curve_axes(figure, series, np.concatenate([value for _, value in series.values()]),
                        linear=quantity == "learning_rate")
      log = axes.get_yscale() == "log"
      for name, (step, value) in series.items():
        colour = colours[name]
        line = value
        if _noisy(value, log):
          line = _moving_mean(value, len(value) // 40)
          axes.plot(step, value, color=colour, alpha=0.25, linewidth=0.6)
        axes.plot(step, line, color=colour, marker="o" if len(value) == 1 else None, markersize=4)
        ends.append((name, line[-1], colour))
        best = _best(quantity, value)
        text = f"{name or 'it'} "
        if best and name != "train" and len(value) > 1:
          index, word = best
          axes.plot(step[index], value[index], "o", color=colour, markersize=5, markeredgecolor="white")
          text += f"is {word}, {value[index]:.4g}, at step {step[index]:,.0f} and "
        said.append(text + f"ends at {value[-1]:.4g} (step {step[-1]:,.0f})")
      axes.set_xlabel("step")
      axes.set_title(label, parse_math=False)
      steps = np.unique(np.concatenate([step for step, _ in series.values()]))
      # A single step has no whole numbers beside it on the axis.
      axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=True) if len(steps) > 1
                                   else FixedLocator(steps))
      axes.xaxis.set_major_formatter("{x:,.0f}")
      label_ends(axes, ends)
      caption = f"{measures.capital(label)} against training step: {'; '.join(said)}."
      if any(_noisy(value, log) for _, value in series.values()):
        caption += " A noisy curve is pale, with its moving mean over it."
      name = f"curve_{_file_name(quantity)}{suffix}"
      charts.append(Chart(name, label, png(figure), f"Line chart. {caption}", caption))
  return charts


def _file_name(text):
  return re.sub(r"[\W_]+", "_", text)


def rmse_by_question(predicted, voted) -> Chart:
  """Bars of each question's RMSE, with that of the mean predictor as a mark.

  Args:
    predicted: (N, 37) predicted vote fractions.
    voted: (N, 37), NaN where unlabelled; at least one value is not.
  """
  constant = np.broadcast_to(measures.mean_vote(voted), voted.shape)
  columns = [question.columns for question in QUESTIONS] + [slice(None)]
  names = [measures.question_in_words(question) for question in QUESTIONS] + ["all 37 answers"]
  ours = np.array([measures.rmse(predicted[:, c], voted[:, c]) for c in columns])
  reference = np.array([measures.rmse(constant[:, c], voted[:, c]) for c in columns])
  rows = np.arange(len(names), dtype=float)
  rows[-1] += 0.4
  with styled():
    figure = new(4.2)
    axes = place(figure, 1.38, 0.5, 1.58, 3.15)
    axes.barh(rows, ours, height=0.62, color=[ACCENT] * len(QUESTIONS) + [INK])
    axes.plot(reference, rows, "|", color=SERIES[1], markersize=12, markeredgewidth=2)
    for values, at, colour, head in ((ours, 1.22, ACCENT, "model"), (reference, 1.64, SERIES[1], "mean\npredictor")):
      axes.annotate(head, (at, 1.03), xycoords="axes fraction", ha="center", fontsize=9, color=colour,
                    fontweight="bold")
      for row, number in zip(rows, values, strict=True):
        axes.annotate(f"{number:.3f}" if np.isfinite(number) else "–", (at, row), va="center", ha="center",
                      xycoords=("axes fraction", "data"), color=colour, annotation_clip=False,
                      fontweight="bold" if row == rows[-1] else "normal")
    axes.set_yticks(rows, names)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_xlim(0, max(1e-3, 1.06 * np.nanmax([ours, reference])))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel("RMSE")
    image = png(figure)
  hardest = int(np.nanargmax(ours[:-1]))
  caption = (f"RMSE of the vote fractions, question by question, and over all 37 answers: {ours[-1]:.4f}. The marks "
             "are the mean predictor, which answers every galaxy with the mean vote of these very galaxies: "
             f"{reference[-1]:.4f} over all. The largest error is in “{names[hardest]}”, {ours[hardest]:.4f} against "
             f"{reference[hardest]:.4f}.")
  spoken = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, ours, strict=True))
  return Chart("rmse_by_question", "RMSE by question", image, f"Bar chart of RMSE by question: {spoken}.", caption)


def calibration(result: measures.Calibration) -> Chart:
  """Mean vote against mean prediction in bins, over a strip of how many values each bin holds."""
  used = result.count > 0
  x, y = result.predicted[used], result.voted[used]
  with styled():
    figure = new(4.7)
    axes = place(figure, 0.78, 1.5, 3.5, 3.05)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8)
    axes.vlines(x, result.low[used], result.high[used], color=ACCENT, alpha=0.35, linewidth=3)
    axes.plot(x, y, "o", color=ACCENT, markersize=5)
    axes.set_ylabel("voted fraction")
    axes.tick_params(labelbottom=False)
    strip = place(figure, 0.78, 0.5, 3.5, 0.8)
    strip.bar(result.edges[:-1], result.count, np.diff(result.edges), align="edge", color=NEUTRAL,
              edgecolor="white", linewidth=0.6)
    strip.set_yscale("log")
    strip.set_ylim(0.7, 3 * result.count.max())
    strip.set_yticks([10 ** p for p in range(0, 8, 2) if 10 ** p <= 3 * result.count.max()])
    strip.yaxis.set_major_formatter("{x:,.0f}")
    strip.set_ylabel("values")
    strip.set_xlabel("predicted fraction")
    for panel in (axes, strip):
      panel.set_xlim(-0.02, 1.02)
      panel.grid(axis="y")
    axes.set_ylim(-0.02, 1.02)
    image = png(figure)
  caption = (f"Expected calibration error {result.error:.4f}: the mean gap between predicted and voted fraction in "
             f"{len(result.count)} bins of the prediction, weighted with the values in each, over all 37 answers "
             f"({result.count.sum():,} values). Points are the means of a bin, on the line where they agree; bars hold "
             "the middle 68 % of its votes; "
             "below, how many values it has, on a logarithmic scale.")
  spoken = ", ".join(f"{a:.2f} predicted {b:.2f} voted" for a, b in zip(x, y, strict=True))
  return Chart("calibration", "Calibration", image, f"Reliability diagram. Bin means: {spoken}.", caption)


def class_occurrences(predicted_class, true_class=None, *, names=measures.MAIN_CLASSES, truth="voted",
                      meaning="Galaxies by main class, following the leading answer at each question.") -> Chart:
  """Bars of how many galaxies each class has, predicted and, where known, in truth.

  Args:
    predicted_class: (N,) indices into `names`, −1 for none.
    true_class: (N,) the same as voted or labelled, or None without any.
    names: of the classes, in words.
    truth: the word for true_class.
    meaning: what the classes are, the caption's first sentence.
  """
  kinds = len(names)
  series = [] if true_class is None else [(truth, true_class, NEUTRAL)]
  series.append(("predicted", predicted_class, ACCENT))
  counts = {name: np.bincount(index[index >= 0], minlength=kinds) for name, index, _ in series}
  height = 0.72 / len(series)
  most = max(1, *(count.max() for count in counts.values()))
  tall = max(1.2, 0.4625 * kinds)
  with styled():
    figure = new(tall + 0.5)
    axes = figure.add_axes((0, 0, 1, 1))
    texts = []
    for row, (name, _, colour) in enumerate(series):
      at = np.arange(kinds) + (row - (len(series) - 1) / 2) * height
      axes.barh(at, counts[name], height=0.9 * height, color=colour)
      for y, count in zip(at, counts[name], strict=True):
        texts.append(axes.annotate(f"{count:,}", (count, y), (3, 0), textcoords="offset points", va="center",
                                   fontsize=9, color=INK))
      axes.annotate(name, (0, 1), (66 * row, 5), xycoords="axes fraction", textcoords="offset points", color=colour,
                    fontweight="bold")
    axes.set_yticks(np.arange(kinds), ["\n".join(textwrap.wrap(name, 20)) for name in names], parse_math=False)
    axes.set_ylim(kinds - 0.5, -0.5)
    axes.set_xlim(0, most)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    # The names and the counts take what room they need, the bars what is left.
    left, right = (0.16 + max(text.get_window_extent().width for text in some) / figure.dpi
                   for some in (axes.get_yticklabels(), texts))
    axes.set_position((left / WIDTH, 0.15 / (tall + 0.5), (WIDTH - left - right) / WIDTH, tall / (tall + 0.5)))
    image = png(figure)
  common = int(np.argmax(counts["predicted"]))
  caption = (f"{meaning} Most often predicted is “{names[common]}”: {counts['predicted'][common]:,} of "
             f"{len(predicted_class):,}")
  caption += f", {truth} {counts[truth][common]:,}." if truth in counts else "."
  spoken = "; ".join(f"{name} " + ", ".join(f"{kind} {count[k]}" for k, kind in enumerate(names))
                     for name, count in counts.items())
  return Chart("class_occurrences", "How often each class occurs", image, f"Bar chart: {spoken}.", caption)


def contact_sheet(name, images, labels) -> Chart:
  """A gallery as one picture, for slides: (k, S, S, 3) uint8 images, four across, each over its label."""
  rows = -(-len(images) // 4)
  side, text, gap = 1.0, 1.04, 0.08
  with styled():
    figure = new(rows * (side + text))
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
      row, column = divmod(index, 4)
      bottom = (rows - 1 - row) * (side + text) + text
      axes = place(figure, gap + column * (side + gap), bottom, side, side - gap)
      axes.imshow(image, interpolation="bilinear")
      axes.set_axis_off()
      lines = [line for part in label for line in textwrap.wrap(part, 19)]
      axes.text(0, -0.04, "\n".join(lines[:12]), transform=axes.transAxes, va="top", fontsize=5.5, linespacing=1.2)
    image = png(figure)
  return Chart(name, name.replace("_", " "), image, "", "")
