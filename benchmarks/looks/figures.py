"""Figures of the comparisons, and their way to the report. Real galaxies are blue, simulated ones orange."""
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from galaxy_jax.report.style import ACCENT, NEUTRAL, SERIES, WIDTH, Chart, new, png, styled

from .statistics import CHANNELS, RINGS, Statistics

REAL, SIMULATED = ACCENT, SERIES[1]
#: One statistic of each kind, with a name for people.
SHOWN = {"concentration/c": "concentration", "axis_ratio/moments": "axis ratio", "asymmetry/a": "asymmetry",
         "smoothness/s": "clumpiness", "radius/half_light": "half-light radius, pixels",
         "noise/deviation_g": "noise, counts", "noise/lag_2": "noise correlation at 2 pixels",
         "colour/rg_middle": "colour, ln red / green", "colour/gb_middle": "colour, ln green / blue",
         "others/bright": "bright neighbours"}


def save(folder: str | Path, name: str, found: dict, charts: list[Chart]) -> None:
  """Writes what a benchmark found as `name.json`, with the words of its figures, and those as PNG files beside it.

  What another run of the same settings found, another judge's verdict for instance, is kept.
  """
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  before, kept = load(folder, name)
  settings = [key for key, value in found.items() if not isinstance(value, dict)]
  if all(before.get(key) == found[key] for key in settings):
    found = before | found
    charts = [chart for chart in kept if chart.name not in {new.name for new in charts}] + charts
  words = [{key: value for key, value in chart._asdict().items() if key != "png"} for chart in charts]
  (folder / f"{name}.json").write_text(json.dumps(found | {"charts": words}, indent=1))
  for chart in charts:
    (folder / f"{chart.name}.png").write_bytes(chart.png)


def load(folder: str | Path, name: str) -> tuple[dict, list[Chart]]:
  """What `save` wrote; nothing where it wrote nothing."""
  path = Path(folder) / f"{name}.json"
  if not path.exists():
    return {}, []
  found = json.loads(path.read_text())
  return found, [Chart(png=(path.parent / f"{words['name']}.png").read_bytes(), **words) for words in found["charts"]]


def distributions(real: Statistics, simulated: Statistics) -> Chart:
  """Histograms of one statistic of each kind."""
  with styled():
    figure = new(6.4)
    panels = figure.subplots(5, 2)
    for axes, (name, words) in zip(panels.flat, SHOWN.items(), strict=True):
      both = real.column(name), simulated.column(name)
      low, high = np.percentile(np.concatenate(both), [0.5, 99.5])
      if name == "others/bright":
        bins = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.5)
      else:
        bins = np.linspace(low, high, 41)
      for values, colour in zip(both, (REAL, SIMULATED), strict=True):
        axes.hist(np.clip(values, low, high), bins, density=True, histtype="step", color=colour, linewidth=1.2)
      axes.set_yticks([])
      axes.spines["left"].set_visible(False)
      axes.set_title(words, fontsize=9)
      axes.tick_params(labelsize=8)
      axes.locator_params(axis="x", nbins=5)
    legend(figure)
    return Chart("distributions", "Statistics of real and simulated galaxies", png(figure),
                 "Ten pairs of histograms.", f"{len(real.values):,} real galaxies (blue) and {len(simulated.values):,} "
                 "simulated ones (orange), both through the same JPEG coder at 212 pixels.")


def legend(figure) -> None:
  """Writes which colour is which into the upper left corner and lays out the rest below."""
  top = 1 - 0.04 / figure.get_figheight()
  figure.text(0.02, top, "real", color=REAL, va="top", weight="bold")
  figure.text(0.12, top, "simulated", color=SIMULATED, va="top", weight="bold")
  figure.tight_layout(pad=0.4, rect=(0, 0, 1, 1 - 0.22 / figure.get_figheight()))


