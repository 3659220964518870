"""The figure of a search for settings: the score of every trial, and against each of the settings tried."""
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from galaxy_jax.report import measures
from galaxy_jax.report.style import ACCENT, NEUTRAL, SERIES, WIDTH, Chart, new, place, png, styled

#: Inches: a panel, and what is below it for its labels.
_PANEL, _BELOW = 1.35, 0.62


def _short(name):
  """A choice under its place on the axis: the last of several names that it joins."""
  return name if "+" not in name else "…" + name.rpartition("+")[2]


def _is_number(value):
  """Whether a value has its place on an axis of numbers: False and True are names."""
  return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def chart(numbers: Sequence[int], scores: Sequence[float], tried: dict[str, Sequence], score: str,
          logarithmic: Sequence[str]) -> Chart:
  """One panel of the scores by trial with the lowest so far, and one a setting.

  Args:
    numbers: (T,) of the trials, ascending.
    scores: (T,) lower is better.
    tried: key → (T,) numbers; or texts, truth values or None where it is one of some values.
    score: what the scores are, "error" for instance.
    logarithmic: the keys whose numbers are drawn on a logarithmic axis.
  """
  scores = np.asarray(scores, np.float64)
  lowest = int(np.argmin(scores))
  label = measures.capital(measures.words(score))
  height = 0.35 + (1 + len(tried)) * (_PANEL + _BELOW)
  with styled():
    figure = new(height)
    for panel, (key, values) in enumerate({"trial": numbers, **tried}.items()):
      axes = place(figure, 0.66, height - 0.35 - _PANEL - panel * (_PANEL + _BELOW), WIDTH - 0.66 - 0.2, _PANEL)
      whole = all(isinstance(value, (int, np.integer)) for value in values)
      if not all(_is_number(value) for value in values):
        values = [str(value) for value in values]
        names = sorted(set(values), key=lambda text: (text != "none", text.count("+"), text))
        values = [names.index(value) for value in values]
        axes.set_xticks(range(len(names)), [_short(name) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
      elif key in logarithmic:
        axes.set_xscale("log")
        if whole:
          axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
          axes.xaxis.set_major_formatter("{x:g}")
          axes.xaxis.set_minor_formatter(NullFormatter())
      elif whole:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
      if not panel:
        axes.step(values, np.minimum.accumulate(scores), where="post", color=NEUTRAL, linewidth=1.0)
        axes.set_title(f"{label} of {len(scores)} trials")
      axes.plot(values, scores, "o", color=ACCENT, markersize=4, alpha=0.7)
      axes.plot(values[lowest], scores[lowest], "o", color=SERIES[1], markersize=6)
      axes.grid(axis="y")
      axes.set_xlabel(key.replace(".", " ").replace("_", " "))
    image = png(figure)
  settings = ", ".join(f"{key} {values[lowest]}" for key, values in tried.items())
  caption = (f"{label} of every complete trial, by its number with the lowest so far, and against each setting. The "
             f"lowest, in orange, is {scores[lowest]:.4g} of trial {numbers[lowest]}: {settings}.")
  return Chart("search", f"{label} of the trials", image, f"Scatter charts. {caption}", caption)
