"""Weights of several models' predictions."""
import numpy as np
import pytest

from galaxy_jax import ensembles


def models(spreads, biases=None, galaxies=400, seed=0):
  """Truth (N,), and predictions (M, N) with independent errors of these spreads about these biases."""
  rng = np.random.default_rng(seed)
  truth = rng.random(galaxies)
  errors = rng.normal(0, 1, (len(spreads), galaxies)) * np.array(spreads)[:, None]
  return truth, truth + errors + np.array(biases or [0.0] * len(spreads))[:, None]


def rmse_to(truth):
  return lambda predicted: float(np.sqrt(np.mean((predicted - truth) ** 2)))


def test_the_mean_of_fractions_is_weighted():
  predictions = np.array([[[0.2, 0.8]], [[0.6, 0.4]]])
  combined = ensembles.combine(predictions, np.array([0.25, 0.75]))
  np.testing.assert_allclose(combined, [[0.5, 0.5]], rtol=1e-6)
  assert combined.dtype == np.float32


def test_greedy_weights_leave_out_a_bad_model_and_beat_equal_ones():
  truth, predictions = models([0.1, 0.1, 0.1], [0.0, 0.0, 0.5])
  weights = ensembles.greedy(predictions, rmse_to(truth))
  assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
  assert weights[2] < 0.05
  np.testing.assert_allclose(weights[:2], 0.5, atol=0.1)
  score = rmse_to(truth)
  assert score(ensembles.combine(predictions, weights)) < score(ensembles.combine(predictions, ensembles.uniform(3)))


def test_greedy_weights_are_those_of_least_variance():
  """Of independent errors the best weights go as one over their variance: 4 to 1."""
  truth, predictions = models([0.1, 0.2], galaxies=20_000)
  np.testing.assert_allclose(ensembles.greedy(predictions, rmse_to(truth)), [0.8, 0.2], atol=0.03)


def test_greedy_never_scores_worse_than_the_best_model():
  for seed in range(5):
    truth, predictions = models([0.1, 0.3, 0.2, 0.25], [0.0, 0.1, -0.1, 0.2], galaxies=30, seed=seed)
    score = rmse_to(truth)
    found = score(ensembles.combine(predictions, ensembles.greedy(predictions, score)))
    assert found <= min(score(one.astype(np.float32)) for one in predictions)


def test_galaxies_without_labels_choose_no_weights():
  with pytest.raises(ValueError, match="have they labels"):
    ensembles.greedy(np.zeros((2, 3)), lambda predicted: float("nan"))
