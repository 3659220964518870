"""The curve of a run's figures against noise: the noise, the curve of any task, and what is left of a run."""
import csv
import json
from types import SimpleNamespace

import instances as small
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_class_run import KINDS, build, config_of, survey

from galaxy_jax import datasets, evaluation, experiment, metrics, noise_curve, packed
from galaxy_jax.configs import mask_galaxy
from galaxy_jax.data.decode import Decoded
from galaxy_jax.files import write_json
from galaxy_jax.losses import masked_sum
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import Task, instance_scores

GREY = np.full((6, 32, 32, 3), 128, np.uint8)
IDS = np.array([b"a", b"b", b"c", b"d", b"e", b"a"])


def test_noise_has_its_sigma_and_belongs_to_its_image():
  rows = np.array([4, 0, 5, 1])
  noise = {sigma: noise_curve.Noisy(GREY, IDS, sigma)[rows].astype(float) - 128 for sigma in (10, 20)}
  for sigma, found in noise.items():
    assert found.std() == pytest.approx(sigma, rel=0.03) and abs(found.mean()) < 0.5
  np.testing.assert_allclose(noise[20], 2 * noise[10], atol=1.01)  # twice what was rounded
  np.testing.assert_array_equal(noise[20][1], noise[20][2])  # the same id
  assert abs(np.corrcoef(noise[20][0].ravel(), noise[20][1].ravel())[0, 1]) < 0.1
  alone = noise_curve.Noisy(GREY, IDS, 20)[np.array([1])]
  np.testing.assert_array_equal(alone[0] - 128.0, noise[20][3])
  other = noise_curve.Noisy(GREY, IDS, 20, seed=1)[np.array([1])]
  assert (other != alone).any()


def test_noise_is_clipped_and_nothing_at_zero():
  dark = noise_curve.Noisy(np.zeros_like(GREY), IDS, 50)[np.arange(6)]
  assert dark.dtype == np.uint8 and 0.45 < (dark == 0).mean() < 0.55
  assert noise_curve.Noisy(np.full_like(GREY, 250), IDS, 50)[np.arange(6)].max() == 255
  np.testing.assert_array_equal(noise_curve.Noisy(GREY, IDS, 0)[np.array([3])], GREY[:1])


def test_the_curve_of_any_task():
  """A task that says how far pixels are from grey, against numpy; six images in batches of four."""
  def sums(outputs, batch):
    return {"squared_error": masked_sum(outputs, batch["mask"])}
  task = Task(init=None, augment=None, loss=None, metrics=sums, finish=metrics.finish, absent={}, score="rmse",
              predict=lambda variables, batch: jnp.mean((batch["image"] - variables) ** 2, axis=(1, 2, 3)))
  evaluator = evaluation.Evaluator(task, Parallel("jit"), batch_size=4)
  data = Decoded(GREY, {"galaxy_id": IDS})
  found = noise_curve.curve(evaluator, jnp.float32(128), data, [0, 10, 40])
  assert found[0] == {"rmse": 0.0}
  for sigma, figures in zip((10, 40), found[1:], strict=True):
    noisy = noise_curve.Noisy(GREY, IDS, sigma)[np.arange(6)].astype(float)
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((noisy - 128) ** 2)), rel=1e-5)


@pytest.mark.parametrize("wrong", ["0,ten", "-1,5", "0,300", "5,5", ""])
def test_sigmas_are_numbers_of_counts(wrong):
  with pytest.raises(ValueError, match="different numbers from 0 to 255"):
    noise_curve.parse_sigmas(wrong.split(","))
  assert noise_curve.parse_sigmas(["40", "0", "2.5"]) == [0, 2.5, 40]


def test_errors_of_shape_are_among_the_figures():
  """What is there, found two pixels beside it, and one of three objects with the wrong class."""
  batch = jax.device_get(small.batch((1, 2)))
  truth = [instance_scores.truth(batch, row) for row in range(2)]
  slots = batch["valid"].shape[1]
  outputs = {"boxes": np.zeros((2, slots, 4), np.float32), "scores": np.zeros((2, slots), np.float32),
             "classes": np.zeros((2, slots), np.int32), "masks": np.zeros((2, slots, 28, 28), np.float32),
             "valid": np.zeros((2, slots), bool)}
  cell = (np.arange(28) + 0.5) / 28
  for row, true in enumerate(truth):
    for slot in np.flatnonzero(~true["ignore"]):
      y0, x0, y1, x1 = true["boxes"][slot]
      places = np.ix_((y0 + cell * (y1 - y0)).astype(int), (x0 + cell * (x1 - x0)).astype(int))
      outputs["masks"][row, slot] = true["masks"][slot][places]
      outputs["boxes"][row, slot] = true["boxes"][slot] + (0, 2, 0, 2)
      outputs["scores"][row, slot], outputs["valid"][row, slot] = 0.5 + 0.1 * slot, True
      outputs["classes"][row, slot] = true["classes"][slot] if row else 1 - true["classes"][slot]
  scores = instance_scores.InstanceScores(("round", "long"), pixel_scale=0.5)
  scores.update(outputs, batch)
  figures = scores.result()
  assert figures["matched"] == 1 and figures["matched_accuracy"] == pytest.approx(2 / 3)
  assert figures["mask_ap50_agnostic"] == 1 > figures["mask_ap50"]
  assert figures["centroid_median"] == pytest.approx(2, abs=0.3)
  assert figures["centroid_arcsec_68"] == pytest.approx(0.5 * figures["centroid_68"])


