"""What the whole program says of mistakes, and runs that end early."""
import re
import sys

import pytest
from tiny_runs import command, run

from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.logbook import read_history
from galaxy_jax.train import train


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize(("changes", "message"), [
    ({"optimizer.name": "sgd"}, "optimizer.name is 'sgd'"),
    ({"model.name": "vgg"}, "model.name is 'vgg'"),
    ({"model.output": "sigmoid"}, "'tree_cross_entropy' goes with"),
    ({"data.eval": "nothing"}, "no records for the split 'nothing'"),
    ({"data.eval": "test"}, "The split 'test' of galaxy_zoo_challenge/votes/1.0.0 has no labels"),
    ({"data.manual_dir": "/nowhere", "data.data_dir": "/nowhere/data"}, "/nowhere"),
    ({"data.loader": "cloud"}, "config.data.loader is 'cloud'"),
    ({"data.target": "fractions"}, "config.data.target is 'fractions'; expected vote_fractions, debiased."),
    ({"augment.rotation_step": 50.0}, "config.augment.rotation_step is 50; expected 0, or degrees that divide"),
    ({"augment.zoom": 0.5}, "config.augment.zoom is 0.5; expected at least 1."),
    ({"optimizer.warmup": 500.0}, "config.optimizer.warmup is 500.0; expected at least 0 and at most 0.999."),
    ({"model.options.norm": "layer"}, "norm is 'layer'"),
    ({"train.steps_per_call": 4}, "on CPU it must be 1"),
    ({"train.epochs": 0.0}, "no step"),
    ({"parallel": "both"}, "config.parallel is 'both'"),
])
def test_mistakes_are_named(challenge_dir, data_dir, tmp_path, changes, message):
  config = get_config("scratch")
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
    (["--config=configs/gz2.py:tpu"], "error: The config's argument is 'tpu'; expected one of cpu, gpu, scratch."),
    (["--config=elsewhere/gz2.py"], "--config is elsewhere/gz2.py, and there is no such file. The experiments are "),
    (["--config=configs/gz2.py:cpu", "--config.data.manual_dir=/nowhere"], "/nowhere, and there is no such folder"),
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


def test_a_loss_that_is_no_number_names_batch_and_checkpoint(challenge_dir, data_dir, tmp_path):
  result = run(command(challenge_dir, data_dir, tmp_path, "--config.train.steps=40", "--config.optimizer.clip=0.0",
                       "--config.optimizer.name=nesterov", "--config.optimizer.learning_rate=1e30",
                       "--config.optimizer.warmup=0.3"))
  assert result.returncode == 1
  assert re.search(r"error: Step \d+ gave .*(nan|inf)", result.stderr)
  assert "Its batch held the galaxies" in result.stderr
  assert "config.optimizer.learning_rate" in result.stderr


@pytest.mark.parametrize(("flags", "message"), [
    ([], "--config=… and --workdir=… must be given"),
    (["--workdir=x"], "--config=… must be given"),
    (["--config=configs/gz2.py:cpu"], "--workdir=… must be given"),
    (["--config=configs/gz2.py:cpu", "--workdir="], "--workdir= is empty"),
])
def test_what_is_not_given_is_named_with_an_example(flags, message):
  result = run([sys.executable, "-m", "galaxy_jax.main", *flags])
  assert result.returncode == 1
  line, = result.stderr.splitlines()
  assert line.startswith(f"error: {message}")
  assert "python -m galaxy_jax.main --config=configs/gz2.py --workdir=runs/gz2" in line
