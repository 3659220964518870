"""Runs that find galaxies, from outlines to the page: what they leave, resume, streamed data, and other beginnings."""
import functools
import json
import weakref

import instances as small
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from test_class_run import flags_of

from galaxy_jax import beginnings, datasets, evaluate, evaluation, experiment, feeds, models
from galaxy_jax.configs import mask_galaxy
from galaxy_jax.detection import masks
from galaxy_jax.parallel import Parallel
from galaxy_jax.report import instances
from galaxy_jax.tasks import instance_scores
from galaxy_jax.train import train
from galaxy_jax.train_step import State, make_train_step


def config_of(folder, **keys):
  c = mask_galaxy.get_config("cpu")
  c.data.manual_dir, c.data.data_dir = str(folder / "survey"), str(folder / "data")
  c.data.size = c.augment.size = small.SIDE
  c.init_from, c.eval.rotations, c.eval.flips = "", 1, False
  c.model.options = small.NETWORK | {"stage_sizes": (1, 1, 1, 1)}
  c.detection.anchors.num_samples, c.detection.regions.num_samples = 32, 16
  c.train.batch_size, c.train.steps, c.train.log_every, c.train.eval_every, c.eval.batch_size = 4, 6, 3, 0.5, 3
  c.update_from_flattened_dict(keys)
  return experiment.resolve(c)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A finished run: the folder above it, its metrics and its config."""
  folder = tmp_path_factory.mktemp("instances")
  small.write_survey(folder / "survey")
  config = config_of(folder)
  assert train(config, folder / "run").finished
  return folder, evaluate.finish_run(config, folder / "run", "python …"), config


def test_what_a_run_leaves(run):
  folder, metrics, _ = run
  workdir = folder / "run"
  written = json.loads((workdir / "metrics.json").read_text())
  assert written.items() >= metrics.items() and written["trained_on"] == "real"
  for name in ("box_ap50", "mask_ap50", "box_ap50_agnostic", "mask_ap50_agnostic", "box_voc_ap50", "mask_ap50_spiral"):
    assert 0 <= metrics[name] <= 1
  assert metrics["error"] == pytest.approx(1 - (metrics["box_ap50"] + metrics["mask_ap50"]) / 2)
  assert json.loads((workdir / "data.json").read_text())["train"]["classes"] == ["spiral", "elliptical"]
  text = (workdir / "report.html").read_text()
  assert "Average precision" in text and (workdir / "figures/gallery_best.png").exists()
  assert "Dr7_587722981746541000.jpg" in text
  logged = (workdir / "metrics.csv").read_text()
  assert "train/mask_loss" in logged and "train/out_of_view" in logged and "eval/mask_ap50" in logged


def test_the_table_has_a_row_for_each_detection(run):
  folder, metrics, config = run
  table = pq.read_table(folder / "run/predictions.parquet").to_pylist()
  assert len(table) / 4 == pytest.approx(metrics["detections"]) and table
  for row in table:
    mask = masks.decode_rle({"size": [row["mask_size"]] * 2, "counts": row["mask"]})
    assert mask.shape == (small.SIDE,) * 2 and row["predicted"] in ("spiral", "elliptical")
    assert 0 <= row["y0"] < row["y1"] <= small.SIDE and config.model.options.min_score <= row["score"] <= 1
    if mask.any():
      assert row["area"] == mask.sum() and row["y0"] - 1 <= row["y"] <= row["y1"] + 1
    else:
      assert row["area"] == 0 and row["y"] is None
  scores = [row["score"] for row in table if row["galaxy_id"] == table[0]["galaxy_id"]]
  assert scores == sorted(scores, reverse=True)


def test_outlines_are_not_calibrated(run, monkeypatch):
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdir=str(run[0] / "run"), calibrate_on="validation"))
  with pytest.raises(ValueError, match="finds outlines; votes and classes"):
    evaluate.main(None)


def test_figures_do_not_depend_on_the_batch(run):
  """Four images in batches of three: the last is padded."""
  folder, metrics, config = run
  config = config.copy_and_resolve_references()
  config.eval.batch_size = 4
  builder = datasets.open_dataset(config)
  _, results = evaluation.evaluate_splits(config, folder / "run", builder, ["validation", "train[:1]"], "latest")
  for name, value in results["validation"].metrics.items():
    assert metrics[name] == pytest.approx(value, abs=1e-6), name
  assert len(results["train[:1]"].data.images) == 1


def test_streamed_batches_are_those_on_the_device(run):
  _, _, config = run
  found = []
  for loader in ("resident", "stream"):
    mine = config.copy_and_resolve_references()
    mine.data.loader = loader
    builder = datasets.open_dataset(mine)
    task = experiment.make_task(mine, axis_name=None, all_views=False, classes=("spiral", "elliptical"))
    with feeds.open_feed(mine, builder, Parallel("jit"), task) as feed:
      feed.compile(lambda state, batch, axis_name: (state, {name: batch[name] for name in ("image", *task.labels)}))
      found.append(jax.device_get(feed.advance(0.0, 1, 1)[1]))
      ids = feed.batch_ids(1)
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert len(ids) == 4 and found[0]["valid"].any()


def test_a_classifiers_stages_become_the_backbone(run):
  _, _, config = run
  options = {key: small.NETWORK[key] for key in ("width", "stage_sizes", "norm")}
  network = models.create("resnet18", outputs=3, **options)
  images = np.zeros((1, small.SIDE, small.SIDE, 3), np.float32)
  theirs = jax.jit(lambda: network.init(jax.random.key(5), images, train=False))()
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=("a", "b"))
  wanted = jax.eval_shape(lambda: task.init(jax.random.key(0)))
  first = small.variables(task)
  found = beginnings.trunk_of(theirs, wanted, "The run in runs/other", first)
  jax.tree.map(np.testing.assert_array_equal, found["params"]["stage3_block1"], theirs["params"]["stage3_block1"])
  jax.tree.map(np.testing.assert_array_equal, found["params"]["rpn"], first["params"]["rpn"])
  assert jax.tree.map(np.shape, found) == jax.tree.map(lambda leaf: leaf.shape, wanted)
  narrow = {"params": {"stem": theirs["params"]["stem"]}}
  with pytest.raises(ValueError, match="The run in runs/other is"):
    beginnings.trunk_of(narrow, wanted, "The run in runs/other", first)
  # The package's model is wider: what starts from it by default says how not to.
  with pytest.raises(ValueError, match=r"the detector's \(--config\.init_from= starts from random parameters\),"):
    beginnings.of_run("simulated-gz2", task=task._replace(init=lambda key: first), classes=("a", "b"), wanted=wanted,
                      parallel=Parallel("jit"), seed=0)


def test_frozen_stages_stay(run):
  _, _, config = run
  mine = config.copy_and_resolve_references()
  mine.optimizer.frozen, mine.model.options.norm = ("stem", "stage1", "rpn"), "batch"
  task = experiment.make_task(mine, axis_name=None, all_views=False, classes=("spiral", "elliptical"))
  optimizer, _ = experiment.make_optimizer(mine, 10)
  first = jax.tree.map(np.asarray, small.variables(task))
  params, rest = first["params"], {name: part for name, part in first.items() if name != "params"}
  step = jax.jit(make_train_step(task, optimizer, seed=0, ema=0.0, frozen=tuple(mine.optimizer.frozen)))
  state = State(np.int32(2), params, rest, optimizer.init(params), {})
  batch = small.batch((2, 1))
  pad = {"masks": ((0, 0), (0, 0), (0, 0), (0, 1)), **dict.fromkeys(("classes", "valid", "ignore"), ((0, 0), (0, 15)))}
  batch = {name: np.pad(x, pad[name]) if name in pad else np.asarray(x) for name, x in batch.items()}
  after, _ = jax.device_get(step(state, batch | {"place": np.arange(2, dtype=np.int32)}))
  for kind, before in (("params", params), ("batch_stats", rest["batch_stats"])):
    found = after.params if kind == "params" else after.collections["batch_stats"]
    for name, part in before.items():
      same = all(np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (part, found[name])), strict=True))
      assert same == (models.stage_of(name) in mine.optimizer.frozen), (kind, name)


@pytest.mark.parametrize(("keys", "message"), [
    ({"model.name": "resnet18"}, r"config\.model\.name is 'resnet18'; the models that find instances are mask_rcnn"),
    ({"data.source": "simulated"}, r"galaxy_sim/scenes"),
    ({"eval.rotations": 3}, r"config\.eval\.rotations is 3 and .*; of instances 1, 2 or 4"),
    ({"data.ignore_classes": ("star",)}, r"config\.data\.ignore_classes has star"),
    ({"model.pretrained": "weights.pt"}, r"only \.safetensors files are read")])
def test_wrong_settings_are_found_before_anything_is_done(run, tmp_path, keys, message):
  folder, _, _ = run
  with pytest.raises(ValueError, match=message):
    train(config_of(folder, **keys), tmp_path / "run")
  assert not (tmp_path / "run/config.json").exists()


def watched(monkeypatch):
  """Counts how many images' masks are held at once, each time that more are made."""
  made, kept = [], []

  def watch(make, *given):
    kept.append(sum(reference() is not None for reference in made))
    result = make(*given)
    made.append(weakref.ref(result["masks"]))
    return result
  for name in ("truth", "found"):
    monkeypatch.setattr(instance_scores, name, functools.partial(watch, getattr(instance_scores, name)))
  return kept


