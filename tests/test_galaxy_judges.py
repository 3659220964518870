"""The judge that tells real from simulated galaxies by their statistics: it guesses where there is nothing to know."""
import numpy as np
import pytest

from benchmarks.looks import judges
from benchmarks.looks.statistics import Statistics

NAMES = ("noise/a", "noise/b", "colour/c", "colour/d")


def table(rng, count=400):
  return Statistics(NAMES, rng.normal(size=(count, len(NAMES))).astype(np.float32))


def test_guesses_between_two_halves_of_one_population():
  rng = np.random.default_rng(0)
  low, high = judges.boosting(table(rng), table(rng), explain=False).interval
  assert low < 0.52 and high > 0.48 and high < 0.62


def test_names_what_differs():
  rng = np.random.default_rng(1)
  real, simulated = table(rng), table(rng)
  simulated.values[:, 2] += 1.5
  verdict = judges.boosting(real, simulated, folds=2)
  # Two normal distributions 1.5 deviations apart: the best AUC there is, Φ(1.5 / √2).
  assert verdict.auc == pytest.approx(0.8556, abs=0.035)
  assert max(verdict.importance, key=verdict.importance.get) == "colour/c"
  assert verdict.group_auc["colour"] > 0.8 > 0.6 > verdict.group_auc["noise"]
  found = judges.distances(real, simulated)
  assert found[2].wasserstein == pytest.approx(1.5, abs=0.15)
  assert found[2].kolmogorov_smirnov == pytest.approx(0.5467, abs=0.06)
  assert judges.table(found, verdict).splitlines()[1].startswith("colour/c")


def test_finds_what_goes_together_otherwise():
  rng = np.random.default_rng(2)
  real, simulated = table(rng), table(rng)
  real.values[:, 3] = real.values[:, 0] + 0.3 * real.values[:, 3]
  assert judges.couplings(real, simulated, count=1)[0][:2] == ("noise/a", "colour/d")


def test_refuses_tables_that_differ():
  real = table(np.random.default_rng(3), 10)
  with pytest.raises(ValueError, match="colour/d"):
    judges.distances(real, Statistics((*NAMES[:3], "colour/e"), real.values))


def test_the_profile_of_all_light_is_the_mean_of_the_channels():
  names = (*judges._QUANTITIES, *(f"noise/deviation_{c}" for c in "rgb"), *(f"profile/{c}_00" for c in "rgb"))
  light = np.array([[1000.0, 20, 3], [0.5, -4, 2]])  # counts; faint rings may lie below the background
  values = np.concatenate([np.ones((2, len(names) - 3)), np.arcsinh(light)], axis=1).astype(np.float32)
  found = judges.matched(Statistics(names, values))
  assert found.names[-2:] == ("noise/level", "profile/light_00")
  np.testing.assert_allclose(np.sinh(found.column("profile/light_00")), [341, -0.5], rtol=1e-5)
