"""Folders that are whole or not there: what is slow to make, kept under the settings it was made with.

A folder is written under a temporary name, its files are brought to disk and listed with their sizes, and it is then
renamed, so a process killed at any moment leaves nothing that looks like a result. Of two processes that want the
same folder one writes and the other waits; where the file system has no locks both write, and one result is kept.
"""
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfds_builders.locks import alone

logger = logging.getLogger(__name__)

_SIDECAR = "cache.json"


def cached(cache_dir: str | Path, name: str, settings: dict[str, Any], write: Callable[[Path], None]) -> Path:
  """The folder that holds what `write` makes of `settings`, made if it is not there whole.

  Args:
    cache_dir: where cached folders lie; created if need be.
    name: how the folder's name begins; a hash of the settings follows.
    settings: JSON values that decide the content.
    write: is given an empty folder and fills it with files.

  Returns:
    The folder.

  Raises:
    ValueError: the cache cannot be written there. What `write` raises passes through.
  """
  # Through JSON and back, as they will be read again: tuples become lists.
  settings = json.loads(json.dumps(settings, sort_keys=True))
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
  folder = Path(cache_dir) / f"{name}-{digest}"
  if _whole(folder, settings):
    return folder
  lock_path = folder.parent / f".{folder.name}.lock"
  try:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_path.touch()
  except OSError as error:
    raise ValueError(f"The cache cannot be written: {error}. Name a writable folder: "
                     "--config.data.cache_dir=….") from error
  with alone(lock_path, str(folder), logger) as locked:
    if _whole(folder, settings):
      return folder
    if locked:
      for left_behind in folder.parent.glob(f".{folder.name}.tmp-*"):
        logger.warning("Removing %s, left by a process that was killed.", left_behind)
        shutil.rmtree(left_behind, ignore_errors=True)
    temporary = _temporary(folder)
    try:
      write(temporary)
      _seal(temporary, settings)
      _move(temporary, folder, settings)
    finally:
      shutil.rmtree(temporary, ignore_errors=True)
  return folder


def _temporary(folder: Path) -> Path:
  """A new folder beside `folder`; not by tempfile, whose folders colleagues who share the cache could not read."""
  temporary = folder.parent / f".{folder.name}.tmp-{uuid.uuid4().hex}"
  temporary.mkdir()
  return temporary


def _whole(folder: Path, settings: dict[str, Any]) -> bool:
  """Whether the folder was finished with these settings and its files have the sizes they were finished with."""
  try:
    sidecar = json.loads((folder / _SIDECAR).read_text())
    return sidecar["settings"] == settings and all(
        (folder / file).stat().st_size == size for file, size in sidecar["files"].items())
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return False


def _seal(folder: Path, settings: dict[str, Any]) -> None:
  """Brings the files to disk and lists them beside the settings."""
  files = sorted(path for path in folder.iterdir() if path.is_file())
  sidecar = folder / _SIDECAR
  sizes = {path.name: path.stat().st_size for path in files}
  sidecar.write_text(json.dumps({"settings": settings, "files": sizes}, indent=2, sort_keys=True) + "\n")
  for path in (*files, sidecar):
    with open(path, "rb") as file:
      os.fsync(file.fileno())


def _move(temporary: Path, folder: Path, settings: dict[str, Any]) -> None:
  """Puts the finished folder in its place, unless another process has done so meanwhile."""
  try:
    temporary.rename(folder)
    return
  except OSError:
    if _whole(folder, settings):
      return
  logger.warning("%s is damaged; it is replaced.", folder)
  damaged = _temporary(folder)
  folder.rename(damaged / "damaged")
  temporary.rename(folder)
  shutil.rmtree(damaged, ignore_errors=True)
