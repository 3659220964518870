"""The report of classes: its measures against scikit-learn, its page against its own promises; comparing runs."""
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score
from test_report import Page, drawn

from galaxy_jax.report import class_figures, class_measures, compare
from galaxy_jax.report.__main__ import read
from galaxy_jax.report.classes import ClassRun, write

NAMES = ("round", "edge_on", "spiral", "merger")


def looked(rows, classes):
  assert len(rows) == len(classes)
  return np.full((len(rows), 24, 24, 3), 0.5), np.linspace(0, 1, len(rows) * 36).reshape(-1, 6, 6), "stage3"


def make_run(count=40, **changes):
  rng = np.random.default_rng(5)
  labels = rng.integers(0, 3, count)  # no merger
  predicted = rng.dirichlet(np.ones(4), count) + 0.5 * np.eye(4)[labels]
  run = ClassRun(
      name="morph", facts={"model": "resnet18", "parameters": 703128}, data={"data set": "galaxy10"}, results={},
      history={"eval/accuracy": [(10, 0.3), (20, 0.5)], "eval/error": [(10, 0.7), (20, 0.5)]},
      ids=np.arange(100, 100 + count), predicted=(predicted / predicted.sum(1, keepdims=True)).astype(np.float32),
      labels=labels, names=NAMES, images=rng.integers(0, 255, (count, 24, 24, 3), np.uint8), notes=["Take note"],
      explain=looked)
  return run._replace(**changes)


def test_measures_against_scikit_learn():
  run = make_run(200)
  rounded = run.predicted.astype(np.float64).round(1)  # many equal probabilities
  scores = class_measures.scores(rounded, run.labels)
  best = rounded.argmax(1)
  precision, recall, f1, count = precision_recall_fscore_support(run.labels, best, labels=range(4),
                                                                 zero_division=np.nan)
  np.testing.assert_array_equal(scores.labelled, count)
  np.testing.assert_allclose(scores.recall, recall)
  np.testing.assert_allclose(scores.precision, precision)
  np.testing.assert_allclose(scores.f1[:3], f1[:3])
  for c in range(3):
    assert scores.auc[c] == pytest.approx(roc_auc_score(run.labels == c, rounded[:, c]))
    assert scores.average_precision[c] == pytest.approx(average_precision_score(run.labels == c, rounded[:, c]))
  assert np.isnan([scores.auc[3], scores.average_precision[3], scores.recall[3], scores.f1[3]]).all()
  np.testing.assert_array_equal(class_measures.confusion(run.labels, best, 4),
                                confusion_matrix(run.labels, best, labels=range(4)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """A run with some unlabelled galaxies, its page and its folder."""
  run = make_run()
  run.labels[:5] = -1
  best = run.predicted.argmax(1)
  run.results["accuracy"] = float(np.mean(best[5:] == run.labels[5:]))
  folder = tmp_path_factory.mktemp("run")
  return run, Page(write(run, folder)), folder


def test_numbers_on_the_page(written):
  run, page, _ = written
  best, labels = run.predicted.argmax(1)[5:], run.labels[5:]
  accuracy, common = np.mean(best == labels), np.bincount(labels).max() / 35
  assert f"Accuracy{accuracy:.1%}most frequent class {common:.1%}" in page.text
  recall = [np.mean(best[labels == c] == c) for c in range(3)]
  assert f"Mean of the classes{np.mean(recall):.1%}mean accuracy of 3 classes" in page.text
  assert "Galaxies35with a label, of 40" in page.text
  assert f"edge on{np.sum(labels == 1)}{np.sum(best == 1)}{recall[1]:.1%}" in page.text
  assert "The evaluation reports" not in page.text and "Take note" in page.text
  surest = 5 + np.flatnonzero(best == labels)[np.argsort(-run.predicted[5:].max(1)[best == labels], kind="stable")]
  cards = re.findall(r"(\d{3})Predicted", page.text)
  assert cards[:8] == [str(100 + row) for row in surest[:8]]
  assert f"“{NAMES[int(np.argmin(recall))].replace('_', ' ')}”, {min(recall):.0%}" in page.text


def test_the_page_is_whole_and_its_figures_lie_beside_it(written):
  _, page, folder = written
  names = {path.stem for path in (folder / "figures").iterdir()}
  assert names >= {"curve_accuracy", "confusion_counts", "confusion_rates", "roc", "precision_recall", "class_examples",
                   "class_occurrences", "attention_right", "attention_wrong", "gallery_right", "gallery_wrong",
                   "gallery_worst_class"}
  assert "curve_error" not in names  # the accuracy once more
  # The scores have the page's width.
  assert re.search(r'</figure></div><div class="scroll"[^>]*><table class=many><caption><strong>Scores', page.source)
  for path in (folder / "figures").iterdir():
    with Image.open(path) as image:
      image.load()
  assert all(attributes.get("alt") for attributes in page.all("img"))
  assert all(attributes["src"].startswith("data:") for attributes in page.all("img"))


def test_galaxies_without_labels_and_networks_without_maps(tmp_path):
  run = make_run(6, labels=np.full(6, -1), explain=lambda rows, classes: "There is no map of it.", history={})
  text = Page(write(run, tmp_path / "a")).text
  assert "None of them has a label" in text and "There is no map of it." in text and "Labelled" not in text
  assert {path.stem for path in (tmp_path / "a/figures").iterdir()} == {"class_occurrences", "gallery_first"}
  assert "Where the network looked" not in Page(write(run._replace(explain=None), tmp_path / "b")).text


def test_a_class_without_a_labelled_galaxy_has_no_rates(monkeypatch):
  made = drawn(monkeypatch, class_figures)
  charts = class_figures.confusion(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]]), ["a", "b", "c"])
  counts, rates = ([text.get_text() for text in figure.axes[0].texts] for figure in made)
  assert counts == ["3", "1", "0", "0", "0", "0", "2", "0", "6"]
  assert rates == ["75", "25", "0", "–", "–", "–", "25", "0", "75"]
  assert all("b: – of 0" in chart.alt for chart in charts)
  assert "no galaxy" in charts[1].caption
  assert "no galaxy" not in class_figures.confusion(np.eye(2, dtype=int), ["a", "b"])[1].caption


