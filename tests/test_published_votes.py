"""The published systems that learn votes: each config trains a few steps on small data."""
import csv
import gzip
import importlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import write_challenge

from galaxy_jax import experiment
from galaxy_jax.evaluate import finish_run
from galaxy_jax.logbook import read_history
from galaxy_jax.train import train
from galaxy_jax.workdirs import read_config

#: Twenty made galaxies in Galaxy Zoo 2's files.
GZ2 = Path(__file__).parent.parent / "tfds_builders" / "galaxy_zoo_2" / "dummy_data"
#: Rates are as high as so short a run needs; the first evaluation, amid the warm-up, is of a network that has hardly
#: learnt.
FEW = {"data.crop": 0, "data.size": 16, "train.batch_size": 4, "eval.batch_size": 8, "train.epochs": 0.0,
       "train.steps": 20, "train.eval_every": 0.2, "train.log_every": 4, "train.patience": 0, "train.ema": 0.0,
       "optimizer.warmup": 0.5, "optimizer.learning_rate": 3e-2, "data.test": "", "eval.rotations": 1,
       "eval.flips": False, "eval.zooms": (1.0,)}
CASES = {
    "galaxyid": ((), {"model.options.width": 2, "augment.size": 32}),
    "alexnet": (("cpu",), {"model.options.width": 2, "model.options.hidden": 4, "augment.size": 24}),
    "dieleman": (("cpu",), {"model.options.width": 2, "model.options.hidden": 4, "model.options.view": 37,
                            "model.options.part": 37, "augment.size": 37, "pretrain.train.steps": 0}),
    # The few galaxies of the made table have nothing in common: what is learnt shows on themselves.
    "zoobot": (("cpu",), {"model.options.width": 2, "model.options.stage_sizes": (1, 1), "augment.size": 16,
                          "data.eval": "train", "optimizer.learning_rate": 1e-2}),
}


@pytest.fixture(scope="module")
def clear_cut(tmp_path_factory):
  """The challenge's files with galaxies of which the first answers are the usual ones, as no network begins."""
  return write_challenge(tmp_path_factory.mktemp("challenge"), first=10.0)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_config_trains(name, clear_cut, data_dir, tmp_path, caplog):
  caplog.set_level("INFO", "galaxy_jax")
  arguments, small = CASES[name]
  config = importlib.import_module(f"galaxy_jax.configs.{name}").get_config(*arguments)
  of_gz2 = config.data.builder.startswith("galaxy_zoo_2")
  options = {key.removeprefix("model.options."): value for key, value in small.items() if "options" in key}
  config.model.options.update(options)
  config.update_from_flattened_dict(FEW | {key: value for key, value in small.items() if "options" not in key})
  config.data.manual_dir, config.data.data_dir = str(GZ2 if of_gz2 else clear_cut), str(data_dir)
  assert train(config, tmp_path / "run").finished
  errors = [error for _, error in read_history(tmp_path / "run" / "metrics.csv")["eval/rmse"]]
  assert len(errors) == 5 and errors[-1] < 0.98 * errors[0]
  if name == "galaxyid":
    finish_run(read_config(tmp_path / "run"), tmp_path / "run", "test")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Answers right and wrong" in page and "debiased (fractions of those who were asked)" in page
    # The fractions compared are the debiased ones, which do not sum to their parents.
    table = pq.read_table(tmp_path / "run" / "predictions.parquet")
    assert table["voted_Class1.1"].to_pylist() == pytest.approx(_debiased_smooth(table["galaxy_id"].to_pylist()))
    assert set(table["target"].to_pylist()) == {"debiased"}
  if name == "zoobot":
    assert "14 counted" in caplog.text


def _debiased_smooth(ids):
  """The debiased fractions of smooth galaxies as the table has them."""
  with gzip.open(GZ2 / "gz2_hart16.csv.gz", "rt") as file:
    rows = {int(row["dr7objid"]): row["t01_smooth_or_features_a01_smooth_debiased"] for row in csv.DictReader(file)}
  return [float(rows[number]) for number in ids]


@pytest.mark.parametrize("name", ["alexnet", "dieleman", "zoobot"])
def test_full_protocols(name):
  """What was published, as the configs say it."""
  config = importlib.import_module(f"galaxy_jax.configs.{name}").get_config("gpu")
  o = config.optimizer
  if name == "alexnet":
    assert (config.data.train, config.data.eval, config.train.epochs) == ("train[:55000]", "validation[:6000]", 7)
  if name == "dieleman":
    views = config.eval.rotations * (1 + config.eval.flips) * len(config.eval.zooms)
    assert (views, config.train.steps * config.train.batch_size) == (60, 25_000_000)
    np.testing.assert_allclose([config.augment.view * 424, config.augment.shift * config.augment.view * 424], [297, 4])
    assert (o.name, o.learning_rate, o.factor, o.momentum, o.milestones) == ("nesterov", 0.04, 0.1, 0.9, (0.72, 0.92))
    before = experiment.pretraining(config)
    assert (before.model.output, before.optimizer.schedule) == ("clipped", "constant")
    assert before.train.steps * before.train.batch_size == 10_000
  if name == "zoobot":
    assert (o.learning_rate, o.weight_decay, o.layer_decay) == (1e-4, 0.05, 0.75)


@pytest.mark.parametrize("name", ["galaxyid", "galaxy10_cnn", "galaxy10_baseline"])
def test_a_config_without_variants_says_so(name):
  config = importlib.import_module(f"galaxy_jax.configs.{name}")
  assert config.get_config().variant == ""
  with pytest.raises(ValueError, match="is 'cpu', but this one has no variants: leave out the colon"):
    config.get_config("cpu")
