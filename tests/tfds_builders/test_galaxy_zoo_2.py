"""Galaxy Zoo 2 built and read back: joins, splits, packings, what is left out, and the real sample."""
import csv
import gzip
import hashlib
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfds_builders import archives
from tfds_builders.class_lists import EIGHT_CLASSES
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.galaxy_zoo_2.galaxy_zoo_2_dataset_builder import Builder
from tfds_builders.galaxy_zoo_2.hart16 import ANSWERS, SUFFIXES, cumulative, split_of
from tfds_builders.gz2_tree import ANSWER_NAMES, COLUMNS, QUESTIONS
from tfds_builders.prepare import prepare

RAW = {"image": tfds.decode.SkipDecoding()}
DUMMY = Path(__file__).resolve().parents[2] / "tfds_builders" / "galaxy_zoo_2" / "dummy_data"


@pytest.fixture
def manual(tmp_path) -> Path:
  """A folder of its own with generated files: 20 galaxies, one more row without image, one more image without row."""
  return Path(shutil.copytree(DUMMY, tmp_path / "manual"))


def build(manual_dir, data_dir, config="votes", **options):
  return prepare(f"galaxy_zoo_2/{config}", manual_dir=manual_dir, data_dir=data_dir, progress=False, **options)


def records(builder):
  """Split -> its records, images as bytes."""
  return {split: list(builder.as_data_source(split, decoders=RAW)) for split in builder.info.splits}


def table(path) -> list[dict[str, str]]:
  with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
    return list(csv.DictReader(file))


def write_table(path, rows):
  with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)


def left_out(builder) -> list[dict[str, str]]:
  return table(Path(builder.data_path) / "left_out.csv")


def assert_is_row(record, row, asset_id, image):
  """The record holds the values of the table's row, whichever columns that has."""
  assert int(record["objid"]) == int(row["dr7objid"]) and isinstance(record["objid"], (int, np.int64))
  assert int(record["asset_id"]) == int(asset_id)
  assert record["image"] == image
  for name in ("sample", "gz2_class"):
    assert record[name].decode() == row[name]
  for name in ("total_classifications", "total_votes"):
    assert record[name] == int(row[name])
  for name in ("ra", "dec"):
    np.testing.assert_equal(float(record[name]), float(row.get(name, "nan")))
  for suffix in SUFFIXES:
    texts = [row.get(f"{answer}_{suffix}", "") or "nan" for answer in ANSWERS]
    expected = np.array(texts, np.float32)
    if suffix in ("count", "flag"):
      expected = np.nan_to_num(expected, nan=-1).astype(np.int32)
    np.testing.assert_array_equal(record[suffix], expected, err_msg=suffix)
    assert record[suffix].dtype == expected.dtype


def test_the_columns_are_the_answers_of_the_tree():
  assert [name[4:].split("_a")[0] for name in ANSWERS[:3]] == ["smooth_or_features"] * 3
  assert ["_".join(part for i, part in enumerate(name.split("_")) if i and not (part[0] == "a" and part[1:].isdigit()))
          for name in ANSWERS] == list(ANSWER_NAMES)
  # As the published table has them: dust lanes after mergers, and no answer 35.
  assert ANSWERS[24] == "t08_odd_feature_a38_dust_lane" and ANSWERS[25] == "t09_bulge_shape_a25_rounded"
  assert ANSWERS[35:] == ("t11_arms_number_a36_more_than_4", "t11_arms_number_a37_cant_tell")
  assert len(set(ANSWERS)) == 37


def test_every_value_comes_back(manual, tmp_path):
  rows = {row["dr7objid"]: row for row in table(manual / "gz2_hart16.csv.gz")}
  assets = {row["objid"]: row["asset_id"] for row in reversed(table(manual / "gz2_filename_mapping.csv"))}
  found = records(build(manual, tmp_path / "data"))
  assert {split: len(found[split]) for split in found} == {"train": 14, "validation": 3, "test": 3}
  with zipfile.ZipFile(manual / "images_gz2.zip") as archive:
    for split, galaxies in found.items():
      assert [int(record["objid"]) for record in galaxies] == sorted(int(record["objid"]) for record in galaxies)
      for record in galaxies:
        objid = str(int(record["objid"]))
        assert_is_row(record, rows[objid], assets[objid], archive.read(f"images/{assets[objid]}.jpg"))
        assert split_of(int(objid)) == split
  every = [record for galaxies in found.values() for record in galaxies]
  assert np.isnan([record["debiased"] for record in every]).sum() == 1  # An empty value of the table.
  for record in every:
    for question in QUESTIONS:
      votes = record["vote_fractions"]
      expected = 1 if question.parent is None else votes[question.parent]
      assert votes[question.columns].sum() in (0, pytest.approx(expected, abs=1e-6))


