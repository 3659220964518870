"""The whole program, on 60 small galaxies with a small network: what it leaves, interruptions, refusals."""
import json
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxy_jax.checkpoint import Checkpoints
from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.files import claimed
from galaxy_jax.logbook import read_history, read_rows
from galaxy_jax.train import train
from tfds_builders.gz2_tree import COLUMNS

ROOT = Path(__file__).parent.parent
TINY = ["--config=configs/gz2.py:cpu", "--config.data.crop=0", "--config.data.size=32", "--config.augment.size=16",
        "--config.model.options.width=4", "--config.train.batch_size=6", "--config.eval.batch_size=8",
        "--config.train.log_every=3", "--config.eval.rotations=2"]


def command(challenge_dir, data_dir, workdir, *more):
  return [sys.executable, "-m", "galaxy_jax.main", *TINY, f"--config.data.manual_dir={challenge_dir}",
          f"--config.data.data_dir={data_dir}", f"--workdir={workdir}", *more]


def run(arguments, **options):
  return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=240, **options)


def final_state(workdir):
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    return checkpoints.latest, checkpoints._manager.restore(checkpoints.latest)["state"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def finished(challenge_dir, data_dir, tmp_path_factory):
  """A run of 40 steps to its end."""
  workdir = tmp_path_factory.mktemp("run")
  result = run(command(challenge_dir, data_dir, workdir, "--config.train.steps=40"))
  assert result.returncode == 0, result.stderr
  return workdir, result


def test_the_workdir_holds_everything(finished, challenge_dir):
  workdir, result = finished
  assert "variant cpu" in result.stderr.splitlines()[0]
  assert len(result.stderr.splitlines()) < 25  # what libraries say of themselves is left out
  config = json.loads((workdir / "config.json").read_text())
  assert config["train"]["steps"] == 40
  history = read_history(workdir / "metrics.csv")
  assert [step for step, _ in history["train/loss"]] == [*range(3, 40, 3), 40]
  assert [step for step, _ in history["eval/rmse"]] == list(range(4, 41, 4))
  assert list((workdir / "tensorboard").iterdir())
  assert (workdir / "report.html").stat().st_size > 100_000
  HTMLParser().feed((workdir / "report.html").read_text())
  figures = list((workdir / "figures").glob("*.png"))
  assert len(figures) > 10
  assert all(Image.open(path).size[0] > 100 for path in figures)


def test_tables_agree_with_each_other_and_with_the_metrics(finished):
  workdir, _ = finished
  table = pq.read_table(workdir / "predictions.parquet")
  assert table["split"].to_pylist() == ["validation"] * 6 + ["test"] * 7
  predicted, voted = (np.stack([table[before + name].to_numpy() for name in COLUMNS], 1) for before in ("", "voted_"))
  errors = (predicted - voted)[:6]
  metrics = json.loads((workdir / "metrics.json").read_text())
  np.testing.assert_allclose(metrics["rmse"], np.sqrt(np.mean(np.square(errors))), rtol=1e-5)
  assert np.isfinite(errors).all()
  assert np.isnan(voted[6:]).all()
  assert table["voted_Class1.1"].null_count == 7
  lines = (workdir / "submission.csv").read_text().splitlines()
  assert lines[0] == ",".join(["GalaxyID", *COLUMNS])
  rows = np.array([line.split(",") for line in lines[1:]], float)
  np.testing.assert_array_equal(rows[:, 0], table["galaxy_id"].to_numpy()[6:])
  np.testing.assert_allclose(rows[:, 1:], predicted[6:], atol=1e-6)
  np.testing.assert_allclose(rows[:, 1:4].sum(1), 1, atol=1e-5)


def test_it_learns(finished):
  """Colour and shape of the made galaxies say how smooth they are: 40 steps see some of it."""
  history = read_history(finished[0] / "metrics.csv")["train/loss"]
  assert history[-1][1] < 0.93 * history[0][1]


def test_a_finished_run_is_only_evaluated_again(finished, challenge_dir, data_dir):
  workdir, _ = finished
  before = read_rows(workdir / "metrics.csv")
  result = run(command(challenge_dir, data_dir, workdir, "--config.train.steps=40"))
  assert result.returncode == 0, result.stderr
  assert read_rows(workdir / "metrics.csv") == before


@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, challenge_dir, data_dir, tmp_path, kill):
  arguments = command(challenge_dir, data_dir, tmp_path, "--config.train.steps=40")
  rng = np.random.default_rng(kill)
  interrupted = 0
  for moment in np.sort(rng.integers(1, 38, 3)):
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    # Waits for the moment in the log, so that the run is hit in its loop and not while it starts.
    while process.poll() is None:
      rows = read_rows(tmp_path / "metrics.csv") if (tmp_path / "metrics.csv").exists() else []
      if rows and rows[-1][0] >= moment:
        process.send_signal(kill)
        break
      time.sleep(0.02)
    process.communicate(timeout=120)
    if process.returncode:
      # -SIGTERM: hit before the loop began, when there is nothing to save.
      assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL)
      interrupted += 1
  assert interrupted
  result = run(arguments)
  assert result.returncode == 0, result.stderr
  (step, mine), (expected_step, expected) = final_state(tmp_path), final_state(finished[0])
  assert step == expected_step == 40
  jax.tree.map(np.testing.assert_array_equal, mine, expected)
  without_rate = lambda path: [row for row in read_rows(path / "metrics.csv") if row[1] != "images_per_second"]
  assert without_rate(tmp_path) == without_rate(finished[0])


