"""Where a run's first parameters come from: its own checkpoint, another run, its pre-training, chance."""
import json
import os
import re
import signal

import jax
import numpy as np
import pytest
import stand_in

from galaxy_jax import evaluation, experiment, feeds, simulate, workdirs
from galaxy_jax.configs.gz2_pretrained import get_config
from galaxy_jax.parallel import Parallel
from galaxy_jax.train import train

STEPS = 6


@pytest.fixture(autouse=True)
def stand_in_simulator(monkeypatch):
  monkeypatch.setattr(simulate, "galaxy", stand_in.galaxy)


@pytest.fixture(scope="module")
def make_config(challenge_dir, tmp_path_factory):
  """The pre-trained experiment with a small network and few steps."""
  data_dir = tmp_path_factory.mktemp("data")

  def make(**changes):
    config = get_config("cpu")
    config.model.options.update({"width": 4, "stage_sizes": (1,), "stem": (3, 1), "stem_pool": False})
    config.update_from_flattened_dict({
        "data.manual_dir": str(challenge_dir), "data.data_dir": str(data_dir), "data.crop": 0, "data.size": 24,
        "augment.size": 16, "train.batch_size": 6, "eval.batch_size": 6, "train.steps": STEPS, "train.eval_every": 0.5,
        "pretrain.data.crop": 0, "pretrain.data.size": 16, "pretrain.train.steps": STEPS} | changes)
    return config
  return make


@pytest.fixture(scope="module")
def finished(make_config, tmp_path_factory):
  """A run with its pre-training, to its end."""
  workdir = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(simulate, "galaxy", stand_in.galaxy)
    assert train(make_config(), workdir).finished
  return workdir


def evaluated(workdir):
  """The variables that a run predicts with."""
  parallel = Parallel("jit")
  trained = evaluation.restore(workdirs.read_config(workdir), workdir, parallel, "latest")
  assert trained.step == STEPS
  return parallel.fetch(trained.variables)


def assert_same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_pretraining_is_a_run_on_simulated_galaxies(finished):
  config, data = (json.loads((finished / f"pretraining/{name}.json").read_text()) for name in ("config", "data"))
  assert config["data"]["source"] == "simulated"
  assert (config["data"]["size"], config["augment"]["view"], config["pretrain"]["train"]["steps"]) == (16, 1.0, 0)
  assert data["train"] == {"simulator": simulate.VERSION, "mix": "balanced", "quality": 0, "votes": "expected",
                           "records": 61_578}
  assert data["eval"]["dataset"].startswith("galaxy_zoo_challenge")
  assert json.loads((finished / "data.json").read_text())["train"]["dataset"].startswith("galaxy_zoo_challenge")


def test_the_run_starts_from_what_pretraining_is_evaluated_with(finished, make_config, tmp_path):
  """Without learning they stay. They are the averaged ones, not those of the last step."""
  frozen = {"optimizer.learning_rate": 0.0, "optimizer.weight_decay": 0.0, "train.ema": 0.0, "pretrain.train.steps": 0}
  assert train(make_config(init_from=str(finished / "pretraining"), **frozen), tmp_path).finished
  assert_same(evaluated(tmp_path)["params"], evaluated(finished / "pretraining")["params"])


def test_pretraining_in_a_run_of_its_own_comes_to_the_same(finished, make_config, tmp_path):
  config = make_config(init_from=str(finished / "pretraining"), **{"pretrain.train.steps": 0})
  assert train(config, tmp_path).finished
  assert_same(evaluated(tmp_path), evaluated(finished))


@pytest.mark.parametrize("moments", [(2, 9), (6, 7)])
def test_interrupted_anywhere_it_ends_as_if_it_had_not_been(finished, make_config, tmp_path, monkeypatch, moments):
  """Moments count the steps of both parts; at 6 pre-training is through and the run has not begun."""
  taken = 0

  def interrupting(kind):
    advance = kind.advance

    def counted(self, *arguments):
      nonlocal taken
      taken += 1
      if taken in moments:
        os.kill(os.getpid(), signal.SIGTERM)
      return advance(self, *arguments)
    monkeypatch.setattr(kind, "advance", counted)

  interrupting(feeds.SimulatedFeed)
  interrupting(feeds.ResidentFeed)
  outcomes = [train(make_config(), tmp_path) for _ in range(3)]
  assert [(outcome.finished, outcome.signal) for outcome in outcomes] == [
      (False, signal.SIGTERM), (False, signal.SIGTERM), (True, None)]
  assert [outcome.workdir for outcome in outcomes] == [tmp_path / "pretraining", tmp_path, tmp_path]
  assert taken == 2 * STEPS
  assert_same(evaluated(tmp_path), evaluated(finished))


