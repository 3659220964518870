"""The published systems that learn classes: each config trains a few steps on small data."""
import importlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import beginnings, evaluation, experiment, models, optim, pretrained, search, shipped, workdirs
from galaxy_jax.configs import base
from galaxy_jax.logbook import read_history
from galaxy_jax.parallel import Parallel
from galaxy_jax.train import train

BUILDERS = Path(__file__).parent.parent / "tfds_builders"
FEW = {"data.crop": 0, "data.size": 32, "augment.size": 32, "train.batch_size": 4, "train.steps": 2, "model.dtype":
       "float32", "eval.batch_size": 4, "eval.rotations": 1, "eval.flips": False, "train.eval_every": 1.0,
       "train.log_every": 1, "model.pretrained": "", "init_from": ""}
#: Config with its argument → options of a small network, and how many galaxies of the made data it trains and tests on.
CASES = {
    "morph5:cpu": ({"width": 2, "stem_width": 3, "stage_sizes": (1,)}, 15, 2),
    "morph5:best_cpu": ({"width": 2, "stage_sizes": (1,)}, 15, 2),
    "morph5_vgg16:cpu": ({"width": 2, "hidden": 4, "stage_sizes": (1, 1, 1, 1, 1)}, 18, 2),
    "morph8:cpu": ({"width": 2, "stage_sizes": (1,)}, 13, 3),
    "galaxy10_baseline": ({}, 8, 2),
    "galaxy10_cnn": ({"width": 2}, 8, 2),
    "galaxy10:cpu": ({"width": 2, "stage_sizes": (1,)}, 8, 2),
    "galaxy10_transfer:vgg16,partly": ({"width": 2, "hidden": 4, "stage_sizes": (1, 1, 1, 1, 1)}, 8, 2),
}


def config_of(case):
  name, _, variant = case.partition(":")
  return importlib.import_module(f"galaxy_jax.configs.{name}").get_config(*[variant] * bool(variant))


@pytest.mark.parametrize("case", CASES)
def test_a_config_trains(case, tmp_path):
  options, examples, tested = CASES[case]
  config = config_of(case)
  config.update_from_flattened_dict(FEW)
  config.model.options.update(options)
  config.data.manual_dir = str(BUILDERS / config.data.builder.partition("/")[0] / "dummy_data")
  config.data.data_dir = str(tmp_path / "data")
  assert train(config, tmp_path / "run").finished
  history = read_history(tmp_path / "run" / "metrics.csv")
  assert np.isfinite([loss for _, loss in history["train/loss"]]).all()
  assert 0 <= history["eval/error"][-1][1] <= 1
  split = json.loads((tmp_path / "run" / "data.json").read_text())
  assert split["train"]["records"] == examples and split["eval"]["records"] == tested
  if case == "morph5_vgg16:cpu":  # of 4, 3, 1, 2 and 3 galaxies 4, 3, 4, 4 and 3
    assert split["train"]["different"] == 13
  if case == "galaxy10_baseline":
    assert history["eval/error"][-1][1] == 0.5  # of two classes, equally frequent


def variables_of(config):
  network = models.create(config.model.name, outputs=10, **config.model.options)
  images = jnp.zeros((1, config.augment.size, config.augment.size, 3))
  return jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))


