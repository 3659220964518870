"""The search for settings: it goes on where it was interrupted, and ends as if it had not been."""
import csv
import json
import math
import shutil
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from galaxy_jax import search
from galaxy_jax import train as training
from galaxy_jax.configs import base
from galaxy_jax.report import trials as figure
from galaxy_jax.report.style import Chart
from galaxy_jax.train import NonFiniteLoss, Outcome

optuna = pytest.importorskip("optuna")
DUMMY = Path(__file__).parent.parent / "tfds_builders" / "galaxy_zoo_challenge" / "dummy_data"
SPACE = {"optimizer": {"learning_rate": ("log", 1e-4, 1e-1), "name": ("choice", "adamw", "nesterov"),
                       "frozen": ("choice", (), ("stage1", "stage2"))}}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """Where the data set is built by the first test that needs it."""
  return tmp_path_factory.mktemp("data")


@pytest.fixture
def config(data_dir):
  c = base.get_config()
  c.task, c.loss.name, c.model.name, c.model.options.width = "classes", "cross_entropy", "galaxyid", 2
  c.data.builder, c.data.eval, c.data.test = "galaxy_zoo_challenge/morph5", "test", ""
  c.data.manual_dir, c.data.data_dir = str(DUMMY), str(data_dir)
  c.data.size, c.augment.size = 36, 32
  c.train.batch_size, c.train.steps, c.train.log_every, c.train.eval_every = 4, 4, 1, 0.5
  c.search = SPACE
  return c


def rows(workdir):
  with open(workdir / "trials.csv", newline="") as file:
    return list(csv.DictReader(file))


def test_an_interrupted_trial_goes_on_from_its_checkpoint(config, tmp_path, monkeypatch, caplog):
  caplog.set_level("INFO")
  config.model.name, config.model.options = "most_frequent", {}  # compiled in no time
  del config.search.optimizer["frozen"]
  log = training._Loop._log

  def interrupted(loop):
    log(loop)
    if loop.workdir.name == "trial_002" and loop.step == 3:
      raise KeyboardInterrupt
  with monkeypatch.context() as patch:
    patch.setattr(training._Loop, "_log", interrupted)
    with pytest.raises(KeyboardInterrupt):
      search.search(config, tmp_path / "search", 2)
  assert [row["trial"] for row in rows(tmp_path / "search")] == ["1"]
  config.data.workers = 1  # where and how fast is no other search
  trials, stopped = search.search(config, tmp_path / "search", 2)
  assert stopped is None and "Going on from step 2." in caplog.text
  found = rows(tmp_path / "search")
  assert [(row["trial"], row["state"]) for row in found] == [("1", "complete"), ("2", "complete")]
  for row, trial in zip(found, trials, strict=True):
    folder = tmp_path / "search" / f"trial_00{row['trial']}"
    with open(folder / "metrics.csv", newline="") as file:
      errors = [line["value"] for line in csv.DictReader(file) if line["name"] == "eval/error"]
    assert float(errors[-1]) == float(row["error"]) == trial.score
    own = json.loads((folder / "config.json").read_text())["optimizer"]
    assert (repr(own["learning_rate"]), own["name"]) == (row["optimizer.learning_rate"], row["optimizer.name"])
  assert (tmp_path / "search" / "search.png").read_bytes().startswith(b"\x89PNG")
  monkeypatch.setattr(search.evaluate, "finish_run", lambda own, folder, command: evaluated.append((folder, own.name)))
  best, evaluated = search.best(trials), []
  folder = search.finish(tmp_path / "search", trials, search.space(config), "command")
  assert best.score == min(trial.score for trial in trials)
  assert evaluated == [(folder, f"run, trial {best.number + 1}")]
  assert f"settings: {search.flags_of(search.space(config), best)}" in caplog.text


@pytest.fixture
def quick(monkeypatch):
  """Trials that train nothing: their score has its lowest value at a rate of 0.01 with Nesterov; trial 3 fails.

  Returns a set: the trials in it are stopped by a signal when they come, once.
  """
  stops = set()

  def train(config, folder):
    assert config.optimizer.frozen in ((), ("stage1", "stage2")) and not config.search
    if folder.name in stops:
      stops.remove(folder.name)
      return Outcome(1, False, 2, folder)
    if folder.name == "trial_003":
      raise NonFiniteLoss("Step 1 gave loss nan.")
    folder.mkdir(parents=True)
    score = abs(math.log10(config.optimizer.learning_rate) + 2) + 0.5 * (config.optimizer.name == "adamw")
    (folder / "metrics.csv").write_text(f"step,name,value\n1,eval/error,{score / 2!r}\n2,eval/error,{score!r}\n")
    return Outcome(2, True, None, folder)
  monkeypatch.setattr(search, "train", train)
  monkeypatch.setattr(figure, "chart", lambda *_: Chart("search", "", b"", "", ""))  # one a trial takes its time
  return stops


