"""Simulated data sets: what a record holds, that it depends on its number alone, and the challenge's files."""
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import stand_in
import tensorflow_datasets as tfds
from PIL import Image, JpegImagePlugin

from galaxy_jax import simulate
from tfds_builders import BUILDERS, full_name
from tfds_builders.__main__ import main
from tfds_builders.errors import DataError
from tfds_builders.galaxy_sim import rendering, write_challenge
from tfds_builders.galaxy_sim.galaxy_sim_dataset_builder import FIRST_ID, Builder
from tfds_builders.prepare import prepare, source_record

ROOT = Path(__file__).resolve().parents[2]
# One size and mix for all tests, so that one program is compiled. 13 galaxies, the 12 labelled ones split 11 to 1.
RECIPE = rendering.Recipe(seed=3, size=64, rendered=32, mix="balanced")
SPLITS = {"train": 11, "validation": 1, "test": 1}
LABELS = ("vote_fractions", "vote_counts", "five_class", "ten_class", "kind")


@pytest.fixture(autouse=True)
def small(monkeypatch):
  """Makes the data sets small."""
  for name, seed in (("demo", 3), ("challenge", 4)):
    config = Builder.builder_configs[name]
    monkeypatch.setattr(config, "recipe", RECIPE._replace(seed=seed))
    monkeypatch.setattr(config, "splits", SPLITS)


@pytest.fixture(scope="module")
def galaxies() -> list[dict]:
  """The records of the thirteen galaxies of `demo`."""
  return list(rendering.records(RECIPE, range(FIRST_ID, FIRST_ID + 13)))


def read(builder, split):
  raw = {name: tfds.decode.SkipDecoding() for name in ("image", "mask") if name in builder.info.features}
  return list(builder.as_data_source(split, decoders=raw))


def pixels(data: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(data)))


def assert_same(record, other):
  for name, value in other.items():
    if isinstance(value, bytes):
      assert record[name] == value, name
    else:
      np.testing.assert_array_equal(record[name], value, err_msg=name)


def test_the_version_is_the_simulators():
  assert str(Builder.VERSION) == f"{simulate.VERSION}.0.0"


def test_configurations_are_listed_and_have_seeds_of_their_own():
  assert [f"galaxy_sim/{name}" for name in Builder.builder_configs] == [
      name for name in BUILDERS if name.startswith("galaxy_sim")]
  assert len({config.recipe.seed for config in Builder.BUILDER_CONFIGS}) == len(Builder.BUILDER_CONFIGS)
  assert full_name("galaxy_sim") == "galaxy_sim/demo"
  with pytest.raises(DataError, match="galaxy_sim/demo"):
    prepare("galaxy_sim/huge")


def test_the_challenge_is_split_as_the_real_one(monkeypatch):
  monkeypatch.undo()
  splits = Builder.builder_configs["challenge"].splits
  assert splits == {"train": 61_578 - 61_578 // 10, "validation": 61_578 // 10, "test": 79_975}


def test_a_record_is_what_the_simulator_gives_for_its_number(monkeypatch):
  """Against a stand-in that is called for one galaxy: a record has its own key, and is not mixed up with others."""
  import jax
  monkeypatch.setattr(simulate, "galaxy", stand_in.galaxy)
  for record in rendering.records(RECIPE, [FIRST_ID + 40, FIRST_ID, FIRST_ID + 3]):
    truth = stand_in.galaxy(jax.random.fold_in(jax.random.key(3), record["galaxy_id"]), size=32)
    for name in LABELS:
      np.testing.assert_array_equal(record[name], truth[name], err_msg=name)
    shown = pixels(record["image"])
    assert shown.shape == (64, 64, 3)
    shrunk = shown.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(shrunk - np.asarray(truth["image"])).mean() < 4
    np.testing.assert_array_equal(pixels(record["mask"])[::2, ::2] == 255, truth["mask"])


def test_boxes_bound_masks(galaxies):
  for record in galaxies:
    mask = pixels(record["mask"])
    assert mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 255}
    y, x = np.nonzero(mask)
    expected = [y.min(), x.min(), y.max() + 1, x.max() + 1] if len(y) else [0] * 4
    np.testing.assert_array_equal(record["box"], expected)


