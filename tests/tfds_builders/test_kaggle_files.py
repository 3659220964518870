"""The competition's files are found and read in every layout, and told apart by their fingerprint."""
import zipfile

import pytest

from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.galaxy_zoo_challenge.kaggle_files import KaggleFiles, source_fingerprint


def contents(images):
  return {member.name.rsplit("/", 1)[-1]: images.read(member) for member in images.members}


def test_every_layout_gives_the_same_bytes(challenge, layout, tmp_path):
  with KaggleFiles(challenge.pack(tmp_path, layout)) as files:
    assert contents(files.training_images()) == challenge.images
    assert contents(files.test_images()) == challenge.test
    assert files.solutions().data == challenge.csv


def test_the_zip_of_download_all_may_be_named_itself(challenge, tmp_path):
  challenge.pack(tmp_path, "one zip, stored")
  with KaggleFiles(tmp_path / "galaxy-zoo-the-galaxy-challenge.zip") as files:
    assert contents(files.training_images()) == challenge.images


def test_folders_made_by_unpacking_each_zip_into_its_own(challenge, tmp_path):
  for path in challenge.pack(tmp_path / "zips").glob("*.zip"):
    with zipfile.ZipFile(path) as archive:
      archive.extractall(tmp_path / "unpacked" / "galaxy-zoo-the-galaxy-challenge" / path.stem)
  with KaggleFiles(tmp_path / "unpacked") as files:
    assert contents(files.training_images()) == challenge.images
    assert files.solutions().data == challenge.csv


def test_without_test_images(challenge, tmp_path):
  challenge.test.clear()
  with KaggleFiles(challenge.pack(tmp_path)) as files:
    assert files.test_images() is None


def test_what_is_no_image_is_not_looked_at(challenge, tmp_path):
  folder = challenge.pack(tmp_path, "folders")
  for name in (".DS_Store", "._7.jpg", "Thumbs.db"):
    (folder / "images_training_rev1" / name).write_bytes(b"?")
  with KaggleFiles(folder) as files:
    assert contents(files.training_images()) == challenge.images


@pytest.mark.parametrize("part", ["images_training_rev1", "training_solutions_rev1"])
def test_a_missing_part_is_named_with_the_lines_that_get_it(challenge, tmp_path, part):
  (challenge.pack(tmp_path) / f"{part}.zip").unlink()
  with pytest.raises(MissingDataError, match=f"lacks {part}.zip(.|\n)*kaggle competitions download"):
    KaggleFiles(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(MissingDataError, match="nowhere does not exist"):
    KaggleFiles(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_an_incomplete_zip_is_named(challenge, tmp_path, keep):
  path = challenge.pack(tmp_path) / "images_training_rev1.zip"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(DataError, match=r"images_training_rev1.zip is no complete zip"):
    source_fingerprint(tmp_path)


@pytest.mark.parametrize("layout", ["one zip, stored", "one zip, deflated"])
def test_an_incomplete_zip_within_the_zip_is_named(challenge, tmp_path, layout):
  folder = challenge.pack(tmp_path)
  path = folder / "images_training_rev1.zip"
  files = {path.name: path.read_bytes()[:5000], "training_solutions_rev1.zip": b""}
  path.unlink()
  method = zipfile.ZIP_DEFLATED if layout.endswith("deflated") else zipfile.ZIP_STORED
  with zipfile.ZipFile(tmp_path / "galaxy-zoo-the-galaxy-challenge.zip", "w", method) as archive:
    for name, data in files.items():
      archive.writestr(name, data)
  with KaggleFiles(tmp_path) as found, pytest.raises(DataError, match=r"images_training_rev1.zip is no complete zip"):
    found.training_images()


def test_the_fingerprint_is_that_of_the_contents_not_of_the_place(challenge, layout, tmp_path):
  first = source_fingerprint(challenge.pack(tmp_path / "a", layout))
  assert len(first) == 64
  assert source_fingerprint(challenge.pack(tmp_path / "b", layout)) == first
  challenge.rows[3][5] = "0.123457"
  assert source_fingerprint(challenge.pack(tmp_path / "c", layout)) != first


def test_the_fingerprint_sees_a_changed_image_and_a_missing_test_split(challenge, layout, tmp_path):
  fingerprints = [source_fingerprint(challenge.pack(tmp_path / "a", layout))]
  challenge.images["7.jpg"] = challenge.images["7.jpg"][:-1]
  fingerprints.append(source_fingerprint(challenge.pack(tmp_path / "b", layout)))
  challenge.test.clear()
  fingerprints.append(source_fingerprint(challenge.pack(tmp_path / "c", layout)))
  assert len(set(fingerprints)) == 3
