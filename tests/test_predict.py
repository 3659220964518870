"""A catalogue is predicted once, in order and whole, whatever happens on the way; what cannot be used is said."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import jax
import numpy as np
import pyarrow as pa
import pytest
import tiny_runs
from own_survey import colours, encoded, write_csv
from predictions import MeanColours, expected, folder
from pyarrow import parquet

from galaxy_jax import calibration, datasets, embed, experiment, inputs, predict, predictor, shards, tables
from galaxy_jax.command import SOME_FAILED
from galaxy_jax.configs import base
from galaxy_jax.evaluation import evaluate_splits
from galaxy_jax.predict import Members
from galaxy_jax.train import train
from tfds_builders.gz2_tree import COLUMNS

NAMES = ["red", "green", "blue", "red_low", "predicted", "novelty"]


def whole(output):
  read = tables.read(output)
  return pa.concat_tables([read.schema.empty_table(), *read.parts(1000)])


def run(given, output, models=None, planes=(), **options):
  """Predicts; (failures, the table)."""
  options = {"shard_rows": 8, "progress": False} | options
  failed = predict.predict(Members(models or [MeanColours()], planes), inputs.find(str(given)), output, **options)
  return failed, whole(output)


def fractions(table):
  return np.stack([np.float32(table[name]) for name in ("red", "green", "blue")], axis=1)


def failures(output):
  with open(shards.failures_file(output), newline="") as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".fits", ".vot"])
def test_a_folder_in_every_format(tmp_path, ending):
  if ending in (".fits", ".vot"):
    pytest.importorskip("astropy")
  folder(tmp_path / "i", 21)
  failed, table = run(tmp_path / "i", tmp_path / f"t{ending}")
  assert failed == 0 and table.column_names == ["id", "model", *NAMES]
  ids = [f"{n:03d}" for n in range(21)]
  assert [str(i) for i in table["id"].to_pylist()] == ids and set(table["model"].to_pylist()) == {"colours"}
  np.testing.assert_array_equal(fractions(table), expected(*range(21)))
  assert sorted(path.name for path in tmp_path.iterdir()) == ["i", f"t{ending}"]


def test_order_is_kept_by_many_threads(tmp_path, monkeypatch):
  folder(tmp_path / "i", 100)
  slow = MeanColours()
  decode = slow.decode
  delays = iter(np.random.default_rng(0).uniform(0, 0.004, 1000))
  slow.decode = lambda data: time.sleep(next(delays)) or decode(data)
  monkeypatch.setattr(predict, "_CHUNK", 3)
  _, table = run(tmp_path / "i", tmp_path / "t.parquet", [slow], workers=8, shard_rows=32)
  np.testing.assert_array_equal(fractions(table), expected(*range(100)))


def test_no_more_is_decoded_ahead_than_is_needed(tmp_path, monkeypatch):
  """What waits for the device is bounded, however many images there are."""
  folder(tmp_path / "i", 200)
  model, ahead = MeanColours(), []
  decoded, answered = [], []
  decode, answers = model.decode, model.answers
  model.decode = lambda data: decoded.append(1) or decode(data)

  def watched(pixels):
    time.sleep(0.002)
    ahead.append(len(decoded) - len(answered))
    answered.extend(pixels)
    return answers(pixels)
  members = Members([model])
  model.answers = watched
  monkeypatch.setattr(predict, "_CHUNK", 2)
  predict.predict(members, inputs.find(str(tmp_path / "i")), tmp_path / "t.parquet", shard_rows=50, workers=2,
                  progress=False)
  assert len(answered) == 200 and max(ahead) <= 2 * (2 * (2 + 2) + 2) + 4


def test_columns_are_carried_along_and_clashes_renamed(tmp_path, caplog):
  caplog.set_level("INFO")
  folder(tmp_path, 3)
  write_csv(tmp_path / "t.csv", [["Model", "galaxy_id", "path", "z", "red", "red_input", "id"],
                                 *([f"m{n}", 10 + n, f"{n:03d}.png", n / 4, n, -n, f"i{n}"] for n in (2, 0, 1))])
  _, table = run(tmp_path / "t.csv", tmp_path / "p.parquet", shard_rows=2)
  assert table.column_names == ["id", "Model_input", "galaxy_id", "path", "z", "red_input", "red_input_input",
                                "id_input", "model", *NAMES]
  assert table["id"].to_pylist() == table["galaxy_id"].to_pylist() == [12, 10, 11]
  assert table["Model_input"].to_pylist() == ["m2", "m0", "m1"] and table["z"].to_pylist() == [0.5, 0, 0.25]
  assert table["red_input"].to_pylist() == [2, 0, 1] and table["red_input_input"].to_pylist() == [-2, 0, -1]
  np.testing.assert_array_equal(fractions(table), expected(2, 0, 1))
  assert "red as red_input" in caplog.text and "Model as Model_input" in caplog.text


def test_a_table_whose_id_is_called_id(tmp_path):
  folder(tmp_path, 2)
  write_csv(tmp_path / "t.csv", [["path", "id"], ["000.png", "a"], ["001.png", "b"]])
  _, table = run(tmp_path / "t.csv", tmp_path / "p.parquet")
  assert table.column_names == ["id", "path", "model", *NAMES] and table["id"].to_pylist() == ["a", "b"]


def broken(tmp_path):
  """A table of seven images, of which four are none; the ids of these, and the good ones' numbers."""
  folder(tmp_path / "i", 3)
  jpeg = encoded(colours(0, 64), "JPEG")
  for name, data in (("cut.jpg", jpeg[:len(jpeg) // 2]), ("text.jpg", b"no picture"), ("empty.jpg", b"")):
    (tmp_path / "i" / name).write_bytes(data)
  names = ["cut.jpg", "000.png", "text.jpg", "001.png", "none.jpg", "empty.jpg", "002.png"]
  write_csv(tmp_path / "t.csv", [["id", "path"], *([n, f"i/{name}"] for n, name in enumerate(names))])
  return tmp_path / "t.csv"


@pytest.mark.parametrize("shard_rows", [1, 3, 100])
def test_images_that_cannot_be_used(tmp_path, shard_rows):
  output = tmp_path / "p.parquet"
  failed, table = run(broken(tmp_path), output, shard_rows=shard_rows)
  assert failed == 4 and table["id"].to_pylist() == [1, 3, 6]
  np.testing.assert_array_equal(fractions(table), expected(0, 1, 2))
  listed = failures(output)
  assert [row["id"] for row in listed] == ["0", "2", "4", "5"]
  assert listed[2]["path"] == str(tmp_path / "i/none.jpg") and listed[2]["reason"] == "is not there"
  for row, what in zip(listed, ("truncated", "is no JPEG", "not there", "0 bytes"), strict=True):
    assert what in row["reason"]


def test_failures_are_predicted_once_they_are_mended(tmp_path):
  run(broken(tmp_path), tmp_path / "p.parquet")
  for row in failures(tmp_path / "p.parquet"):
    with open(row["path"], "wb") as file:
      file.write(encoded(colours(int(row["id"])), "PNG"))
  failed, table = run(shards.failures_file(tmp_path / "p.parquet"), tmp_path / "q.parquet")
  assert failed == 0 and table["id"].to_pylist() == [0, 2, 4, 5]
  np.testing.assert_array_equal(fractions(table), expected(0, 2, 4, 5))


def test_failures_in_a_zip_are_predicted_once_they_are_mended(tmp_path):
  def write(data):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
      archive.writestr("x/0.png", encoded(colours(0), "PNG"))
      archive.writestr("x/1.png", data)
  write(b"text")
  assert run(tmp_path / "a.zip", tmp_path / "p.parquet")[0] == 1
  write(encoded(colours(1), "PNG"))
  failed, table = run(shards.failures_file(tmp_path / "p.parquet"), tmp_path / "q.parquet")
  assert failed == 0 and table["id"].to_pylist() == [1]
  np.testing.assert_array_equal(fractions(table), expected(1))


def test_nothing_can_be_used(tmp_path):
  (tmp_path / "i").mkdir()
  (tmp_path / "i/a.png").write_bytes(b"")
  failed, table = run(tmp_path / "i", tmp_path / "p.csv")
  assert failed == 1 and (len(table), table.column_names) == (0, ["id", "model", *NAMES])


def test_what_is_read_is_not_written_over(tmp_path, monkeypatch):
  """That is said before a model is looked for."""
  folder(tmp_path / "i", 2)
  write_csv(tmp_path / "g.csv", [["id", "path"], [0, "i/000.png"], [1, "i/001.png"]])
  shutil.copy(tmp_path / "g.csv", tmp_path / "p.csv.failures.csv")
  (tmp_path / "i/002.fits").write_bytes(encoded(colours(2), "PNG"))
  before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
  for given, output, message in (
      ("g.csv", "g.csv", "--output is .*g.csv, which is --input too. Name another file"),
      ("i", "i/002.fits", "002.fits, which is an image of --input too"),
      ("p.csv.failures.csv", "p.csv", "The list of failures of --output is .*, which is --input too")):
    monkeypatch.setattr(predict, "FLAGS", SimpleNamespace(
        input=str(tmp_path / given), output=str(tmp_path / output), overwrite=True, **dict.fromkeys(
            ("planes", "path_column", "id_column", "data_dir", "manual_dir"))))
    with pytest.raises(ValueError, match=message):
      predict.run(None, "predictions")
  assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


class Killed(Exception):
  pass


def killed_after(calls):
  """A model that dies in a later call."""
  model = MeanColours()
  answers, left = model.answers, iter(range(calls + 1, -1, -1))  # the first shows what its answers look like

  def die(pixels):
    if not next(left):
      raise Killed
    return answers(pixels)
  model.answers = die
  return model


def test_a_killed_job_goes_on_after_its_last_part(tmp_path):
  given, output = broken(tmp_path), tmp_path / "p.parquet"
  with open(given, "a") as file:
    file.writelines(f"{n},i/{n % 3:03d}.png\n" for n in range(100, 140))
  run(given, tmp_path / "whole.parquet")
  parts, done = shards.parts_folder(output), [0]
  for calls in (0, 1, 4, 3):
    with pytest.raises(Killed):
      run(given, output, [killed_after(calls)])
    (parts / f".part-{done[-1]:06d}.parquet.99.tmp").write_bytes(b"half")
    done.append(len(list(parts.glob("part-*"))))
    assert not output.exists() and done[-1] >= done[-2]
  assert 0 < done[-1] < 6
  calls = []
  model = MeanColours()
  answers = model.answers
  model.answers = lambda pixels: calls.append(len(pixels)) or answers(pixels)
  failed, table = run(given, output, [model])
  assert failed == 4 and table.equals(parquet.read_table(tmp_path / "whole.parquet"))
  assert failures(output) == failures(tmp_path / "whole.parquet")
  assert sum(calls) - 1 == 43 - sum(i < 8 * done[-1] for i in (1, 3, 6, *range(7, 47)))  # nothing twice
  assert not parts.exists()


def test_a_job_differs_by_its_model_its_input_and_its_parts(tmp_path):
  given, output = folder(tmp_path / "i", 20), tmp_path / "p.parquet"
  with pytest.raises(Killed):
    run(given, output, [killed_after(3)])
  calibrated = MeanColours()
  calibrated.calibration = calibration.Calibration(temperature=1.5)
  for what, options in (("shard_rows: 8 there, 4 now", {"shard_rows": 4}), ("planes", {"planes": (0,)}),
                        ("model: \"colours\" there, \"b\" now", {"models": [MeanColours("b")]}),
                        ("parameters", {"models": [MeanColours(scale=2)]}),
                        ("pixels: None to 8 there, None to 9 now", {"models": [MeanColours(size=9)]}),
                        ("views: 1 rotations, not mirrored, zooms 1.0 there, 1 rotations, not mirrored, zooms 1.2 now",
                         {"models": [MeanColours(looks=(1, False, (1.2,)))]}),
                        ("parameters", {"models": [calibrated]})):
    with pytest.raises(ValueError, match=r"finished parts of another job(.|\n)*" + what):
      run(given, output, **options)
  folder(tmp_path / "i", 21)
  with pytest.raises(ValueError, match="images: 20 there, 21 now"):
    run(given, output)
  (tmp_path / "i/020.png").unlink()
  assert len(run(given, output, [MeanColours(batch_size=16)], workers=1)[1]) == 20


def test_a_table_that_is_there_is_kept_until_the_new_one_is_whole(tmp_path):
  given, output = folder(tmp_path / "i", 20), tmp_path / "p.csv"
  output.write_text("id\n1\n")
  with pytest.raises(ValueError, match="is there already"):
    run(given, output)
  with pytest.raises(Killed):
    run(given, output, [killed_after(3)], overwrite=True)
  assert output.read_text() == "id\n1\n"
  assert len(run(given, output, overwrite=True)[1]) == 20


def test_an_ensemble_is_the_mean_of_its_members(tmp_path):
  folder(tmp_path / "i", 10)
  models = [MeanColours("a", scale=0.5), MeanColours("b", size=3, batch_size=8), MeanColours("c", scale=0.25)]
  _, table = run(tmp_path / "i", tmp_path / "p.parquet", models)
  own = [fractions(run(tmp_path / "i", tmp_path / f"{model.name}.parquet", [model])[1]) for model in models]
  np.testing.assert_allclose(fractions(table), np.mean(own, 0), rtol=1e-6)
  assert table.column_names == ["id", "model", *(name for name in NAMES if name not in ("red_low", "novelty"))]
  assert table["model"][0].as_py() == "a + b + c"
  other = MeanColours("d")
  other.columns = ("red", "green", "violet")
  with pytest.raises(ValueError, match="a and d make no ensemble"):
    Members([models[0], other])


@pytest.fixture(scope="module")
def tiny(challenge_dir, tmp_path_factory):
  """A run of two steps: its folder, beside which is its data set, and its config."""
  place = tmp_path_factory.mktemp("run")
  config = base.get_config()
  config.data.manual_dir, config.data.data_dir = str(challenge_dir), str(place / "data")
  config.data.size = config.augment.size = 16
  config.model.name, config.model.options.width = "galaxyid", 4
  config.train.batch_size, config.train.steps, config.eval.batch_size = 8, 2, 8
  config.eval.rotations, config.eval.flips = 2, False
  config = experiment.resolve(config)
  assert train(config, place / "run").finished
  return place / "run", config


def test_a_split_is_predicted_as_it_is_evaluated(tiny, tmp_path):
  folder, config = tiny
  _, results = evaluate_splits(config, folder, datasets.open_dataset(config), ["test"], "latest")
  given = inputs.find("galaxy_zoo_challenge/votes:test", data_dir=config.data.data_dir)
  members = predict.load([str(folder)])
  assert predict.predict(members, given, tmp_path / "p.parquet", shard_rows=3, progress=False) == 0
  table = parquet.read_table(tmp_path / "p.parquet")
  assert table["id"].to_pylist() == results["test"].data.labels["galaxy_id"].tolist() and len(table) == 7
  ours = np.stack([np.float32(table[name]) for name in COLUMNS], axis=1)
  np.testing.assert_allclose(ours, results["test"].predicted, atol=1e-6)
  assert set(table["model"].to_pylist()) == {members.name} and "description" in table.column_names


def test_parameters_tell_runs_apart(tiny):
  folder, _ = tiny
  models = [predict.load([str(folder)], tta=tta).identity() for tta in (None, None, 1)]
  assert models[0] == models[1]
  assert {key for key in models[0] if models[0][key] != models[2][key]} == {"views"}
  other = predictor.load(folder)
  other.variables = jax.tree.map(lambda leaf: leaf + 1e-6, other.variables)
  assert Members([other]).identity()["parameters"] != models[0]["parameters"]


def test_features_of_a_run_find_its_model_again(tiny, tmp_path):
  images = folder(tmp_path / "i", 3)
  model = predictor.load(tiny[0], "best", tta=2)
  predict.predict(embed.Embedder(model), inputs.find(str(images)), tmp_path / "f.parquet", progress=False)
  features = embed.read(tmp_path / "f.parquet")
  again = embed.load_model(features, tiny[0])
  assert again.looks == model.looks == (1, True, (1.0,)) and again.step == model.step
  pixels = np.stack([again.decode(path.read_bytes()) for path in sorted(images.iterdir())])
  np.testing.assert_allclose(again.features(pixels), features.values, atol=1e-5)


def test_the_command_is_killed_and_goes_on(tiny, tmp_path):
  folder(tmp_path / "i", 700)
  (tmp_path / "i/bad.jpg").write_bytes(b"text")
  command = [sys.executable, "-m", "galaxy_jax.predict", f"--workdir={tiny[0]}", f"--input={tmp_path / 'i'}",
             f"--output={tmp_path / 'p.csv'}", "--shard_rows=8", "--tta=1"]
  process = subprocess.Popen(command, cwd=tiny_runs.ROOT, stderr=subprocess.DEVNULL)
  parts = shards.parts_folder(tmp_path / "p.csv")
  while process.poll() is None and len(list(parts.glob("part-*"))) < 3:
    time.sleep(0.005)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  before = len(list(parts.glob("part-*")))
  assert 3 <= before < 88 and "model" in json.loads((parts / "job.json").read_text())["job"]
  result = tiny_runs.run(command)
  assert result.returncode == SOME_FAILED, result.stderr
  lines = result.stderr.splitlines()
  assert any(f"{8 * before} of 701 galaxies are done already" in line for line in lines)
  assert lines[-1].endswith(f"1 of 701 images could not be used; {tmp_path}/p.csv.failures.csv says which, "
                            "and why.")
  table = whole(tmp_path / "p.csv")
  assert table["id"].to_pylist() == [f"{n:03d}" for n in range(700)]
  assert [row["id"] for row in failures(tmp_path / "p.csv")] == ["bad"] and not parts.exists()
  refused = tiny_runs.run(command)
  assert refused.returncode == 1 and refused.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'p.csv'} is there")
