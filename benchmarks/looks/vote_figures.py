"""Figures of votes, real beside simulated."""
import numpy as np

from galaxy_jax.report import measures
from galaxy_jax.report.style import NEUTRAL, Chart, new, place, png, styled
from tfds_builders.gz2_tree import QUESTIONS

from .figures import REAL, SIMULATED, legend


def correlation(votes: np.ndarray) -> np.ndarray:
  """The correlations (37, 37) between columns of votes (N, 37); 0 with a column that never varies."""
  centred = votes - votes.mean(0)
  scale = np.maximum(centred.std(0), 1e-6)
  return (centred / scale).T @ (centred / scale) / len(votes)


def means(real: np.ndarray, simulated: np.ndarray) -> Chart:
  """The mean of each column with its spread over galaxies."""
  with styled():
    figure = new(6.6)
    axes = figure.subplots()
    at = np.arange(37)[::-1]
    for votes, colour, shift in ((real, REAL, 0.16), (simulated, SIMULATED, -0.16)):
      low, high = np.percentile(votes, [16, 84], axis=0)
      axes.hlines(at + shift, low, high, color=colour, linewidth=1.6, alpha=0.45)
      axes.plot(votes.mean(0), at + shift, "o", color=colour, markersize=3.2)
    for question in QUESTIONS[1:]:
      axes.axhline(36.5 - question.start, color=NEUTRAL, linewidth=0.4)
    axes.set_yticks(at, [measures.answer_in_words(column) for column in range(37)], fontsize=6.5)
    axes.set_ylim(-0.6, 36.6)
    axes.set_xlim(-0.01, 1)
    axes.set_xlabel("vote fraction")
    legend(figure)
    return Chart("votes", "Votes, real and simulated", png(figure), "Means of 37 vote fractions, in pairs.",
                 f"The mean of each vote fraction (dot) and the middle 68 % of galaxies (line): {len(real):,} real "
                 f"galaxies in blue, {len(simulated):,} simulated ones in orange.")


def correlations(real: np.ndarray, simulated: np.ndarray) -> Chart:
  """The correlations between columns: real below the diagonal, simulated above it."""
  with styled():
    figure = new(3.75)
    axes = place(figure, 1.15, 0.45, 3.2, 3.2)
    theirs, ours = correlation(real), correlation(simulated)
    both = np.where(np.tri(37, k=-1, dtype=bool), theirs, ours)
    np.fill_diagonal(both, np.nan)
    image = axes.imshow(both, cmap="RdBu_r", vmin=-1, vmax=1)
    middles = [question.start + (len(question.answers) - 1) / 2 for question in QUESTIONS]
    axes.set_xticks(middles, range(1, len(QUESTIONS) + 1), fontsize=7)
    axes.set_yticks(middles, [measures.question_in_words(question) for question in QUESTIONS], fontsize=7)
    for question in QUESTIONS[1:]:
      axes.axhline(question.start - 0.5, color=NEUTRAL, linewidth=0.3)
      axes.axvline(question.start - 0.5, color=NEUTRAL, linewidth=0.3)
    axes.set_xlabel("question")
    bar = figure.colorbar(image, cax=place(figure, 0.1, 0.3, 0.8, 0.07), orientation="horizontal", ticks=(-1, 0, 1))
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    lower = np.tri(37, k=-1, dtype=bool)
    alike = np.corrcoef(theirs[lower], ours[lower])[0, 1]
    return Chart("vote_correlations", "Correlations between answers", png(figure),
                 "A square of correlations: real galaxies below the diagonal, simulated ones above.",
                 f"Below the diagonal the real galaxies, above it the simulated ones; the two halves correlate at "
                 f"{alike:.2f}.")
