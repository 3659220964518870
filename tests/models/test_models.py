"""Every model: shapes, sizes, and results that do not depend on what else shares the batch."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models

#: The published networks' parameters for 1,000 classes, in torchvision and timm, less nothing.
PARAMETERS = {"resnet18": 11_689_512, "resnet26": 15_995_176, "resnet50": 25_557_032, "resnet101": 44_549_160}

SMALL = {"alexnet": {"width": 8, "hidden": 16}, "galaxyid": {"width": 4}, "resnet18": {"width": 8},
         "resnet26": {"width": 4, "preactivation": True, "stem": (6, 1), "stem_pool": False},
         "resnet50": {"width": 4, "norm": "group"}, "resnet101": {"width": 4, "stage_sizes": (1, 1, 2, 1)}}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_sizes_are_the_published_ones(name):
  network = models.create(name, outputs=1000)
  variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))
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


def test_bfloat16_computes_and_keeps_float32_parameters():
  module = models.create("resnet18", outputs=5, width=8, dtype=jnp.bfloat16)
  images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
  variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images)
  (outputs, features), _ = module.apply(variables, images, train=True, mutable=["batch_stats"])
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
  assert features["stage1"].dtype == jnp.bfloat16
  assert outputs.dtype == jnp.float32


@pytest.mark.parametrize(("name", "options", "message"), [
    ("resnet19", {}, "model.name is 'resnet19'; the models are alexnet, galaxyid"),
    ("resnet18", {"depth": 3}, "unexpected keyword argument 'depth'"),
])
def test_unknown_models_and_options_are_named(name, options, message):
  with pytest.raises(ValueError, match=message):
    models.create(name, outputs=1, **options)
