"""The five-class subset: thresholds, order, split and counts, and what a build of it holds."""
import csv
import io
import logging
import os
from decimal import Decimal
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from galaxy_jax.simulate import labels
from tfds_builders.class_lists import FIVE_CLASSES
from tfds_builders.contents import Faults
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge import morph5
from tfds_builders.galaxy_zoo_challenge.kaggle_files import KaggleFiles
from tfds_builders.galaxy_zoo_challenge.morph5 import check_counts, five_class, in_test
from tfds_builders.galaxy_zoo_challenge.validation import read_solutions
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.prepare import prepare

#: The thresholds as they are printed, as text: class -> column -> value.
RULE = {0: {"Class1.1": "0.469", "Class7.1": "0.50"}, 1: {"Class1.1": "0.469", "Class7.2": "0.50"},
        2: {"Class1.1": "0.469", "Class7.3": "0.50"}, 3: {"Class1.2": "0.430", "Class2.1": "0.602"},
        4: {"Class1.2": "0.430", "Class2.2": "0.715", "Class4.1": "0.619"}}


def row(values: dict[str, str]) -> list[str]:
  """A row's 37 values as text."""
  return [values.get(column, "0.0") for column in COLUMNS]


def class_of(values, dtype=np.float64):
  """The class of one row of text."""
  return int(five_class(np.array([row(values)], dtype))[0])


def set_votes(challenge, index, values):
  challenge.rows[index][1:] = row(values)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("label", RULE)
def test_a_value_at_its_threshold_is_in_and_the_next_below_is_out(label, dtype):
  assert class_of(RULE[label], dtype) == label
  for column, threshold in RULE[label].items():
    below = np.nextafter(dtype(threshold), dtype(0))
    assert class_of(RULE[label] | {column: str(below)}, dtype) == -1


def test_a_digit_that_float32_loses_decides():
  almost = RULE[3] | {"Class2.1": "0.6019999999"}
  assert np.float32("0.6019999999") == np.float32("0.602") and np.float32("0.602") < np.float64("0.602")
  assert class_of(almost) == -1 and class_of(almost, np.float32) == 3


def test_the_first_class_that_applies_is_taken():
  assert class_of(RULE[3] | RULE[1] | RULE[0]) == 0
  assert class_of(RULE[4] | RULE[3] | RULE[2]) == 2
  assert class_of(RULE[4] | RULE[3]) == 3


def test_nan_and_no_rows_have_no_class():
  assert five_class(np.full((2, 37), np.nan)).tolist() == [-1, -1]
  assert five_class(np.zeros((0, 37))).shape == (0,)
  assert five_class([[1, *[0] * 14, 1, *[0] * 21]]).tolist() == [0]


def test_the_simulator_has_the_same_rule():
  rng = np.random.default_rng(0)
  votes = rng.choice([0.0, 0.43, 0.469, 0.5, 0.602, 0.619, 0.715, 0.9], (4000, 37)).astype(np.float32)
  expected = np.asarray(labels.five_class(jnp.asarray(votes)))
  assert set(expected) == {-1, 0, 1, 2, 3, 4}
  np.testing.assert_array_equal(five_class(votes), expected)


def test_the_test_split_is_a_tenth_of_each_class():
  classes = np.repeat(np.arange(5), morph5.COUNTS)
  np.random.default_rng(0).shuffle(classes)
  chosen = in_test(classes)
  assert [int((chosen & (classes == label)).sum()) for label in range(5)] == [844, 807, 58, 390, 781]
  # Another class's galaxies do not move it.
  np.testing.assert_array_equal(in_test(classes[classes != 2]), chosen[classes != 2])


def test_another_table_of_the_full_size_is_logged(caplog):
  caplog.set_level(logging.WARNING)
  published = np.repeat([-1, 0, 1, 2, 3, 4], [morph5.GALAXIES - sum(morph5.COUNTS), *morph5.COUNTS])
  assert check_counts(published) and check_counts(published[:-1]) and not caplog.text
  published[0] = 3
  assert not check_counts(published)
  assert "(8436, 8069, 579, 3904, 7806)" in caplog.text


