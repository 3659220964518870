"""Every model: shapes, sizes, and results that do not depend on what else shares the batch."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models
from galaxy_jax.models import inception
from galaxy_jax.models.layers import make_norm

#: The published networks' parameters for 1,000 classes, in torchvision and timm, less nothing.
PARAMETERS = {
    "convnext_pico": 9_045_672, "convnext_nano": 15_593_560, "convnext_tiny": 28_589_128, "convnext_small": 50_223_688,
    "convnext_base": 88_591_464, "dinov2_small": 22_441_192, "dinov2_base": 87_348_712, "inception_v3": 23_834_568,
    "resnet18": 11_689_512, "resnet26": 15_995_176, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "vgg16": 138_357_544, "xception": 22_855_952}

SMALL = {"alexnet": {"width": 8, "hidden": 16}, "convnext_pico": {"width": 8, "stage_sizes": (1, 1, 1, 1)},
         "dinov2_small": {"width": 16, "heads": 2, "depth": 4, "patch": 12},
         "vgg16": {"width": 4, "stage_sizes": (1, 1, 1, 1), "hidden": 8}, "xception": {"width": 0.02, "middle": 1},
         "galaxyid": {"width": 4},
         "dieleman": {"width": 4, "hidden": 8, "view": 48, "part": 37}, "resnet18": {"width": 8},
         "resnet26": {"width": 4, "preactivation": True, "stem": (6, 1), "stem_pool": False},
         "resnet50": {"width": 4, "norm": "group"}, "resnet101": {"width": 4, "stage_sizes": (1, 1, 2, 1)}}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_sizes_are_the_published_ones(name):
  network = models.create(name, outputs=1000)
  variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 84, 84, 3)), train=False))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PARAMETERS[name]


@pytest.fixture(scope="module", params=sorted(SMALL))
def network(request):
  module = models.create(request.param, outputs=5, dropout=0.5, **SMALL[request.param])
  images = jax.random.uniform(jax.random.key(1), (4, 48, 48, 3))
  return module, jax.jit(partial(module.init, train=False))(jax.random.key(0), images), images


def test_outputs_features_and_dtype(network):
  module, variables, images = network
  outputs, features = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, images)
  assert outputs.shape == (4, 5)
  assert outputs.dtype == jnp.float32
  assert {"stage1", "stage2", "stage3", "stage4", "pooled"} <= features.keys()
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_rows_do_not_see_each_other(network):
  module, variables, images = network
  predict = jax.jit(lambda x: module.apply(variables, x, train=False)[0])
  np.testing.assert_allclose(predict(images)[:2], predict(images[jnp.array([0, 1, 3, 3])])[:2], atol=1e-5)


def test_training_ignores_padding_rows_and_keys_decide_dropout(network):
  module, variables, images = network
  mutable = [name for name in variables if name != "params"]
  keys = jax.random.split(jax.random.key(2), 4)
  mask = jnp.array([1.0, 1, 1, 0])

  @jax.jit
  def outputs(images, keys):
    return module.apply(variables, images, train=True, mask=mask, keys=keys, mutable=mutable)[0][0]

  first = outputs(images, keys)
  changed = outputs(images.at[3].set(0.7), keys)
  np.testing.assert_allclose(changed[:3], first[:3], atol=1e-5)
  other = outputs(images, keys.at[0].set(jax.random.key(9)))
  np.testing.assert_array_equal(other[1:3], first[1:3])
  assert not np.allclose(other[0], first[0])


def test_a_block_of_inception_trains_without_looking_at_padding_rows():
  """Alone, because the whole network takes long to compile, and takes no images as small as those above."""
  norm = make_norm("batch", axis_name=None, dtype=jnp.float32)
  module = inception.Mixed(inception._E, 0, 0.02, norm, jnp.float32)
  x = jax.random.uniform(jax.random.key(1), (3, 4, 4, 5))
  variables = jax.jit(partial(module.init, train=False, mask=None))(jax.random.key(0), x)
  mask = jnp.array([1.0, 1, 0])
  outputs = jax.jit(lambda x: module.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])[0])
  first, changed = outputs(x), outputs(x.at[2].set(0.7))
  assert first.shape[-1] == 6 + 4 * 8 + 4
  np.testing.assert_allclose(changed[:2], first[:2], atol=1e-5)
  assert not np.allclose(changed[2], first[2], atol=1e-3)


def test_inception_halves_the_image_in_every_stage():
  module = models.create("inception_v3", outputs=5)
  _, features = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), jnp.zeros((1, 75, 75, 3)), train=True
                                                               )[0])
  assert [features[f"stage{stage}"].shape[1] for stage in range(1, 6)] == [35, 15, 7, 3, 1]


@pytest.mark.parametrize(("name", "size", "message"), [
    ("inception_v3", 74, "74×74 pixels; this network takes at least 75 a side. Change config.augment.size"),
    ("vgg16", 31, "at least 32"), ("galaxyid", 7, "at least 8"), ("alexnet", 15, "at least 16"),
    ("convnext_pico", 31, "at least 32"), ("xception", 6, "at least 7"),
    ("dinov2_small", 96, "at least 14 a side, a multiple of 14"),
])
def test_images_of_which_nothing_would_be_left_are_refused(name, size, message):
  network = models.create(name, outputs=5)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), train=False))


def test_stages_are_in_the_order_from_image_to_output():
  network = models.create("convnext_pico", outputs=5)
  variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
  assert models.stages(variables["params"]) == ["stem", "stage1", "stage2", "stage3", "stage4", "last", "head"]
  names = ["head", "hidden2", "hidden1", "stage10", "stage9_block1", "stem_norm", "stem"]
  assert models.stages(dict.fromkeys(names)) == ["stem", "stage9", "stage10", "hidden1", "hidden2", "head"]


def test_batch_norms_of_still_stages_normalise_by_moments_that_stay():
  options = {"outputs": 5, "width": 4, "stage_sizes": (1, 1)}
  images = jax.random.uniform(jax.random.key(1), (4, 32, 32, 3))
  module = models.create("resnet18", **options)
  variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images)

  def trained(still):
    network = models.create("resnet18", still=still, **options)
    (_, features), new = jax.jit(lambda v: network.apply(v, images, train=True, mutable=["batch_stats"]))(variables)
    moved = {name for name, part in new["batch_stats"].items()
             if any(map(np.any, jax.tree.leaves(jax.tree.map(np.not_equal, part, variables["batch_stats"][name]))))}
    return features, moved

  evaluated = module.apply(variables, images, train=False)[1]
  features, moved = trained(("stem", "stage1"))
  assert moved == {"stage2_block1"}
  np.testing.assert_allclose(features["stage1"], evaluated["stage1"], atol=1e-6)
  assert not np.allclose(features["stage2"], evaluated["stage2"], atol=1e-3)
  features, moved = trained(("all",))
  assert not moved
  np.testing.assert_allclose(features["stage2"], evaluated["stage2"], atol=1e-6)
  assert trained(())[1] == {"stem_norm", "stage1_block1", "stage2_block1"}


def test_bfloat16_computes_and_keeps_float32_parameters():
  module = models.create("resnet18", outputs=5, width=8, dtype=jnp.bfloat16)
  images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
  variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images)
  (outputs, features), _ = jax.jit(lambda v: module.apply(v, images, train=True, mutable=["batch_stats"]))(variables)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
  assert features["stage1"].dtype == jnp.bfloat16
  assert outputs.dtype == jnp.float32


@pytest.mark.parametrize(("name", "options", "message"), [
    ("resnet19", {}, "model.name is 'resnet19'; the models are alexnet, c1_convnext_pico, "),
    ("resnet18", {"depth": 3}, "unexpected keyword argument 'depth'"),
])
def test_unknown_models_and_options_are_named(name, options, message):
  with pytest.raises(ValueError, match=message):
    models.create(name, outputs=1, **options)
