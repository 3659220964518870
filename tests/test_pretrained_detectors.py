"""Published detectors: torchvision's by its stored outputs, matterport's by its forward pass in Keras's own layout."""
import importlib.util
import json
import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import beginnings, experiment, pretrained
from galaxy_jax.configs import mask_galaxy
from galaxy_jax.models import mask_rcnn
from galaxy_jax.models.regions import RPN_WEIGHTS
from galaxy_jax.pretrained import detectors, matterport

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture(scope="module")
def rule(reference_outputs):
  spec = importlib.util.spec_from_file_location("weights_rule", reference_outputs / "weights_rule.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_it_computes_what_torchvision_does(rule, reference_outputs):
  described = json.loads((reference_outputs / "parameters.json").read_text())["maskrcnn_resnet50_fpn"]
  model = mask_rcnn.create(classes=90, **detectors.TORCHVISION_OPTIONS)
  images = jnp.asarray(rule.image(described["input_size"]).transpose(0, 2, 3, 1))
  tensors = {name: rule.tensor(name, shape) for name, shape in described["parameters"].items()}
  # The network of the reference was made without published weights: its epsilon is not theirs.
  variables = pretrained.fill(jax.eval_shape(model.init, jax.random.key(0), images),
                              detectors.torchvision_tensors(tensors, epsilon=1e-5), detectors.TORCHVISION, "The rule",
                              "mask_rcnn")
  assert sum(x.size for x in jax.tree.leaves(variables)) == sum(x.size for x in tensors.values())
  pyramid, logits, deltas = jax.jit(lambda v, x: model.apply(v, x, method="encode"))(variables, images)
  rng = np.random.default_rng(1)
  regions = [rng.standard_normal((4, 256, side, side)).astype(np.float32).transpose(0, 2, 3, 1) for side in (7, 14)]

  def heads(network, of_box, of_mask):
    x = network.roi_box(of_box)
    return network.head_classes(x), network.head_deltas(x), network.head_masks(network.roi_mask(of_mask))
  classes, box_deltas, masks = jax.jit(lambda v, *x: model.apply(v, *x, method=heads))(variables, *regions)
  theirs_first = lambda x: np.moveaxis(np.asarray(x), -1, 1)
  x_first = lambda x: np.asarray(x)[..., [1, 0, 3, 2]]
  found = {f"fpn_{'pool' if i == 4 else i}": theirs_first(x[..., :16]) for i, x in enumerate(pyramid)} | {
      "rpn_logits_0": theirs_first(logits[:, :3072].reshape(2, 32, 32, 3)),
      "rpn_logits_pool": theirs_first(logits[:, -12:].reshape(2, 2, 2, 3)),
      "rpn_deltas_0": theirs_first(x_first(deltas[:, :3072].reshape(2, 32, 32, 3, 4)).reshape(2, 32, 32, 12)),
      "box_logits": classes, "box_deltas": x_first(box_deltas.reshape(4, 91, 4)).reshape(4, -1),
      "mask_logits": theirs_first(masks)[:, :8]}
  with np.load(reference_outputs / "maskrcnn_resnet50_fpn.npz") as expected:
    assert set(expected) == found.keys()
    for name, x in found.items():
      # 1e-5 because the other epsilon is 5e-5 away.
      assert np.max(np.abs(x - expected[name])) < 1e-5 * np.max(np.abs(expected[name])), name


TINY = {"backbone": "resnet50", "norm": "frozen", "width": 2, "stage_sizes": (1, 2, 1, 1), "fpn_width": 4,
        "rpn_width": 6, "box_width": 8}


def first(classes=2, **options):
  """A tiny network and first variables of it, all the same number."""
  model = mask_rcnn.create(classes=classes, **TINY | options)
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
  return model, jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)


