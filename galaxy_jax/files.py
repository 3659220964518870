"""Files that are whole or not there."""
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[str], None]) -> None:
  """Calls `write` with a temporary name and gives the file its own once it is whole."""
  fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    write(str(fresh))
    os.replace(fresh, path)
  finally:
    fresh.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON, whole or not at all."""
  write_whole(path, lambda fresh: Path(fresh).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n"))