def test_a_build_holds_the_galaxies_with_a_class(challenge, tmp_path):
  for index in range(1, 21):
    set_votes(challenge, index, RULE[index % 5] if index > 6 else {"Class1.3": "1"})
  set_votes(challenge, 20, RULE[3] | {"Class2.1": "0.6019999999"})  # Rounded to float32 it would be in.
  expected = {int(challenge.rows[index][0]): index % 5 for index in range(7, 20)}
  builder = prepare("galaxy_zoo_challenge/morph5", manual_dir=challenge.pack(tmp_path / "manual"),
                    data_dir=tmp_path / "data", progress=False)
  assert set(builder.info.splits) == {"train"}  # No class has five galaxies.
  records = list(builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()}))
  assert [int(record["galaxy_id"]) for record in records] == sorted(expected)
  for record in records:
    assert record["label"] == expected[int(record["galaxy_id"])]
    assert record["image"] == challenge.images[f"{int(record['galaxy_id'])}.jpg"]
  assert builder.info.features["label"].names == list(FIVE_CLASSES)


def test_faults_are_faults_though_the_galaxy_has_no_class(challenge, tmp_path):
  for index in range(1, 21):
    set_votes(challenge, index, RULE[0] if index > 2 else {})
  challenge.rows[1][4] = "2"
  manual_dir = challenge.pack(tmp_path / "manual")
  with pytest.raises(DataError, match=r"row 2 has '2' in column Class2.1"):
    prepare("galaxy_zoo_challenge/morph5", manual_dir=manual_dir, data_dir=tmp_path / "data", progress=False)
  builder = prepare("galaxy_zoo_challenge/morph5", manual_dir=manual_dir, data_dir=tmp_path / "data", progress=False,
                    skip_bad=True)
  assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 16, "test": 2}


def test_without_galaxies_in_the_five_classes(challenge, tmp_path):
  for index in range(1, 21):
    set_votes(challenge, index, {"Class1.3": "1"})
  with pytest.raises(DataError, match="0 usable training galaxies in the five classes"):
    prepare("galaxy_zoo_challenge/morph5", manual_dir=challenge.pack(tmp_path / "manual"), data_dir=tmp_path / "data",
            progress=False)


def test_the_real_sample_reads_back_exactly(samples, tmp_path):
  manual_dir = samples / "kaggle_format_sample"
  with KaggleFiles(manual_dir) as files:
    rows = list(csv.DictReader(io.StringIO(files.solutions().data.decode())))
    images = {int(Path(member.name).stem): files.training_images().read(member)
              for member in files.training_images().members}
  expected = {}
  for values in rows:
    for label, conditions in RULE.items():
      if all(Decimal(values[column]) >= Decimal(threshold) for column, threshold in conditions.items()):
        expected[int(values["GalaxyID"])] = label
        break
  builder = prepare("galaxy_zoo_challenge/morph5", manual_dir=manual_dir, data_dir=tmp_path, progress=False)
  found = {}
  for split in ("train", "test"):
    for record in builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()}):
      found[int(record["galaxy_id"])] = int(record["label"])
      assert record["image"] == images[int(record["galaxy_id"])]
  assert found == expected and len(expected) > 300
  assert abs(builder.info.splits["test"].num_examples - len(expected) / 10) <= 2.5


def test_the_full_challenge_has_the_published_counts():
  folder = os.environ.get("GALAXY_JAX_CHALLENGE")
  if not folder:
    pytest.skip("GALAXY_JAX_CHALLENGE names no folder with the full challenge's files")
  with KaggleFiles(folder) as files:
    votes, _ = read_solutions(files.solutions(), Faults(skip_bad=False))
  found = five_class(np.stack(list(votes.values())))
  assert len(found) == morph5.GALAXIES
  assert tuple(np.bincount(found[found >= 0])) == morph5.COUNTS
