"""The published systems that learn votes: each config trains a few steps on small data."""
import csv
import gzip
import importlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from galaxy_jax.evaluate import finish_run
from galaxy_jax.logbook import read_history
from galaxy_jax.train import train
from galaxy_jax.workdirs import read_config

#: Twenty made galaxies in Galaxy Zoo 2's files.
GZ2 = Path(__file__).parent.parent / "tfds_builders" / "galaxy_zoo_2" / "dummy_data"
FEW = {"data.crop": 0, "data.size": 16, "train.batch_size": 4, "eval.batch_size": 4, "train.epochs": 2.0,
       "train.eval_every": 0.5, "train.log_every": 1, "train.patience": 0, "data.test": "", "eval.rotations": 1,
       "eval.flips": False, "eval.zooms": (1.0,)}
CASES = {
    "galaxyid": ((), {"model.options.width": 2, "augment.size": 32}),
    "alexnet": (("cpu",), {"model.options.width": 2, "model.options.hidden": 4, "augment.size": 24}),
    "dieleman": (("cpu",), {"model.options.width": 2, "model.options.hidden": 4, "model.options.view": 37,
                            "model.options.part": 37, "augment.size": 37, "pretrain.train.steps": 2}),
    "zoobot": (("cpu",), {"model.options.width": 2, "model.options.stage_sizes": (1, 1), "augment.size": 16}),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_config_trains(name, challenge_dir, tmp_path, caplog):
  caplog.set_level("INFO")
  arguments, small = CASES[name]
  config = importlib.import_module(f"galaxy_jax.configs.{name}").get_config(*arguments)
  of_gz2 = config.data.builder.startswith("galaxy_zoo_2")
  for key, value in (FEW | small).items():
    section, _, last = key.rpartition(".")
    part = config
    for step in section.split("."):
      part = part[step]
    part[last] = value
  config.data.manual_dir, config.data.data_dir = str(GZ2 if of_gz2 else challenge_dir), str(tmp_path / "data")
  outcome = train(config, tmp_path / "run")
  assert outcome.finished
  history = read_history(tmp_path / "run" / "metrics.csv")
  assert history["epoch"][-1][1] == pytest.approx(2, abs=0.1)
  assert 0 < history["eval/rmse"][-1][1] < 1
  assert np.isfinite([loss for _, loss in history["train/loss"]]).all()
  if name == "galaxyid":
    finish_run(read_config(tmp_path / "run"), tmp_path / "run", "test")
    assert "Answers right and wrong" in (tmp_path / "run" / "report.html").read_text()
    # The fractions compared are the debiased ones, which do not sum to their parents.
    table = pq.read_table(tmp_path / "run" / "predictions.parquet")
    assert table["voted_Class1.1"].to_pylist() == pytest.approx(_debiased_smooth(table["galaxy_id"].to_pylist()))
  if name == "zoobot":
    assert "14 counted" in caplog.text
  if name == "dieleman":
    before = read_config(tmp_path / "run" / "pretraining")
    assert (before.model.output, before.train.steps) == ("clipped", 2)


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
  if name == "zoobot":
    assert (o.learning_rate, o.weight_decay, o.layer_decay) == (1e-4, 0.05, 0.75)
