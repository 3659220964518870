"""Galaxy10 from files of its own form: built, read back, divided, and refused where something is wrong."""
import csv
import hashlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("h5py", reason="Galaxy10's files need h5py: pip install 'galaxy_jax[galaxy10]'")

import tensorflow_datasets as tfds
from galaxy10_files import galaxy10, write

from tfds_builders import download
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.galaxy10 import galaxy10_dataset_builder as module
from tfds_builders.galaxy10 import publish_splits
from tfds_builders.galaxy10.hdf5_file import DECALS
from tfds_builders.prepare import check_available, prepare, source_record

LABELS = [0] * 12 + [9] * 11 + [3] * 4
FILES = {"decals": "Galaxy10_DECals.h5", "decals_seed004": "Galaxy10_DECals.h5", "sdss": "Galaxy10.h5"}


@pytest.fixture
def held():
  """27 galaxies whose classes are mixed."""
  return galaxy10(np.random.default_rng(1).permutation(LABELS))


def build(folder, name="decals", **options):
  return prepare(f"galaxy10/{name}", manual_dir=folder / "manual", data_dir=folder / "data", progress=False, **options)


def published(monkeypatch, path):
  """Makes a file the published one."""
  infos = {release.url: SimpleNamespace(size=path.stat().st_size, checksum=download.file_sha256(path))
           for release in (DECALS,)}
  monkeypatch.setattr(module.Builder, "url_infos", infos)
  return infos[DECALS.url]


@pytest.mark.parametrize("chunks", [(16, 32, 32, 1), (27, 256, 256, 3), (1, 256, 256, 3), None])
def test_every_galaxy_is_read_back_exactly(held, tmp_path, chunks, monkeypatch):
  monkeypatch.setattr("tfds_builders.galaxy10.hdf5_file._BLOCK_ROWS", 5)
  monkeypatch.setattr("tfds_builders.galaxy10.hdf5_file._BLOCK_BYTES", 9 * 256 * 256 * 3)
  monkeypatch.setattr("tfds_builders.builder._SHARD_BYTES", 1_000_000)
  write(tmp_path / "manual" / FILES["decals"], held, chunks=chunks, compression="gzip" if chunks else None)
  builder = build(tmp_path)
  assert len(builder.info.splits["train"].shard_lengths) > 1
  seen = []
  for split in builder.info.splits:
    source = builder.as_data_source(split)
    indices = [int(record["index"]) for record in source]
    assert indices == sorted(indices)
    seen += indices
    for record in source:
      row = int(record["index"])
      np.testing.assert_array_equal(record["image"], held["images"][row])
      assert record["label"] == held["ans"][row]
      for name in ("ra", "dec", "redshift", "pxscale"):
        np.testing.assert_array_equal(record[name], held[name][row])
  assert sorted(seen) == list(range(27))


def test_the_splits_are_stratified_by_the_written_rule(held, tmp_path):
  write(tmp_path / "manual" / FILES["decals"], held)
  builder = build(tmp_path)
  for label, expected in ((0, (10, 1, 1)), (9, (9, 1, 1)), (3, (4, 0, 0))):
    # The rule, once more and from its description alone.
    rows = sorted(np.flatnonzero(held["ans"] == label),
                  key=lambda row: hashlib.sha256(f"galaxy10/decals/{row}".encode()).hexdigest())
    parts = np.split(rows, np.cumsum(expected)[:-1])
    for split, part in zip(("train", "validation", "test"), parts, strict=True):
      found = [int(r["index"]) for r in builder.as_data_source(split) if r["label"] == label]
      assert found == sorted(part)


def test_the_published_numbers_of_classes_give_the_documented_splits():
  counts = (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873)
  splits = module.stratified(np.repeat(np.arange(10), counts), "decals")
  assert np.bincount(splits).tolist() == [14190, 1773, 1773]