def test_the_report_of_what_is_found_well(tmp_path, monkeypatch):
  """Truth shifted by two pixels: the errors of the report are those."""
  rows = 5
  batch = jax.device_get(small.batch((1, 2, 1, 0, 1)))
  truth = [instance_scores.truth(batch, row) for row in range(rows)]
  slots = batch["valid"].shape[1]
  predicted = {"boxes": np.zeros((rows, slots, 4), np.float32), "scores": np.zeros((rows, slots), np.float32),
               "classes": np.zeros((rows, slots), np.int32), "masks": np.zeros((rows, slots, 28, 28), np.float32),
               "valid": np.zeros((rows, slots), bool)}
  for row, true in enumerate(truth):
    for slot in np.flatnonzero(~true["ignore"]):
      y0, x0, y1, x1 = predicted["boxes"][row, slot] = true["boxes"][slot]
      cell = (np.arange(28) + 0.5) / 28
      predicted["masks"][row, slot] = true["masks"][slot][np.ix_((y0 + cell * (y1 - y0)).astype(int),
                                                                (x0 + cell * (x1 - x0)).astype(int))]
      predicted["boxes"][row, slot] += (0, 2, 0, 2)
      predicted["scores"][row, slot], predicted["valid"][row, slot] = 0.9 - 0.1 * slot, True
      predicted["classes"][row, slot] = true["classes"][slot]
  scores = instance_scores.InstanceScores(("round", "long"))
  scores.update(predicted, batch)
  kept = watched(monkeypatch)
  about = {"name": "run", "facts": {"model": "mask_rcnn"}, "data": {"data set": "blobs"}, "results": scores.result(),
           "history": {"train/loss": [(1, 2.0), (2, 1.0)], "eval/box_ap_small": [(1, 0.5)]}, "notes": []}
  made = instances.InstanceRun(ids=np.arange(rows), predicted=predicted, labels=batch, names=("round", "long"),
                               images=batch["image"], **about)
  text = instances.write(made, tmp_path).read_text()
  assert "1.000" in text and (tmp_path / "figures/shapes.png").exists()
  assert len(kept) >= 2 * rows and max(kept) <= 3  # one image's, and those of the one before it
  assert not (tmp_path / "figures/curve_box_ap_small.png").exists()
  matches = scores.precision.matches("mask", "any")
  errors = scores.matched.errors(matches)
  assert len(errors["centroid"]) == 5
  assert len(scores.matched.errors(matches, least=0.85)["centroid"]) == np.sum(predicted["scores"] >= 0.85)
  np.testing.assert_allclose(np.median(errors["centroid"]), 2, atol=0.3)
  assert np.abs(np.median(errors["area"])) < 0.05 and np.abs(np.median(errors["axis_ratio"])) < 0.05
  none = {name: np.zeros_like(batch[name]) for name in ("masks", "classes", "valid", "ignore")}
  text = instances.write(made._replace(labels=none, results={}), tmp_path / "unlabelled").read_text()
  assert "None of them has outlines to compare with" in text
