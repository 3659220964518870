"""Equivariant networks: features turn with the image, outputs stay; c1 is the plain network."""
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models
from galaxy_jax.models import group_layers
from galaxy_jax.models.group_layers import GROUPS

SMALL = {"resnet18": {"stage_sizes": (1, 1, 1, 1), "width": 8},
         "convnext_pico": {"stage_sizes": (1, 1, 1, 1), "width": 8, "layer_scale": 1.0}}


def build(name, size, **options):
  """A network, variables that are random everywhere, batch statistics too, and images (2, size, size, 3)."""
  module = models.create(name, outputs=5, **{**SMALL[name.partition("_")[2]], **options})
  images = jax.random.uniform(jax.random.key(1), (2, size, size, 3))
  variables = jax.eval_shape(partial(module.init, train=False), jax.random.key(0), images)
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    kind = path[-1].key
    if kind == "kernel":
      return jnp.float32(rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape))
    low, high = (-0.5, 0.5) if kind in ("mean", "bias") else (0.5, 1.5)
    return jnp.float32(rng.uniform(low, high, leaf.shape))
  return module, jax.tree_util.tree_map_with_path(draw, variables), images


def applied(module, variables, **options):
  return jax.jit(lambda images: module.apply(variables, images, train=False, **options))


def assert_equivariant(run, images, group, elements):
  outputs, features = run(images)
  assert np.std(outputs) > 1e-3
  assert features.keys() == {"stem", "stage1", "stage2", "stage3", "stage4", "pooled"}
  for element in elements:
    of_turned, turned = run(group_layers.transform(images, group, element, fields=False))
    np.testing.assert_allclose(of_turned, outputs, atol=1e-5)
    np.testing.assert_allclose(turned["pooled"], features["pooled"], atol=1e-5)
    for stage in ("stem", "stage1", "stage2", "stage3", "stage4"):
      expected = group_layers.transform(features[stage], group, element, fields=True)
      assert np.std(expected) > 1e-2
      np.testing.assert_allclose(turned[stage], expected, atol=1e-5 * max(1, float(jnp.abs(expected).max())))


@pytest.mark.parametrize("size", [96, 97, 64])
@pytest.mark.parametrize("name", ["d4_resnet18", "d4_convnext_pico"])
def test_features_turn_with_the_image_and_outputs_stay(name, size):
  module, variables, images = build(name, size)
  assert_equivariant(applied(module, variables), images, GROUPS["d4"], range(1, 8))


@pytest.mark.parametrize("name", ["c4_resnet18", "c4_convnext_pico"])
def test_without_mirroring_the_mirror_image_is_another(name):
  module, variables, images = build(name, 66)
  run = applied(module, variables)
  assert_equivariant(run, images, GROUPS["c4"], (1, 2, 3))
  assert np.abs(run(images[:, :, ::-1])[0] - run(images)[0]).max() > 1e-3


@pytest.mark.parametrize("options", [
    {"norm": "group", "bottleneck": True}, {"preactivation": True, "stem": (6, 1), "stem_pool": False}])
def test_variants_are_equivariant_too(options):
  module, variables, images = build("d4_resnet18", 35, **options)
  assert_equivariant(applied(module, variables), images, GROUPS["d4"], (1, 6))


@pytest.mark.parametrize("name", ["d4_resnet18", "d4_convnext_pico"])
def test_first_outputs_and_those_in_training_are_invariant(name):
  module, _, images = build(name, 34)
  variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images)
  train = jax.jit(lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"]))
  for element in (1, 5):
    turned = group_layers.transform(images, GROUPS["d4"], element, fields=False)
    np.testing.assert_allclose(applied(module, variables)(turned)[0], applied(module, variables)(images)[0], atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), train(turned)[1], train(images)[1])
    np.testing.assert_allclose(train(turned)[0][0], train(images)[0][0], atol=1e-5)


@pytest.mark.parametrize(("name", "size", "options"), [
    ("resnet18", 97, {"stem": (7, 2)}), ("resnet18", 97, {"stem": (7, 2), "preactivation": True}),
    ("convnext_pico", 64, {})])
def test_c1_is_the_plain_network_where_its_grid_is_symmetric(name, size, options):
  module, variables, images = build(f"c1_{name}", size, **options)
  plain = models.create(name, outputs=5, **{**SMALL[name], **options})
  shapes = jax.eval_shape(partial(plain.init, train=False), jax.random.key(0), images)
  renamed = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    keys = [re.sub("^GroupConv", "Conv", entry.key) for entry in path]
    *folders, last = keys
    part = renamed
    for folder in folders:
      part = part.setdefault(folder, {})
    part[last] = leaf
  renamed = jax.tree.map(lambda shape, leaf: leaf.reshape(shape.shape), dict(shapes), renamed)
  outputs, features = applied(module, variables)(images)
  expected, stages = applied(plain, renamed)(images)
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), features, stages)
  assert np.abs(expected - applied(plain, renamed)(jnp.rot90(images, axes=(1, 2)))[0]).max() > 1e-3


@pytest.mark.parametrize(("name", "width", "share"), [
    ("c1_resnet18", 32, 1), ("c4_resnet18", 32, 1 / 4), ("d4_resnet18", 32, 1 / 8), ("c4_resnet18", 64, 1),
    ("d4_resnet18", 88, 1)])
def test_parameters_are_those_of_the_plain_network_over_the_group(name, width, share):
  def size(name, width):
    module = models.create(name, outputs=37, width=width)
    shapes = jax.eval_shape(partial(module.init, train=False), jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
  assert size(name, width) == pytest.approx(share * size("resnet18", 32), rel=0.06)


def test_padding_rows_are_ignored_and_keys_decide_dropout():
  module, variables, images = build("d4_resnet18", 32, stage_sizes=(1, 1), dropout=0.5)
  images = jnp.concatenate([images, images[:, ::-1]])
  mask, keys = jnp.array([1.0, 1, 1, 0]), jax.random.split(jax.random.key(2), 4)
  run = jax.jit(lambda x, keys: module.apply(variables, x, train=True, mask=mask, keys=keys, mutable=["batch_stats"]))
  (outputs, _), moments = run(images, keys)
  (changed, _), same = run(images.at[3].set(0.7), keys)
  np.testing.assert_allclose(changed[:3], outputs[:3], atol=1e-5)
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), same, moments)
  other = run(images, keys.at[0].set(jax.random.key(9)))[0][0]
  np.testing.assert_array_equal(other[1:3], outputs[1:3])
  assert not np.allclose(other[0], outputs[0])


@pytest.mark.parametrize("name", ["d4_resnet18", "d4_convnext_pico"])
def test_bfloat16_computes_and_keeps_float32_parameters(name):
  module = models.create(name, outputs=5, dtype=jnp.bfloat16, still=("stem",), **SMALL[name[3:]])
  (outputs, features), variables = jax.eval_shape(
      lambda x: module.init_with_output(jax.random.key(0), x, train=False), jnp.zeros((1, 48, 48, 3)))
  assert features["stem"].dtype == features["stage4"].dtype == jnp.bfloat16
  assert outputs.dtype == features["pooled"].dtype == jnp.float32
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
  assert models.stages(variables["params"])[:2] == ["stem", "stage1"]
