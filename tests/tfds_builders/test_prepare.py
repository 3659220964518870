"""Builds with TFDS, read back: contents, places, and what is left behind."""
import contextlib
import csv
import importlib.util
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import BUILDERS, builder_class
from tfds_builders.__main__ import main
from tfds_builders.builder import _Shard
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.galaxy_zoo_challenge import kaggle_download
from tfds_builders.galaxy_zoo_challenge.galaxy_zoo_challenge_dataset_builder import Builder
from tfds_builders.galaxy_zoo_challenge.kaggle_files import source_fingerprint
from tfds_builders.prepare import check_available, prepare, source_record

NAME = "galaxy_zoo_challenge"
RAW = {"image": tfds.decode.SkipDecoding()}
ROOT = Path(__file__).resolve().parents[2]
needs_tensorflow = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tmp_path):
  """Nothing here may reach Kaggle or the user's own data sets."""
  for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))


def build(manual_dir, data_dir=None, **options):
  return prepare(NAME, manual_dir=manual_dir, data_dir=data_dir, progress=False, **options)


def files_below(folder):
  return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def assert_holds(records, challenge, ids):
  """The records are these galaxies in this order, with the CSV's values and the image files' bytes."""
  labels = {row[0]: np.array(row[1:], np.float32) for row in challenge.rows[1:]}
  assert [int(record["galaxy_id"]) for record in records] == ids
  for record in records:
    galaxy_id = str(int(record["galaxy_id"]))
    np.testing.assert_array_equal(record["vote_fractions"], labels[galaxy_id])
    assert record["image"] == challenge.images[f"{galaxy_id}.jpg"]


def test_every_layout_builds_the_same_records(challenge, layout, tmp_path):
  builder = build(challenge.pack(tmp_path / "manual", layout), tmp_path / "data")
  ids = sorted(int(row[0]) for row in challenge.rows[1:])
  assert_holds(builder.as_data_source("train", decoders=RAW), challenge, ids[:18])
  assert_holds(builder.as_data_source("validation", decoders=RAW), challenge, ids[18:])
  assert_holds(builder.as_data_source("train[:12]", decoders=RAW), challenge, ids[:12])
  assert_holds(builder.as_data_source("train[12:]+validation", decoders=RAW), challenge, ids[12:])
  test = builder.as_data_source("test", decoders=RAW)
  assert [(int(record["galaxy_id"]), record["image"]) for record in test] == [
      (i, challenge.test[f"{i}.jpg"]) for i in (9, 30, 200)]
  assert np.isnan([record["vote_fractions"] for record in test]).all()
  assert builder.as_data_source("train")[0]["image"].shape == (48, 40, 3)


def test_several_shards_keep_the_order(challenge, tmp_path, monkeypatch):
  monkeypatch.setattr("tfds_builders.builder._SHARD_BYTES", 3000)
  builder = build(challenge.pack(tmp_path / "manual"), tmp_path / "data")
  assert len(builder.info.splits["train"].shard_lengths) > 2
  assert_holds(builder.as_data_source("train", decoders=RAW), challenge,
               sorted(int(row[0]) for row in challenge.rows[1:])[:18])


def test_no_test_images_no_test_split(challenge, tmp_path):
  challenge.test.clear()
  assert set(build(challenge.pack(tmp_path / "manual"), tmp_path / "data").info.splits) == {"train", "validation"}


def test_bad_input_leaves_nothing_behind(challenge, tmp_path):
  challenge.images["101.jpg"] = challenge.images["101.jpg"][:-9]
  with pytest.raises(DataError, match=r"101.jpg"):
    build(challenge.pack(tmp_path / "manual"), tmp_path / "data")
  assert not (tmp_path / "data").exists()


def test_a_file_in_place_of_the_folder_is_named(challenge, tmp_path):
  archive = tmp_path / "images.zip"
  archive.write_bytes(b"")
  with pytest.raises(DataError, match=r"images\.zip is a file\. Name the folder it is in"):
    prepare("galaxy_zoo_challenge", manual_dir=archive, data_dir=tmp_path / "data")


