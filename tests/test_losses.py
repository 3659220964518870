"""Losses against numpy and scipy in float64, under jit, with missing labels, and on wrong shapes."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from galaxy_jax import decision_tree, losses
from tfds_builders.gz2_tree import QUESTIONS


@pytest.fixture
def random():
  return np.random.default_rng(0)


def test_squared_error(random):
  predictions, targets = random.uniform(size=(2, 6, 37))
  np.testing.assert_allclose(jax.jit(losses.squared_error)(predictions, targets), (predictions - targets)**2, atol=1e-6)


def test_binary_cross_entropies(random):
  logits, targets = random.normal(scale=4, size=(6, 37)), random.uniform(size=(6, 37))
  fractions = 1 / (1 + np.exp(-logits))
  expected = -targets * np.log(fractions) - (1 - targets) * np.log(1 - fractions)
  np.testing.assert_allclose(jax.jit(losses.binary_cross_entropy)(logits, targets), expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(jax.jit(losses.fraction_cross_entropy)(fractions, targets), expected, rtol=1e-3, atol=1e-5)


def test_binary_cross_entropies_stay_finite():
  extreme = jnp.array([-500.0, 500.0, -500.0, 500.0])
  targets = jnp.array([1.0, 0.0, 0.0, 1.0])
  np.testing.assert_allclose(losses.binary_cross_entropy(extreme, targets), [500, 500, 0, 0])
  loss = losses.fraction_cross_entropy((extreme > 0).astype(jnp.float32), targets)
  np.testing.assert_allclose(loss, -np.log([1e-6, 1e-6, 1 - 1e-6, 1 - 1e-6]), rtol=0.02)
  gradient = jax.grad(lambda p: jnp.sum(losses.fraction_cross_entropy(p, targets)))(jnp.array([0.0, 1.0, 0.0, 1.0]))
  assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_cross_entropy(random, smoothing):
  logits, labels = random.normal(size=(7, 5)).astype(np.float32), random.integers(0, 5, size=7)
  target = np.eye(5)[labels] * (1 - smoothing) + smoothing / 5
  expected = -np.sum(target * scipy.special.log_softmax(logits, axis=-1), axis=-1)
  loss = jax.jit(lambda *args: losses.softmax_cross_entropy(*args, label_smoothing=smoothing))
  np.testing.assert_allclose(loss(logits, labels), expected, rtol=1e-5)
  np.testing.assert_allclose(loss(logits, np.eye(5, dtype=np.float32)[labels]), expected, rtol=1e-5)
  labels[2] = -1
  expected[2] = 0
  np.testing.assert_allclose(loss(logits, labels), expected, rtol=1e-5)


def test_dirichlet_multinomial_against_scipy(random):
  concentrations = random.uniform(1, 101, size=(4, 37))
  counts = random.integers(0, 20, size=(4, 37)).astype(np.float64)
  counts[1, 3:] = 0
  gammaln = scipy.special.gammaln
  expected = np.zeros((4, 11))
  for number, question in enumerate(QUESTIONS):
    alpha, votes = concentrations[:, question.columns], counts[:, question.columns]
    total = votes.sum(-1)
    log_probability = (gammaln(total + 1) + gammaln(alpha.sum(-1)) - gammaln(total + alpha.sum(-1)) + np.sum(
        gammaln(votes + alpha) - gammaln(votes + 1) - gammaln(alpha), axis=-1))
    expected[:, number] = -log_probability
  np.testing.assert_allclose(jax.jit(losses.dirichlet_multinomial)(concentrations, counts), expected, atol=3e-3)


def test_dirichlet_multinomial_is_as_exact_as_it_says():
  """Up to 40 votes an answer, concentrations of the output layer: value and gradient against float64."""
  rng = np.random.default_rng(1)
  alpha = (1 + 100 * rng.uniform(size=(500, 37)) ** rng.uniform(0.2, 5, (500, 1))).astype(np.float32)
  counts = rng.integers(0, 41, (500, 37)).astype(np.float32)
  counts[::3] *= rng.random((len(counts[::3]), 37)) < 0.2
  value = jax.jit(losses.dirichlet_multinomial)(alpha, counts)
  gradient = np.asarray(jax.jit(jax.grad(lambda a: jnp.sum(losses.dirichlet_multinomial(a, counts))))(alpha))
  for number, question in enumerate(QUESTIONS):
    a, k = (array[:, question.columns].astype(np.float64) for array in (alpha, counts))
    n, total = k.sum(-1), a.sum(-1)
    lgamma, digamma = scipy.special.gammaln, scipy.special.digamma
    expected = (lgamma(n + total) - lgamma(total) - lgamma(n + 1)
                + np.sum(lgamma(k + 1) + lgamma(a) - lgamma(k + a), axis=-1))
    slope = (digamma(n + total) - digamma(total))[:, None] + digamma(a) - digamma(k + a)
    np.testing.assert_allclose(value[:, number], expected, atol=1e-3, rtol=0)
    np.testing.assert_allclose(gradient[:, question.columns], slope, atol=3e-6, rtol=0)


def test_dirichlet_multinomial_with_flat_prior_is_uniform_over_counts():
  # With α = 1 each of the (n + a - 1 choose a - 1) ways to share n votes among a answers is equally likely.
  counts = jnp.zeros(37).at[jnp.array([0, 1, 13])].set(jnp.array([3.0, 2.0, 4.0]))
  loss = losses.dirichlet_multinomial(jnp.ones(37), counts)
  np.testing.assert_allclose(loss[0], np.log(21), rtol=1e-5)  # 5 votes, 3 answers
  np.testing.assert_allclose(loss[5], np.log(5), rtol=1e-5)  # 4 votes, 2 answers


def test_unasked_questions_contribute_exactly_nothing(random):
  logits = jnp.asarray(random.normal(scale=5, size=(8, 37)), jnp.float32)

  def loss(logits):
    return losses.dirichlet_multinomial(decision_tree.dirichlet_concentrations(logits), jnp.zeros((8, 37)))

  np.testing.assert_array_equal(jax.jit(loss)(logits), 0.0)
  np.testing.assert_array_equal(jax.jit(jax.grad(lambda z: jnp.sum(loss(z))))(logits), 0.0)


@pytest.mark.parametrize("name", ["squared_error", "binary_cross_entropy", "fraction_cross_entropy",
                                  "dirichlet_multinomial"])
def test_missing_labels_cost_nothing_and_pass_no_gradient(random, name):
  loss = getattr(losses, name)
  predictions = jnp.asarray(random.uniform(0.1, 0.9, size=(3, 37)), jnp.float32)
  targets = jnp.asarray(random.uniform(size=(3, 37)), jnp.float32).at[1].set(jnp.nan)
  np.testing.assert_array_equal(loss(predictions, targets)[1], 0.0)
  gradient = jax.grad(lambda p: jnp.sum(loss(p, targets)))(predictions)
  assert np.all(np.isfinite(gradient))
  np.testing.assert_array_equal(gradient[1], 0.0)
  assert np.all(np.any(gradient[jnp.array([0, 2])] != 0, axis=-1))


def test_masked_sum(random):
  values = random.normal(size=(5, 37)).astype(np.float32)
  mask = np.array([1, 1, 0, 1, 0], np.float32)
  there = random.uniform(size=(5, 37)) < 0.7
  total, count = jax.jit(losses.masked_sum)(values, mask, there)
  chosen = there & (mask[:, None] > 0)
  np.testing.assert_allclose(total, values[chosen].sum(), rtol=1e-5)
  np.testing.assert_allclose(count, chosen.sum())
  values[2] = np.nan
  np.testing.assert_allclose(losses.masked_sum(values, mask, there)[0], total)
  np.testing.assert_allclose(losses.masked_sum(np.ones((2, 3)), np.array([0.5, 0.0])), (1.5, 1.5))
  gradient = jax.grad(lambda v: losses.masked_sum(v, mask)[0])(values)
  np.testing.assert_array_equal(gradient, np.broadcast_to(mask[:, None], values.shape))


def test_wrong_shapes_are_named():
  with pytest.raises(ValueError, match=r"\(4, 37\) against targets of shape \(4,\)"):
    losses.squared_error(jnp.zeros((4, 37)), jnp.zeros(4))
  with pytest.raises(ValueError, match="integer classes"):
    losses.softmax_cross_entropy(jnp.zeros((4, 5)), jnp.zeros(4))
  with pytest.raises(ValueError, match="does not cover"):
    losses.masked_sum(jnp.zeros((4, 37)), jnp.zeros(37))


def test_smooth_l1_is_a_parabola_that_goes_on_straight():
  x = np.array([-2.0, -0.5, -0.1, 0.0, 0.2, 0.5, 3.0])
  expected = [0.5 * v * v / 0.5 if abs(v) < 0.5 else abs(v) - 0.25 for v in x]
  np.testing.assert_allclose(losses.smooth_l1(jnp.asarray(x) + 1, jnp.ones(7), 0.5), expected, atol=1e-6)
  np.testing.assert_allclose(jax.grad(lambda v: losses.smooth_l1(v, 0.0))(5.0), 1)
