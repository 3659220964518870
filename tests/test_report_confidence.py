"""Stated confidence against accuracy: what is true is inside its bars, what is not is outside."""
import numpy as np
import pytest
from scipy.stats import binom

from galaxy_jax import temperature
from galaxy_jax.report import confidence


def says(sure, count=4000, seed=0):
  """Probabilities of a network that is `sure` times as sure as it may be, and labels."""
  rng = np.random.default_rng(seed)
  true = rng.dirichlet(np.ones(3), count)
  labels = (rng.random((count, 1)) > true.cumsum(1)).sum(1).clip(max=2)
  return temperature.apply(true, 1 / sure), labels


def test_a_network_that_is_as_sure_as_it_may_be():
  found = confidence.confidence(*says(1.0))
  assert found.count.sum() == 4000 and len(found.count) == 10
  assert found.outside <= 2  # at most one of twenty is, by chance
  share, low, high = found.accuracy
  assert low < found.mean < high and low < share < high
  assert found.error < 0.03


def test_one_that_is_too_sure_is_found_out_and_mended():
  probabilities, labels = says(2.0)
  found = confidence.confidence(probabilities, labels)
  assert found.outside > 5 and found.error > 0.05
  assert found.mean > found.accuracy[2]
  mended = confidence.confidence(temperature.held_out(probabilities, labels), labels)
  assert mended.outside <= 2 and mended.error < 0.03


def test_the_calibration_error_by_hand():
  # Twenty galaxies stated 0.6 of which a half is right, twenty stated 0.9 of which all are.
  probabilities = np.repeat([[0.6, 0.4], [0.9, 0.1]], 20, axis=0).astype(np.float32)
  labels = np.array([0, 1] * 10 + [0] * 20)
  found = confidence.confidence(probabilities, labels)
  np.testing.assert_allclose(found.stated, [0.6, 0.9], rtol=1e-6)
  np.testing.assert_allclose(found.right, [0.5, 1.0])
  assert found.error == pytest.approx(0.1, rel=1e-5)
  # All state the same in a bin, so that the bars are those of a binomial distribution.
  np.testing.assert_allclose([found.low, found.high], [binom.ppf(edge, 20, [0.6, 0.9]) / 20 for edge in (0.025, 0.975)],
                             atol=0.051)
  rates = np.arange(21) / 20
  mean = np.mean([binom.pmf(range(21), 20, p) @ np.abs(rates - p) for p in (0.6, 0.9)])
  assert found.chance[0] == pytest.approx(mean, rel=0.05) and found.chance[1] > found.chance[0]
  with pytest.raises(ValueError, match="some galaxies have none"):
    confidence.confidence(probabilities, np.where(labels == 1, -1, labels))


def test_a_figure_needs_enough_galaxies():
  probabilities, labels = says(1.0, count=60)
  drawn = confidence.chart(probabilities, labels)
  assert "60 galaxies" in drawn.caption and drawn.png.startswith(b"\x89PNG")
  assert confidence.chart(probabilities[:39], labels[:39]) is None
