"""A run of classes from the table to the page: a user's survey, some galaxies of which have no class."""
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from own_survey import build, encoded, write_csv

from galaxy_jax import beginnings, datasets, evaluate, evaluation, experiment
from galaxy_jax.configs import base
from galaxy_jax.data import class_labels
from galaxy_jax.parallel import Parallel
from galaxy_jax.train import train

KINDS = ("dark", "light", "red")
COLOURS = {"dark": (30, 30, 30), "light": (220, 220, 220), "red": (230, 40, 40), "": (128, 128, 128)}


def survey(folder, kinds, splits, names=KINDS):
  """A survey whose classes are colours."""
  folder.mkdir()
  rng = np.random.default_rng(0)
  rows = [["id", "path", "kind", "where"]]
  for number, (kind, split) in enumerate(zip(kinds, splits, strict=True)):
    pixels = np.clip(np.array(COLOURS[kind]) + rng.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
    (folder / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    rows.append([number, f"{number}.png", kind, split])
  write_csv(folder / "t.csv", rows)
  (folder / "own_images.toml").write_text(f'[labels]\nlabel = "kind"\nnames = {json.dumps(names)}\n'
                                          '[splits]\ncolumn = "where"')
  return folder


def config_of(folder, data_dir, **keys):
  c = base.get_config()
  c.task, c.data.builder, c.loss.name = "classes", "own_images", "cross_entropy"
  c.data.manual_dir, c.data.data_dir = str(folder), str(data_dir)
  c.data.size = c.augment.size = 16
  c.augment.view = 1.0
  c.model.name, c.model.options.width = "galaxyid", 4
  c.train.batch_size, c.train.steps, c.train.log_every, c.train.eval_every, c.eval.batch_size = 8, 24, 8, 0.5, 8
  c.optimizer.learning_rate, c.eval.rotations, c.eval.flips = 1e-2, 2, False
  c.update_from_flattened_dict(keys)
  return c


class Flags(SimpleNamespace):
  """Flags by attribute and by name, as absl's."""

  def __getitem__(self, name):
    return SimpleNamespace(value=getattr(self, name))


def flags_of(**given):
  """The flags of galaxy_jax.evaluate, these given."""
  names = ("workdir", "workdirs", "weigh_on", "calibrate_on", "split", "rotations", "flips", "zooms", "batch_size",
           "output", "checkpoint", "builder", "label", "ignore_classes", "manual_dir", "data_dir")
  return Flags(**dict.fromkeys(names) | {"weights": "uniform"} | given)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A finished run with balanced weights and the frequencies' biases: its folder, its metrics, its survey."""
  folder = tmp_path_factory.mktemp("classes")
  kinds = ["dark"] * 14 + ["light"] * 6 + ["red"] * 4 + [""] * 2 + ["dark", "light", "red", ""] * 3 + [""] * 3
  own = survey(folder / "s", kinds, ["train"] * 26 + ["validation"] * 12 + ["test"] * 3)
  build(own, folder / "data")
  config = experiment.resolve(config_of(own, folder / "data", **{"loss.class_weights": "balanced",
                                                                 "model.head_bias": "log_frequencies"}))
  assert train(config, folder / "run").finished
  return folder, evaluate.finish_run(config, folder / "run", "python …"), config


@pytest.fixture(scope="module")
def other(tmp_path_factory):
  """The folder of a survey with as many classes in another order."""
  folder = tmp_path_factory.mktemp("other")
  kinds = ["dark", "light", "red"] * 6 + ["dark", "light"]
  return survey(folder / "other", kinds, ["train"] * 15 + ["validation"] * 5, names=("light", "dark", "red"))


def test_what_a_run_leaves_agrees_with_itself(run):
  folder, metrics, _ = run
  workdir = folder / "run"
  table = pq.read_table(workdir / "predictions.parquet")
  assert table["split"].to_pylist() == ["validation"] * 12 + ["test"] * 3
  probabilities = np.stack([table[f"probability_{name}"].to_numpy() for name in KINDS], 1)
  np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
  predicted = np.array(table["predicted"].to_pylist())
  np.testing.assert_array_equal(predicted, np.array(KINDS)[probabilities.argmax(1)])
  labels = table["label"].to_pylist()
  assert labels[:4] == ["dark", "light", "red", None] and labels[12:] == [None] * 3
  known = np.array([label is not None for label in labels])
  right = predicted[known] == np.array(labels)[known]
  assert metrics["accuracy"] == pytest.approx(right.mean()) and right.mean() > 0.6  # colours are easy
  assert metrics["error"] == pytest.approx(1 - right.mean())
  assert not any(name.startswith("test/") for name in metrics)  # it has no labels
  for name in KINDS:
    of_class = right[np.array(labels)[known] == name]
    assert metrics[f"accuracy/{name}"] == pytest.approx(of_class.mean())
  assert json.loads((workdir / "metrics.json").read_text())["accuracy"] == metrics["accuracy"]
  assert json.loads((workdir / "data.json").read_text())["train"]["classes"] == list(KINDS)
  assert {"report.html", "facts.json"} <= {path.name for path in workdir.iterdir()}
  assert not (workdir / "submission.csv").exists()
  assert (workdir / "figures/attention_right.png").exists()


def test_galaxies_are_counted_without_those_of_unknown_class(run):
  _, _, config = run
  builder = datasets.open_dataset(config)
  np.testing.assert_array_equal(datasets.class_counts(config, builder, KINDS), [14, 6, 4])
  config = config.copy_and_resolve_references()
  config.data.source = "simulated"
  with pytest.raises(ValueError, match=r"config\.loss\.class_weights counts the classes of the training split"):
    datasets.class_counts(config, builder, KINDS)


def test_other_data_sets_are_predicted_but_not_measured_on_other_classes(run, other, tmp_path):
  folder, _, config = run
  plain = tmp_path / "plain"
  plain.mkdir()
  write_csv(plain / "t.csv", [["id", "path"], *[[n, "a.png"] for n in range(20)]])
  (plain / "a.png").write_bytes(encoded(np.full((16, 16, 3), 30, np.uint8), "PNG"))
  builder = build(plain)
  _, results = evaluation.evaluate_splits(config, folder / "run", builder, ["train"], "latest")
  assert results["train"].metrics == {} and results["train"].predicted.shape[1] == 3
  with pytest.raises(ValueError, match=r"learnt the classes dark, light, red; those that .* calls 'label' are light, "
                                       r"dark, red: it cannot be measured on them\.$"):
    evaluation.evaluate_splits(config, folder / "run", build(other), ["train"], "latest")
  with pytest.raises(ValueError, match="has no classes called 'label'; it has none at all"):
    class_labels.names(builder, "label")


def test_a_head_of_other_classes_is_not_taken_over(run, other, caplog):
  """As many of them in another order: the shapes alone would not tell."""
  caplog.set_level("INFO")
  folder, _, config = run
  trained = evaluation.restore(config, folder / "run", Parallel("jit"), "latest").variables["params"]
  for own, same in ((folder / "s", True), (other, False)):
    mine = experiment.resolve(config_of(own, folder / "data" if same else other.parent / "data"))
    names = datasets.class_names(mine, datasets.open_dataset(mine))
    task = experiment.make_task(mine, axis_name=None, all_views=False, classes=names)
    first = task.init(jax.random.key(7))
    found = beginnings.of_run(folder / "run", task=task, classes=names, wanted=first, parallel=Parallel("jit"),
                              seed=7)["params"]
    for name, part in found.items():
      expected = trained[name] if same or name != "head" else first["params"][name]
      jax.tree.map(np.testing.assert_array_equal, part, expected)
    assert ("the head stays as it was at first, since that run predicts the classes dark, light, red" in caplog.text
            ) == (not same)


@pytest.mark.parametrize(("label", "message"), [
    ("kind", r"has no classes called 'kind'; it has label\."), ("label", None)])
def test_the_label_may_have_another_name_elsewhere(run, monkeypatch, capsys, label, message):
  folder, metrics, _ = run
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdir=str(folder / "run"), label=label))
  if message:
    with pytest.raises(ValueError, match=message):
      evaluate.main(None)
  else:
    assert evaluate.main(None) == 0
    assert f"{'accuracy':40s} {metrics['accuracy']:.5f}" in capsys.readouterr().out