def test_skip_bad_lists_what_it_left_out(challenge, tmp_path, caplog):
  challenge.images["101.jpg"] = b""
  challenge.rows[2][4] = "7"
  galaxy_id = challenge.rows[2][0]
  manual_dir = challenge.pack(tmp_path / "manual")
  builder = build(manual_dir, tmp_path / "data", skip_bad=True)
  assert sum(len(builder.as_data_source(split)) for split in ("train", "validation")) == 18
  with (builder.data_path / "left_out.csv").open() as file:
    left_out = list(csv.DictReader(file))
  assert [(row["row"], row["item"]) for row in left_out] == [("3", galaxy_id), ("", "101")]
  assert left_out[0]["file"].endswith("training_solutions_rev1.csv") and "Class2.1" in left_out[0]["reason"]
  assert "Left out 2" in caplog.text and "left_out.csv" in caplog.text
  assert source_record(build(manual_dir, tmp_path / "data"))["left_out"] == 2
  assert "without 2" in caplog.text


def test_a_finished_build_is_opened_not_built_again(challenge, tmp_path, monkeypatch):
  manual_dir = challenge.pack(tmp_path / "manual")
  built = build(manual_dir, tmp_path / "data")
  assert source_record(built)["fingerprint"] == source_fingerprint(manual_dir)
  monkeypatch.setattr(Builder, "validate", None)
  assert build(manual_dir, tmp_path / "data").data_path == built.data_path
  assert len(build(None, tmp_path / "data").as_data_source("train")) == 18


def test_other_source_files_are_refused_in_a_named_folder(challenge, tmp_path):
  build(challenge.pack(tmp_path / "manual"), tmp_path / "data")
  challenge.rows[1][1] = "0.5"
  other = challenge.pack(tmp_path / "other")
  with pytest.raises(DataError, match="other source files") as error:
    build(other, tmp_path / "data")
  for fingerprint in (source_fingerprint(tmp_path / "manual"), source_fingerprint(other)):
    assert fingerprint[:16] in str(error.value)
  assert "--overwrite" in str(error.value)


def test_overwrite_replaces_a_build_only_by_a_whole_one(challenge, tmp_path, monkeypatch):
  build(challenge.pack(tmp_path / "manual"), tmp_path / "data")
  before = files_below(tmp_path / "data")
  challenge.rows[1][1] = "0.5"
  other = challenge.pack(tmp_path / "other")
  with monkeypatch.context() as patch:
    patch.setattr("tfds_builders.builder._shards", None)
    with pytest.raises(TypeError):
      build(other, tmp_path / "data", overwrite=True)
  assert files_below(tmp_path / "data") == before and build(tmp_path / "manual", tmp_path / "data")
  built = build(other, tmp_path / "data", overwrite=True)
  assert source_record(built)["fingerprint"] == source_fingerprint(other)
  assert files_below(tmp_path / "data") == before


def test_other_source_files_get_their_own_folder_below_the_default(challenge, tmp_path):
  first = build(challenge.pack(tmp_path / "manual"))
  assert first.data_path == tmp_path / "default" / NAME / "votes" / "1.0.0"
  challenge.rows[1][1] = "0.5"
  other = challenge.pack(tmp_path / "other")
  second = build(other)
  assert source_fingerprint(other)[:16] in str(second.data_path) and (tmp_path / "default") in second.data_path.parents
  assert build(tmp_path / "manual").data_path == first.data_path
  assert build(other).data_path == second.data_path


def test_the_default_manual_folder(challenge, tmp_path):
  with pytest.raises(MissingDataError, match="kaggle competitions download"):
    build(None, tmp_path / "data")
  assert not (tmp_path / "data").exists()
  challenge.pack(tmp_path / "data" / "downloads" / "manual")
  assert len(build(None, tmp_path / "data").as_data_source("train")) == 18