def untrained(config, workdir, names):
  """The folder of a run with first parameters, as packed.py leaves one."""
  workdir.mkdir()
  config = experiment.resolve(config)
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=names)
  write_json(workdir / "config.json", json.loads(config.to_json()))
  write_json(workdir / "data.json", {"train": {"classes": list(names)}})
  write_json(workdir / "packed.json", {"step": 0, "seconds": 0.0})
  packed.write_parameters(workdir / evaluation.PACKED, small.variables(task))
  return config


def command(monkeypatch, **given):
  names = ("split", "checkpoint", "pixel_scale", "output", "batch_size", "builder", "manual_dir", "data_dir")

  class Flags(SimpleNamespace):
    def __getitem__(self, name):
      return SimpleNamespace(value=getattr(self, name))
  monkeypatch.setattr(noise_curve, "FLAGS", Flags(**dict.fromkeys(names) | {"sigmas": ["60", "0"], "seed": 0} | given))
  return noise_curve.main(None)


def rows_of(folder):
  with open(folder / "noise_curve.csv", newline="") as file:
    return list(csv.DictReader(file))


def test_a_run_that_finds_instances(tmp_path, monkeypatch, capsys):
  small.write_survey(tmp_path / "survey", train=2, validation=3)
  c = mask_galaxy.get_config("cpu")
  c.data.manual_dir, c.data.data_dir = str(tmp_path / "survey"), str(tmp_path / "data")
  c.data.size = c.augment.size = small.SIDE
  c.model.options, c.eval.batch_size = small.NETWORK | {"stage_sizes": (1, 1, 1, 1)}, 2
  c.eval.rotations, c.eval.flips = 1, False
  config = untrained(c, tmp_path / "run", ("spiral", "elliptical"))
  assert command(monkeypatch, workdir=str(tmp_path / "run"), pixel_scale=0.396) == 0
  first, last = rows_of(tmp_path / "run")
  assert (first["sigma"], last["sigma"]) == ("0", "60")
  assert list(first)[1:6] == list(noise_curve.DRAWN["instances"])
  assert {"box_voc_ap50", "centroid_68", "centroid_arcsec_68", "matched", "axis_ratio_median"} < first.keys()
  builder = datasets.open_dataset(config)
  _, results = evaluation.evaluate_splits(config, tmp_path / "run", builder, ["validation"], "best")
  for name, value in results["validation"].metrics.items():
    assert float(first[name]) == pytest.approx(value, rel=1e-4), name
  assert float(first["detections"]) > 0
  assert "right class, of those found" in capsys.readouterr().out
  assert (tmp_path / "run/noise_curve.png").read_bytes().startswith(b"\x89PNG")
  with pytest.raises(ValueError, match="has no split 'held_out'; it has"):
    command(monkeypatch, workdir=str(tmp_path / "run"), split="held_out")


def test_a_run_of_classes(tmp_path, monkeypatch):
  """Whatever noise does, sigma 0 is what an evaluation finds; figures go where they are asked to."""
  own = survey(tmp_path / "s", list(KINDS) * 3, ["train"] * 4 + ["validation"] * 5)
  build(own, tmp_path / "data")
  config = untrained(config_of(own, tmp_path / "data"), tmp_path / "run", KINDS)
  assert command(monkeypatch, workdir=str(tmp_path / "run"), output=str(tmp_path / "new")) == 0
  first, last = rows_of(tmp_path / "new")
  _, results = evaluation.evaluate_splits(config, tmp_path / "run", datasets.open_dataset(config), ["validation"],
                                          "best")
  found = results["validation"].metrics
  assert float(first["accuracy"]) == pytest.approx(found["accuracy"], rel=1e-4)
  assert float(first["cross_entropy"]) == pytest.approx(found["cross_entropy"], rel=1e-4)
  assert float(last["cross_entropy"]) != pytest.approx(found["cross_entropy"], rel=1e-4)
  assert (tmp_path / "new/noise_curve.png").exists() and not (tmp_path / "run/noise_curve.csv").exists()
  with pytest.raises(ValueError, match="--pixel_scale is for runs that find instances, but the task"):
    command(monkeypatch, workdir=str(tmp_path / "run"), pixel_scale=0.4)


def test_a_shipped_model_is_not_written_to(monkeypatch):
  with pytest.raises(ValueError, match=r"comes with the package, for all who use it\. Say where to write"):
    command(monkeypatch, workdir="simulated-gz2")
