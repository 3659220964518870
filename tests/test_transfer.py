"""Runs that start from published weights: what is frozen stays, the rest learns, and mistakes are named first."""
import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import evaluation, experiment, models, workdirs
from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.parallel import Parallel
from galaxy_jax.pretrained.tables import TABLES
from galaxy_jax.train import train

safetensors = pytest.importorskip("safetensors.numpy")
NETWORK = {"width": 4, "stage_sizes": (1, 1), "stem": (3, 1), "stem_pool": False}


@pytest.fixture(scope="module")
def make_config(challenge_dir, tmp_path_factory):
  """A transfer experiment with a small network and three steps."""
  data_dir = tmp_path_factory.mktemp("data")

  def make(**changes):
    config = get_config("scratch")
    config.model.options.update(NETWORK)
    config.update_from_flattened_dict({
        "data.manual_dir": str(challenge_dir), "data.data_dir": str(data_dir), "data.crop": 0, "data.size": 24,
        "augment.size": 16, "train.batch_size": 6, "eval.batch_size": 6, "train.steps": 3, "train.eval_every": 1.0,
        "train.ema": 0.9, "optimizer.weight_decay": 0.5, "optimizer.learning_rate": 0.1} | changes)
    return config
  return make


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  """A safetensors file of the network with ten outputs; and what is in it, in our layout."""
  network = models.create("resnet18", outputs=10, **NETWORK)
  empty = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda leaf: 0.2 + 0.1 * rng.random(leaf.shape).astype(np.float32), empty)
  tensors = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    name = TABLES["resnet18"].published(tuple(key.key for key in path[1:]))
    tensors[name] = np.ascontiguousarray(leaf.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[leaf.ndim]))
  path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
  safetensors.save_file(tensors, path)
  return path, variables


def evaluated(workdir):
  """The variables that a run predicts with."""
  parallel = Parallel("jit")
  return parallel.fetch(evaluation.restore(workdirs.read_config(workdir), workdir, parallel, "latest").variables)


def test_frozen_stages_stay_to_the_bit_and_the_rest_learns(make_config, weights, tmp_path, caplog):
  """Also in the average, under weight decay, and the moments of batch norm. Begun, the run needs the file no more."""
  path, published = weights
  copy = tmp_path / "copy.safetensors"
  copy.write_bytes(path.read_bytes())
  caplog.set_level(logging.INFO)
  config = make_config(**{"model.pretrained": str(copy), "optimizer.frozen": ("stem", "stage1"),
                          "optimizer.layer_decay": 0.5})
  assert train(config, tmp_path / "run").finished
  assert "head stays as it was" in caplog.text
  assert "config.augment.normalise is 'none'; weights such as " in caplog.text
  assert "learnt from images for which it is 'imagenet'" in caplog.text
  after = evaluated(tmp_path / "run")
  for collection, parts in after.items():
    for name, part in parts.items():
      same = [np.array_equal(a, b) for a, b in zip(
          jax.tree.leaves(part), jax.tree.leaves(published[collection][name]), strict=True)]
      assert all(same) if name.startswith(("stem", "stage1")) else not any(same), (collection, name)
  copy.unlink()
  assert train(config, tmp_path / "run").finished
  config.model.pretrained = str(path)
  with pytest.raises(ValueError, match=r"config\.model\.pretrained: .* there"):
    train(config, tmp_path / "run")


@pytest.mark.parametrize(("changes", "still"), [
    ({}, ()), ({"optimizer.frozen": ("stem",)}, ("stem",)), ({"optimizer.frozen_norms": True}, ("all",))])
def test_the_network_is_told_which_batch_norms_stay(make_config, monkeypatch, changes, still):
  told = []
  create = models.create
  monkeypatch.setattr(models, "create", lambda *arguments, **options: told.append(options["still"]) or create(
      *arguments, **options))
  experiment.make_task(experiment.resolve(make_config(**changes)), axis_name=None, all_views=False)
  assert set(told) == {still}


@pytest.mark.parametrize(("changes", "message"), [
    ({"model.pretrained": "{weights}", "init_from": "run"}, "Both config.init_from and config.model.pretrained say"),
    ({"model.pretrained": "{weights}", "pretrain.train.steps": 5},
     "Both config.model.pretrained and config.pretrain.train.steps say"),
    ({"model.pretrained": "{weights}", "model.options.width": 8},
     "does not fit the model 'resnet18': of another shape: "),
    ({"model.pretrained": "nowhere.safetensors"}, "nowhere.safetensors, and there is no such file"),
    ({"model.pretrained": "weights.pth"}, "only .safetensors files are read"),
    ({"optimizer.frozen": ("stage3",)}, "has 'stage3'; the stages of this model are stem, stage1, stage2, head."),
    ({"optimizer.layer_decay": 1.5}, "config.optimizer.layer_decay is 1.5; expected at least"),
])
def test_mistakes_are_named_before_anything_is_written(make_config, weights, tmp_path, changes, message):
  changes = {key: str(weights[0]) if value == "{weights}" else value for key, value in changes.items()}
  with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
    train(make_config(**changes), tmp_path)
  assert not list(tmp_path.rglob("config.json"))
