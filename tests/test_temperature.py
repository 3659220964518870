"""A temperature makes probabilities mean what they say, and changes no class."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from galaxy_jax import temperature


def galaxies(true, count=20_000, classes=5, seed=0):
  """Labels drawn from probabilities, and what a network says that is surer (true > 1) or less sure of them."""
  rng = np.random.default_rng(seed)
  logits = rng.normal(0, 1.5, (count, classes))
  right = temperature.apply(np.exp(logits), 1.0).astype(np.float64)
  right /= right.sum(1, keepdims=True)
  labels = (rng.random((count, 1)) > right.cumsum(1)).sum(1).clip(max=classes - 1)
  return temperature.apply(right, 1 / true), labels


def cross_entropy(probabilities, labels, value):
  return -np.log(temperature.apply(probabilities, value)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_a_network_too_sure_is_found(true):
  probabilities, labels = galaxies(true)
  found = temperature.fit(probabilities, labels)
  assert found == pytest.approx(true, rel=0.05)
  sure = temperature.apply(probabilities, found)
  assert sure.max(1).mean() == pytest.approx((sure.argmax(1) == labels).mean(), abs=0.01)


def test_it_is_where_the_cross_entropy_is_least():
  probabilities, labels = galaxies(1.7, count=300)
  best = minimize_scalar(lambda log: cross_entropy(probabilities, labels, np.exp(log)), bounds=(-3, 3),
                         method="bounded", options={"xatol": 1e-6})
  assert temperature.fit(probabilities, labels) == pytest.approx(np.exp(best.x), rel=1e-3)


def test_unknown_labels_are_left_out():
  probabilities, labels = galaxies(2.0, count=400)
  holed = np.where(np.arange(400) < 200, labels, -1)
  assert temperature.fit(probabilities, holed) == temperature.fit(probabilities[:200], labels[:200])
  with pytest.raises(ValueError, match="none of these has one"):
    temperature.fit(probabilities, np.full(400, -1))


def test_all_right_or_all_wrong_stays_within_bounds():
  certain = np.array([[1.0, 0.0], [0.0, 1.0]])
  assert temperature.fit(certain, np.array([0, 1])) == pytest.approx(temperature.COLDEST, rel=1e-3)
  assert temperature.fit(certain, np.array([1, 0])) == pytest.approx(temperature.HOTTEST, rel=1e-3)


@given(st.floats(temperature.COLDEST, temperature.HOTTEST), st.integers(0, 100))
def test_no_class_changes_and_the_sum_is_one(value, seed):
  probabilities = np.random.default_rng(seed).dirichlet([1.0] * 4, 6)
  scaled = temperature.apply(probabilities, value)
  np.testing.assert_allclose(scaled.sum(1), 1, rtol=1e-5)
  chosen = probabilities.argmax(1)
  np.testing.assert_allclose(scaled[np.arange(6), chosen], scaled.max(1), rtol=1e-5)


def test_held_out_galaxies_have_no_part_in_their_own_temperature():
  probabilities, labels = galaxies(2.0, count=40)
  tempered = temperature.held_out(probabilities, labels)
  np.testing.assert_array_equal(tempered.argmax(1), probabilities.argmax(1))
  # A galaxy's own label changes the temperature of the others alone.
  changed = labels.copy()
  changed[3] = (labels[3] + 1) % 5
  again = temperature.held_out(probabilities, changed)
  np.testing.assert_array_equal(again[3], tempered[3])
  assert (again != tempered).any()
  with pytest.raises(ValueError, match="there are 1 in 5"):
    temperature.held_out(probabilities[:1], labels[:1])