def test_seed004_is_train_and_validation_in_one_and_the_same_test(held, tmp_path):
  write(tmp_path / "manual" / FILES["decals"], held)
  first, second = build(tmp_path), build(tmp_path, "decals_seed004")
  assert set(second.info.splits) == {"train", "test"}
  indices = lambda builder, split: sorted(int(record["index"]) for record in builder.as_data_source(split))
  assert indices(second, "train") == indices(first, "train+validation")
  assert indices(second, "test") == indices(first, "test")


def test_sdss_has_its_own_classes_and_no_coordinates(tmp_path):
  held = galaxy10([0, 4, 9, 5] * 6, side=69, coordinates=False)
  write(tmp_path / "manual" / FILES["sdss"], held)
  builder = build(tmp_path, "sdss")
  names = builder.info.features["label"].names
  # astroNN.datasets.galaxy10sdss: Disk, Face-on, No Spiral; Disk, Edge-on, Rounded Bulge; Disk, Face-on, Loose Spiral.
  assert (names[0], names[4], names[9]) == ("face_on_no_spiral", "edge_on_rounded_bulge", "face_on_loose_spiral")
  record = builder.as_data_source("train")[3]
  assert record["image"].shape == (69, 69, 3)
  np.testing.assert_array_equal(record["image"], held["images"][int(record["index"])])
  assert np.isnan([record[name] for name in ("ra", "dec", "redshift", "pxscale")]).all()


