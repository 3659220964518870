"""Cached folders are whole or not there, whatever happens to the processes that write them."""
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxy_jax.data.cache import cached


def writer(calls, text="pixels"):
  """A `write` that counts its calls."""
  def write(folder):
    calls.append(folder)
    (folder / "data").write_text(text)
  return write


def test_made_once_for_the_same_settings(tmp_path):
  calls = []
  for _ in range(3):
    folder = cached(tmp_path / "new", "name", {"crop": (1, 2), "size": 3}, writer(calls))
  assert len(calls) == 1 and (folder / "data").read_text() == "pixels"
  assert cached(tmp_path / "new", "name", {"crop": (1, 2), "size": 4}, writer(calls)) != folder
  assert len(calls) == 2


@pytest.mark.parametrize("tear", [
    lambda folder: (folder / "data").write_text("pix"), lambda folder: (folder / "data").unlink(),
    lambda folder: (folder / "cache.json").unlink(), lambda folder: (folder / "cache.json").write_text('{"sett'),
    lambda folder: (folder / "cache.json").write_text("[]")])
def test_torn_folders_are_made_again(tmp_path, tear):
  calls = []
  folder = cached(tmp_path, "name", {}, writer(calls))
  tear(folder)
  assert cached(tmp_path, "name", {}, writer(calls)) == folder
  assert len(calls) == 2 and (folder / "data").read_text() == "pixels"
  assert [path for path in tmp_path.iterdir() if ".tmp-" in path.name] == []


def test_a_failure_leaves_nothing(tmp_path):
  def write(folder):
    (folder / "data").write_text("pix")
    raise ValueError("bad image")
  with pytest.raises(ValueError, match="bad image"):
    cached(tmp_path, "name", {}, write)
  assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_killed_process_leaves_nothing_that_counts(tmp_path):
  program = """
import os, signal, sys
from galaxy_jax.data.cache import cached
def write(folder):
  (folder / "data").write_text("pix")
  os.kill(os.getpid(), signal.SIGKILL)
cached(sys.argv[1], "name", {}, write)
"""
  assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode < 0
  assert any(".tmp-" in path.name for path in tmp_path.iterdir())
  folder = cached(tmp_path, "name", {}, writer([]))
  assert (folder / "data").read_text() == "pixels"
  assert not any(".tmp-" in path.name for path in tmp_path.iterdir())


def test_of_two_at_once_one_writes_and_the_other_waits(tmp_path):
  calls = []

  def slow(folder):
    time.sleep(0.2)
    writer(calls)(folder)

  with ThreadPoolExecutor(4) as pool:
    folders = set(pool.map(lambda _: cached(tmp_path, "name", {}, slow), range(4)))
  assert len(calls) == len(folders) == 1


def test_without_locks_one_result_is_kept(tmp_path, monkeypatch):
  monkeypatch.setattr("tfds_builders.locks.fcntl", None)
  calls = []

  def write(folder):
    if not calls:
      calls.append(folder)
      cached(tmp_path, "name", {}, writer(calls))  # the other process, which is done first
    (folder / "data").write_text("pixels")

  folder = cached(tmp_path, "name", {}, write)
  assert (folder / "data").read_text() == "pixels" and len(calls) == 2
  assert sorted(path.name for path in tmp_path.iterdir()) == [f".{folder.name}.lock", folder.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_places_are_named(tmp_path):
  tmp_path.chmod(0o500)
  with pytest.raises(ValueError, match="Name a writable folder"):
    cached(tmp_path / "cache", "name", {}, writer([]))


def test_a_file_in_the_way_is_named(tmp_path):
  (tmp_path / "cache").write_text("")
  with pytest.raises(ValueError, match="Name a writable folder"):
    cached(tmp_path / "cache", "name", {}, writer([]))