def test_what_has_no_counterpart_is_counted_and_listed(manual, tmp_path, caplog):
  builder = build(manual, tmp_path / "data")
  assert "gz2_hart16.csv.gz: galaxies without an image, left out: 1; images without a galaxy there: 1" in caplog.text
  row, image = left_out(builder)
  assert (row["file"], row["row"], row["item"]) == ("gz2_hart16.csv.gz", "22", "588000000000000001")
  assert "there is no image" in row["reason"]
  assert image["file"].startswith("images_gz2.zip/images/") and "has no row for it" in image["reason"]


@pytest.mark.parametrize("layout", ["folder", "plain folder", "plain tables", "single zip"])
def test_every_packing_gives_the_same_records(manual, tmp_path, layout):
  expected = records(build(manual, tmp_path / "expected"))
  if layout != "plain tables":
    folder = {"folder": "images_gz2", "plain folder": "", "single zip": "images_gz2"}[layout]
    with zipfile.ZipFile(manual / "images_gz2.zip") as archive:
      archive.extractall(manual / folder)
    (manual / "images_gz2.zip").unlink()
  else:
    votes = manual / "gz2_hart16.csv"
    votes.write_bytes(gzip.decompress((manual / "gz2_hart16.csv.gz").read_bytes()))
    (manual / "gz2_hart16.csv.gz").unlink()
  if layout == "single zip":
    with zipfile.ZipFile(manual / "galaxy-zoo-2-images.zip", "w") as archive:
      for path in [*(manual / "images_gz2").rglob("*.jpg"), manual / "gz2_filename_mapping.csv"]:
        archive.write(path, path.relative_to(manual))
    shutil.rmtree(manual / "images_gz2")
    (manual / "gz2_filename_mapping.csv").unlink()
  found = records(build(manual, tmp_path / "data"))
  assert found.keys() == expected.keys()
  for split in found:
    for record, other in zip(found[split], expected[split], strict=True):
      np.testing.assert_equal(record, other)


@pytest.mark.parametrize("config", ["votes", "morph8"])
def test_records_can_be_sent_to_another_process(manual, config):
  builder = Builder(config=config)
  with builder.open_source(manual) as source:
    contents = builder.validate(source, skip_bad=False, progress=False)
    sent = pickle.loads(pickle.dumps((contents.examples, contents.splits["train"][:2])))
    for (key, example), (_, other) in zip(sent[0](sent[1]), contents.examples(contents.splits["train"]), strict=False):
      assert key in (example["objid"], example["asset_id"])
      assert example.pop("image").getvalue() == other.pop("image").getvalue()
      np.testing.assert_equal(example, other)


def test_the_split_is_by_the_digest_of_the_decimal_digits():
  objid = 587722981746540704
  digit = int(hashlib.sha256(b"587722981746540704").hexdigest(), 16) % 10
  assert split_of(objid) == (["train"] * 8 + ["validation", "test"])[digit] == "train"
  counts = {split: 0 for split in ("train", "validation", "test")}
  for number in range(objid, objid + 10_000):
    counts[split_of(number)] += 1
  np.testing.assert_allclose(list(counts.values()), [8000, 1000, 1000], atol=150)


@pytest.mark.parametrize("missing,config", [("images_gz2.zip", "votes"), ("gz2_hart16.csv.gz", "votes"),
                                            ("gz2_filename_mapping.csv", "votes"), ("gz2_valid.csv", "morph8")])