def test_a_split_without_classes_cannot_be_trained_on(run):
  _, _, config = run
  with pytest.raises(ValueError, match=r"'test' of own_images/survey/1.0.0 has no labels"):
    datasets.check_labelled(datasets.open_dataset(config), "test", ("label",))


def test_the_baseline_is_counted(run, tmp_path):
  folder, _, _ = run
  config = config_of(folder / "s", folder / "data", **{
      "model.head_bias": "log_frequencies", "optimizer.learning_rate": 0.0, "train.steps": 1})
  config.model.name, config.model.options = "most_frequent", {}
  config = experiment.resolve(config)
  train(config, tmp_path / "run")
  trained = evaluation.restore(config, tmp_path / "run", Parallel("jit"), "latest")
  bias = np.asarray(trained.variables["params"]["head"]["bias"])
  np.testing.assert_allclose(np.exp(bias), np.array([14, 6, 4]) / 24, rtol=1e-5)
  assert trained.parameters == 3


@pytest.fixture(scope="module")
def second(run):
  """Another seed of the same experiment."""
  folder, _, config = run
  other = config.copy_and_resolve_references()
  other.seed, other.train.steps = 1, 8
  assert train(other, folder / "second").finished
  return folder / "second"


def probabilities(path):
  table = pq.read_table(path)
  return np.stack([table[f"probability_{name}"].to_numpy() for name in KINDS], axis=1)


