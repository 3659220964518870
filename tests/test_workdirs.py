"""Whose a workdir is."""
import json

import ml_collections
import pytest

from galaxy_jax import workdirs
from galaxy_jax.configs.gz2 import get_config


def resolved():
  return ml_collections.ConfigDict(json.loads(get_config("scratch").to_json()))


def test_a_config_from_before_a_key_has_its_default(tmp_path):
  config = resolved()
  config.optimizer.learning_rate = 0.125
  old = json.loads(config.to_json())
  del old["optimizer"]["layer_decay"], old["model"]["pretrained"]
  (tmp_path / "config.json").write_text(json.dumps(old))
  assert workdirs.read_config(tmp_path).to_dict() == config.to_dict()


def test_a_run_from_before_a_key_goes_on_only_with_its_default(tmp_path):
  config, data = resolved(), {"train": {"split": "train"}}
  old = json.loads(config.to_json())
  del old["optimizer"]["layer_decay"]
  for name, content in (("config.json", old), ("data.json", data)):
    (tmp_path / name).write_text(json.dumps(content))
  workdirs.claim(tmp_path, config, data, begun=True)
  assert "layer_decay" in json.loads((tmp_path / "config.json").read_text())["optimizer"]
  config.optimizer.layer_decay = 0.5
  with pytest.raises(ValueError, match=r"config.optimizer.layer_decay: 1.0 there, 0.5 now"):
    workdirs.claim(tmp_path, config, data, begun=True)


def test_a_section_that_the_experiment_replaced_is_completed_on_both_sides(tmp_path):
  config, data = resolved(), {"train": {"split": "train"}}
  config.pretrain = {"train": {"steps": 5}}
  workdirs.claim(tmp_path, config, data, begun=False)
  workdirs.claim(tmp_path, config, data, begun=True)
  config.pretrain.train.steps = 6
  with pytest.raises(ValueError, match=r"config.pretrain.train.steps: 5 there, 6 now"):
    workdirs.claim(tmp_path, config, data, begun=True)


def test_settings_are_flat_and_without_places():
  config = resolved()
  config.eval.zooms, config.data.manual_dir = (1.0, 1.2), "here"
  settings = workdirs.settings(config)
  assert (settings["eval.zooms"], settings["model.options.width"], settings["eval.rotations"]) == ([1.0, 1.2], 32, 4)
  assert not any(key.startswith(("name", "simulated.", "search", "data.manual_dir")) for key in settings)


def test_a_folder_without_a_run_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"holds no run: config.json is missing"):
    workdirs.read_config(tmp_path)
  with pytest.raises(FileNotFoundError, match=r"holds no run: data.json is missing"):
    workdirs.read_classes(tmp_path)
