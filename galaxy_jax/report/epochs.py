"""Loss and mean squared error by epoch, of training and of evaluation."""
import numpy as np
from matplotlib.ticker import MaxNLocator

from galaxy_jax.report import figures
from galaxy_jax.report.style import SERIES, Chart, new, png, styled

#: What is drawn: the name of the curve, its title, and what becomes of its values.
_QUANTITIES = (("loss", "Loss by epoch", lambda value: value), ("rmse", "Mean squared error by epoch", np.square))


def by_epoch(history: dict[str, list[tuple[int, float]]], name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """A quantity's mean over each epoch in training, and its evaluation nearest to the epoch's end.

  Args:
    history: {"train/loss": [(step, value), …], …}, with the curve `epoch`, how many epochs each step has seen.
    name: `loss` for instance.

  Returns:
    {"train": (epochs, values), "eval": …}: (E,) whole numbers from 1, and (E,) float64; what has no value is left out.
  """
  seen = np.asarray(history.get("epoch", ()), np.float64).reshape(-1, 2)
  result = {}
  for series in ("train", "eval"):
    points = np.asarray(history.get(f"{series}/{name}", ()), np.float64).reshape(-1, 2)
    if not len(seen) or not len(points):
      continue
    at = np.interp(points[:, 0], np.r_[0, seen[:, 0]], np.r_[0, seen[:, 1]])
    if series == "train":
      # A value is the mean since the one before: it belongs where the middle of these steps is.
      epoch = np.floor((at + np.r_[0, at[:-1]]) / 2).astype(int) + 1
    else:
      epoch = np.maximum(1, np.rint(at)).astype(int)
    numbers = np.unique(epoch)
    nearest = lambda number: points[np.argmin(np.abs(at - number)), 1]
    mean = lambda number: points[epoch == number, 1].mean()
    result[series] = numbers, np.array([(mean if series == "train" else nearest)(number) for number in numbers])
  return result


def charts(history: dict[str, list[tuple[int, float]]]) -> list[Chart]:
  """One chart each for loss and mean squared error; none of what has fewer than two epochs."""
  result = []
  for name, title, convert in _QUANTITIES:
    squared = {key: [(step, convert(value)) for step, value in points] for key, points in history.items()
               if key.partition("/")[2] == name}
    curves = by_epoch(squared | {"epoch": history.get("epoch", [])}, name)
    if max((len(numbers) for numbers, _ in curves.values()), default=0) < 2:
      continue
    with styled():
      figure = new(figures.CURVES_HEIGHT)
      axes = figures.curve_axes(figure, curves, np.concatenate([values for _, values in curves.values()]))
      ends = []
      for (series, (numbers, values)), colour in zip(curves.items(), SERIES, strict=False):
        axes.plot(numbers, values, color=colour, marker="o", markersize=3)
        ends.append((series, values[-1], colour))
      axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=True))
      axes.set_xlabel("epoch")
      axes.set_title(title)
      figures.label_ends(axes, ends)
      image = png(figure)
    said = "; ".join(f"{series} ends at {values[-1]:.4g}, lowest {values.min():.4g} in epoch {numbers[values.argmin()]}"
                     for series, (numbers, values) in curves.items())
    caption = f"{title}, the mean of each epoch in training and the evaluation at its end: {said}."
    result.append(Chart(f"epochs_{name}", title, image, f"Line chart. {caption}", caption))
  return result