def torchvisions(classes=2, *, old=False):
  """The same in torchvision's names; `old`: those of the published file."""
  rng = np.random.default_rng(0)
  wide = {f"roi_heads.mask_head.{'mask_fcn' if old else ''}{i + old}{'' if old else '.0'}": (4, 4, 3, 3)
          for i in range(4)}
  inner = "" if old else ".0"
  shapes = {"rpn.head.conv" + ("" if old else ".0.0"): (6, 4, 3, 3), "rpn.head.cls_logits": (3, 6, 1, 1),
            "rpn.head.bbox_pred": (12, 6, 1, 1), "roi_heads.box_head.fc6": (8, 4 * 49),
            "roi_heads.box_head.fc7": (8, 8), "roi_heads.box_predictor.cls_score": (classes + 1, 8),
            "roi_heads.box_predictor.bbox_pred": (4 * classes + 4, 8), **wide,
            "roi_heads.mask_predictor.conv5_mask": (4, 4, 2, 2),
            "roi_heads.mask_predictor.mask_fcn_logits": (classes + 1, 4, 1, 1)}
  for i in range(4):
    shapes |= {f"backbone.fpn.inner_blocks.{i}{inner}": (4, 8 * 2**i, 1, 1),
               f"backbone.fpn.layer_blocks.{i}{inner}": (4, 4, 3, 3)}
  draw = lambda shape: rng.normal(size=shape).astype(np.float32)
  tensors = {f"{name}.weight": draw(shape) for name, shape in shapes.items()}
  tensors |= {f"{name}.bias": draw(shape[:1]) for name, shape in shapes.items()}
  return tensors | {f"backbone.body.{name}": x for name, x in classifiers().items() if not name.startswith("fc.")}


def classifiers():
  rng = np.random.default_rng(1)
  convs, width = {"conv1": (2, 3, 7, 7)}, 2
  for stage, blocks in enumerate(TINY["stage_sizes"]):
    own = 2 * 2**stage
    for block in range(blocks):
      name = f"layer{stage + 1}.{block}"
      convs |= {f"{name}.conv1": (own, width, 1, 1), f"{name}.conv2": (own, own, 3, 3),
                f"{name}.conv3": (4 * own, own, 1, 1)}
      if block == 0:
        convs[f"{name}.downsample.0"] = (4 * own, width, 1, 1)
      width = 4 * own
  tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in convs.items()}
  for name, shape in convs.items():
    norm = name.replace("downsample.0", "downsample.1").replace("conv", "bn")
    tensors |= {f"{norm}.{part}": rng.uniform(0.5, 1.5, shape[0]).astype(np.float32)
                for part in ("weight", "bias", "running_mean", "running_var")}
  return tensors | {"fc.weight": np.zeros((7, width), np.float32), "fc.bias": np.zeros(7, np.float32)}


def stored(tmp_path, tensors):
  path = tmp_path / "model.safetensors"
  safetensors.save_file(tensors, path)
  return str(path)


def test_a_file_of_torchvisions_is_turned_to_y_before_x(tmp_path):
  _, variables = first()
  tensors = torchvisions()
  filled = detectors.load(stored(tmp_path, tensors), "resnet50", variables)
  assert jax.tree.structure(filled) == jax.tree.structure(variables)
  params = filled["params"]
  # The second anchor's dy is torchvision's dy, its second coordinate; of class 2 the dw is its third.
  np.testing.assert_array_equal(params["rpn"]["deltas"]["kernel"][0, 0, :, 4],
                                tensors["rpn.head.bbox_pred.weight"][5, :, 0, 0])
  assert params["head_deltas"]["bias"][11] == tensors["roi_heads.box_predictor.bbox_pred.bias"][10]
  fc6 = tensors["roi_heads.box_head.fc6.weight"].reshape(8, 4, 7, 7)
  assert params["roi_box"]["dense1"]["kernel"].reshape(7, 7, 4, 8)[1, 5, 3, 6] == fc6[6, 3, 1, 5]
  assert params["roi_mask"]["deconv"]["kernel"][0, 1, 2, 3] == tensors[
      "roi_heads.mask_predictor.conv5_mask.weight"][2, 3, 0, 1]
  np.testing.assert_allclose(filled["batch_stats"]["stem_norm"]["var"] + 1e-5,
                             tensors["backbone.body.bn1.running_var"], rtol=1e-6)
  # What the published file calls its tensors is the same.
  old = torchvisions(old=True)
  assert old.keys() != tensors.keys()
  assert detectors.torchvision_tensors(old).keys() == detectors.torchvision_tensors(tensors).keys() == tensors.keys()