def profiles(real: Statistics, simulated: Statistics) -> Chart:
  """Median profiles of the three channels, with the middle half of the galaxies."""
  with styled():
    figure = new(2.2)
    panels = figure.subplots(1, 3, sharey=True)
    middle = (np.concatenate([[0], RINGS[:-1]]) + RINGS) / 2
    for axes, channel, word in zip(panels, CHANNELS, ("red", "green", "blue"), strict=True):
      for table, colour in ((real, REAL), (simulated, SIMULATED)):
        values = np.sinh(np.stack([table.column(f"profile/{channel}_{ring:02d}") for ring in range(len(RINGS))]))
        low, half, high = np.percentile(values, [25, 50, 75], axis=1)
        axes.fill_between(middle, np.maximum(low, 0.3), np.maximum(high, 0.3), color=colour, alpha=0.18, linewidth=0)
        axes.plot(middle, np.maximum(half, 0.3), color=colour, linewidth=1.2)
      axes.set_yscale("log")
      axes.set_title(word, fontsize=9)
      axes.tick_params(labelsize=8)
      axes.grid(axis="y")
    panels[0].set_ylabel("counts")
    panels[1].set_xlabel("radius, sides of the image")
    legend(figure)
    return Chart("profiles", "Radial profiles", png(figure), "Three panels of median radial profiles.",
                 "The mean of each channel in rings about the middle, above the background: the median galaxy and the "
                 "middle half.")


def groups(verdict) -> Chart:
  """The AUC of a judge that sees one group of statistics alone."""
  with styled():
    names = sorted(verdict.group_auc, key=verdict.group_auc.get)
    figure = new(0.7 + 0.2 * len(names))
    axes = figure.subplots()
    axes.barh(range(len(names)), [verdict.group_auc[name] - 0.5 for name in names], left=0.5, color=ACCENT, height=0.7)
    axes.axvline(verdict.auc, color=NEUTRAL, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlim(0.5, 1)
    axes.set_xlabel("area under the curve")
    figure.tight_layout(pad=0.4)
    return Chart("groups", "What gives simulated galaxies away", png(figure), "Bars by group of statistics.",
                 f"Gradient boosting that sees one group of statistics alone; with all it reaches {verdict.auc:.3f} "
                 "(dashed). 0.5 is guessing.")


def saliency(simulated: np.ndarray, verdict) -> Chart:
  """The most evident simulated galaxies with the size of the network's gradient."""
  with styled():
    columns = 6
    rows = -(-len(verdict.fakest) // columns)
    figure = new(WIDTH / columns * 2 * rows)
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in panels.flat:
      axes.axis("off")
    for place, (index, slope) in enumerate(zip(verdict.fakest, verdict.saliency, strict=True)):
      row, column = divmod(place, columns)
      panels[2 * row, column].imshow(simulated[index])
      size = ndimage.uniform_filter(np.abs(slope).sum(-1), 3)
      panels[2 * row + 1, column].imshow(size, cmap="magma", vmax=np.percentile(size, 99.5))
    figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
    return Chart("saliency", "The easiest to tell", png(figure), "Simulated galaxies, each above its saliency.",
                 "The simulated galaxies the ResNet-18 is surest of, and below each where its verdict is sensitive.")


def gradients(verdict) -> Chart:
  """Where, and at which frequency, the network's verdict is sensitive, by channel."""
  from .network import BANDS
  from .network import RINGS as OUTER
  with styled():
    figure = new(2.3)
    left, right = figure.subplots(1, 2)
    for channel, colour in enumerate(("#D55E00", "#009E73", "#0072B2")):
      left.plot(OUTER, verdict.by_radius[0, channel] * 1e3, color=colour)
      right.step(BANDS, np.append(verdict.by_frequency[channel], verdict.by_frequency[channel][-1]), where="post",
                 color=colour)
    left.axhline(0, color=NEUTRAL, linewidth=0.6)
    left.set_xlabel("radius, sides")
    left.set_title("mean gradient × 1000", fontsize=9)
    right.set_xlabel("frequency, 1 / pixel")
    right.set_title("share of its power", fontsize=9)
    figure.tight_layout(pad=0.4)
    return Chart("gradients", "Where the network looks", png(figure), "Two panels of curves by channel.",
                 "Left: above zero, more of this channel at this radius makes a galaxy look more simulated to the "
                 "ResNet-18. Right: how fine the structure is it answers to.")
