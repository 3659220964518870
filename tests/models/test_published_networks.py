"""The published networks against the outputs of the original implementations, for weights made by a rule."""
import importlib.util
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models, pretrained
from galaxy_jax.pretrained.tables import TABLES

#: Our name and options of each network of the reference.
NETWORKS = {
    "resnet18": ("resnet18", {}), "resnet26": ("resnet26", {}), "resnet50": ("resnet50", {}),
    "resnet101": ("resnet101", {}), "vgg16": ("vgg16", {}), "inception_v3": ("inception_v3", {}),
    "legacy_xception": ("xception", {}), "convnext_pico": ("convnext_pico", {}), "convnext_nano": ("convnext_nano", {}),
    "convnext_tiny": ("convnext_tiny", {}), "convnext_base": ("convnext_base", {}),
    "vit_small_patch14_dinov2": ("dinov2_small", {"grid": 7}),
}


#: One of each family and kind of block; the others differ in depth and width, and VGG is compared at another size.
COMPUTED = ("resnet18", "resnet50", "inception_v3", "legacy_xception", "convnext_pico", "vit_small_patch14_dinov2")


@pytest.fixture(scope="module")
def rule(reference_outputs):
  spec = importlib.util.spec_from_file_location("weights_rule", reference_outputs / "weights_rule.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="module")
def described(reference_outputs):
  return json.loads((reference_outputs / "parameters.json").read_text())


def tensor(rule, name, shape):
  """The rule's tensor; a huge kernel, which it draws whole in float64, comes in blocks: the same numbers, sooner."""
  if np.prod(shape) < 2**25:
    return rule.tensor(name, shape)
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  result = np.empty((shape[0], int(np.prod(shape[1:]))), np.float32)
  for row in result:
    row[:] = rng.standard_normal(row.shape)
  return (result / np.float32(np.sqrt(result.shape[1]))).reshape(shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_a_published_one(name, described):
  model, options = NETWORKS[name]
  side = described[name]["input_size"]
  network = models.create(model, outputs=37, **options)
  empty = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3)), train=False))
  zeros = {key: np.broadcast_to(np.float32(0), shape) for key, shape in described[name]["parameters"].items()}
  filled = pretrained.fill(empty, zeros, TABLES[model], "The rule", model)
  assert sum(leaf.size for leaf in jax.tree.leaves(filled)) == sum(
      x.size for key, x in zeros.items()
      if not key.endswith("num_batches_tracked") and not key.startswith(TABLES[model].left_out))


@pytest.mark.parametrize("name", COMPUTED)
def test_it_computes_what_the_original_does(name, rule, described, reference_outputs):
  size, shapes = described[name]["input_size"], described[name]["parameters"]
  model, options = NETWORKS[name]
  network = models.create(model, outputs=37, **options)
  images = jnp.asarray(rule.image(size).transpose(0, 2, 3, 1))
  empty = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
  weights = {key: tensor(rule, key, shape) for key, shape in shapes.items()}
  variables = pretrained.fill(empty, weights, TABLES[model], "The rule", model)
  outputs, features = jax.jit(lambda v, x: network.apply(v, x, train=False))(variables, images)
  with np.load(reference_outputs / f"{name}.npz") as expected:
    for ours, theirs in ((features["pooled"], expected["pooled"]), (outputs, expected["logits"])):
      assert np.max(np.abs(ours - theirs)) < 1e-4 * np.max(np.abs(theirs))


def test_other_sizes_and_numbers_of_classes(rule, described):
  """As benchmarks/published_networks.py stored them: interpolated positions, an image too small for VGG's head."""
  timms = {model: name for name, (model, _) in NETWORKS.items()}
  with np.load(Path(__file__).parent / "published_networks.npz") as file:
    stored = dict(file)
  cases = {name.rpartition("/")[0] for name in stored}
  assert len(cases) == 3
  for case in sorted(cases):
    model, size, classes = case.split("/")
    network = models.create(model, outputs=int(classes))
    images = jnp.asarray(rule.image(int(size)).transpose(0, 2, 3, 1))
    empty = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
    shapes = described[timms[model]]["parameters"]
    head = TABLES[model].head["head"]
    shapes = shapes | {f"{head}.weight": [int(classes), *shapes[f"{head}.weight"][1:]], f"{head}.bias": [int(classes)]}
    if model == "dinov2_small":
      shapes["pos_embed"] = [1, 1 + 37**2, 384]  # that of the reference is for smaller images
    weights = {key: tensor(rule, key, shape) for key, shape in shapes.items()}
    variables = pretrained.fill(empty, weights, TABLES[model], "The rule", model)
    outputs, features = jax.jit(lambda v, x: network.apply(v, x, train=False))(variables, images)
    for ours, theirs in ((features["pooled"], stored[f"{case}/pooled"]), (outputs, stored[f"{case}/logits"])):
      assert ours.shape == theirs.shape and np.max(np.abs(ours - theirs)) < 1e-4 * np.max(np.abs(theirs))


def test_every_network_of_the_reference_has_a_table(described):
  assert set(described) - {"maskrcnn_resnet50_fpn"} == NETWORKS.keys()
  assert {model for model, _ in NETWORKS.values()} <= TABLES.keys()
