"""Splits of a TFDS dataset in ArrayRecord files, and what they are known by."""
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from galaxy_jax.data import sources


class TinyGalaxies(tfds.core.GeneratorBasedBuilder):
  """Twelve galaxies, nine to train on."""
  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=tfds.features.FeaturesDict({
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "galaxy_id": np.int64,
        "vote_fractions": tfds.features.Tensor(shape=(37,), dtype=np.float32)}))

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(0, 9), "validation": self._generate_examples(9, 12)}

  def _generate_examples(self, start, stop):
    for i in range(start, stop):
      yield i, self.records[i] | {"image": io.BytesIO(self.records[i]["image"]), "galaxy_id": 2**40 + i}


@pytest.fixture(scope="module")
def builder(tmp_path_factory, records):
  TinyGalaxies.records = records
  builder = TinyGalaxies(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
  builder.download_and_prepare()
  return builder


@pytest.mark.parametrize("split, expected", [
    ("train", range(9)), ("train[:6]", range(6)), ("train[6:]+validation", range(6, 12)),
    ("validation+train[:1]", [9, 10, 11, 0]), ("train[2:4]+validation[1:]", [2, 3, 10, 11])])
def test_splits_are_the_rows_they_name(builder, records, split, expected):
  source = sources.split_source(builder, split)
  read = [source[i] for i in range(len(source))]
  assert [record["galaxy_id"] - 2**40 for record in read] == list(expected)
  for i, record in zip(expected, read, strict=True):
    assert record["image"] == records[i]["image"]
    np.testing.assert_array_equal(record["vote_fractions"], records[i]["vote_fractions"])


@pytest.mark.parametrize("split", ["trian", "train[:6", "train[5:5]", "train[5:2]", "train[30:]", ""])
def test_bad_splits_name_what_there_is(builder, split):
  with pytest.raises(ValueError, match=r"train \(9 records\), validation \(3 records\)"):
    sources.split_source(builder, split)


@pytest.mark.parametrize("split, reason", [
    ("trian", r"Unknown split 'trian'\. Should be one of \['train', 'validation'\]\. Expected"),
    ("train[:0]", "it holds none\\. Expected"), ("train[5:2]", "it holds none\\. Expected"),
    ("train[::2]", r"Unrecognized split format: 'train\[::2\]'\. See format at https\S*/splits\. Expected"),
    ("all[:0]", "'all' does not support slice")])
def test_bad_splits_say_in_one_line_why(builder, split, reason):
  with pytest.raises(ValueError, match=reason) as error:
    sources.split_source(builder, split)
  assert ".." not in str(error.value) and "\n" not in str(error.value)


def test_unprepared_datasets_and_other_formats_name_the_command(tmp_path):
  with pytest.raises(ValueError, match=r"is not prepared.*python -m tfds_builders tiny_galaxies"):
    sources.split_source(TinyGalaxies(data_dir=tmp_path, file_format="array_record"), "train")


def test_fingerprint_tells_splits_apart_and_is_json(builder):
  whole = sources.fingerprint(builder, "train")
  assert whole == json.loads(json.dumps(whole)) == sources.fingerprint(builder, "train")
  assert (whole["records"], whole["first_id"], whole["last_id"]) == (9, 2**40, 2**40 + 8)
  assert sources.fingerprint(builder, "train[:8]") != whole


def test_tensorflow_is_not_imported():
  program = "import sys, galaxy_jax.data.stream, galaxy_jax.data.resident; assert 'tensorflow' not in sys.modules"
  subprocess.run([sys.executable, "-c", program], check=True)