def test_interruptions_change_nothing(config, tmp_path, quick):
  trials, _ = search.search(config, tmp_path / "whole", 14)
  assert [trial.state for trial in trials] == ["complete"] * 2 + ["failed"] + ["complete"] * 11
  quick |= {"trial_004", "trial_013"}
  assert search.search(config, tmp_path / "parts", 4)[1] == 2
  assert search.search(config, tmp_path / "parts", 4)[1] is None
  assert search.search(config, tmp_path / "parts", 14)[1] == 2  # more trials than at first
  assert search.search(config, tmp_path / "parts", 14) == (trials, None)
  assert search.search(config, tmp_path / "parts", 14) == (trials, None)  # there is nothing left to do
  assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
  with pytest.raises(ValueError, match=r"All 1 trials in .* failed: their losses became NaN"):
    search.finish(tmp_path, trials[2:3], search.space(config), "command")
  # It learns: the last three are better than the random ones.
  scores = [trial.score for trial in trials if trial.score is not None]
  assert np.mean(scores[-3:]) < np.mean(scores[:9])
  tried = {"optimizer.frozen": "stage1+stage2", "optimizer.learning_rate": 0.01, "optimizer.name": "nesterov"}
  assert search.flags_of(search.space(config), search.Trial(0, "complete", 0.1, tried)) == (
      '"--config.optimizer.frozen=(\'stage1\', \'stage2\')" --config.optimizer.learning_rate=0.01 '
      "--config.optimizer.name=nesterov")


def test_the_best_evaluation_counts_where_the_best_checkpoint_does(config, tmp_path, quick):
  config.eval.checkpoint = "best"
  best = search.search(config, tmp_path / "best", 2)[0]
  config.eval.checkpoint = "latest"
  latest = search.search(config, tmp_path / "latest", 2)[0]
  np.testing.assert_allclose([trial.score for trial in best], [trial.score / 2 for trial in latest])
  with pytest.raises(ValueError, match=r"eval\.checkpoint: 'best' there, 'latest' now"):
    search.search(config, tmp_path / "best", 2)


def test_another_search_is_refused(config, tmp_path, quick):
  search.search(config, tmp_path / "search", 1)
  config.train.batch_size = 5
  config.search.optimizer.learning_rate = ("log", 1e-5, 1e-1)
  with pytest.raises(ValueError, match="holds a search that differs") as error:
    search.search(config, tmp_path / "search", 1)
  assert "config.train.batch_size: 4 there, 5 now" in str(error.value)
  assert "config.search.optimizer.learning_rate: [0.0001, 0.1]".replace("[", "['log', ") in str(error.value)


def test_other_galaxies_are_refused(config, tmp_path, quick, data_dir):
  trials, _ = search.search(config, tmp_path / "search", 1)
  moved = shutil.copytree(data_dir, tmp_path / "moved")
  config.data.manual_dir, config.data.data_dir = "", str(moved)
  assert search.search(config, tmp_path / "search", 1) == (trials, None)  # where they lie makes no other search
  for path in moved.rglob("source.json"):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "others"}))
  with pytest.raises(ValueError, match=r"holds a search that differs(?s:.*)own settings and data to go on") as error:
    search.search(config, tmp_path / "search", 2)
  for split in ("train", "eval"):
    assert f"\n  data of split {split}.source.fingerprint: '" in str(error.value)
  assert str(error.value).count(" there, 'others' now\n") == 2


def test_whole_numbers_are_drawn_where_the_config_has_one(config, tmp_path, quick):
  config.search = {"train": {"batch_size": ("uniform", 3, 9)}, "model": {"options": {"width": ("log", 2.0, 16)}},
                   "optimizer": {"momentum": ("uniform", 0, 1)}}
  quick |= {"trial_002"}
  assert search.search(config, tmp_path / "search", 4)[1] == 2
  trials, _ = search.search(config, tmp_path / "search", 4)
  assert [trial.state for trial in trials] == ["complete", "complete", "failed", "complete"]
  for trial in trials:
    own = search.trial_config(config, search.space(config), trial.number, trial.tried)
    size, width, momentum = own.train.batch_size, own.model.options.width, own.optimizer.momentum
    assert type(size) is int and 3 <= size <= 9 and type(width) is int and 2 <= width <= 16
    assert type(momentum) is float and not momentum.is_integer()
  assert all(row["train.batch_size"].isdigit() for row in rows(tmp_path / "search"))
  study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'search' / 'search.sqlite'}")
  assert study.trials[0].distributions == {
      "train.batch_size": optuna.distributions.IntDistribution(3, 9),
      "model.options.width": optuna.distributions.IntDistribution(2, 16, log=True),
      "optimizer.momentum": optuna.distributions.FloatDistribution(0, 1)}


