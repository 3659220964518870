"""Published weights: from a file or the hub into our parameters, or one error that says what does not fit."""
import logging
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from galaxy_jax import augment, models, pretrained
from galaxy_jax.models.vision_transformer import _resampled

safetensors = pytest.importorskip("safetensors.numpy")
huggingface_hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")


def published(classes=1000, colours=3):
  """A tiny ResNet in timm's names: two stages of one basic block, four and eight filters."""
  rng = np.random.default_rng(0)
  norm = lambda name, width: {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
  shapes = {"conv1.weight": (4, colours, 7, 7), **norm("bn1", 4),
            "layer1.0.conv1.weight": (4, 4, 3, 3), **norm("layer1.0.bn1", 4),
            "layer1.0.conv2.weight": (4, 4, 3, 3), **norm("layer1.0.bn2", 4),
            "layer2.0.conv1.weight": (8, 4, 3, 3), **norm("layer2.0.bn1", 8),
            "layer2.0.conv2.weight": (8, 8, 3, 3), **norm("layer2.0.bn2", 8),
            "layer2.0.downsample.0.weight": (8, 4, 1, 1), **norm("layer2.0.downsample.1", 8),
            "fc.weight": (classes, 8), "fc.bias": (classes,)}
  tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
  return tensors | {"bn1.num_batches_tracked": np.array(7)}


@pytest.fixture(scope="module")
def first():
  """First variables of the same network with five outputs."""
  network = models.create("resnet18", outputs=5, width=4, stage_sizes=(1, 1))
  return jax.device_get(jax.jit(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))())


@pytest.fixture
def load(tmp_path, monkeypatch, first):
  """Loads tensors by the way that a download from the hub takes, with a file instead of the hub."""
  asked = []

  def load(tensors, variables=first):
    path = tmp_path / "model.safetensors"
    safetensors.save_file(tensors, path)

    def download(*arguments, **options):
      asked.append((arguments, options))
      return str(path)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return pretrained.load("timm/resnet18.a1_in1k@v1", "resnet18", variables)
  load.asked = asked
  return load