def test_heads_for_other_classes_and_a_classifiers_stages(tmp_path, caplog):
  caplog.set_level(logging.INFO)
  _, variables = first()
  filled = detectors.load(stored(tmp_path, torchvisions(classes=5)), "resnet50", variables)
  assert "head_classes, head_deltas, head_masks stays as it was" in caplog.text
  assert np.all(filled["params"]["head_masks"]["kernel"] == 0.5)
  assert not np.any(filled["params"]["rpn"]["logits"]["kernel"] == 0.5)
  filled = detectors.load(stored(tmp_path, classifiers()), "resnet50", variables)
  assert jax.tree.structure(filled) == jax.tree.structure(variables)
  assert "the pyramid and the heads of the detector stay" in caplog.text
  np.testing.assert_array_equal(filled["params"]["stage2_block2"]["Conv_1"]["kernel"],
                                classifiers()["layer2.1.conv2.weight"].transpose(2, 3, 1, 0))
  assert np.all(filled["params"]["fpn"]["lateral2"]["kernel"] == 0.5)


@pytest.mark.parametrize(("network", "normalise"), [("torchvision", "imagenet"), ("classifier", "none")])
def test_a_run_begins_with_them(tmp_path, caplog, network, normalise):
  tensors = torchvisions() if network == "torchvision" else classifiers()
  config = mask_galaxy.get_config("cpu")
  config.init_from = ""
  config.model.options, config.model.pretrained = TINY, stored(tmp_path, tensors)
  config.augment.normalise = normalise
  config = experiment.resolve(config)
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=("spiral", "elliptical"))
  variables = first()[1]
  assert jax.tree.map(jnp.shape, jax.eval_shape(task.init, jax.random.key(0))) == jax.tree.map(np.shape, variables)
  found = beginnings.published(config, task._replace(init=lambda key: variables))["params"]
  prefix = "backbone.body." if network == "torchvision" else ""
  np.testing.assert_array_equal(found["stem"]["kernel"], tensors[f"{prefix}conv1.weight"].transpose(2, 3, 1, 0))
  assert np.all(np.asarray(found["rpn"]["conv"]["kernel"]) == 0.5) == (network == "classifier")
  assert ("weights such as" in caplog.text) == (normalise == "none")


def test_what_does_not_fit_is_named(tmp_path):
  _, variables = first()
  tensors = torchvisions()
  tensors["rpn.head.extra.bias"] = tensors.pop("rpn.head.cls_logits.bias")
  tensors["backbone.body.conv1.weight"] = np.zeros((2, 3, 5, 5), np.float32)
  with pytest.raises(ValueError, match=r"missing: rpn\.head\.cls_logits\.bias; not part of the network: rpn\.head\."
                     r"extra\.bias; of another shape: backbone\.body\.conv1\.weight is \(2, 3, 5, 5\), expected"):
    detectors.load(stored(tmp_path, tensors), "resnet50", variables)
  with pytest.raises(ValueError, match=r"batch norms, which this network does not have: choose norm='frozen'"):
    detectors.load("model.safetensors", "resnet50", {"params": variables["params"]})
  with pytest.raises(ValueError, match=r"A \.pth of PyTorch is a pickle"):
    detectors.load("model.pth", "resnet50", variables)
  with pytest.raises(FileNotFoundError, match=r"galaxia\.h5, and there is no such file"):
    detectors.load(str(tmp_path / "galaxia.h5"), "resnet101", variables)


#: matterport's network on a narrow trunk.
KERAS = matterport.OPTIONS | TINY | {"pooling": "align"}


