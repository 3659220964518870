"""Folders and zips read in place: what leads out of them, and what other processes are sent."""
import contextlib
import pickle
import random
import zipfile
from pathlib import Path

import pytest

from tfds_builders import archives
from tfds_builders.archives import Folder, ReadError, Zip
from tfds_builders.errors import DataError


def zip_of(path: Path, files: dict[str, bytes], method=zipfile.ZIP_STORED) -> Path:
  with zipfile.ZipFile(path, "w", method) as archive:
    for name, data in files.items():
      archive.writestr(name, data)
  return path


@pytest.mark.parametrize("name", ["../out.jpg", "images/../../out.jpg", "/etc/out.jpg"])
def test_a_zip_entry_that_leads_out_is_refused(tmp_path, name):
  archive = Zip(zip_of(tmp_path / "a.zip", {"in.jpg": b"1", name: b"2"}), "a.zip")
  with pytest.raises(DataError, match=r"a\.zip holds a file named .*out\.jpg.*leads out"):
    archive.members()


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path):
  (tmp_path / "folder").mkdir()
  (tmp_path / "secret").write_bytes(b"1")
  (tmp_path / "folder" / "a.jpg").write_bytes(b"2")
  (tmp_path / "folder" / "b.jpg").symlink_to("a.jpg")
  (tmp_path / "linked").symlink_to("folder")
  folder = Folder(tmp_path / "linked", "linked")
  assert {member.name: folder.read(member) for member in folder.members()} == {"a.jpg": b"2", "b.jpg": b"2"}
  (tmp_path / "folder" / "c.jpg").symlink_to("../secret")
  with pytest.raises(DataError, match=r"c\.jpg is a link to .*secret, outside"):
    folder.members()


def test_links_that_lead_to_each_other_are_an_error_not_a_crash(tmp_path):
  (tmp_path / "a.jpg").symlink_to("a.jpg")
  with pytest.raises(DataError, match=r"a\.jpg cannot be read"):
    Folder(tmp_path, "folder").members()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_raises_nothing_else(tmp_path, method):
  whole = zip_of(tmp_path / "a.zip", {f"é{i}.jpg": bytes(range(50)) * 9 for i in range(3)}, method).read_bytes()
  draw, damaged = random.Random(0), 0
  for _ in range(300):
    data = bytearray(whole)
    for _ in range(draw.randint(1, 5)):
      data[draw.randrange(len(data))] = draw.randrange(256)
    (tmp_path / "b.zip").write_bytes(data)
    try:
      archive = Zip(tmp_path / "b.zip", "b.zip")
      for member in archive.members():
        with contextlib.suppress(ReadError, OSError), archive.stream(member) as file:
          file.read()
        archive.read(member)
    except (DataError, ReadError):
      damaged += 1
  assert damaged > 100


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
  archive = Zip(zip_of(tmp_path / "a.zip", {"a.jpg": b"0" * 5000}, zipfile.ZIP_DEFLATED), "a.zip")
  member, = archive.members()
  assert archive.read(member) == b"0" * 5000
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "a.jpg").write_bytes(b"0" * 5000)
  folder = Folder(tmp_path / "folder", "folder")
  assert folder.read(member) == b"0" * 5000
  monkeypatch.setattr(archives, "LARGEST_READ", 4999)
  for place in (archive, folder):
    with pytest.raises(ReadError, match="has 5000 bytes, more than the 4999"):
      place.read(member)
  with archive.stream(member) as file:
    assert [len(file.read(3000)) for _ in range(3)] == [3000, 2000, 0]
  monkeypatch.setattr(archives, "LARGEST_STREAM", 4999)
  with pytest.raises(ReadError, match="has 5000 bytes"), archive.stream(member):
    pass


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_unpickled_a_zip_and_a_zip_within_it_read_the_same(tmp_path, method):
  inner = zip_of(tmp_path / "inner.zip", {"a.jpg": b"1"}).read_bytes()
  outer = Zip(zip_of(tmp_path / "outer.zip", {"inner.zip": inner}, method), "outer.zip")
  nested = outer.nested(outer.members()[0])
  for archive in (outer, nested):
    again = pickle.loads(pickle.dumps(archive))
    assert again.label == archive.label
    assert [again.read(member) for member in again.members()] == [archive.read(m) for m in archive.members()]
