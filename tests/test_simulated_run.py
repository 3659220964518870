"""Without real data a run is simulated and says so; with data.source it is what was asked for."""
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import stand_in
from absl import flags

import galaxy_jax.main as program
from galaxy_jax import datasets, experiment, simulate
from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.logbook import read_history
from tfds_builders.errors import MissingDataError
from tfds_builders.galaxy_sim.galaxy_sim_dataset_builder import Builder
from tfds_builders.galaxy_sim.rendering import Recipe
from tfds_builders.galaxy_zoo_challenge import kaggle_download
from tfds_builders.prepare import prepare

GET = "kaggle competitions download -c galaxy-zoo-the-galaxy-challenge"
BUILD = "python -m tfds_builders galaxy_zoo_challenge"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
  monkeypatch.setattr(kaggle_download, "has_credentials", lambda: False)


@pytest.fixture
def config(tmp_path):
  config = get_config("scratch")
  config.data.data_dir = str(tmp_path / "data")
  return config


@pytest.fixture
def small_demo(monkeypatch):
  """The demo data set with 40 galaxies of the stand-in."""
  monkeypatch.setattr(simulate, "galaxy", stand_in.galaxy)
  # TFDS remembers the list of configs, so one of them is changed and not the list.
  demo = Builder.builder_configs["demo"]
  monkeypatch.setattr(demo, "recipe", Recipe(seed=1, size=32, rendered=32, mix="natural"))
  monkeypatch.setattr(demo, "splits", {"train": 28, "validation": 8, "test": 4})


@pytest.fixture
def run(tmp_path, caplog, monkeypatch, small_demo):
  """Runs the program in this process: its flags → (exit status, log lines)."""
  def run(*more):
    caplog.clear()
    with caplog.at_level(logging.INFO):
      # The config's flag reads the command line itself, and defines a flag for each key that is set there.
      for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
      monkeypatch.setattr(sys, "argv", [
          "main", "--config=configs/gz2.py:scratch", f"--config.data.data_dir={tmp_path / 'data'}",
          "--config.data.crop=0", "--config.data.size=24", "--config.augment.size=16",
          "--config.model.name=galaxyid", "--config.train.batch_size=4", "--config.eval.rotations=1",
          f"--workdir={tmp_path / 'run'}", *more])
      flags.FLAGS(sys.argv)
      status = program.main(None)
    return status, [record.getMessage() for record in caplog.records if record.name.startswith("galaxy_jax")]
  return run


def test_without_data_it_runs_on_simulated_galaxies_and_says_so(run, tmp_path, challenge_dir):
  status, log = run("--config.train.steps=3")
  assert status == 0
  assert log[0].startswith("gz2, simulated, variant scratch on ")
  assert [i for i, line in enumerate(log) if GET in line and BUILD in line] == [1, len(log) - 1]
  workdir = tmp_path / "run"
  config = json.loads((workdir / "config.json").read_text())
  assert (config["name"], config["data"]["builder"]) == ("gz2, simulated", "galaxy_sim/demo")
  metrics = json.loads((workdir / "metrics.json").read_text())
  assert (metrics["trained_on"], metrics["evaluated_on"]) == ("simulated", "simulated")
  page = (workdir / "report.html").read_text()
  assert "<title>gz2, simulated · galaxy_jax</title>" in page
  assert "<h1>gz2, simulated</h1>" in page
  assert '<p class="note" role="note">Trained and evaluated on simulated galaxies' in page

  before = (workdir / "metrics.csv").read_text()
  assert run("--config.train.steps=3")[0] == 0  # the same run, finished
  assert (workdir / "metrics.csv").read_text() == before

  # The real ones have come.
  shutil.copytree(challenge_dir, tmp_path / "data/downloads/manual")
  with pytest.raises(ValueError, match="on simulated galaxies instead of real ones:") as refused:
    run("--config.train.steps=3")
  assert "config.data.builder: 'galaxy_sim/demo' there, 'galaxy_zoo_challenge' now" in str(refused.value)
  assert "Choose another --workdir" in str(refused.value)


def test_simulated_galaxies_to_train_on_and_real_ones_to_evaluate_on(run, tmp_path, challenge_dir):
  shutil.copytree(challenge_dir, tmp_path / "data/downloads/manual")
  status, log = run("--config.train.epochs=0.5", "--config.simulator.epoch=24", "--config.data.source=simulated")
  assert (status, log[0][:15]) == (0, "gz2, simulated,")
  assert not any(GET in line for line in log)
  metrics = json.loads((tmp_path / "run/metrics.json").read_text())
  assert (metrics["trained_on"], metrics["evaluated_on"]) == ("simulated", "real")
  assert read_history(tmp_path / "run/metrics.csv")["train/loss"][-1][0] == 3
  page = (tmp_path / "run/report.html").read_text()
  assert "Trained on simulated galaxies, evaluated on real ones." in page
  assert "12 simulated galaxies, each seen once" in page