def test_a_missing_file_is_named_with_where_to_get_it(manual, tmp_path, missing, config):
  (manual / missing).unlink()
  with pytest.raises(MissingDataError, match=f"lacks {missing.removesuffix('.gz')}(.|\n)*zenodo"):
    build(manual, tmp_path / "data", config)


def test_eight_classes_with_their_published_split(manual, tmp_path):
  objids = {row["asset_id"]: int(row["objid"]) for row in table(manual / "gz2_filename_mapping.csv")}
  names = {"train": "gz2_train", "validation": "gz2_valid", "test": "gz2_test"}
  builder = build(manual, tmp_path / "data", "morph8")
  found = records(builder)
  assert {split: len(found[split]) for split in found} == {"train": 10, "validation": 3, "test": 3}
  with zipfile.ZipFile(manual / "images_gz2.zip") as archive:
    for split, galaxies in found.items():
      labels = {int(row["galaxyID"]): int(row["label1"]) for row in table(manual / f"{names[split]}.csv")}
      labels.pop(999, None)  # It has no image.
      assert {int(record["asset_id"]): int(record["label"]) for record in galaxies} == labels
      for record in galaxies:
        assert record["image"] == archive.read(f"images/{int(record['asset_id'])}.jpg")
        assert record["objid"] == objids[str(int(record["asset_id"]))]
  assert builder.info.features["label"].names == list(EIGHT_CLASSES)
  assert len(left_out(builder)) == 1 + 5
  (manual / "gz2_filename_mapping.csv").unlink()
  without = records(build(manual, tmp_path / "without", "morph8"))
  assert {int(record["objid"]) for galaxies in without.values() for record in galaxies} == {-1}


def test_the_real_sample_reads_back_exactly(samples, tmp_path):
  manual_dir = samples / "gz2_sample"
  rows = {row["dr7objid"]: row for row in table(manual_dir / "gz2_hart16.csv")}
  assets = {row["objid"]: row["asset_id"] for row in table(manual_dir / "gz2_filename_mapping.csv")}
  found = [record for galaxies in records(build(manual_dir, tmp_path / "data")).values() for record in galaxies]
  assert len(found) == 794 and 587722981746540704 in {int(record["objid"]) for record in found}
  for record in found:
    objid = str(int(record["objid"]))
    image = manual_dir / "images_gz2" / "images" / f"{assets[objid]}.jpg"
    assert_is_row(record, rows[objid], assets[objid], image.read_bytes())


def test_the_samples_cumulative_fractions_are_the_challenges(samples, tmp_path):
  with zipfile.ZipFile(samples / "kaggle_format_sample" / "training_solutions_rev1.zip") as archive:
    text = archive.read("training_solutions_rev1.csv").decode().splitlines()
  published = {int(row["GalaxyID"]): np.array([row[column] for column in COLUMNS], float)
               for row in csv.DictReader(text)}
  found = records(build(samples / "gz2_sample", tmp_path / "data"))
  for record in [record for galaxies in found.values() for record in galaxies]:
    np.testing.assert_allclose(record["vote_fractions"], published.pop(int(record["asset_id"])), atol=1e-6)
  assert not published


def test_the_samples_eight_classes(samples, tmp_path):
  manual_dir = tmp_path / "manual"
  shutil.copytree(samples / "gz2_sample", manual_dir)
  for path in (samples / "gz2_eight_classes").glob("*.csv"):
    shutil.copy(path, manual_dir)
  builder = build(manual_dir, tmp_path / "data", "morph8")
  found = records(builder)
  assert {split: len(found[split]) for split in found} == {"train": 381, "validation": 85, "test": 141}
  for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
    labels = {int(row["galaxyID"]): int(row["label1"]) for row in table(manual_dir / f"gz2_{name}.csv")}
    for record in found[split]:
      assert record["label"] == labels[int(record["asset_id"])]
      image = manual_dir / "images_gz2" / "images" / f"{int(record['asset_id'])}.jpg"
      assert record["image"] == image.read_bytes()
  assert len(left_out(builder)) == (155_951 - 607) + (794 - 607)


def test_no_answers_under_an_answer_with_votes_stay_zero():
  fractions = np.zeros(37)
  fractions[[0, 1, 14, 16]] = 0.4, 0.6, 1, 1
  np.testing.assert_allclose(cumulative(fractions)[[0, 1, 14, 16]], [0.4, 0.6, 1, 0.4])
  assert cumulative(fractions)[3:13].sum() == 0


