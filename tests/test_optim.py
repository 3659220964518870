import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models, optim


def test_cosine_rises_linearly_and_falls_to_zero():
  rate = optim.learning_rate_schedule("cosine", peak=0.2, steps=110, warmup_steps=10)
  np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 0.1, 0.2], atol=1e-7)
  np.testing.assert_allclose(rate(60), 0.2 * 0.5 * (1 + np.cos(np.pi * 0.5)), atol=1e-7)
  np.testing.assert_allclose(rate(110), 0, atol=1e-7)


def test_step_falls_at_the_milestones_of_the_whole_run():
  rate = optim.learning_rate_schedule("step", peak=1.0, steps=100, warmup_steps=10, milestones=(0.5, 0.75), factor=0.1)
  np.testing.assert_allclose([rate(49), rate(51), rate(74), rate(76)], [1, 0.1, 0.1, 0.01], rtol=1e-6)


def test_milestones_of_one_step_all_count():
  rate = optim.learning_rate_schedule("step", peak=1.0, steps=100, milestones=(0.6, 0.604), factor=0.1)
  np.testing.assert_allclose([rate(59), rate(61)], [1.0, 0.01], rtol=1e-6)


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


@pytest.mark.parametrize(("name", "size", "never"), [
    ("dieleman", 99, {"stage1_bias", "stage4_bias"}),
    ("dinov2_small", 98, {"stem_class", "stem_position", "last_norm", "stage1/gamma1", "stage12/norm2"}),
    ("resnet18", 64, {"stem_norm", "stage1_block1/BatchNorm_0"})])
def test_kernels_alone_decay_whatever_shape_the_others_have(name, size, never):
  network = models.create(name, outputs=5)
  params = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), train=False))["params"]
  chosen = {jax.tree_util.keystr(path, simple=True, separator="/"): yes
            for path, yes in jax.tree_util.tree_leaves_with_path(optim.decayed(params))}
  kept = {path for path, yes in chosen.items() if not yes}
  assert all(any(path.startswith(part) for path in kept) for part in never)
  assert not any(yes and path.startswith(tuple(never)) for path, yes in chosen.items())
  # All the large arrays of convolutions and dense layers are among the others.
  assert {path.rpartition("/")[2] for path, yes in chosen.items() if yes} == {"kernel"}
  assert not any(path.endswith("kernel") for path in kept)


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


def moved(kind, updates_from, **options):
  """How much each part of a small model moves in a step at rate 0.1, gradient 0.3 everywhere."""
  params = {name: {"kernel": jnp.ones((2, 2))} for name in ("stem", "stage1_block1", "stage1_block2", "stage2", "head")}
  transformation = optim.optimizer(kind, lambda _: 0.1, **options)
  gradient = jax.tree.map(lambda p: jnp.full_like(p, updates_from), params)
  updates, state = jax.jit(transformation.update)(gradient, transformation.init(params), params)
  return {name: float(np.mean(part["kernel"])) for name, part in updates.items()}, state


@pytest.mark.parametrize("kind", ["adamw", "nesterov"])
def test_frozen_stages_do_not_move_and_have_no_moments(kind):
  steps, state = moved(kind, 0.3, weight_decay=0.5, frozen=("stem", "stage1"))
  assert {name: value < 0 for name, value in steps.items()} == {
      "stem": False, "stage1_block1": False, "stage1_block2": False, "stage2": True, "head": True}
  assert steps["stem"] == steps["stage1_block2"] == 0
  moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2, 2)]
  assert len(moments) == 2 * (2 if kind == "adamw" else 1)


def test_the_largest_norm_is_of_what_is_trained():
  steps, _ = moved("nesterov", 3.0, clip=1.0, momentum=0.0, frozen=("stem", "stage1", "stage2"))
  np.testing.assert_allclose(steps["head"], -0.1 / 2, rtol=1e-6)  # a gradient of norm 1 over four numbers


@pytest.mark.parametrize("kind", ["adamw", "nesterov"])
def test_the_rate_falls_with_each_stage_from_the_output(kind):
  plain, _ = moved(kind, 0.3, weight_decay=0.5)
  steps, _ = moved(kind, 0.3, weight_decay=0.5, layer_decay=0.5)
  factors = {"stem": 1 / 8, "stage1_block1": 1 / 4, "stage1_block2": 1 / 4, "stage2": 1 / 2, "head": 1}
  np.testing.assert_allclose([steps[name] / plain[name] for name in factors], list(factors.values()), rtol=1e-6)
  frozen, _ = moved(kind, 0.3, weight_decay=0.5, layer_decay=0.5, frozen=("stage2",))
  np.testing.assert_allclose(frozen["stem"], steps["stem"], rtol=1e-6)


def test_a_norm_after_the_last_stage_is_of_that_stage():
  params = {name: {"kernel": jnp.ones((2, 2))} for name in ("stem", "stage1", "stage2", "last_norm", "head")}
  scale = optim.scale_by_stage(0.5)
  scaled, _ = scale.update(params, scale.init(params), params)
  assert {name: float(part["kernel"][0, 0]) for name, part in scaled.items()} == {
      "stem": 1 / 8, "stage1": 1 / 4, "stage2": 1 / 2, "last_norm": 1 / 2, "head": 1}


def test_a_stage_that_is_not_there_is_refused_with_those_that_are():
  params = {"stem": 0, "stage1_block1": 0, "stage2_block1": 0, "head": 0}
  with pytest.raises(ValueError, match=r"frozen has 'stage3', 'body'; the stages .* are stem, stage1, stage2, head\."):
    optim.check_stages(params, ("stage1", "stage3", "body"))
  with pytest.raises(ValueError, match="nothing is left to train"):
    optim.check_stages(params, ("stem", "stage1", "stage2", "head"))
