"""A model as one file: what it answers without this package, and names that are refused."""
import json
import os
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

from galaxy_jax import calibration, experiment, export, predictor
from galaxy_jax.configs import gz2

SCRIPT = """
import sys
import numpy as np
path, images, answers = sys.argv[1:]
sys.path.insert(0, path)
import load_model
predict, about = load_model.load(path)
images = np.load(images)
np.savez(answers, **{str(n): predict(images[:n]) for n in (1, 3, 8)})
assert len(about["columns"]) == 37 and about["size"] == images.shape[1]
assert not [name for name in sys.modules if name.split(".")[0] in ("galaxy_jax", "flax", "tfds_builders", "PIL")]
"""


@pytest.fixture(scope="module")
def model():
  """A small network as it begins, but with moments of its batch norms that matter."""
  config = gz2.get_config("cpu")
  config.data.size, config.data.crop, config.augment.size, config.eval.batch_size = 24, 40, 16, 4
  config.eval.rotations, config.eval.flips, config.model.options.width = 2, True, 4
  config = experiment.resolve(config)
  variables = experiment.make_task(config, axis_name=None, all_views=False).init(jax.random.key(0))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda leaf: leaf + rng.uniform(0, 0.2, leaf.shape).astype(np.float32), variables)
  return predictor.Predictor("small", config, None, variables, calibration.Calibration(),
                             {"trained on": "nothing", "step": 0})


def test_the_file_answers_as_the_model_without_this_package(model, tmp_path):
  images = np.random.default_rng(1).integers(0, 256, (8, 24, 24, 3), np.uint8)
  np.save(tmp_path / "images.npy", images)
  export.write(model, tmp_path / "model.zip")
  (tmp_path / "script.py").write_text(SCRIPT)
  environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
  result = subprocess.run([sys.executable, "script.py", "model.zip", "images.npy", "answers.npz"], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stderr
  expected = model.predict(images)
  with np.load(tmp_path / "answers.npz") as answers:
    for count in (1, 3, 8):
      np.testing.assert_allclose(answers[str(count)], expected[:count], atol=1e-5)
  assert np.ptp(expected, axis=0).max() > 1e-3  # the images do not all get one answer
  with zipfile.ZipFile(tmp_path / "model.zip") as file:
    about = json.loads(file.read("meta.json"))
    assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
  assert (about["model"], about["crop"], about["task"], about["trained_on"]) == ("small", 40, "votes", "nothing")
  assert tuple(about["columns"]) == model.columns and about["platforms"] == ["cpu", "cuda", "tpu"]


def test_the_views_are_in_the_file(model):
  """Of two rotations with flips the mean is another than the upright view."""
  images = np.random.default_rng(2).integers(0, 256, (1, 24, 24, 3), np.uint8)
  upright = model.with_views(rotations=1, flips=False)
  one = export.exported(upright.compiled, upright.variables, 24).call(images)
  np.testing.assert_allclose(one, upright.predict(images), atol=1e-5)
  assert np.abs(one - model.predict(images)).max() > 1e-4


@pytest.mark.parametrize(("name", "message"), [("model.bin", "ends in .zip"), ("nowhere/model.zip", "no folder")])
def test_a_name_that_cannot_be_is_refused(model, tmp_path, name, message):
  with pytest.raises(ValueError, match=message):
    export.write(model, tmp_path / name)
  assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_leaves_what_was_there(model, tmp_path, monkeypatch):
  (tmp_path / "model.zip").write_text("before")
  monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError("no space")))
  with pytest.raises(OSError, match="no space"):
    export.write(model, tmp_path / "model.zip")
  assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]
  assert (tmp_path / "model.zip").read_text() == "before"