def test_jpegs_are_coded_as_the_challenges(galaxies, samples):
  with zipfile.ZipFile(samples / "kaggle_format_sample/images_test_rev1.zip") as archive:
    real = Image.open(io.BytesIO(archive.read(next(n for n in archive.namelist() if n.endswith(".jpg")))))
  ours = Image.open(io.BytesIO(galaxies[0]["image"]))
  assert ours.quantization == real.quantization
  assert JpegImagePlugin.get_sampling(ours) == JpegImagePlugin.get_sampling(real)
  assert ours.info["dpi"] == real.info["dpi"] and ours.mode == real.mode


def test_a_build_in_several_shards_holds_the_records(galaxies, tmp_path, monkeypatch):
  monkeypatch.setattr("tfds_builders.builder._SHARD_BYTES", 4 * (32 << 10))
  builder = prepare("galaxy_sim/demo", manual_dir=None, data_dir=tmp_path, progress=False)
  assert builder.info.full_name == "galaxy_sim/demo/2.0.0"
  assert builder.info.splits["train"].shard_lengths == [3, 4, 4]
  records = [record for split in SPLITS for record in read(builder, split)]
  assert [int(record["galaxy_id"]) for record in records] == [*range(FIRST_ID, FIRST_ID + 13)]
  for record, galaxy in zip(records[:12], galaxies[:12], strict=True):
    assert_same(record, galaxy)
  withheld = records[12]
  assert np.isnan(withheld["vote_fractions"]).all() and not withheld["vote_counts"].any()
  assert (withheld["five_class"], withheld["ten_class"]) == (-1, -1)
  assert_same(withheld, {name: galaxies[12][name] for name in ("image", "kind", "mask", "box")})


def unpack(counts: bytes, height: int, width: int) -> np.ndarray:
  """The mask of COCO's compressed run lengths, read as its format is described: groups of five bits, then runs."""
  runs, number, shift = [], 0, 0
  for byte in counts:
    group = byte - 48
    number |= (group & 31) << shift
    shift += 5
    if not group & 32:
      runs.append(number - (group & 16 and 1 << shift) + (runs[-2] if len(runs) > 2 else 0))
      number = shift = 0
  values = np.arange(len(runs)) % 2 == 1
  return np.repeat(values, runs).reshape(width, height).T


def test_scenes_have_a_mask_box_and_class_for_each_object(tmp_path, monkeypatch):
  config = Builder.builder_configs["scenes"]
  monkeypatch.setattr(config, "recipe", rendering.Recipe(seed=5, size=64, rendered=64, mix=None))
  monkeypatch.setattr(config, "splits", {"train": 9, "validation": 1})
  builder = prepare("galaxy_sim/scenes", data_dir=tmp_path, progress=False)
  scenes = read(builder, "train+validation")
  assert [int(scene["scene_id"]) for scene in scenes] == [*range(FIRST_ID, FIRST_ID + 10)]
  overlapping = 0
  for scene in scenes:
    assert pixels(scene["image"]).shape == (64, 64, 3)
    assert len(scene["masks"]) == len(scene["boxes"]) == len(scene["classes"]) > 0
    assert set(scene["classes"]) <= {0, 1, 2}
    masks = np.stack([unpack(counts, 64, 64) for counts in scene["masks"]])
    for mask, box in zip(masks, scene["boxes"], strict=True):
      y, x = np.nonzero(mask)
      np.testing.assert_array_equal(box, [y.min(), x.min(), y.max() + 1, x.max() + 1])
    overlapping += (masks.sum(0) > 1).any()
  assert overlapping