def test_maps_are_made_once_for_right_and_wrong_galaxies(tmp_path):
  """Each call compiles the network: right and wrong ones come together, and are told apart after it."""
  calls = []
  run = make_run(explain=lambda rows, classes: calls.append((rows, classes)) or looked(rows, classes))
  best = run.predicted.argmax(1)
  write(run, tmp_path)
  (rows, classes), = calls
  np.testing.assert_array_equal(classes, best[rows])
  right = best[rows] == run.labels[rows]
  assert 0 < right.sum() < len(right) and (np.diff(right.astype(int)) <= 0).all()  # first the right ones
  for name in ("right", "wrong"):
    assert (tmp_path / f"figures/attention_{name}.png").exists()


def test_one_galaxy_many_classes_and_another_accuracy(tmp_path):
  one = make_run(1, results={"accuracy": 0.25}, history={}, explain=None)
  assert "The evaluation reports an accuracy of 0.2500" in Page(write(one, tmp_path)).text
  rng = np.random.default_rng(0)
  many = make_run(30, names=tuple(f"<{i}>" for i in range(30)), predicted=rng.dirichlet(np.ones(30), 30),
                  labels=np.arange(30), history={}, explain=None)
  text = Page(write(many, tmp_path)).text
  assert "Drawn are the 12 lowest of 30." in text and "<29>" in text


@pytest.mark.parametrize(("change", "message"), [
    ({"predicted": np.zeros((3, 4))}, r"probabilities of shape \(4, 4\)"),
    ({"labels": np.array([0, 1, 4, 0])}, "Galaxy 102 has the label 4, but there are 4 classes"),
    ({"predicted": np.where(np.arange(4) == 1, np.nan, 0.1) + np.zeros((4, 1))}, "of edge_on of galaxy 100 is nan"),
    ({"ids": np.zeros(0, int)}, "at least one galaxy"),
])
def test_what_does_not_belong_together_is_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    write(make_run(4, **change), tmp_path)
  assert not list(tmp_path.iterdir())


def finished(folder, *, rate, accuracy, notes=(), classes=None, **config):
  """What a finished run leaves that a comparison reads."""
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps({"name": folder.name, "model": {"name": "resnet18"},
                                                  "optimizer": {"learning_rate": rate}, "eval": {"zooms": [1.0]},
                                                  **config}))
  (folder / "data.json").write_text(json.dumps({"train": {"classes": classes} if classes else {}}))
  (folder / "metrics.json").write_text(json.dumps({"accuracy": accuracy, "accuracy/round": 0.25, "loss": 1}))
  (folder / "facts.json").write_text(json.dumps(
      {"name": folder.name, "run": {"parameters": 1234567, "training time": "3.1 min"}, "notes": list(notes),
       "data": {"evaluated on": "test, 9 galaxies", "source fingerprint": "ab"}}))
  rows = [f"{s},{n},{v}" for s in (1, 2, 3) for n, v in (
      ("eval/accuracy", accuracy / s), ("train/loss", 1 / s), ("images_per_second", 100.0 * s**2))]
  (folder / "metrics.csv").write_text("step,name,value\n" + "\n".join(rows) + "\n")
  return str(folder)