def test_credentials_are_used_where_there_are_no_files(challenge, tmp_path, monkeypatch):
  class Client:
    """Stands for the official client."""

    def authenticate(self):
      pass

    def competition_download_files(self, competition, path, quiet):
      challenge.pack(Path(path), "one zip, stored")

  monkeypatch.setenv("KAGGLE_USERNAME", "a")
  monkeypatch.setenv("KAGGLE_KEY", "b")
  monkeypatch.setitem(sys.modules, "kaggle", None)
  with pytest.raises(DataError, match=r"pip install 'galaxy_jax\[kaggle\]'"):
    build(None, tmp_path / "data")
  monkeypatch.setitem(sys.modules, "kaggle", type("kaggle", (), {"api": Client()}))
  builder = build(None, tmp_path / "data")
  assert len(builder.as_data_source("train")) == 18
  assert files_below(tmp_path / "data" / "downloads" / "manual") == [Path("galaxy-zoo-the-galaxy-challenge.zip")]


def test_a_refused_download_is_one_clear_error(tmp_path, monkeypatch):
  class Client:
    def authenticate(self):
      pass

    def competition_download_files(self, competition, path, quiet):
      raise RuntimeError("403 - Forbidden\nmany more lines")

  monkeypatch.setitem(sys.modules, "kaggle", type("kaggle", (), {"api": Client()}))
  with pytest.raises(DataError, match=r"403 - Forbidden.*rules"):
    kaggle_download.download(tmp_path / "manual")
  assert not list((tmp_path / "manual").iterdir())


@pytest.mark.parametrize("moment", ["validate", "_shard_iterators_per_split"])
def test_another_process_that_finishes_first_does_no_harm(challenge, tmp_path, monkeypatch, moment):
  manual_dir = challenge.pack(tmp_path / "manual")
  original = getattr(Builder, moment)

  def overtaken(self, *arguments, **options):
    monkeypatch.setattr(Builder, moment, original)
    build(manual_dir, tmp_path / "data")
    return original(self, *arguments, **options)

  monkeypatch.setattr(Builder, moment, overtaken)
  # Where the file system has no locks.
  monkeypatch.setattr("tfds_builders.prepare.alone", lambda *_: contextlib.nullcontext(False))
  assert len(build(manual_dir, tmp_path / "data").as_data_source("train")) == 18
  assert [path.name for path in (tmp_path / "data" / NAME / "votes").glob("[!.]*")] == ["1.0.0"]


def test_a_folder_that_is_no_finished_build_is_refused(challenge, tmp_path):
  (tmp_path / "data" / NAME / "votes" / "1.0.0").mkdir(parents=True)
  manual_dir = challenge.pack(tmp_path / "manual")
  with pytest.raises(DataError, match=r"no finished data set.*--overwrite"):
    build(manual_dir, tmp_path / "data")
  assert len(build(manual_dir, tmp_path / "data", overwrite=True).as_data_source("train")) == 18


def test_what_a_killed_build_left_is_put_right(challenge, tmp_path, caplog):
  manual_dir = challenge.pack(tmp_path / "manual")
  code = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
          "import os, signal, tfds_builders.galaxy_zoo_challenge.validation as validation\n"
          "from tfds_builders.archives import Folder\n"
          "from tfds_builders.prepare import prepare\n"
          "import tfds_builders.builder as builder\n"
          "call = builder._Shard.__call__\n"
          "def killed(shard):\n"
          "  for number, example in enumerate(call(shard)):\n"
          "    if number == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
          "    yield example\n"
          "builder._Shard.__call__ = killed\n"
          f"prepare({NAME!r}, manual_dir={str(manual_dir)!r}, data_dir=sys.argv[1], progress=False, "
          "overwrite=len(sys.argv) > 2)\n")

  def kill(*arguments):
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data"), *arguments], capture_output=True,
                          text=True, check=False)
    assert done.returncode == -9, done.stderr

  kill()
  place = tmp_path / "data" / NAME / "votes"
  assert [path.name.split(".")[0] for path in place.glob("[!.]*")] == ["incomplete"]
  with caplog.at_level("WARNING"):
    built = build(manual_dir, tmp_path / "data")
  assert "left by a build that was killed" in caplog.text
  assert [path.name for path in place.glob("[!.]*")] == ["1.0.0"] and len(built.as_data_source("train")) == 18
  kill("overwrite")
  assert len(list(place.glob("[!.]*"))) == 2 and not (place / "1.0.0").exists()
  built = build(manual_dir, tmp_path / "data")
  assert len(built.as_data_source("train")) == 18 and len(list(place.glob("[!.]*"))) == 1


