import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import optim


def test_cosine_rises_linearly_and_falls_to_zero():
  rate = optim.learning_rate_schedule("cosine", peak=0.2, steps=110, warmup_steps=10)
  np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 0.1, 0.2], atol=1e-7)
  np.testing.assert_allclose(rate(60), 0.2 * 0.5 * (1 + np.cos(np.pi * 0.5)), atol=1e-7)
  np.testing.assert_allclose(rate(110), 0, atol=1e-7)


def test_step_falls_at_the_milestones_of_the_whole_run():
  rate = optim.learning_rate_schedule("step", peak=1.0, steps=100, warmup_steps=10, milestones=(0.5, 0.75), factor=0.1)
  np.testing.assert_allclose([rate(49), rate(51), rate(74), rate(76)], [1, 0.1, 0.1, 0.01], rtol=1e-6)


@pytest.mark.parametrize("arguments", [{"kind": "linear"}, {"kind": "step", "milestones": (0.5, 1.5)}])
def test_bad_schedules_are_refused(arguments):
  with pytest.raises(ValueError, match=r"optimizer\.(schedule|milestones)"):
    optim.learning_rate_schedule(peak=1.0, steps=10, **arguments)


@pytest.mark.parametrize("kind", ["adamw", "nesterov"])
def test_decay_leaves_norms_and_biases_alone(kind):
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(2)}
  transformation = optim.optimizer(kind, lambda _: 0.1, weight_decay=0.5)
  zeros = {name: 0 * value for name, value in params.items()}
  updates, _ = transformation.update(zeros, transformation.init(params), params)
  assert np.all(np.asarray(updates["kernel"]) < 0)
  np.testing.assert_array_equal(updates["bias"], 0)
  np.testing.assert_array_equal(updates["scale"], 0)


def test_nesterov_follows_sutskevers_recursion():
  """v ← μ v + g; step = -lr (g + μ v) (Sutskever et al. 2013), with the gradient clipped to norm 1 first."""
  transformation = optim.optimizer("nesterov", lambda _: 0.1, momentum=0.9, clip=1.0)
  params = {"kernel": jnp.zeros((1, 2))}
  state, velocity = transformation.init(params), np.zeros((1, 2))
  for gradient in (np.array([[3.0, 4.0]]), np.array([[0.3, -0.4]])):
    updates, state = transformation.update({"kernel": jnp.asarray(gradient)}, state, params)
    clipped = gradient / max(1, np.linalg.norm(gradient))
    velocity = 0.9 * velocity + clipped
    np.testing.assert_allclose(updates["kernel"], -0.1 * (clipped + 0.9 * velocity), rtol=1e-5)


def test_an_unknown_optimiser_is_refused():
  with pytest.raises(ValueError, match="'adamw' or 'nesterov'"):
    optim.optimizer("adam", lambda _: 0.1)
