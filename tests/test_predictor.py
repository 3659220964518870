"""A trained run ready to answer: loaded from its workdir, packed, calibrated."""
import json
import shutil
import zipfile

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_runs
from conftest import blob
from test_class_run import flags_of

import galaxy_jax
from galaxy_jax import calibration, evaluate, packed, predictor, shipped, temperature
from tfds_builders import images
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.images import ImageError


@pytest.fixture(scope="module")
def run(tmp_path_factory, challenge_dir):
  """A finished tiny run on votes: its workdir."""
  folder = tmp_path_factory.mktemp("predictor")
  result = tiny_runs.run(tiny_runs.command(challenge_dir, folder / "data", folder / "run", "--config.train.steps=3",
                                         "--config.data.train=train[:50%]"))
  assert result.returncode == 0, result.stderr
  return folder / "run"


@pytest.fixture(scope="module")
def pixels(run):
  model = predictor.load(run)
  rng = np.random.default_rng(0)
  return np.stack([model.decode(blob(rng, smooth)) for smooth in np.linspace(0, 1, 11)])


def test_answers_are_those_of_the_evaluation(run, challenge_dir):
  table = pq.read_table(run / "predictions.parquet").slice(0, 5)
  model = predictor.load(run)
  with zipfile.ZipFile(challenge_dir / "images_training_rev1.zip") as archive:
    data = [archive.read(f"images_training_rev1/{galaxy}.jpg") for galaxy in table["galaxy_id"].to_pylist()]
  answers = model.answers(np.stack(list(map(model.decode, data))))
  expected = np.stack([table[name].to_numpy() for name in COLUMNS], axis=1)
  np.testing.assert_allclose(answers.fractions, expected, atol=1e-5)
  assert model.table(answers)["description"].to_pylist() == table["description"].to_pylist()


def test_batches_and_what_else_is_in_them_change_nothing(run, pixels):
  model = predictor.load(run)
  whole = model.answers(pixels)
  np.testing.assert_allclose(model.predict(pixels[3:4])[0], whole.fractions[3], atol=1e-6)
  np.testing.assert_allclose(model.with_batch_size(3).features(pixels), whole.features, atol=1e-5)
  assert model.predict(pixels[:0]).shape == (0, 37) and model.features(pixels[:0]).shape == (0, whole.features.shape[1])
  np.testing.assert_allclose(jax.jit(model.compiled)(model.variables, pixels[:2]), whole.fractions[:2], atol=1e-5)


def test_all_turns_make_an_answer_that_turning_does_not_change(run, pixels):
  model = predictor.load(run).with_views(4, True)
  assert model.views == 8
  for tta in (1, 2, 3, 8):
    assert predictor.load(run, tta=tta).views == tta
  assert predictor.load(run).views == 4
  np.testing.assert_allclose(model.predict(pixels[:2]), model.predict(pixels[:2, :, ::-1].swapaxes(1, 2)), atol=1e-5)


def test_a_packed_run_answers_alike_and_starts_another(run, pixels, tmp_path):
  packed.pack(run, tmp_path / "small")
  model, small = predictor.load(run), predictor.load(tmp_path / "small")
  np.testing.assert_allclose(small.predict(pixels), model.predict(pixels), atol=2e-3)
  assert small.calibration.origin == model.calibration.origin and small.facts["step"] == model.facts["step"]
  assert not list(tmp_path.glob(".*"))
  with pytest.raises(ValueError, match="there already"):
    packed.pack(run, tmp_path / "small")


def test_a_packed_run_of_another_model_is_refused(run, tmp_path):
  packed.pack(run, tmp_path / "small")
  config = json.loads((tmp_path / "small/config.json").read_text())
  config["model"]["options"]["width"] = 8
  (tmp_path / "small/config.json").write_text(json.dumps(config))
  with pytest.raises(ValueError, match="of another model"):
    predictor.load(tmp_path / "small")


def test_a_run_is_calibrated_on_other_galaxies_by_the_command(run, tmp_path, monkeypatch):
  copy = shutil.copytree(run, tmp_path / "run")
  before = calibration.read(copy)
  assert before.origin["data"].endswith("validation") and before.origin["looks"] == [2, True, [1.0]]
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdir=str(copy), calibrate_on="train"))
  with pytest.raises(ValueError, match=r"share \d+ galaxies"):
    evaluate.main(None)
  for wrong, message in (({"rotations": 1}, "leave out --rotations"), ({"workdirs": ["a"], "workdir": None}, "one run"),
                         ({"workdir": shipped.DEFAULT}, "comes with the package")):
    monkeypatch.setattr(evaluate, "FLAGS", flags_of(**{"workdir": str(copy), "calibrate_on": "validation"} | wrong))
    with pytest.raises(ValueError, match=message):
      evaluate.main(None)
  monkeypatch.setattr(evaluate, "FLAGS", flags_of(workdir=str(copy), calibrate_on="train[50%:]"))
  assert evaluate.main(None) == 0
  measured = calibration.read(copy)
  assert measured.origin["data"].endswith("train[50%:]") and measured.origin["galaxies"] > before.origin["galaxies"]
  assert measured.intervals is not None
  assert measured.familiar is None  # too few are held out for one in a hundred
  model = predictor.load(copy)
  assert model.answers(model.decode(blob(np.random.default_rng(0), 0.5))[None]).lower is not None
  assert model.with_views(1, False).calibration == calibration.Calibration()  # measured with other views