def keras_arrays(classes=2, seed=0):
  """A file of matterport's: shapes by layer, as its code builds them."""
  rng, convs, norms = np.random.default_rng(seed), {"conv1": (7, 7, 3, 2)}, {"bn_conv1": 2}
  width = 2
  for stage, blocks in zip((2, 3, 4, 5), TINY["stage_sizes"], strict=True):
    own = 2 * 2 ** (stage - 2)
    for block in "abcdefg"[:blocks]:
      layers = {"2a": (1, 1, width, own), "2b": (3, 3, own, own), "2c": (1, 1, own, 4 * own)}
      if block == "a":
        layers["1"] = (1, 1, width, 4 * own)
      convs |= {f"res{stage}{block}_branch{branch}": shape for branch, shape in layers.items()}
      norms |= {f"bn{stage}{block}_branch{branch}": shape[-1] for branch, shape in layers.items()}
      width = 4 * own
  for level in (2, 3, 4, 5):
    convs |= {"fpn_c5p5" if level == 5 else f"fpn_c{level}p{level}": (1, 1, 8 * 2 ** (level - 2), 4),
              f"fpn_p{level}": (3, 3, 4, 4)}
  convs |= {"rpn_conv_shared": (3, 3, 4, 6), "rpn_class_raw": (1, 1, 6, 6), "rpn_bbox_pred": (1, 1, 6, 12),
            "mrcnn_class_conv1": (7, 7, 4, 8), "mrcnn_class_conv2": (1, 1, 8, 8),
            "mrcnn_class_logits": (8, classes + 1), "mrcnn_bbox_fc": (8, 4 * classes + 4),
            "mrcnn_mask": (1, 1, 4, classes + 1), "mrcnn_mask_deconv": (2, 2, 4, 4),
            **{f"mrcnn_mask_conv{i}": (3, 3, 4, 4) for i in (1, 2, 3, 4)}}
  norms |= {"mrcnn_class_bn1": 8, "mrcnn_class_bn2": 8, **{f"mrcnn_mask_bn{i}": 4 for i in (1, 2, 3, 4)}}
  arrays = {}
  for name, shape in convs.items():
    arrays[f"{name}/kernel"] = rng.normal(size=shape) / math.sqrt(math.prod(shape[:-1]))
    arrays[f"{name}/bias"] = 0.1 * rng.normal(size=4 if name == "mrcnn_mask_deconv" else shape[-1])
  for name, number in norms.items():
    arrays |= {f"{name}/gamma": rng.uniform(0.5, 1.5, number), f"{name}/beta": 0.1 * rng.normal(size=number),
               f"{name}/moving_mean": 0.1 * rng.normal(size=number),
               # Small ones of the stem, for which the epsilon matters.
               f"{name}/moving_variance": rng.uniform(0.002, 0.02 if name == "bn_conv1" else 1.5, number)}
  return {name: x.astype(np.float32) for name, x in arrays.items()}


def keras_file(path, arrays, *, whole=False):
  """Written as Keras does: a group a layer, in it the arrays by their variables' names."""
  h5py = pytest.importorskip("h5py")
  with h5py.File(path, "w") as file:
    root = file.create_group("model_weights") if whole else file
    for name, x in arrays.items():
      layer, leaf = name.split("/")
      root[f"{'rpn_model' if layer.startswith('rpn') else layer}/{layer}/{leaf}:0"] = x
    root.create_group("input_image")
    if whole:
      file["optimizer_weights/SGD/iterations:0"] = np.zeros(())
  return path


