"""The figure of what intervals about predicted vote fractions hold."""
import numpy as np

from galaxy_jax import uncertainty
from galaxy_jax.report import measures
from galaxy_jax.report.style import ACCENT, INK, NEUTRAL, Chart, new, place, png, styled
from galaxy_jax.uncertainty import SHOWN as LEVEL
from tfds_builders.gz2_tree import QUESTIONS


def coverage(predicted, voted) -> Chart | None:
  """The share of votes in intervals of LEVEL, by question, with what chance allows; None with too few galaxies.

  Args:
    predicted: (N, 37) predicted vote fractions.
    voted: (N, 37), NaN where unlabelled.
  """
  try:
    (low,), (high,) = uncertainty.cross_bounds(predicted, voted, (LEVEL,))
  except ValueError:
    return None
  whole, by_question = uncertainty.coverage((low, high), voted)
  all_asked, those_asked = uncertainty.coverage((low, high), uncertainty.of_asked(predicted, voted))
  galaxies = int(np.isfinite(voted).any(axis=1).sum())
  allowed = 1.96 * np.sqrt(LEVEL * (1 - LEVEL) / galaxies)
  names = [measures.question_in_words(question) for question in QUESTIONS] + ["all 37 answers"]
  shares, of_asked = np.array([*by_question.values(), whole]), np.array([*those_asked.values(), all_asked])
  rows = np.arange(len(names), dtype=float)
  rows[-1] += 0.4
  with styled():
    figure = new(4.2)
    axes = place(figure, 1.38, 0.5, 2.1, 3.35)
    axes.axvspan(LEVEL - allowed, min(LEVEL + allowed, 1), color=NEUTRAL, alpha=0.18, linewidth=0)
    axes.axvline(LEVEL, color=NEUTRAL, linewidth=0.8)
    axes.scatter(of_asked, rows, facecolor="white", edgecolor=NEUTRAL, s=28, zorder=3)
    axes.scatter(shares, rows, color=[ACCENT] * len(QUESTIONS) + [INK], s=28, zorder=4)
    for row, share in zip(rows, shares, strict=True):
      axes.annotate(f"{share:.1%}" if np.isfinite(share) else "–", (1.2, row), va="center", ha="center",
                    xycoords=("axes fraction", "data"), color=INK if row == rows[-1] else ACCENT,
                    annotation_clip=False, fontweight="bold" if row == rows[-1] else "normal")
    axes.set_yticks(rows, names)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_xlim(min(0.75, np.nanmin([shares, of_asked]) - 0.02), 1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel(f"share of votes in {LEVEL:.0%} intervals")
    image = png(figure)
  caption = (f"How many of the voted fractions lie in the intervals that are to hold {LEVEL:.0%} of them: {whole:.1%} "
             f"over all. Each fifth of the {galaxies:,} galaxies is judged by intervals calibrated on the others; the "
             "band is about what chance allows a question in 95 of 100 samples of as many galaxies. Rings: of the "
             f"galaxies that the question is expected to be asked of, {all_asked:.1%} over all.")
  spoken = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))
  return Chart("interval_coverage", "Intervals", image, f"Share of votes within the intervals: {spoken}.", caption)