def test_a_workdir_of_another_run_is_refused(finished, challenge_dir, data_dir):
  result = run(command(challenge_dir, data_dir, finished[0], "--config.train.steps=41", "--config.seed=3"))
  assert result.returncode == 1
  assert "config.seed: 0 there, 3 now" in result.stderr
  assert "config.train.steps: 40 there, 41 now" in result.stderr
  assert "Traceback" not in result.stderr


def test_a_workdir_of_other_data_is_refused(finished, challenge_dir, data_dir):
  other = "--config.data.train=train[:50]"
  result = run(command(challenge_dir, data_dir, finished[0], "--config.train.steps=40", other))
  assert result.returncode == 1
  assert "config.data.train: 'train' there, 'train[:50]' now" in result.stderr
  assert "data of split train.records: 54 there, 50 now" in result.stderr


def test_evaluate_any_split_and_checkpoint(finished, tmp_path):
  workdir, _ = finished
  output = tmp_path / "out.parquet"
  result = run([sys.executable, "-m", "galaxy_jax.evaluate", f"--workdir={workdir}", "--split=train[:10]+validation",
                "--checkpoint=best", f"--output={output}"])
  assert result.returncode == 0, result.stderr
  assert "rmse" in result.stdout
  assert pq.read_table(output).num_rows == 16


@pytest.mark.parametrize(("changes", "message"), [
    ({"optimizer.name": "sgd"}, "optimizer.name is 'sgd'"),
    ({"model.name": "vgg"}, "model.name is 'vgg'"),
    ({"model.output": "sigmoid"}, "'tree_cross_entropy' goes with"),
    ({"data.eval": "nothing"}, "no records for the split 'nothing'"),
    ({"data.eval": "test"}, "The split 'test' of galaxy_zoo_challenge/votes/1.0.0 has no labels"),
    ({"data.manual_dir": "/nowhere", "data.data_dir": "/nowhere/data"}, "/nowhere"),
    ({"data.loader": "cloud"}, "config.data.loader is 'cloud'"),
    ({"augment.zoom": 0.5}, "config.augment.zoom is 0.5; expected at least 1."),
    ({"optimizer.warmup": 500.0}, "config.optimizer.warmup is 500.0; expected at least 0 and at most 0.999."),
    ({"model.options.norm": "layer"}, "norm is 'layer'"),
    ({"train.steps_per_call": 4}, "on CPU it must be 1"),
    ({"train.epochs": 0.0}, "no step"),
    ({"parallel": "both"}, "config.parallel is 'both'"),
])
def test_mistakes_are_named(challenge_dir, data_dir, tmp_path, changes, message):
  config = get_config("cpu")
  config.model.options.norm = "batch"
  config.update_from_flattened_dict({"data.manual_dir": str(challenge_dir), "data.data_dir": str(data_dir),
                                     "data.crop": 0, "data.size": 32, "augment.size": 16} | changes)
  with pytest.raises(ValueError, match=re.escape(message)):
    train(config, tmp_path / "run")
  assert not (tmp_path / "run/config.json").exists()