def test_what_changes_without_data(config):
  config.simulated.train.epochs = 7.0
  changed, missing = experiment.with_data(config, {"data.eval": "train[:5]"})
  assert (changed.data.builder, changed.data.eval, changed.train.epochs) == ("galaxy_sim/demo", "train[:5]", 7.0)
  assert GET in missing
  assert (config.name, config.data.builder, config.data.eval) == ("gz2", "galaxy_zoo_challenge", "validation")

  config.data.source = "simulated"
  changed, missing = experiment.with_data(config, {})
  assert (changed.data.builder, changed.data.source) == ("galaxy_sim/demo", "simulated")
  assert changed.train.epochs == config.train.epochs
  assert missing


def test_a_folder_without_the_files_is_not_made_up_for_by_a_build(config, tmp_path, challenge_dir):
  prepare("galaxy_zoo_challenge", manual_dir=challenge_dir, data_dir=config.data.data_dir, progress=False)
  config.data.manual_dir = str(challenge_dir)
  experiment.with_data(config, {"data.manual_dir": str(challenge_dir)})
  (tmp_path / "others").mkdir()
  with pytest.raises(MissingDataError, match=r"others.*built already, leave config\.data\.manual_dir out\.") as caught:
    experiment.with_data(config, {"data.manual_dir": str(tmp_path / "others")})
  assert "images_training_rev1.zip" in str(caught.value)


@pytest.mark.parametrize("how", ["real", "manual_dir", "credentials", "files", "built"])
def test_a_run_stays_real(config, tmp_path, monkeypatch, challenge_dir, how):
  if how == "real":
    config.data.source = "real"
  elif how == "manual_dir":  # whoever names a folder wants what should be in it
    config.data.manual_dir = str(tmp_path / "nothing")
  elif how == "credentials":
    monkeypatch.setattr(kaggle_download, "has_credentials", lambda: True)
  elif how == "built":
    prepare("galaxy_zoo_challenge", manual_dir=challenge_dir, data_dir=config.data.data_dir, progress=False)
  else:
    shutil.copytree(challenge_dir, tmp_path / "data/downloads/manual")
  same, missing = experiment.with_data(config, {})
  assert missing is None
  assert (same.name, same.data.builder) == ("gz2", "galaxy_zoo_challenge")
  if how in ("real", "manual_dir"):
    with pytest.raises(MissingDataError, match=GET):
      datasets.open_dataset(same)


def test_simulated_galaxies_are_not_real(config):
  config.data.builder, config.data.source = "galaxy_sim/demo", "real"
  with pytest.raises(ValueError, match="whose galaxies are simulated"):
    datasets.open_dataset(config)
  config.data.source, config.data.manual_dir = "auto", "files"
  with pytest.raises(ValueError, match="The files in files are not those of the data set galaxy_sim/demo"):
    datasets.open_dataset(config)


_HOST = """
import sys
from pathlib import Path
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from galaxy_jax import experiment
from galaxy_jax.configs.gz2 import get_config
for folder in sys.argv[3:]:
  config = get_config("scratch")
  config.data.data_dir = folder
  config, missing = experiment.with_data(config, {})
  print(config.data.builder, config.name, missing)
"""


def test_the_first_of_several_hosts_decides_for_all(tmp_path, challenge_dir):
  """Each sees a disk of its own: first only the other host has real galaxies, then only the first one."""
  shutil.copytree(challenge_dir, tmp_path / "full/downloads/manual")
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  folders = ["empty", "full"], ["full", "empty"]
  hosts = [subprocess.Popen(
      [sys.executable, "-c", _HOST, address, str(i), *(tmp_path / name for name in folders[i])],
      env={key: value for key, value in os.environ.items() if not key.startswith("KAGGLE")} | {"HOME": str(tmp_path)},
      cwd=Path(__file__).parent.parent, text=True, stdout=subprocess.PIPE) for i in (0, 1)]
  first, second = ([line for line in host.communicate(timeout=120)[0].splitlines() if not line.startswith("[Gloo]")]
                   for host in hosts)
  assert first == second
  assert first[0].startswith("galaxy_sim/demo gz2, simulated ") and f"{tmp_path}/empty" in "".join(first)
  assert first[-1] == "galaxy_zoo_challenge gz2 None"