@needs_tensorflow
def test_a_tfrecord_build_is_what_tfds_load_reads(challenge, tmp_path):
  manual_dir = challenge.pack(tmp_path / "manual")
  build(manual_dir, tmp_path / "data", file_format="tfrecord")
  with pytest.raises(DataError, match="built as tfrecord, not array_record"):
    build(manual_dir, tmp_path / "data")
  loaded = tfds.load(NAME, split="train[12:]+validation", data_dir=tmp_path / "data", decoders=RAW)
  assert_holds(list(tfds.as_numpy(loaded)), challenge, sorted(int(row[0]) for row in challenge.rows[1:])[12:])


def test_the_real_sample(tmp_path):
  if not os.environ.get("GALAXY_JAX_SAMPLES"):
    pytest.skip("GALAXY_JAX_SAMPLES is not set: no real galaxies to read")
  builder = build(Path(os.environ["GALAXY_JAX_SAMPLES"]) / "kaggle_format_sample", tmp_path / "data")
  first = builder.as_data_source("train[:635]", decoders=RAW)
  second = builder.as_data_source("train[635:]+validation", decoders=RAW)
  ids = [int(record["galaxy_id"]) for source in (first, second) for record in source]
  assert (len(first), len(second), len(builder.as_data_source("test"))) == (635, 159, 300)
  assert ids == sorted(ids) and ids[0] == 68
  np.testing.assert_allclose(first[0]["vote_fractions"][:5], [0.605, 0.395, 0, 0.342465, 0.052535], rtol=1e-6)


def test_a_build_whose_replacement_was_killed_is_there_without_its_source(challenge, tmp_path):
  built = build(challenge.pack(tmp_path / "manual"), tmp_path / "data")
  path = Path(built.data_path)
  path.rename(path.with_name(f"{path.name}.replaced_1"))
  check_available(NAME, data_dir=tmp_path / "data")
  assert build(None, tmp_path / "data").info.splits["train"].num_examples == 18
  assert not list(path.parent.glob("*replaced_*"))


@pytest.mark.parametrize("name", [name for name in BUILDERS if not name.startswith("galaxy_sim")])
def test_shards_of_every_builder_give_the_same_in_another_process(name, tmp_path):
  for module in ("h5py", "astropy"):
    pytest.importorskip(module)
  folder, _, config = name.partition("/")
  builder = builder_class(name)(config=config, data_dir=tmp_path)

  def examples(shard):
    return [(key, {name: value.getvalue() if name == "image" else np.asarray(value).tolist()
                   for name, value in example.items()}) for key, example in shard()]

  with builder.open_source(ROOT / "tfds_builders" / folder / "dummy_data") as source:
    contents = builder.validate(source, skip_bad=False, progress=False)
    for records in contents.splits.values():
      shard = _Shard(contents.examples, records)
      assert repr(examples(pickle.loads(pickle.dumps(shard)))) == repr(examples(shard))  # NaN is not itself.


def test_apache_beam_that_is_not_installed_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(DataError, match=r"pip install 'galaxy_jax\[scale\]'"):
    build(tmp_path, tmp_path / "data", beam_options="runner=DirectRunner")


@pytest.mark.parametrize("place, reason", [
    ("sheet.jpg", r"sheet\.jpg; a file that ends in \.png"), ("sheet", r"\.png was expected"),
    ("absent/sheet.png", r"cannot be written \(No such file or directory\)"), ("folder.png", "is a folder"),
    ("file/sheet.png", r"cannot be written \(Not a directory\)")])