def test_a_begun_run_needs_its_pretraining_no_more(finished, make_config, monkeypatch):
  monkeypatch.setattr(feeds.SimulatedFeed, "advance", None)
  assert train(make_config(), finished).finished


@pytest.mark.parametrize(("changes", "message"), [
    ({"init_from": "{finished}/pretraining"}, "Both config.init_from and config.pretrain.train.steps"),
    ({"init_from": "{finished}/pretraining", "pretrain.train.steps": 0, "model.options.width": 8},
     "pretraining, to start from, is of another model: "),
    ({"init_from": "{finished}/nothing", "pretrain.train.steps": 0}, "nothing is no run of galaxy_jax.main"),
    ({"simulator.mix": "unnatural", "data.source": "simulated"}, "config.simulator.mix is 'unnatural'; expected"),
    ({"data.crop": 425, "data.source": "simulated"}, "config.data.crop is 425; a simulated galaxy has 424 pixels"),
    ({"data.size": 7, "data.source": "simulated"}, "config.data.size is 7; a simulated image has at least 8 pixels"),
    ({"pretrain.data.size": 0}, "In pre-training, with the changes in config.pretrain: config.data.size is 0"),
    ({"pretrain.eval.checkpoint": "worst"}, "config.pretrain: config.eval.checkpoint is 'worst'; expected"),
    ({"pretrain.simulator.mix": "unnatural"}, "config.pretrain: config.simulator.mix is 'unnatural'; expected"),
])
def test_mistakes_are_named_before_anything_is_trained(finished, make_config, tmp_path, monkeypatch, changes, message):
  monkeypatch.setattr(feeds.SimulatedFeed, "advance", None)
  if "init_from" in changes:
    changes = changes | {"init_from": changes["init_from"].format(finished=finished)}
  with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
    train(make_config(**changes), tmp_path)
  assert not list(tmp_path.rglob("config.json"))


@pytest.mark.parametrize(("section", "message"), [
    ({"model": {"options": {"width": 8}}},
     r"config\.pretrain describes is of another model: .*: \(8,\) there, \(4,\) expected"),
    ({"data": {"eval": "nothing"}}, r"changes in config\.pretrain: .* no records for the split 'nothing'"),
    ({"optimizer": {"learn_rate": 1.0}}, r"changes config\.optimizer\.learn_rate, which there is not"),
])
def test_a_pretraining_that_does_not_fit_is_never_begun(make_config, tmp_path, monkeypatch, section, message):
  monkeypatch.setattr(feeds.SimulatedFeed, "advance", None)
  config = make_config()
  config.pretrain.update(section)
  with pytest.raises(ValueError, match=message):
    train(config, tmp_path)
  assert not list(tmp_path.rglob("config.json"))


def test_what_says_where_and_how_often_may_change_of_pretraining_too(finished, make_config):
  config = make_config()
  config.pretrain.update({"data": {"workers": 3}, "train": {"log_every": 7}})
  assert train(config, finished).finished
  for key, value in {"data.source": "real", "eval.checkpoint": "best", "data.size": 32}.items():
    with pytest.raises(ValueError, match=rf"config\.pretrain\.{key}: .* there, '?{value}'? now"):
      train(make_config(**{f"pretrain.{key}": value}), finished)


def test_a_report_says_that_both_kinds_of_galaxies_were_trained_on(make_config):
  assert experiment.galaxy_origins(make_config()) == {"trained_on": "simulated, then real", "evaluated_on": "real"}
  alone = make_config(**{"pretrain.train.steps": 0})
  assert experiment.galaxy_origins(alone) == {"trained_on": "real", "evaluated_on": "real"}
  assert experiment.galaxy_origins(experiment.pretraining(make_config()))["trained_on"] == "simulated"


def test_pretraining_says_in_its_name_what_it_trains_on(make_config):
  config = make_config()
  assert experiment.pretraining(config).name == "gz2 pretrained, pre-training, simulated"
  config.name += ", simulated"
  assert experiment.pretraining(config).name == "gz2 pretrained, pre-training, simulated"
  config.pretrain.data.source, config.name = "real", "gz2 pretrained"
  assert experiment.pretraining(config).name == "gz2 pretrained, pre-training"


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_without_real_data_pretraining_is_short(variant):
  config = get_config(variant)
  assert config.simulated.pretrain["train"]["steps"] <= 1000 < config.pretrain.train.steps


def test_another_simulator_does_not_go_on_with_the_run(finished, make_config, monkeypatch):
  monkeypatch.setattr(simulate, "VERSION", "other")
  config = experiment.pretraining(make_config())
  with pytest.raises(ValueError, match=r"data of split train\.simulator: '.*' there, 'other' now"):
    train(config, finished / "pretraining")