def test_a_download_fills_every_parameter(load, first, caplog):
  caplog.set_level(logging.INFO)
  tensors = published(classes=5)
  variables = load(tensors)
  assert load.asked == [(("timm/resnet18.a1_in1k", "model.safetensors"), {"revision": "v1"})]
  assert jax.tree.structure(variables) == jax.tree.structure(first)
  params, stats = variables["params"], variables["batch_stats"]
  assert params["stem"]["kernel"][1, 2, 0, 3] == tensors["conv1.weight"][3, 0, 1, 2]
  assert params["head"]["kernel"][7, 4] == tensors["fc.weight"][4, 7]
  np.testing.assert_array_equal(params["stage2_block1"]["projection_norm"]["scale"],
                                tensors["layer2.0.downsample.1.weight"])
  np.testing.assert_array_equal(stats["stage1_block1"]["BatchNorm_1"]["var"], tensors["layer1.0.bn2.running_var"])
  sums = sorted(float(np.sum(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(variables))
  expected = sorted(float(np.sum(x, dtype=np.float64)) for x in tensors.values() if x.ndim)
  np.testing.assert_allclose(sums, expected, atol=1e-4)
  assert "32 of 32 arrays" in caplog.text


def test_a_local_file_is_the_same(load, tmp_path, first):
  tensors = published()
  by_hub = load(tensors)
  by_path = pretrained.load(str(tmp_path / "model.safetensors"), "resnet18", first)
  jax.tree.map(np.testing.assert_array_equal, by_hub, by_path)


def test_a_head_of_other_classes_is_left_out_and_the_log_says_so(load, first, caplog):
  caplog.set_level(logging.INFO)
  for tensors in (published(), {name: x for name, x in published().items() if not name.startswith("fc.")}):
    caplog.clear()
    params = load(tensors)["params"]
    np.testing.assert_array_equal(params["head"]["kernel"], first["params"]["head"]["kernel"])
    assert params["stem"]["kernel"][0, 0, 0, 0] == tensors["conv1.weight"][0, 0, 0, 0]
    assert "30 of 32 arrays" in caplog.text
    assert "head stays as it was" in caplog.text


def test_a_wrapped_encoder_is_unwrapped(load, caplog):
  caplog.set_level(logging.INFO)
  plain = load(published())
  encoder = {f"encoder.{name}": x for name, x in published().items() if not name.startswith("fc.")}
  wrapped = load(encoder | {"head.linear.weight": np.zeros((3, 8), np.float32)})
  jax.tree.map(np.testing.assert_array_equal, plain, wrapped)
  assert "wrapper's head is left out" in caplog.text


def test_a_grey_stem_gives_of_grey_images_what_the_colours_gave(load, first, caplog):
  caplog.set_level(logging.INFO)
  grey = jax.random.uniform(jax.random.key(1), (2, 32, 32, 1))
  network = models.create("resnet18", outputs=5, width=4, stage_sizes=(1, 1))
  outputs = jax.jit(lambda v, x: network.apply(v, x, train=False)[0])
  in_grey = {**first, "params": first["params"] | {"stem": {"kernel": np.zeros((7, 7, 1, 4), np.float32)}}}
  expected = outputs(load(published(5)), jnp.repeat(grey, 3, -1))
  np.testing.assert_allclose(outputs(load(published(5), in_grey), grey), expected, rtol=1e-4, atol=1e-4)
  assert "summed over the colours" in caplog.text
  one = published(5, colours=1)
  np.testing.assert_allclose(outputs(load(one), jnp.repeat(grey, 3, -1)), outputs(load(one, in_grey), grey), rtol=1e-4,
                             atol=1e-4)
  assert "mean of the colours" in caplog.text


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_widths_become_float32(load, dtype):
  tensors = {name: x.astype(dtype) for name, x in published().items()}
  variables = load(tensors)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
  assert variables["params"]["stem_norm"]["bias"][1] == np.float32(tensors["bn1.bias"][1])


def without(*names):
  return {name: x for name, x in published().items() if name not in names}


@pytest.mark.parametrize(("tensors", "words"), [
    (without("layer1.0.bn2.bias", "bn1.running_var"), ["missing: bn1.running_var, layer1.0.bn2.bias."]),
    (published() | {"layer3.0.conv1.weight": np.zeros((2, 2), np.float32)},
     ["not part of the network: layer3.0.conv1.weight."]),
    (published() | {"layer1.0.conv2.weight": np.zeros((4, 4, 5, 5), np.float32)},
     ["of another shape: layer1.0.conv2.weight is (4, 4, 5, 5), expected (4, 4, 3, 3)."]),
    (without("bn1.bias") | {"bn1.beta": np.zeros(4, np.float32), "conv1.weight": np.zeros((4, 3, 3, 3), np.float32)},
     ["missing: bn1.bias;", "not part of the network: bn1.beta;",
      "of another shape: conv1.weight is (4, 3, 3, 3), expected (4, 3, 7, 7)."]),
    (without("fc.bias") | {"fc.weight": np.zeros((5, 8), np.float32)}, ["missing: fc.bias."]),
    (without("fc.weight"), ["missing: fc.weight"]),
    (published() | {"conv1.weight": np.full((4, 3, 7, 7), np.nan, np.float32)}, ["NaN or infinity in conv1.weight"]),
])
def test_every_tensor_that_does_not_fit_is_named(load, tensors, words):
  with pytest.raises(ValueError) as error:
    load(tensors)
  for word in words:
    assert word in str(error.value)


def test_a_folder_and_a_name_that_is_also_a_folders(load, tmp_path, first, monkeypatch):
  by_hub = load(published())
  jax.tree.map(np.testing.assert_array_equal, by_hub, pretrained.load(str(tmp_path), "resnet18", first))
  # A name of the hub stays one, whatever lies here.
  monkeypatch.chdir(tmp_path)
  (tmp_path / "timm/resnet18.a1_in1k").mkdir(parents=True)
  assert not pretrained.is_path("timm/resnet18.a1_in1k") and pretrained.is_path("./timm/resnet18.a1_in1k")
  with pytest.raises(FileNotFoundError, match=r"resnet18\.a1_in1k, a folder without model\.safetensors; name the file"):
    pretrained.load("./timm/resnet18.a1_in1k", "resnet18", first)
  (tmp_path / "weights.onnx").write_bytes(b"1")
  with pytest.raises(ValueError, match=r"weights\.onnx: only \.safetensors files are read\.$"):
    pretrained.check("./weights.onnx", "resnet18")


def test_a_head_that_stays_needs_a_value(first):
  shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), first)
  with pytest.raises(ValueError, match=r"no head\.bias of shape \(5,\).*not their shapes"):
    pretrained.fill(shapes, published(), pretrained.TABLES["resnet18"], "It", "resnet18")


@pytest.mark.parametrize(("source", "model", "expected"), [
    ("timm/resnet50.a1_in1k", "resnet50", "imagenet"), ("timm/legacy_xception.tf_in1k", "xception", "symmetric"),
    ("inception.safetensors", "inception_v3", "symmetric"),
    ("/home/of/zoobot/resnet18.safetensors", "resnet18", "imagenet"),
    ("mwalmsley/zoobot-encoder-convnext_nano", "convnext_nano", "none")])
