"""Batch norm against numpy, and its hand-written derivative against automatic and numeric ones."""
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from galaxy_jax.models import layers


def reference(x, scale, bias, mask, epsilon=1e-5):
  real = x[mask > 0]
  mean, var = real.mean((0, 1, 2)), real.var((0, 1, 2))
  return (x - mean) / np.sqrt(var + epsilon) * scale + bias, mean, var


def test_batch_norm_is_that_of_the_real_rows():
  rng = np.random.default_rng(0)
  x = rng.normal(2, 3, (5, 4, 4, 3)).astype(np.float32)
  mask = np.array([1, 0, 1, 1, 0], np.float32)
  norm = layers.BatchNorm(momentum=0.8)
  variables = norm.init(jax.random.key(0), x, train=False)
  scale, bias = np.float32([1, 2, 3]), np.float32([0.1, 0.2, 0.3])
  variables["params"] = {"scale": scale, "bias": bias}
  y, updated = norm.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
  expected, mean, var = reference(x.astype(np.float64), scale, bias, mask)
  np.testing.assert_allclose(y, expected, atol=1e-5)
  np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.2 * mean, rtol=1e-5)
  np.testing.assert_allclose(updated["batch_stats"]["var"], 0.8 + 0.2 * var, rtol=1e-5)
  still = norm.apply({"params": variables["params"], **updated}, x, train=False)
  moments = jax.tree.map(np.asarray, updated["batch_stats"])
  np.testing.assert_allclose(
      still, (x - moments["mean"]) / np.sqrt(np.asarray(moments["var"]) + 1e-5) * scale + bias, atol=1e-5)


def test_batch_norm_in_bfloat16_is_as_exact_in_evaluation_as_in_training():
  x = jnp.asarray(np.random.default_rng(0).normal(20, 1, (8, 8, 8, 4)), jnp.bfloat16)
  norm = layers.BatchNorm(momentum=0.0, dtype=jnp.bfloat16)
  trained, updated = norm.apply(norm.init(jax.random.key(0), x, train=False), x, train=True, mutable=["batch_stats"])
  evaluated = norm.apply({"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}, **updated}, x, train=False)
  np.testing.assert_allclose(np.float32(evaluated), np.float32(trained), atol=0.02)


def test_batch_norm_derivative_is_right():
  rng = np.random.default_rng(1)
  x = jnp.asarray(rng.normal(0.5, 1, (4, 3, 3, 2)), jnp.float32)
  weights = jnp.array([1.0, 1, 0, 1]).reshape(4, 1, 1, 1)
  direction = jnp.asarray(rng.normal(size=x.shape), jnp.float32)

  def ours(x, scale, bias):
    return jnp.sum(layers._batch_norm(x, scale, bias, weights, 1e-5, None)[0] * direction)

  def plain(x, scale, bias):
    count = jnp.sum(weights) * 9
    mean = jnp.sum(x * weights, (0, 1, 2)) / count
    var = jnp.sum(jnp.square(x - mean) * weights, (0, 1, 2)) / count
    return jnp.sum(((x - mean) / jnp.sqrt(var + 1e-5) * scale + bias) * direction)

  arguments = (x, jnp.array([1.5, -0.5]), jnp.array([0.2, 0.1]))
  for mine, expected in zip(jax.grad(ours, (0, 1, 2))(*arguments), jax.grad(plain, (0, 1, 2))(*arguments), strict=True):
    np.testing.assert_allclose(mine, expected, atol=2e-5)
  check_grads(ours, arguments, order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_max_pool_is_the_window_maximum():
  x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype(np.float32)
  expected = [[[x[b, 2 * i:2 * i + 2, 2 * j:2 * j + 2].max((0, 1)) for j in range(3)] for i in range(3)]
              for b in range(2)]
  np.testing.assert_array_equal(layers.max_pool_2x2(x), expected)


def test_dropout_keeps_the_mean_and_the_right_share():
  dropout = layers.Dropout(0.3)
  x = jnp.ones((2, 20_000))
  y = np.asarray(dropout.apply({}, x, keys=jax.random.split(jax.random.key(0), 2)))
  assert abs((y == 0).mean() - 0.3) < 0.02
  np.testing.assert_allclose(y[y > 0], 1 / 0.7, rtol=1e-6)
  assert not np.array_equal(y[0], y[1])
  np.testing.assert_array_equal(dropout.apply({}, x, keys=None), x)
