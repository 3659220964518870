"""The whole program, on 60 small galaxies with a small network: what it leaves, interruptions, other runs' folders."""
import json
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import csv
from tiny_runs import ROOT, command, run

from galaxy_jax.checkpoint import Checkpoints
from galaxy_jax.files import claimed
from galaxy_jax.logbook import read_history, read_rows
from tfds_builders.gz2_tree import COLUMNS


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
  assert "variant scratch" in result.stderr.splitlines()[0]
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


def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, challenge_dir, data_dir, tmp_path):
  arguments = command(challenge_dir, data_dir, tmp_path, "--config.train.steps=40")
  interrupted = 0
  for kill, moment in ((signal.SIGKILL, 7), (signal.SIGTERM, 18), (signal.SIGKILL, 29)):
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


def test_a_workdir_belongs_to_one_process(finished, challenge_dir, data_dir):
  with claimed(finished[0], "--workdir"):
    result = run(command(challenge_dir, data_dir, finished[0], "--config.train.steps=40"))
  assert result.returncode == 1
  assert "where another process is at work" in result.stderr.splitlines()[-1]


def test_a_live_run_can_be_evaluated(finished, tmp_path):
  """A reader leaves what a writer has in hand. As CSV, predictions are those that the run left as Parquet."""
  in_hand = finished[0] / "checkpoints/44.orbax-checkpoint-tmp"
  in_hand.mkdir()
  output = tmp_path / "out.csv"
  result = run([sys.executable, "-m", "galaxy_jax.evaluate", f"--workdir={finished[0]}", f"--output={output}"])
  assert result.returncode == 0, result.stderr
  assert in_hand.exists()
  in_hand.rmdir()
  written, expected = csv.read_csv(output), pq.read_table(finished[0] / "predictions.parquet")[:6]
  assert written.column_names == expected.column_names
  for name in COLUMNS:
    np.testing.assert_allclose(written[name].to_numpy(), expected[name].to_numpy(), rtol=1e-5)
  for name in ("galaxy_id", "description"):
    assert written[name].to_pylist() == expected[name].to_pylist()