def test_the_list_of_splits_is_in_the_finished_build(held, tmp_path):
  write(tmp_path / "manual" / FILES["decals"], held)
  builder = build(tmp_path)
  with (builder.data_path / "splits.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [int(row["index"]) for row in rows] == list(range(27))
  assert [int(row["label"]) for row in rows] == held["ans"].tolist()
  for split in builder.info.splits:
    assert [int(row["index"]) for row in rows if row["split"] == split] == [
        int(record["index"]) for record in builder.as_data_source(split)]


@pytest.mark.parametrize("labels, found", [(10, "10"), (-1, "-1"), (np.nan, "nan"), (2.5, "2.5"), (np.inf, "inf")])
def test_a_class_that_is_none_is_named_or_left_out(held, tmp_path, labels, found):
  held["ans"] = held["ans"].astype(np.float64 if isinstance(labels, float) else np.int64)
  held["ans"][7] = labels
  write(tmp_path / "manual" / FILES["decals"], held)
  with pytest.raises(DataError, match=rf"Galaxy10_DECals\.h5 has {found} as the class of row 7 \(ans\[7\].*--skip_bad"):
    build(tmp_path)
  assert not (tmp_path / "data").exists()
  builder = build(tmp_path, skip_bad=True)
  assert source_record(builder)["left_out"] == 1
  assert sum(split.num_examples for split in builder.info.splits.values()) == 26


def test_the_published_file_is_known_by_its_hash(held, tmp_path, monkeypatch, caplog):
  path = write(tmp_path / "manual" / FILES["decals"], held)
  info = published(monkeypatch, path)
  build(tmp_path)
  assert "not the published file" not in caplog.text
  path.write_bytes(path.read_bytes()[:-1] + b"!")
  with pytest.raises(DataError, match=rf"size of the published file, {info.size} bytes.*{info.checksum}.*damaged"):
    build(tmp_path)
  write(path, galaxy10([1] * 20))
  with pytest.raises(DataError, match="other source files"):
    build(tmp_path)
  assert "data set of your own" in caplog.text


def test_a_published_list_is_used_and_checked(held, tmp_path, monkeypatch):
  path = write(tmp_path / "manual" / FILES["decals"], held)
  with pytest.raises(DataError, match="is not the published"):
    publish_splits.publish_splits(path, output=tmp_path)
  published(monkeypatch, path)
  before = build(tmp_path)
  record = source_record(before)
  listed = publish_splits.publish_splits(path, output=tmp_path)
  assert listed.read_text() == (before.data_path / "splits.csv").read_text()
  # Two galaxies of a class change places: a list that differs from the rule is what counts.
  lines = listed.read_text().splitlines()
  train = next(i for i, line in enumerate(lines) if line.endswith(",0,train"))
  test = next(i for i, line in enumerate(lines) if line.endswith(",0,test"))
  lines[train], lines[test] = lines[train].replace("train", "test"), lines[test].replace("test", "train")
  listed.write_text("\n".join(lines) + "\n")
  monkeypatch.setattr(module, "split_list_path", lambda release: listed)
  after = build(tmp_path, overwrite=True)
  assert (after.data_path / "splits.csv").read_text() == listed.read_text()
  assert source_record(after)["fingerprint"] != record["fingerprint"]
  for wrong, reason in ((lines[:-1], "lacks 1 rows of the file, the first is 26"),
                        ([*lines, lines[-1]], "row 29 names row 26 a second time"),
                        ([*lines, "27,0,train"], "names row 27 of a file with 27 rows"),
                        ([*lines[:-1], lines[-1].replace(",", ",1", 1)], "row 28 has class 1"),
                        ([*lines[:-1], "26,x,train"], "row 28 has 'x' for a label"),
                        ([*lines[:-1], lines[-1].rpartition(",")[0] + ",valid"], "has the split 'valid'"),
                        ([line.replace("validation", "test") for line in lines], "0 galaxies of class 0 in valid")):
    listed.write_text("\n".join(wrong) + "\n")
    with pytest.raises(DataError, match=f"decals_splits.csv.*{reason}.*publish_splits"):
      build(tmp_path, overwrite=True)


def test_it_is_downloaded_where_no_folder_is_named(held, tmp_path, monkeypatch):
  path = write(tmp_path / "server" / FILES["decals"], held)
  published(monkeypatch, path)
  asked = []

  def copied(url, place, *, sha256, size, progress):
    asked.append((url, sha256, size))
    place.parent.mkdir(parents=True)
    place.write_bytes(path.read_bytes())

  monkeypatch.setattr(module, "download", copied)
  check_available("galaxy10/decals", data_dir=tmp_path / "data")
  with pytest.raises(MissingDataError, match=r"Galaxy10_DECals\.h5 is not there.*zenodo\.org"):
    build(tmp_path)
  assert not asked
  builder = prepare("galaxy10/decals", data_dir=tmp_path / "data", progress=False)
  assert asked == [(DECALS.url, download.file_sha256(path), path.stat().st_size)]
  assert len(builder.as_data_source("train")) == 23


def test_the_published_hashes_are_astronns():
  infos = {info.filename: info for info in tfds.download.checksums.load_url_infos(module.Builder.code_path.parent /
                                                                                   "checksums.tsv").values()}
  assert infos["Galaxy10_DECals.h5"].checksum.upper() == (
      "19AEFC477C41BB7F77FF07599A6B82A038DC042F889A111B0D4D98BB755C1571")
  assert infos["Galaxy10.h5"].checksum.upper() == "969A6B1CEFCC36E09FFFA86FEBD2F699A4AA19B837BA0427F01B0BC6DED458AF"
  assert int(infos["Galaxy10.h5"].size) == 210_234_548


def test_records_and_what_reads_them_go_to_other_processes(held, tmp_path):
  path = write(tmp_path / FILES["decals"], held)
  builder = module.Builder(config="decals", data_dir=tmp_path / "data")
  with builder.open_source(path) as source:
    contents = pickle.loads(pickle.dumps(builder.validate(source, skip_bad=False, progress=False)))
  (key, example), *_ = contents.examples(contents.splits["test"])
  assert key == example["index"] == contents.splits["test"][0].index
  assert example["image"].read(8) == b"\x89PNG\r\n\x1a\n"


def test_without_h5py_the_extra_is_named(held, tmp_path, monkeypatch):
  write(tmp_path / "manual" / FILES["decals"], held)
  monkeypatch.setitem(__import__("sys").modules, "h5py", None)
  with pytest.raises(DataError, match=r"pip install 'galaxy_jax\[galaxy10\]'"):
    build(tmp_path)