def test_a_search_that_drew_fractions_does_not_go_on_with_whole_numbers(config, tmp_path, quick):
  config.search = {"model": {"options": {"dropout": ("uniform", 0, 1)}}}
  config.model.options = {"width": 2, "dropout": 0.0}
  search.search(config, tmp_path / "search", 1)
  config.model.options = {"width": 2, "dropout": 0}  # in JSON the same
  with pytest.raises(ValueError, match=r"trial 1 drew config.model.options.dropout as 0\.\d+, .* another --workdir\.$"):
    search.search(config, tmp_path / "search", 2)


def test_a_range_that_only_even_batches_fit_is_refused_first(config, tmp_path):
  config.augment.mixup = 0.2
  config.search = {"train": {"batch_size": ("uniform", 4, 8)}}
  with pytest.raises(ValueError, match=r"config.train.batch_size is 5; .* a multiple of 2 is expected"):
    search.search(config, tmp_path / "search", 1)
  assert not (tmp_path / "search").exists()


def test_the_figure_has_names_for_choices_and_whole_numbers_for_those(monkeypatch):
  drawn = []
  monkeypatch.setattr(figure, "png", lambda made: drawn.append(made) or b"")
  tried = {"augment.flip": [True, False, True], "train.patience": [1, 2, 2], "model.options.width": [8, 60, 11],
           "augment.zoom": [1.0, 1.3, 1.1], "loss.name": ["focal", "focal", "cross_entropy"]}
  chart = figure.chart([1, 2, 4], [0.3, 0.1, 0.2], tried, "error", ["model.options.width"])
  assert "trial 2: augment.flip False, train.patience 2," in chart.caption
  _, flip, patience, width, zoom, name = drawn[0].axes
  label = lambda axes: [text.get_text() for text in axes.get_xticklabels()]
  assert label(flip) == ["False", "True"] and label(name) == ["cross_entropy", "focal"]
  np.testing.assert_array_equal(flip.lines[0].get_xdata(), [1, 0, 1])
  np.testing.assert_array_equal(patience.get_xticks(), np.round(patience.get_xticks()))
  assert {"10", "20", "50"} <= set(label(width))
  assert zoom.get_xlim()[0] < 1 < 1.3 < zoom.get_xlim()[1]


NUMBERS = r"expected \('{}', lowest, highest\), two finite numbers, the lower one first"


@pytest.mark.parametrize(("space", "message"), [
    ({}, "names no settings"),
    ({"optimizer": {"rate": ("log", 1, 2)}}, "config.search.optimizer.rate is for config.optimizer.rate, which"),
    ({"optimizer": {"learning_rate": 0.1}}, "expected .'uniform', lowest, highest"),
    ({"optimizer": {"learning_rate": ("log", 0.0, 1.0)}}, NUMBERS.format("log") + ", both above 0"),
    ({"optimizer": {"learning_rate": ("uniform", 1.0, 0.5)}}, "expected .'uniform', lowest, highest"),
    ({"optimizer": {"name": ("choice",)}}, "with different values"),
    ({"optimizer": {"name": ("choice", "adamw", "sgd")}}, "config.optimizer.name is 'sgd'"),
    ({"optimizer": {"frozen": ("choice", (), ("stage9",))}}, "has 'stage9'; the stages of this model are "),
    ({"optimizer": {"name": ("choice", 1, 2)}}, "config.search.optimizer.name has 1; config.optimizer.name is 'adamw'"),
    ({"train": {"ema": ("uniform", 0.0, 2.0)}}, "config.train.ema is 2.0; expected at least 0"),
    ({"train": {"batch_size": ("uniform", 8.5, 64)}},
     r"config.train.batch_size is 4, a whole number; expected \('uniform', lowest, highest\), both whole numbers too"),
    ({"train": {"batch_size": ("uniform", 0, 8)}}, "config.train.batch_size is 0; expected a positive multiple"),
    ({"optimizer": {"learning_rate": ("log", 1e-5, math.inf)}}, NUMBERS.format("log") + ", both above 0"),
    ({"optimizer": {"learning_rate": ("uniform", math.nan, 1.0)}}, NUMBERS.format("uniform")),
    ({"train": {"batch_size": ("log", 8, math.nan)}}, NUMBERS.format("log")),
    ({"train": {"batch_size": ("uniform", 64, 8)}}, NUMBERS.format("uniform")),
    ({"optimizer": {"weight_decay": ("uniform", -1e308, 1e308)}}, NUMBERS.format("uniform")),
    ({"optimizer": {"weight_decay": ("uniform", False, True)}}, NUMBERS.format("uniform")),
    ({"optimizer": ("choice", 1, 2)}, r"^config.search.optimizer is for config.optimizer, which is a whole section; "
     r"name one of its keys, config.search.optimizer.\w+ for instance\.$"),
])
def test_what_cannot_be_searched_is_refused_first(config, tmp_path, space, message):
  config.search = ml_collections.ConfigDict(space)
  with pytest.raises(ValueError, match=message):
    search.search(config, tmp_path / "search", 1)
  assert not (tmp_path / "search").exists()