def test_what_images_weights_expect(source, model, expected):
  assert pretrained.normalisation(source, model) == expected
  assert {table.normalise for table in pretrained.TABLES.values()} <= augment.NORMALISATIONS.keys()


@pytest.mark.parametrize("damage", [
    lambda data: data[:-100], lambda data: data[:50], lambda data: b"", lambda data: b"PK\x03\x04" + data])
def test_a_damaged_file_is_one_error(tmp_path, first, damage):
  path = tmp_path / "weights.safetensors"
  path.write_bytes(damage(safetensors.save(published())))
  with pytest.raises(ValueError, match=r"weights\.safetensors cannot be read as safetensors: .* download it again"):
    pretrained.load(str(path), "resnet18", first)


@pytest.mark.parametrize(("source", "model", "error", "message"), [
    ("weights.bin", "resnet18", ValueError, "only .safetensors files are read. A .bin of PyTorch is a pickle"),
    ("/weights/resnet.pth", "resnet18", ValueError, "safetensors.torch.save_file(torch.load(path, weights_only=True)"),
    ("last.ckpt", "resnet18", ValueError, "can run any code"),
    ("nowhere.safetensors", "resnet18", FileNotFoundError, "nowhere.safetensors, and there is no such file"),
    ("resnet50", "resnet50", ValueError, "expected a .safetensors file or a name on the Hugging Face hub"),
    ("timm/alexnet", "alexnet", ValueError, "no published weights of 'alexnet'; there are of convnext_base"),
])
def test_what_is_no_source_of_weights_says_the_remedy(first, source, model, error, message):
  with pytest.raises(error, match=re.escape(message)):
    pretrained.load(source, model, first)


class TransportError(Exception):
  """As httpx's: of no class that Python knows."""


@pytest.mark.parametrize("failure", [
    errors.LocalEntryNotFoundError("no connection"), errors.HFValidationError("no connection"),
    OSError("no connection"), TransportError("no connection")])
def test_without_the_hub_the_error_says_how_to_do_without(first, monkeypatch, failure):
  def download(*_, **__):
    raise failure
  monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
  message = ("could not be got from the Hugging Face hub: no connection Without the network: download "
             "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors elsewhere and give its path")
  with pytest.raises(FileNotFoundError, match=re.escape(message)):
    pretrained.load("hf-hub:timm/resnet18.a1_in1k", "resnet18", first)


def test_a_small_head_takes_the_published_convolutions_alone(caplog):
  """VGG-16 with hidden layers of another width, or without any."""
  caplog.set_level(logging.INFO)
  rng = np.random.default_rng(0)
  numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
  widths = (3, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  tensors = {}
  for number, before, after in zip(numbers, widths[:-1], widths[1:], strict=True):
    tensors |= {f"features.{number}.weight": draw(after, before, 3, 3), f"features.{number}.bias": draw(after)}
  tensors |= {"pre_logits.fc1.weight": draw(6, 8, 7, 7), "pre_logits.fc1.bias": draw(6), "head.fc.bias": draw(10),
              "pre_logits.fc2.weight": draw(6, 6, 1, 1), "pre_logits.fc2.bias": draw(6), "head.fc.weight": draw(10, 6)}
  for hidden, kept in ((0, "head"), (5, "head, hidden1, hidden2"), (6, "head")):
    network = models.create("vgg16", outputs=2, width=1, hidden=hidden)
    empty = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), empty)
    params = pretrained.fill(zeros, dict(tensors), pretrained.TABLES["vgg16"], "It", "vgg16")["params"]
    assert f"; {kept} stays as it was" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(params["stage5_conv3"]["bias"], tensors["features.28.bias"])
    assert not np.any(params["head"]["kernel"])
    assert hidden != 6 or params["hidden1"]["kernel"][1, 2, 3, 4] == tensors["pre_logits.fc1.weight"][4, 3, 1, 2]


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (11, 13), (3, 9)])
def test_position_embeddings_are_interpolated_bicubically(rows, columns):
  """As Pillow interpolates: Keys' cubic with a = -0.5, widened where there are fewer pixels, as in PyTorch."""
  position = np.random.default_rng(0).normal(size=(1, 1 + 8 * 8, 2)).astype(np.float32)
  result = np.asarray(_resampled(jnp.asarray(position), 8, rows, columns))
  np.testing.assert_array_equal(result[:, 0], position[:, 0])
  for channel in range(2):
    image = Image.fromarray(position[0, 1:, channel].reshape(8, 8)).resize((columns, rows), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(result[0, 1:, channel].reshape(rows, columns), np.asarray(image), atol=1e-5)