def test_the_network_of_zhu_et_al():
  """Against their program: resnet_v2_26_2 has 64 filters of 6×6 and blocks of twice (64, 256) to (512, 2048)."""
  config = config_of("morph5:gpu")
  params = variables_of(config)["params"]
  assert params["stem"]["kernel"].shape == (6, 6, 3, 64)
  blocks = [params[f"stage{stage}_block{block}"] for stage in range(1, 5) for block in (1, 2)]
  assert [block["Conv_1"]["kernel"].shape[-1] for block in blocks] == [128, 128, 256, 256, 512, 512, 1024, 1024]
  assert [block["Conv_2"]["kernel"].shape[-1] for block in blocks] == [512, 512, 1024, 1024, 2048, 2048, 4096, 4096]
  a, crops = config.augment, np.array([170, 180, 200, 220, 240, 241])
  # What is seen of a crop is 64 of 80 pixels; the working image is the central 256 pixels.
  seen = a.view * 256 / np.array([a.zoom, *config.eval.zooms, 1 / a.zoom])
  np.testing.assert_allclose(seen, 0.8 * crops)
  # The largest crop, wherever it is cut, lies within the working image.
  assert seen[-1] + 2 * a.shift * a.view * 256 <= 256
  steps = np.array([29_999, 30_001, 60_001, 90_001])
  o = config.optimizer
  rate = optim.learning_rate_schedule(o.schedule, peak=o.learning_rate, steps=config.train.steps,
                                      milestones=o.milestones, factor=o.factor)
  np.testing.assert_allclose([rate(step) for step in steps], [0.1, 0.01, 1e-3, 1e-4], rtol=1e-5)


@pytest.mark.parametrize("network", ["vgg16", "inception_v3", "xception", "resnet50", "convnext"])
def test_how_much_of_a_network_learns_on(network):
  config = config_of(f"galaxy10_transfer:{network}")
  assert (config.optimizer.frozen, config.optimizer.layer_decay) == ((), 0.7)
  pretrained.check(config.model.pretrained, config.model.name)
  params = variables_of(config)["params"]
  learning = {}
  for way in ("frozen", "partly"):
    config = config_of(f"galaxy10_transfer:{network},{way}")
    optim.check_stages(params, config.optimizer.frozen)
    learning[way] = [stage for stage in models.stages(params) if stage not in config.optimizer.frozen]
  head = ["hidden1", "hidden2", "head"] if network == "vgg16" else ["head"]
  last = {"resnet50": ["stage4"], "convnext": ["stage4", "last"]}.get(network, ["stage5"])
  assert learning == {"frozen": head, "partly": last + head}


@pytest.mark.parametrize("case", ["morph8:cpu", "morph5:best_cpu", "galaxy10:cpu"])
def test_small_runs_start_from_the_packages_model_with_a_head_of_their_own(case):
  config = experiment.resolve(config_of(case))
  names = tuple("abcdefgh")
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=names)
  wanted, parallel = jax.eval_shape(task.init, jax.random.key(0)), Parallel("jit", jax.devices()[:1])
  start = beginnings.of_run(config.init_from, task=task, classes=names, wanted=wanted, parallel=parallel, seed=0)
  folder = shipped.folder(config.init_from)
  given = evaluation.restore(workdirs.read_config(folder), folder, parallel, "latest").variables
  np.testing.assert_array_equal(start["params"]["stem"]["kernel"], given["params"]["stem"]["kernel"])
  assert start["params"]["head"]["kernel"].shape[-1] == 8 != given["params"]["head"]["kernel"].shape[-1]


def test_the_equivariant_network_of_galaxy10():
  assert sum(leaf.size for leaf in jax.tree.leaves(variables_of(config_of("galaxy10:gpu"))["params"])) == 5_585_450


@pytest.mark.parametrize("case", ["morph5_vgg16:gpu", "morph8:gpu", "morph5:best_gpu"])
def test_full_protocols_fit_their_published_weights(case):
  config = config_of(case)
  pretrained.check(config.model.pretrained, config.model.name)
  params = variables_of(config)["params"]
  for frozen in search.space(config)["optimizer.frozen"].values if config.search else ():
    optim.check_stages(params, frozen)


def test_an_unknown_argument_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'resnet51'; expected one of vgg16, inception_v3, xception, resnet50, convnext"):
    config_of("galaxy10_transfer:resnet51,frozen")
  with pytest.raises(ValueError, match="'half'; expected one of frozen, partly, full, decay"):
    config_of("galaxy10_transfer:vgg16,half")
  assert base.get_config().search.to_dict() == {}