def test_an_ensemble_predicts_the_mean_of_its_members(run, second, monkeypatch, tmp_path, capsys):
  folder, _, _ = run
  several = f"{folder / 'run'},{second}"
  for name, given in (("a", {"workdir": str(folder / "run")}), ("b", {"workdir": str(second)}),
                      ("both", {"workdirs": several.split(",")})):
    monkeypatch.setattr(evaluate, "FLAGS", flags_of(output=str(tmp_path / f"{name}.parquet"), **given))
    assert evaluate.main(None) == 0
  a, b, both = (probabilities(tmp_path / f"{name}.parquet") for name in ("a", "b", "both"))
  assert np.abs(a - b).max() > 0.01
  np.testing.assert_allclose(both, (a + b) / 2, atol=1e-6)
  labels = np.array(pq.read_table(tmp_path / "both.parquet")["label"].to_pylist(), object)
  right = (np.array(KINDS)[both.argmax(1)] == labels)[labels != None]  # noqa: E711
  assert capsys.readouterr().out.splitlines().count(f"{'accuracy':40s} {right.mean():.5f}") >= 1


def test_greedy_weights_are_chosen_on_other_galaxies(run, second, monkeypatch, caplog):
  folder, _, _ = run
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdirs=[str(folder / "run"), str(second)], weights="greedy",
                                                  weigh_on="validation[:8]", split="validation[8:]"))
  with caplog.at_level("INFO"):
    assert evaluate.main(None) == 0
  weights = [record.args[0] for record in caplog.records if record.name == "galaxy_jax.evaluate"]
  assert len(weights) == 2 and sum(weights) == pytest.approx(1)
  assert weights[0] > 0.5  # three times as long trained


@pytest.mark.parametrize(("given", "message"), [
    ({}, "Give --workdir=RUN, or --workdirs=RUN,RUN"),
    ({"workdir": "{run}", "workdirs": ["{run}"]}, "Give --workdir=RUN, or --workdirs=RUN,RUN"),
    ({"workdirs": ["{run}", "{run}"]}, "names a run twice"),
    ({"workdirs": ["{run}", "{second}"], "weights": "greedy"}, "--weights=greedy --weigh_on=SPLIT"),
    ({"workdirs": ["{run}", "{second}"], "weigh_on": "train"}, "--weights=greedy --weigh_on=SPLIT"),
    ({"workdirs": ["{run}", "{second}"], "weights": "greedy", "weigh_on": "validation[:5]"}, "share galaxies"),
    ({"workdirs": ["{run}", "{second}"], "weights": "greedy", "weigh_on": "test"}, "have they labels"),
])
def test_what_makes_no_ensemble_is_refused(run, second, monkeypatch, given, message):
  places = {"run": run[0] / "run", "second": second}
  fill = lambda value: [fill(v) for v in value] if isinstance(value, list) else value.format(**places)
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(**{key: fill(value) for key, value in given.items()}))
  with pytest.raises(ValueError, match=message):
    evaluate.main(None)


def test_runs_that_learn_other_things_make_no_ensemble(run, tmp_path, monkeypatch):
  folder, _, _ = run
  shutil.copytree(folder / "run", tmp_path / "run")
  path = tmp_path / "run" / "config.json"
  config = json.loads(path.read_text())
  config["data"]["label"] = "other"
  path.write_text(json.dumps(config))
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdirs=[str(folder / "run"), str(tmp_path / "run")]))
  with pytest.raises(ValueError, match=r"classes \(label\) of 3 classes and classes \(other\) of 3 classes"):
    evaluate.main(None)
