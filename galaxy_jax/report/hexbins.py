"""Predicted against voted fractions as hexagonal bins: one figure a question, one panel an answer."""
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter

from galaxy_jax.report import measures
from galaxy_jax.report.style import COUNTS, INK, NEUTRAL, WIDTH, Chart, new, place, png, styled
from tfds_builders.gz2_tree import QUESTIONS

# Inches around and between the panels; a panel's title is above it.
_LEFT, _RIGHT, _GAP, _TITLE, _HEAD, _FOOT = 0.6, 0.1, 0.12, 0.4, 0.15, 1.0


def questions(predicted, voted) -> list[Chart]:
  """A chart for each of the eleven questions, in the tree's order.

  Args:
    predicted: (N, 37) predicted vote fractions.
    voted: (N, 37), NaN where unlabelled; a question without any vote has no chart.
  """
  return [_question(number, question, predicted[:, question.columns], voted[:, question.columns])
          for number, question in enumerate(QUESTIONS, 1) if np.isfinite(voted[:, question.columns]).any()]


def _question(number, question, predicted, voted):
  heading = f"{number}. {measures.capital(measures.question_in_words(question))}"
  names = [measures.words(answer) for answer in question.answers]
  errors = [measures.rmse(predicted[:, a], voted[:, a]) for a in range(len(names))]
  # Two or three panels across: more would leave too little of each on a phone.
  across = 2 if len(names) in (2, 4) else 3
  down = -(-len(names) // across)
  side = (WIDTH - _LEFT - _RIGHT - (across - 1) * _GAP) / across
  with styled():
    figure = new(_FOOT + down * (side + _TITLE) + _HEAD)
    cells = []
    for a, name in enumerate(names):
      row, column = divmod(a, across)
      axes = place(figure, _LEFT + column * (side + _GAP), _FOOT + (down - 1 - row) * (side + _TITLE), side, side)
      known = np.isfinite(voted[:, a])
      axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.6, zorder=0)
      cells.append(axes.hexbin(voted[known, a], predicted[known, a], gridsize=24 if across == 2 else 18, mincnt=1,
                               extent=(0, 1, 0, 1), cmap=COUNTS, linewidths=0.1))
      axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
      axes.tick_params(labelleft=column == 0, labelbottom=a + across >= len(names))
      for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
      axes.set_title(name, fontsize=10 if across == 2 else 9)
      if np.isfinite(errors[a]):
        axes.text(0.04, 0.96, f"{errors[a]:.3f}", transform=axes.transAxes, va="top", fontsize=9, color=INK,
                  bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1})
    largest = max(int(np.asarray(cell.get_array()).max(initial=1)) for cell in cells)
    for cell in cells:
      cell.set_norm(LogNorm(1, max(2, largest)))
    middle = _LEFT + (WIDTH - _LEFT - _RIGHT) / 2
    height = figure.get_figheight()
    figure.text(_LEFT / WIDTH, 1 - 0.08 / height, heading, fontweight="bold", va="top")
    figure.text(middle / WIDTH, 0.58 / height, "voted fraction", ha="center")
    figure.text(0.14 / WIDTH, (height + _FOOT - _TITLE - _HEAD) / 2 / height, "predicted fraction", rotation=90,
                va="center", ha="center")
    bar = place(figure, middle - 0.25, 0.3, 1.6, 0.09)
    figure.colorbar(cells[0], cax=bar, orientation="horizontal").outline.set_visible(False)
    ticks = [10 ** p for p in range(6) if 10 ** p <= largest]
    bar.set_xticks(ticks if len(ticks) > 1 else [1, max(2, largest)])
    bar.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bar.tick_params(length=0, labelsize=9, pad=2)
    figure.text((middle - 0.33) / WIDTH, 0.3 / height, "galaxies in a cell", ha="right", fontsize=9)
    image = png(figure)
  hardest = int(np.nanargmax(errors))
  caption = (f"{question.text} Predicted against voted fraction, a panel an answer. The RMSE, in the corner, is "
             f"largest for “{names[hardest]}”: {errors[hardest]:.3f}.")
  spoken = ", ".join(f"{name} {error:.3f}" for name, error in zip(names, errors, strict=True))
  return Chart(f"predicted_{number:02d}_{question.name}", heading, image,
               f"Hexagonal bins of predicted against voted fractions; RMSE by answer: {spoken}.", caption)
