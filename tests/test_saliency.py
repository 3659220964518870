"""Maps of where a network looked: against the closed form of a linear head, on every family of models."""
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models, saliency

CLASSES = jnp.array([0, 1, 4])


def made(module, side, channels=3):
  images = jax.random.uniform(jax.random.key(1), (3, side, side, channels))
  variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), images)
  return lambda v, x: module.apply(v, x, train=False), variables, images


def test_a_mean_and_a_linear_head_give_the_class_activation_map():
  """There the gradient of a logit by a channel's mean is the head's weight (Zhou et al. 2016)."""
  apply, variables, images = made(models.create("resnet18", outputs=5, width=4, stage_sizes=(1,), norm="group"), 24)
  maps, stage = saliency.grad_cam(apply, variables, images, CLASSES)
  features = np.asarray(jax.jit(apply)(variables, images)[1][stage])
  weights = np.asarray(variables["params"]["head"]["kernel"])[:, CLASSES].T
  expected = np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)
  largest = expected.max((1, 2), keepdims=True)
  assert stage == "stage1" and maps.shape == (3, 6, 6) and (largest > 0).any()
  np.testing.assert_allclose(maps, expected / np.where(largest > 0, largest, 1), atol=1e-5)


class Ladder(nn.Module):
  """Stages of 16, 8 and 4 rows, or fewer, and one without any."""

  @nn.compact
  def __call__(self, images, *, train):
    x, features = images, {}
    for stage in (1, 2, 3):
      x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
      features[f"stage{stage}"] = x
    features["pooled"] = x.mean((1, 2))
    return nn.Dense(5)(features["pooled"]), features


@pytest.mark.parametrize(("side", "stage"), [(64, "stage3"), (32, "stage2"), (8, "stage2")])
def test_a_coarse_last_stage_gives_way_to_a_finer_one(side, stage):
  """At least six rows; where no stage has them, the last with several: that of 8 pixels' stages 4, 2 and 1."""
  apply, variables, images = made(Ladder(), side)
  maps, found = saliency.grad_cam(apply, variables, images, CLASSES)
  assert (found, len(maps)) == (stage, 3)
  assert maps.ndim == 3 and float(maps.min()) >= 0 and float(maps.max()) == pytest.approx(1)


def test_a_family_with_other_blocks():
  module = models.create("convnext_pico", outputs=5, stage_sizes=(1, 1), width=4, layer_scale=1.0)
  maps, stage = saliency.grad_cam(*made(module, 64), CLASSES)
  assert stage == "stage2" and maps.shape == (3, 8, 8) and float(maps.max()) == pytest.approx(1)


class Tokens(nn.Module):
  """Patches as tokens after one that alone is read, as in a vision transformer; its features are views of them."""

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Conv(6, (4, 4), strides=4)(images).reshape(len(images), -1, 6)
    x = jnp.concatenate([jnp.zeros((len(images), 1, 6)), x], axis=1)
    features = {}
    for stage in (1, 2):
      mixed = nn.Dense(x.shape[1])(x.transpose(0, 2, 1)).transpose(0, 2, 1)
      x = x + nn.gelu(mixed)
      features[f"stage{stage}"] = x[:, 1:].reshape(len(x), 8, 8, 6)
    return nn.Dense(5, name="head")(x[:, 0]), features


def test_where_one_token_is_read_the_stage_before_counts():
  apply, variables, images = made(Tokens(), 32)
  maps, stage = saliency.grad_cam(apply, variables, images, CLASSES)
  assert stage == "stage1" and maps.shape == (3, 8, 8)
  # By finite differences on the stage: the slope of the logit by each channel's mean.
  features = np.asarray(jax.jit(apply)(variables, images)[1]["stage1"])
  params = variables["params"]

  @jax.jit
  def logits(shift):
    """The second half of the network once more, the first stage's patches shifted."""
    x = nn.Conv(6, (4, 4), strides=4).apply({"params": params["Conv_0"]}, images).reshape(3, -1, 6)
    x = jnp.concatenate([jnp.zeros((3, 1, 6)), x], axis=1)
    mix = lambda name, x: nn.Dense(65).apply({"params": params[name]}, x.transpose(0, 2, 1)).transpose(0, 2, 1)
    x = x + nn.gelu(mix("Dense_0", x))
    x = x.at[:, 1:].add(shift)
    x = x + nn.gelu(mix("Dense_1", x))
    return nn.Dense(5).apply({"params": params["head"]}, x[:, 0])[jnp.arange(3), CLASSES]

  step = 1e-2
  slopes = np.stack([(logits(shift) - logits(-shift)) / (2 * step) for shift in step * np.eye(6, dtype=np.float32)], 1)
  expected = np.maximum(np.einsum("bhwc,bc->bhw", features, slopes), 0)
  expected /= np.maximum(expected.max((1, 2), keepdims=True), 1e-12)
  np.testing.assert_allclose(maps, expected, atol=2e-2)


def test_a_network_without_rows_and_columns_says_so():
  apply, variables, images = made(models.create("most_frequent", outputs=5), 16)
  with pytest.raises(saliency.NoMapError, match="no stage with rows and columns"):
    saliency.grad_cam(apply, variables, images, CLASSES)