def test_intervals_are_in_the_table_where_they_were_measured(run, pixels):
  model = predictor.load(run)
  votes = np.random.default_rng(0).dirichlet(np.ones(37), 200)
  measured = calibration.Calibration(calibration.of_votes(votes, votes[::-1]))
  known = predictor.Predictor("m", model._config, None, model.variables, measured, {"step": 3})
  answers = known.answers(pixels)
  table = known.table(answers)
  assert answers.novelty is None and "novelty" not in table
  for name in COLUMNS:
    low, middle, high = (np.asarray(table[name + end]) for end in ("_low", "", "_high"))
    assert (low <= middle).all() and (middle <= high).all() and (high > low).any()


def test_a_calibration_is_read_as_it_was_written(tmp_path):
  rng = np.random.default_rng(0)
  predicted = rng.dirichlet(np.ones(37), 100)
  familiar = calibration.novelty.fit(rng.normal(size=(80, 6)), rng.normal(size=(150, 6)))
  written = calibration.Calibration(calibration.of_votes(predicted, predicted), 1.5, familiar, {"data": "some"})
  calibration.write(tmp_path, written)
  read = calibration.read(tmp_path)
  features = rng.normal(size=(5, 6))
  np.testing.assert_allclose(read.familiar.novelty(features), familiar.novelty(features), rtol=1e-4)
  np.testing.assert_array_equal(read.intervals.bounds(predicted, 0.9), written.intervals.bounds(predicted, 0.9))
  assert (read.temperature, read.origin) == (1.5, {"data": "some"})
  calibration.write(tmp_path, calibration.Calibration())
  assert calibration.read(tmp_path).familiar is None
  assert calibration.read(tmp_path / "nowhere") == calibration.Calibration()


def test_a_temperature_is_the_same_in_numpy_and_compiled():
  probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 7).astype(np.float32)
  compiled, _ = predictor._tempered(lambda _, images: (images, images), 2.0, None, probabilities)
  np.testing.assert_allclose(compiled, temperature.apply(probabilities, 2.0), rtol=1e-5)


@pytest.mark.parametrize("source, message", [("nowhere", "no run of galaxy_jax.main"), ("", "no run of galaxy_jax")])
def test_what_is_no_model_is_named(source, message):
  with pytest.raises(FileNotFoundError, match=message):
    predictor.load(source)


def test_wrong_pixels_and_files_are_refused(run):
  model = predictor.load(run)
  with pytest.raises(ValueError, match=r"\(N, 32, 32, 3\) uint8"):
    model.predict(np.zeros((2, 16, 16, 3), np.uint8))
  with pytest.raises(ImageError):
    model.decode(b"no image")


def test_a_notebook_predicts_arrays_paths_and_bytes_alike(run, tmp_path):
  data = [blob(np.random.default_rng(number), number / 3) for number in range(4)]
  paths = [tmp_path / f"{number}.jpg" for number in range(4)]
  for path, content in zip(paths, data, strict=True):
    path.write_bytes(content)
  arrays = np.stack([images.decode(content) for content in data])
  model = galaxy_jax.load(run)
  table = model.predict(paths)
  assert table.column_names[:37] == list(COLUMNS) and len(table) == 4
  assert model.predict(data).equals(table)
  np.testing.assert_allclose(np.stack([model.predict(arrays)[name] for name in COLUMNS], 1),
                             np.stack([table[name] for name in COLUMNS], 1), atol=0.01)
  assert len(model.predict(arrays[0])) == 1
  assert len(model.predict([])) == 0 and model.features(paths).shape[0] == 4
  with pytest.raises(ValueError, match=r"Image 1 .*nowhere.jpg\) is not there"):
    model.predict([paths[0], tmp_path / "nowhere.jpg"])
  with pytest.raises(ValueError, match=r"float64; .* uint8 was expected"):
    model.predict(arrays / 255)


def test_a_notebook_gets_its_table_back_with_the_answers(run, tmp_path):
  astropy_table = pytest.importorskip("astropy.table")
  path = tmp_path / "a.jpg"
  path.write_bytes(blob(np.random.default_rng(0), 0.5))
  model = galaxy_jax.load(run)
  plain = model.predict(pa.table({"name": ["x", "y"], "path": [str(path)] * 2}))
  assert plain.column_names[:3] == ["name", "path", COLUMNS[0]]
  table = model.predict(astropy_table.Table({"name": ["x", "y"], "where": [str(path)] * 2}), path_column="where")
  assert isinstance(table, astropy_table.Table) and list(table["name"]) == ["x", "y"]
  np.testing.assert_allclose(table[COLUMNS[0]], plain[COLUMNS[0]])
  assert table["description"][0] == plain["description"][0].as_py()
  with pytest.raises(ValueError, match="no column of paths"):
    model.predict(pa.table({"name": ["x"]}))


def test_the_package_brings_a_model_that_works():
  assert shipped.DEFAULT in shipped.names()
  model = predictor.load()
  assert model.name == shipped.DEFAULT and model.calibration.intervals and model.calibration.familiar
  card = (shipped.folder(None) / "README.md").read_text()
  assert "simulated" in card and str(model.facts["step"]) in card.replace(",", "")
  noise = np.random.default_rng(0).integers(0, 256, (424, 424, 3), np.uint8)
  answers = model.answers(np.stack([model.decode(blob(np.random.default_rng(0), 1.0)),
                                    model.decode(images.encode_png(noise))]))
  assert answers.novelty[1] > 1 > answers.novelty[0]
  assert (answers.lower <= answers.fractions).all() and (answers.fractions <= answers.upper).all()