def test_a_mistake_ends_with_one_line(challenge_dir, data_dir, tmp_path):
  result = run(command(challenge_dir, data_dir, tmp_path / "run", "--config.optimizer.name=sgd"))
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1].startswith("error: config.optimizer.name is 'sgd'")
  assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("flags", "message"), [
    (["--config=configs/gz2.py:cpu", "--config.train.batch=3"], "error: the config has no key 'batch'"),
    (["--config=configs/gz2.py:tpu"], "error: The config's argument is 'tpu'; expected one of cpu, gpu."),
    (["--config=elsewhere/gz2.py"], "--config is elsewhere/gz2.py, and there is no such file. The experiments are "),
    (["--config=configs/gz2.py:cpu", "--config.augment.size=-1"], "config.augment.size is -1; expected at least 1."),
    (["--config=configs/gz2.py:cpu", "--workdir=/proc/x"], "--workdir is /proc/x, which cannot be written"),
])
def test_mistakes_on_the_command_line(tmp_path, flags, message):
  # The config's file comes before its keys; of two workdirs the last counts.
  config, *others = flags
  result = run([sys.executable, "-m", "galaxy_jax.main", f"--workdir={tmp_path}", config,
                "--config.data.data_dir=/nowhere", *others])
  assert result.returncode == 1
  assert message in result.stderr
  assert "Traceback" not in result.stderr


def test_a_workdir_belongs_to_one_process(finished, challenge_dir, data_dir):
  with claimed(finished[0], "--workdir"):
    result = run(command(challenge_dir, data_dir, finished[0], "--config.train.steps=40"))
  assert result.returncode == 1
  assert "where another process is at work" in result.stderr.splitlines()[-1]


def test_patience_ends_a_run_early_and_for_good(challenge_dir, data_dir, tmp_path):
  """With a learning rate of nothing no evaluation is better than the first."""
  more = ["--config.train.steps=40", "--config.optimizer.learning_rate=0.0", "--config.train.patience=2",
          "--config.eval.checkpoint=best", "--config.train.ema=0.0", "--config.optimizer.weight_decay=0.0",
          "--config.model.name=galaxyid"]
  for _ in range(2):
    result = run(command(challenge_dir, data_dir, tmp_path, *more))
    assert result.returncode == 0, result.stderr
    assert [step for step, _ in read_history(tmp_path / "metrics.csv")["eval/rmse"]] == [4, 8, 12]
  assert "validation, step 12: rmse" in result.stderr  # of equals the latest is the best


def test_a_live_run_can_be_evaluated(finished):
  """A reader leaves what a writer has in hand."""
  in_hand = finished[0] / "checkpoints/44.orbax-checkpoint-tmp"
  in_hand.mkdir()
  result = run([sys.executable, "-m", "galaxy_jax.evaluate", f"--workdir={finished[0]}"])
  assert result.returncode == 0, result.stderr
  assert in_hand.exists()
  in_hand.rmdir()


def test_a_loss_that_is_no_number_names_batch_and_checkpoint(challenge_dir, data_dir, tmp_path):
  result = run(command(challenge_dir, data_dir, tmp_path, "--config.train.steps=40", "--config.optimizer.clip=0.0",
                       "--config.optimizer.name=nesterov", "--config.optimizer.learning_rate=1e30",
                       "--config.optimizer.warmup=0.3"))
  assert result.returncode == 1
  assert re.search(r"error: Step \d+ gave .*(nan|inf)", result.stderr)
  assert "Its batch held the galaxies" in result.stderr
  assert "config.optimizer.learning_rate" in result.stderr


def test_help_without_arguments():
  result = run([sys.executable, "-m", "galaxy_jax.main"])
  assert result.returncode == 1
  assert "--config" in result.stderr
  assert "Traceback" not in result.stderr