def test_a_preview_that_cannot_be_written_is_refused_before_the_build(challenge, tmp_path, capsys, place, reason):
  manual_dir = challenge.pack(tmp_path / "manual")
  (tmp_path / "folder.png").mkdir()
  (tmp_path / "file").touch()
  before = files_below(tmp_path)
  assert main([NAME, f"--manual_dir={manual_dir}", f"--data_dir={tmp_path / 'data'}",
               f"--preview={tmp_path / place}"]) == 1
  error, = capsys.readouterr().err.splitlines()
  assert error.startswith("error: The preview") and re.search(reason, error)
  assert files_below(tmp_path) == before


def test_a_data_dir_that_cannot_be_written_is_found_before_the_work(challenge, tmp_path, monkeypatch):
  monkeypatch.setattr(Builder, "validate", lambda *_, **__: pytest.fail("validated"))
  manual_dir = challenge.pack(tmp_path / "manual")
  (tmp_path / "file").touch()
  for data_dir in ("/proc/nowhere", tmp_path / "file", tmp_path / "file" / "below"):
    with pytest.raises(DataError, match=rf"^{data_dir}.* cannot be written .*--data_dir="):
      build(manual_dir, data_dir)
  monkeypatch.setattr(kaggle_download, "has_credentials", lambda: True)
  monkeypatch.setattr(kaggle_download, "download", lambda *_, **__: pytest.fail("downloaded"))
  with pytest.raises(DataError, match=r"^/proc/nowhere.* cannot be written"):
    build(None, "/proc/nowhere")


def test_command_line(challenge, tmp_path, capsys, caplog):
  caplog.set_level("INFO")
  arguments = [NAME, f"--manual_dir={tmp_path / 'manual'}", f"--data_dir={tmp_path / 'data'}"]
  assert main(arguments) == 1
  assert capsys.readouterr().err.startswith("error: The manual folder")
  challenge.rows[1][2] = "two"
  challenge.pack(tmp_path / "manual")
  assert main(arguments) == 1
  error = capsys.readouterr().err
  assert "row 2 has 'two' in column Class1.2" in error and "Traceback" not in error
  assert main([*arguments, "--skip_bad", f"--preview={tmp_path / 'sheet.png'}"]) == 0
  said = caplog.text
  assert "(train 18, validation 1, test 3)" in said and "KiB in" in said
  with Image.open(tmp_path / "sheet.png") as sheet:
    pixels = np.asarray(sheet.convert("RGB"))
  # 18 images fill three rows of six; an image's corner is no paper.
  assert (pixels[10, [10, 830]] < 250).any(1).all() and (pixels[170, -60:-50] == 255).any()
  assert main(arguments) == 0
  assert main(["--list"]) == 0
  listed = capsys.readouterr().out
  assert all(name in listed for name in BUILDERS) and "37 vote fractions" in listed


def test_importing_and_building_needs_neither_tensorflow_nor_jax(challenge, tmp_path):
  challenge.pack(tmp_path / "manual")
  code = f"""
import sys
from importlib.machinery import PathFinder
class Hidden(PathFinder):
  @classmethod
  def find_spec(cls, name, path=None, target=None):
    return None if name.split(".")[0] in ("tensorflow", "jax") else super().find_spec(name, path, target)
sys.meta_path = [Hidden if finder is PathFinder else finder for finder in sys.meta_path]
import tfds_builders
import tfds_builders.gz2_tree, tfds_builders.images, tfds_builders.prepare
assert "tensorflow_datasets" not in sys.modules
from tfds_builders import BUILDERS
from tfds_builders.__main__ import main
assert main(["{NAME}", "--manual_dir={tmp_path / 'manual'}", "--data_dir={tmp_path / 'data'}"]) == 0
builder = tfds_builders.prepare.prepare("{NAME}", data_dir="{tmp_path / 'data'}")
assert len(builder.as_data_source("train")) == 18
assert main(["{NAME}", "--file_format=tfrecord", "--data_dir={tmp_path / 'other'}"]) == 1
assert not {{"tensorflow", "jax"}} & set(sys.modules)
"""
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert "Built" in done.stderr and "Traceback" not in done.stderr and "pip install 'galaxy_jax[tf]'" in done.stderr
  assert done.stdout == ""
