"""How sure a model of classes says it is, against how often it is right."""
from typing import NamedTuple

import numpy as np

from galaxy_jax import temperature
from galaxy_jax.report.style import ACCENT, NEUTRAL, Chart, new, place, png, styled

#: The least galaxies of a bin, and how many bins there are at most.
_LEAST, _BINS = 20, 10
_DRAWS = 2000


class Confidence(NamedTuple):
  """Stated confidence, the probability of the most probable class, and accuracy, in B bins of as many galaxies.

  Attributes:
    count: (B,) galaxies of each bin, the least sure ones first.
    stated: (B,) their mean confidence.
    right: (B,) the share of them whose class is the labelled one.
    low: (B,) from here …
    high: (B,) … to here that share is in at least 95 of 100 samples of galaxies that are right as often as is said of
      them.
    error: the expected calibration error, the mean gap of `stated` and `right` over all galaxies.
    chance: its mean in those samples, and what it is below in 97.5 of 100: so much a true confidence has, too.
    mean: the mean confidence of all galaxies.
    accuracy: the share of all that are right, and the 95 % interval of its bootstrap over galaxies.
  """
  count: np.ndarray
  stated: np.ndarray
  right: np.ndarray
  low: np.ndarray
  high: np.ndarray
  error: float
  chance: tuple[float, float]
  mean: float
  accuracy: tuple[float, float, float]

  @property
  def outside(self) -> int:
    """How many bins are right more or less often than their confidence allows."""
    return int(np.sum((self.right < self.low) | (self.right > self.high)))


def confidence(probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Confidence:
  """Compares confidence with accuracy.

  The bars are consistency bars (Bröcker and Smith 2007, Weather and Forecasting 22, 651): a bin's galaxies are drawn
  again, each is right with the probability that it states, and the share of right ones is counted.

  Args:
    probabilities: (N, C), N > 0.
    labels: (N,) classes, none missing.
    seed: of the draws.

  Raises:
    ValueError: a label is missing.
  """
  if np.min(labels) < 0:
    raise ValueError("Confidence is compared with labels, and some galaxies have none: leave these out.")
  rng = np.random.default_rng(seed)
  stated = probabilities.max(axis=1).astype(np.float64)
  right = probabilities.argmax(axis=1) == labels
  order = np.argsort(stated, kind="stable")
  bins = np.array_split(order, max(1, min(_BINS, len(order) // _LEAST)))
  consistent, gaps = [], []
  for rows in bins:
    says = stated[rows][rng.integers(0, len(rows), (_DRAWS, len(rows)))]
    consistent.append(np.mean(rng.random(says.shape) < says, axis=1))
    gaps.append(np.abs(consistent[-1] - says.mean(axis=1)))
  count = np.array([len(rows) for rows in bins])
  said, were = (np.array([values[rows].mean() for rows in bins]) for values in (stated, right))
  low, high = np.percentile(consistent, [2.5, 97.5], axis=1)
  errors = np.average(gaps, axis=0, weights=count)
  again = rng.binomial(len(right), right.mean(), _DRAWS) / len(right)
  return Confidence(count, said, were, low, high, float(np.average(np.abs(said - were), weights=count)),
                    (float(errors.mean()), float(np.percentile(errors, 97.5))), float(stated.mean()),
                    (float(right.mean()), *np.percentile(again, [2.5, 97.5]).tolist()))


def chart(probabilities: np.ndarray, labels: np.ndarray) -> Chart | None:
  """The figure of `confidence` at the temperature that galaxies held out ask for; None with too few galaxies."""
  if len(labels) < 2 * _LEAST:
    return None
  found = confidence(temperature.held_out(probabilities, labels), labels)
  before = confidence(probabilities, labels)
  with styled():
    figure = new(4.2)
    axes = place(figure, 0.72, 0.5, 3.55, 3.55)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=0.8)
    axes.vlines(found.stated, found.low, found.high, color=NEUTRAL, alpha=0.35, linewidth=6)
    axes.plot(before.stated, before.right, "o", color=NEUTRAL, markersize=4, markerfacecolor="white",
              label="as the network says")
    axes.plot(found.stated, found.right, "o", color=ACCENT, markersize=6, label="with a temperature")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="stated confidence", ylabel="share that are right")
    axes.legend(loc="upper left", frameon=False, fontsize=8.5)
    axes.grid()
    image = png(figure)
  share, low, high = found.accuracy
  caption = ("The probability of the most probable class beside how often that class is the labelled one, in "
             f"{len(found.count)} bins of as many galaxies: expected calibration error {found.error:.3f}, where a true "
             f"confidence has {found.chance[0]:.3f}, up to {found.chance[1]:.3f}, by chance; as the network says "
             f"{before.error:.3f}. Over all {len(labels):,} galaxies {found.mean:.1%} is stated and "
             f"{share:.1%} is right (bootstrap {low:.1%} to {high:.1%}). Grey bars: what 95 of 100 samples would show "
             "if the confidence were true. Each fifth of the galaxies has the temperature that the others ask for.")
  spoken = ", ".join(f"{a:.2f} stated {b:.2f} right" for a, b in zip(found.stated, found.right, strict=True))
  return Chart("confidence", "Confidence", image, f"Confidence and accuracy by bin: {spoken}.", caption)