class Keras:
  """matterport's layers on its arrays, written as its code has them."""

  def __init__(self, arrays):
    self.arrays = arrays

  def conv(self, x, name, stride=1, padding="SAME"):
    kernel, bias = self.arrays[f"{name}/kernel"], self.arrays[f"{name}/bias"]
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding,
                                        dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias

  def norm(self, x, name):
    gamma, beta, mean, variance = (self.arrays[f"{name}/{leaf}"]
                                   for leaf in ("gamma", "beta", "moving_mean", "moving_variance"))
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

  def block(self, x, name, stride):
    y = jax.nn.relu(self.norm(self.conv(x, f"res{name}_branch2a", stride, "VALID"), f"bn{name}_branch2a"))
    y = jax.nn.relu(self.norm(self.conv(y, f"res{name}_branch2b"), f"bn{name}_branch2b"))
    y = self.norm(self.conv(y, f"res{name}_branch2c"), f"bn{name}_branch2c")
    if name.endswith("a"):
      x = self.norm(self.conv(x, f"res{name}_branch1", stride, "VALID"), f"bn{name}_branch1")
    return jax.nn.relu(x + y)

  def pyramid(self, x):
    x = jax.nn.relu(self.norm(self.conv(x, "conv1", 2, ((3, 3), (3, 3))), "bn_conv1"))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    stages = []
    for stage, blocks in zip((2, 3, 4, 5), TINY["stage_sizes"], strict=True):
      for block in "abcdefg"[:blocks]:
        x = self.block(x, f"{stage}{block}", 2 if stage > 2 and block == "a" else 1)
      stages.append(x)
    levels = [self.conv(stages[3], "fpn_c5p5")]
    for level in (4, 3, 2):
      above = levels[0].repeat(2, axis=1).repeat(2, axis=2)
      levels.insert(0, above + self.conv(stages[level - 2], f"fpn_c{level}p{level}"))
    levels = [self.conv(x, f"fpn_p{level}") for level, x in zip((2, 3, 4, 5), levels, strict=True)]
    return [*levels, jax.lax.reduce_window(levels[3], -jnp.inf, jax.lax.max, (1, 1, 1, 1), (1, 2, 2, 1), "VALID")]

  def rpn(self, x):
    x = jax.nn.relu(self.conv(x, "rpn_conv_shared"))
    return (jax.nn.softmax(self.conv(x, "rpn_class_raw").reshape(len(x), -1, 2))[..., 1],
            self.conv(x, "rpn_bbox_pred").reshape(len(x), -1, 4) * np.float32([0.1, 0.1, 0.2, 0.2]))

  def box(self, x):
    for i in (1, 2):
      x = jax.nn.relu(self.norm(self.conv(x, f"mrcnn_class_conv{i}", padding="VALID"), f"mrcnn_class_bn{i}"))
    x = x[:, 0, 0]
    dense = lambda name: x @ self.arrays[f"{name}/kernel"] + self.arrays[f"{name}/bias"]
    return dense("mrcnn_class_logits"), dense("mrcnn_bbox_fc")

  def mask(self, x):
    for i in (1, 2, 3, 4):
      x = jax.nn.relu(self.norm(self.conv(x, f"mrcnn_mask_conv{i}"), f"mrcnn_mask_bn{i}"))
    x = jax.lax.conv_transpose(x, self.arrays["mrcnn_mask_deconv/kernel"], (2, 2), "VALID", transpose_kernel=True)
    return self.conv(jax.nn.relu(x + self.arrays["mrcnn_mask_deconv/bias"]), "mrcnn_mask")


def matterport_anchors(scale, stride, side):
  """(H · W · A, 4) y0, x0, y1, x1: its ratios are width over height."""
  ratios = np.array([0.5, 1, 2])
  sizes = np.stack([scale / np.sqrt(ratios), scale * np.sqrt(ratios)], -1)
  y, x = np.meshgrid(np.arange(0, side, stride), np.arange(0, side, stride), indexing="ij")
  centre = np.stack([y, x], -1)[:, :, None]
  return np.concatenate([centre - sizes / 2, centre + sizes / 2], -1).reshape(-1, 4)


