"""The figure of a run's figures against noise that is added to its images."""
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.lines import Line2D

from galaxy_jax.report import measures
from galaxy_jax.report.style import NEUTRAL, SERIES, WIDTH, Chart, new, place, png, styled

_TITLE = "Figures under added noise"


def chart(sigmas: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Chart:
  """One curve a figure, and a list of what is what below them.

  Args:
    sigmas: (K,) of the noise, counts of 255, ascending.
    curves: {what it is, in words: (K,) values, NaN where there is none}.
  """
  sigmas = np.asarray(sigmas, np.float64)
  curves = {name: np.asarray(values, np.float64) for name, values in curves.items()}
  panel, row, below = 2.3, 0.19, 0.62
  height = below + row * len(curves) + panel + 0.35
  with styled():
    figure = new(height)
    axes = place(figure, 0.66, below + row * len(curves), WIDTH - 0.66 - 0.2, panel)
    for number, (name, values) in enumerate(curves.items()):
      colour, dash = SERIES[number % len(SERIES)], "-" if number < len(SERIES) else "--"
      axes.plot(sigmas, values, color=colour, linestyle=dash, marker="o", markersize=3.5)
      level = (row * (len(curves) - 1 - number) + 0.14) / height
      figure.add_artist(Line2D([0.2 / WIDTH, 0.52 / WIDTH], [level, level], color=colour, linestyle=dash))
      figure.text(0.6 / WIDTH, level, name, fontsize=8.5, va="center", parse_math=False)
      figure.text(1 - 0.2 / WIDTH, level, _ends(values), fontsize=8.5, va="center", ha="right", color=NEUTRAL)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_xlabel("σ of the added noise, counts of 255")
    axes.set_title(_TITLE)
    image = png(figure)
  said = "; ".join(f"{name}: {_ends(values)}" for name, values in curves.items())
  caption = f"{_TITLE}, from σ {sigmas[0]:g} to {sigmas[-1]:g} counts of 255. {measures.capital(said)}."
  return Chart("noise_curve", _TITLE, image, f"Line chart. {caption}", caption)


def _ends(values):
  """The first and the last value in words."""
  return " to ".join("–" if np.isnan(value) else f"{value:.3f}" for value in (values[0], values[-1]))