def test_runs_are_compared(tmp_path):
  workdirs = [finished(tmp_path / "a/run", rate=0.1, accuracy=0.5),
              finished(tmp_path / "b/run", rate=0.2, accuracy=0.75, notes=["Simulated"])]
  runs = read(workdirs)
  assert [run.label for run in runs] == ["1 run", "2 run"]
  assert compare.differing(runs) == {"optimizer.learning_rate": [0.1, 0.2]}
  page = Page(compare.write(runs, tmp_path / "both.html"))
  for words in ("accuracy0.50.75", "parameters1,234,5671,234,567", "training time3.1 min3.1 min",
                "images a second in training400400", "optimizer.learning_rate0.10.2", "2 run: Simulated"):
    assert words in page.text, words
  assert {path.name for path in (tmp_path / "both_figures").iterdir()} == {"curve_accuracy.png",
                                                                           "curve_training_loss.png"}
  assert "1 run is highest, 0.5, at step 1" in page.text and "not evaluated on the same" not in page.text
  assert "learn different things" not in page.text and "loss11" in page.text


def test_runs_that_learn_different_things_share_no_row_and_no_chart(tmp_path):
  def make(name, rate, task="classes", **more):
    return finished(tmp_path / name, rate=rate, accuracy=rate, task=task, **more)
  runs = read([make("votes", 0.5, "votes"), make("one", 0.25, classes=["round", "edge_on"]),
               make("two", 0.75, classes=["edge_on", "round"]), make("three", 0.125, classes=["round", "spiral"]),
               make("debiased", 0.375, "votes", data={"target": "debiased"}),
               make("outlines", 0.625, "instances", classes=["spiral"])])
  assert [(group.learnt, [run.label for run in group.runs]) for group in compare.groups(runs)] == [
      ("vote fractions", ["votes"]), ("2 classes", ["one", "two"]), ("2 classes", ["three"]),
      ("debiased vote fractions", ["debiased"]), ("outlines of 1 class", ["outlines"])]
  page = Page(compare.write(runs, tmp_path / "all.html"))
  assert ("The runs learn different things; their figures stand beside each other only where they learn the same. "
          "Vote fractions: votes. 2 classes (edge on, round): one and two. 2 classes (round, spiral): three. "
          "Debiased vote fractions: debiased. Outlines of 1 class (spiral): outlines.") in page.text
  assert re.findall(r"accuracy(0\.[\d.]+)loss", page.text) == ["0.5", "0.250.75", "0.125", "0.375", "0.625"]
  assert {path.stem for path in (tmp_path / "all_figures").iterdir()} == {
      f"curve_{quantity}_{number}" for quantity in ("accuracy", "training_loss") for number in range(1, 6)}
  accuracies = [image["alt"] for image in page.all("img") if "Accuracy" in image["alt"]]
  assert "Accuracy, 2 classes" in accuracies[1] and "one is" in accuracies[1] and "two is" in accuracies[1]
  assert not any(name in accuracies[0] for name in ("one is", "three is", "debiased is"))


def test_losses_are_beside_each_other_only_where_they_are_the_same(tmp_path):
  losses = {"a": "squared_error", "b": "squared_error", "c": "dirichlet_multinomial"}
  runs = read([finished(tmp_path / name, rate=0.1, accuracy=0.5, loss={"name": loss})
               for name, loss in losses.items()])
  runs[2].facts["data"]["evaluated on"] = "other galaxies"
  page = Page(compare.write(runs, tmp_path / "all.html"))
  assert {path.stem for path in (tmp_path / "all_figures").iterdir()} == {
      "curve_accuracy", "curve_training_loss_squared_error", "curve_training_loss_dirichlet_multinomial"}
  assert "loss, squared error11–" in page.text and "loss, dirichlet multinomial––1" in page.text
  assert "accuracy0.50.50.5" in page.text and "The runs were not evaluated on the same galaxies." in page.text


def test_folders_without_a_finished_run_are_named(tmp_path):
  good = finished(tmp_path / "good", rate=0.1, accuracy=0.5)
  bad = finished(tmp_path / "bad", rate=0.1, accuracy=0.5)
  (tmp_path / "bad/facts.json").unlink()
  with pytest.raises(FileNotFoundError, match=r"bad holds no finished run: facts\.json is missing"):
    read([good, bad])
  with pytest.raises(ValueError, match="two or more different folders"):
    read([good, good])