@pytest.mark.parametrize("whole", [False, True])
def test_a_keras_file_computes_what_matterports_network_does(tmp_path, whole, caplog):
  arrays = keras_arrays()
  options = {name: value for name, value in KERAS.items() if name not in TINY}
  model, variables = first(**options)
  filled = detectors.load(str(keras_file(tmp_path / "galaxia_all_1.h5", arrays, whole=whole)), "resnet101", variables)
  assert jax.tree.structure(filled) == jax.tree.structure(variables)
  if whole:
    return
  keras, rng = Keras(arrays), np.random.default_rng(3)
  images = rng.normal(0, 0.1, (2, 64, 64, 3)).astype(np.float32)
  pyramid, logits, deltas = jax.jit(lambda v, x: model.apply(v, x, method="encode"))(filled, images)
  expected = jax.jit(keras.pyramid)(images)
  for ours, theirs in zip(pyramid, expected, strict=True):
    assert ours.shape == theirs.shape and np.max(np.abs(ours - theirs)) < 1e-4 * np.max(np.abs(theirs))
  start = 0
  for x, scale, stride, anchors in zip(expected, model.scales, mask_rcnn.STRIDES, model.anchors((64, 64)), strict=True):
    part = slice(start, start + len(anchors))
    start += len(anchors)
    scores, their_deltas = map(np.asarray, keras.rpn(x))
    assert 0.1 < np.ptp(scores)
    # The same anchors in another order: the ratios are turned round.
    turned = lambda x: x.reshape(*x.shape[:-2], -1, 3, 4)[..., ::-1, :].reshape(x.shape)
    np.testing.assert_allclose(turned(matterport_anchors(scale, stride, 64)), anchors, atol=1e-4)
    np.testing.assert_allclose(deltas[:, part], turned(their_deltas), atol=1e-4 * np.max(np.abs(their_deltas)))
    np.testing.assert_allclose(jax.nn.sigmoid(logits[:, part]).reshape(2, -1, 3),
                               scores.reshape(2, -1, 3)[..., ::-1], atol=1e-4)
  assert RPN_WEIGHTS == (1, 1, 1, 1)
  seven, fourteen = (rng.normal(size=(3, side, side, 4)).astype(np.float32) for side in (7, 14))

  def heads(network, of_box, of_mask):
    x = network.roi_box(of_box)
    return network.head_classes(x), network.head_deltas(x), network.head_masks(network.roi_mask(of_mask))
  ours = jax.jit(lambda v, *x: model.apply(v, *x, method=heads))(filled, seven, fourteen)
  for found, theirs in zip(ours, (*keras.box(seven), keras.mask(fourteen)), strict=True):
    np.testing.assert_allclose(found, theirs, atol=1e-4 * np.max(np.abs(theirs)))


def test_a_keras_file_that_does_not_fit_is_named(tmp_path, caplog):
  caplog.set_level(logging.INFO)
  _, variables = first(**{name: value for name, value in KERAS.items() if name not in TINY})
  load = lambda arrays: matterport.load(keras_file(tmp_path / "weights.h5", arrays), variables)
  arrays = keras_arrays()
  del arrays["res3b_branch2b/bias"], arrays["bn4a_branch1/gamma"]
  arrays |= {"fpn_p9/bias": np.zeros(3), "rpn_class_raw/kernel": np.zeros((1, 1, 6, 3)),
             "mrcnn_class_conv1/kernel": np.zeros((5, 5, 4, 8))}
  with pytest.raises(ValueError) as error:
    load(arrays)
  for words in ("missing: bn4a_branch1/gamma, res3b_branch2b/bias; not part of the network: fpn_p9/bias; of another "
                "shape: ", "mrcnn_class_conv1/kernel is (5, 5, 4, 8), expected", "pretrained.matterport.OPTIONS",
                "rpn_class_raw/kernel is (1, 1, 6, 3), expected (1, 1, 6, 6)"):
    assert words in str(error.value)
  filled = load(keras_arrays(classes=4))
  assert "head_classes, head_deltas, head_masks stays as it was" in caplog.text
  assert np.all(filled["params"]["head_deltas"]["kernel"] == 0.5)
  with pytest.raises(ValueError, match=r"NaN or infinity in conv1/bias"):
    load(keras_arrays() | {"conv1/bias": np.full(2, np.nan)})
  (tmp_path / "weights.h5").write_bytes(b"no such thing")
  with pytest.raises(ValueError, match=r"weights\.h5 cannot be read as HDF5: .*download it again"):
    matterport.load(tmp_path / "weights.h5", variables)


def test_the_seeds_own_size_takes_every_layer_of_resnet101():
  """The names alone, at full size: ResNet-101's blocks are counted to the letter w."""
  model = mask_rcnn.create(classes=2, **matterport.OPTIONS)
  shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 256, 256, 3)))
  paths = {"/".join(str(key.key) for key in path[1:-1]) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
  layers = {matterport.layer(path) for path in paths}
  assert len(layers) == len(paths) and {"res4w_branch2c", "bn4w_branch2c", "bn2a_branch1", "fpn_c5p5"} <= layers
  # 104 convolutions and as many norms of the trunk, 8 of the pyramid, 3 of the proposals, 6 and 10 of the heads.
  assert len(layers) == 2 * 104 + 8 + 3 + 6 + 10