def test_any_part_can_be_rendered_alone(galaxies):
  for record, number in zip(rendering.records(RECIPE, [FIRST_ID + 9, FIRST_ID + 2]), (9, 2), strict=True):
    assert_same(record, galaxies[number])


def test_a_build_is_opened_again_and_another_kept_apart(tmp_path, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  built = prepare("galaxy_sim/demo", progress=False)
  with monkeypatch.context() as patch:
    patch.setattr(rendering, "_renderer", None)
    assert prepare("galaxy_sim/demo", progress=False).data_path == built.data_path
    assert prepare("galaxy_sim/demo", manual_dir=tmp_path, progress=False).data_path == built.data_path
  before = source_record(built)["fingerprint"]
  monkeypatch.setattr(simulate, "VERSION", "another")
  with pytest.raises(DataError, match="--overwrite"):
    prepare("galaxy_sim/demo", manual_dir=tmp_path, data_dir=tmp_path, progress=False)
  other = prepare("galaxy_sim/demo", manual_dir=tmp_path, progress=False)
  after = source_record(other)["fingerprint"]
  assert after != before
  assert other.data_path.parents[2] == tmp_path / f"galaxy_sim-demo-{after[:16]}-array_record"


def test_a_finished_build_is_read_without_jax_and_a_new_one_asks_for_it(tmp_path):
  assert main(["galaxy_sim/demo", f"--data_dir={tmp_path / 'data'}"]) == 0
  code = f"""
import sys
sys.modules["jax"] = sys.modules["galaxy_jax.simulate"] = None
from tfds_builders.__main__ import main
from tfds_builders.prepare import prepare
assert prepare("galaxy_sim/demo", data_dir="{tmp_path / 'data'}").as_data_source("train")[0]["galaxy_id"] == {FIRST_ID}
assert main(["galaxy_sim/demo", "--data_dir={tmp_path / 'other'}"]) == 1
"""
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert "pip install galaxy_jax" in done.stderr and "Traceback" not in done.stderr
  assert not (tmp_path / "other").exists()


def test_the_challenges_files_build_the_same_galaxies(tmp_path):
  assert write_challenge.main([f"--output={tmp_path / 'files'}", "--training=12", "--test=1"]) == 0
  assert sorted(os.listdir(tmp_path / "files")) == [
      "images_test_rev1.zip", "images_training_rev1.zip", "training_solutions_rev1.zip"]
  real = prepare("galaxy_zoo_challenge", manual_dir=tmp_path / "files", data_dir=tmp_path / "data", progress=False)
  simulated = prepare("galaxy_sim/challenge", data_dir=tmp_path / "data", progress=False)
  for split in SPLITS:
    ours = read(simulated, split)
    theirs = read(real, split)
    assert len(ours) == len(theirs) == SPLITS[split]
    for record, other in zip(ours, theirs, strict=True):
      assert_same(record, other)
  with zipfile.ZipFile(tmp_path / "files/training_solutions_rev1.zip") as archive:
    header, first = archive.read("training_solutions_rev1.csv").decode().splitlines()[:2]
  assert header.startswith("GalaxyID,Class1.1,Class1.2,Class1.3,Class2.1") and header.endswith("Class11.6")
  assert "e" not in first and all(value in ("0", "1") or value.startswith("0.") for value in first.split(",")[1:])


def test_the_challenges_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch, capsys):
  def broken(recipe, numbers):
    yield from rendering.records(recipe, numbers[:2])
    raise OSError("no space left")

  with monkeypatch.context() as patch:
    patch.setattr(write_challenge, "records", broken)
    assert write_challenge.main([f"--output={tmp_path}", "--training=12"]) == 1
  assert "no space left. Not all of the zips were written." in capsys.readouterr().err
  assert not list(tmp_path.iterdir())
  (tmp_path / "images_training_rev1.zip").touch()
  assert write_challenge.main([f"--output={tmp_path}", "--training=12"]) == 1
  assert "is there already" in capsys.readouterr().err