def test_nothing_in_common_is_an_error(manual, tmp_path):
  rows = table(manual / "gz2_hart16.csv.gz")
  write_table(manual / "gz2_hart16.csv.gz", [row | {"dr7objid": str(i)} for i, row in enumerate(rows)])
  with pytest.raises(DataError, match=r"no galaxy with both an image and votes.*which has no image in the mapping"):
    build(manual, tmp_path / "data")


def test_an_image_that_changes_during_the_build_is_an_error_not_a_crash(manual, tmp_path):
  with zipfile.ZipFile(manual / "images_gz2.zip") as packed:
    packed.extractall(manual / "images_gz2")
  (manual / "images_gz2.zip").unlink()
  builder = Builder(config="votes", data_dir=tmp_path)
  with builder.open_source(manual) as source:
    contents = builder.validate(source, skip_bad=False, progress=False)
  for path in (manual / "images_gz2").rglob("*.jpg"):
    path.unlink()
  with pytest.raises(DataError, match=r"\.jpg cannot be read.* build again"):
    list(contents.examples(contents.splits["train"]))


def test_a_file_name_that_is_no_text_can_be_skipped_and_listed(manual, tmp_path):
  with zipfile.ZipFile(manual / "images_gz2.zip") as packed:
    packed.extractall(manual / "images_gz2")
  (manual / "images_gz2.zip").unlink()
  try:
    Path(os.fsdecode(os.fsencode(manual / "images_gz2") + b"/\xff.jpg")).write_bytes(b"")
  except OSError:
    pytest.skip("this file system has no such names")
  with pytest.raises(DataError, match="a galaxy's id was expected"):
    build(manual, tmp_path / "data")
  assert any(r"\udcff" in row["file"] for row in left_out(build(manual, tmp_path / "data", skip_bad=True)))


def test_an_image_too_large_is_not_unpacked(manual, tmp_path, monkeypatch):
  monkeypatch.setattr(archives, "LARGEST_READ", 10)
  with pytest.raises(DataError, match=r"\.jpg has \d+ bytes, more than the 10 that any such file may have"):
    build(manual, tmp_path)


@pytest.mark.parametrize("name", ["gz2_hart16.csv", "gz2_hart16.csv.gz"])
def test_a_table_in_the_single_zip_is_read_as_a_stream(manual, tmp_path, monkeypatch, name):
  """As large as the votes' real table it would fill the memory; damaged in its middle it is one clear error."""
  expected = {split: [record["objid"] for record in found]
              for split, found in records(build(manual, tmp_path / "plain")).items()}
  votes = (manual / "gz2_hart16.csv.gz").read_bytes()
  (manual / "gz2_hart16.csv.gz").unlink()
  bundle, read = manual / "galaxy-zoo-2-images.zip", archives.Zip.read

  def pack(method, spoil=lambda data: data):
    with zipfile.ZipFile(bundle, "w", method) as packed:
      packed.writestr(name, votes if name.endswith(".gz") else gzip.decompress(votes))
    data = bytearray(bundle.read_bytes())
    spoil(data)
    bundle.write_bytes(data)

  def spoil(data):
    data[len(data) // 3] ^= 255

  pack(zipfile.ZIP_DEFLATED)
  monkeypatch.setattr(archives.Zip, "read", lambda zip_, member: pytest.fail(f"{member.name} is read whole")
                      if member.name == name else read(zip_, member))
  built = build(manual, tmp_path / "streamed")
  assert {split: [record["objid"] for record in found] for split, found in records(built).items()} == expected
  for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
    pack(method, spoil)
    with pytest.raises(DataError, match=rf"^galaxy-zoo-2-images.zip/{name}.*Get it again"):
      build(manual, tmp_path / f"spoiled{number}")
  pack(zipfile.ZIP_DEFLATED)
  monkeypatch.setattr(archives, "LARGEST_STREAM", 10)
  with pytest.raises(DataError, match=rf"{name} has \d+ bytes, more than the 10 that any such file may have"):
    build(manual, tmp_path / "large")
