"""A long job's finished parts on disk, so that it can be killed anywhere and goes on; at the end they become one table.

Beside OUTPUT, while the job lasts, lies OUTPUT.parts: `job.json`, what the job is, and a Parquet file for each finished
part, in whose metadata is what failed in it. A part is there whole or not at all, with its failures.
"""
import contextlib
import csv
import glob
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from galaxy_jax import tables
from galaxy_jax.files import claimed, write_json, write_whole

_JOB, _FAILURES = "job.json", b"failures"


class Failure(NamedTuple):
  """An image that could not be used: the galaxy's id, where the image is, and why."""
  id: int | str | None
  path: str
  reason: str


def parts_folder(output: Path) -> Path:
  """Where the finished parts of the table are."""
  return Path(f"{output}.parts")


def failures_file(output: Path) -> Path:
  """Where the failures of the table are listed."""
  return Path(f"{output}.failures.csv")


class Shards:
  """The finished parts of one table, from `opened`.

  Attributes:
    done: how many there are.
    complete: whether these are all.
  """

  def __init__(self, output: Path, schema: pa.Schema, job: dict[str, Any]):
    """As `opened` makes it, in a folder that is this process's own."""
    self._output, self._schema, self._job = output, schema, job
    self._folder = parts_folder(output)
    self.done = 0
    while self._path(self.done).exists():
      self.done += 1
    self.complete = (_read_job(self._folder) or {}).get("parts") == self.done

  def add(self, table: pa.Table, failures: list[Failure]) -> None:
    """Writes the next part: its rows, of the table's schema, and what failed in it."""
    metadata = {_FAILURES: json.dumps([list(failure) for failure in failures]).encode()}
    part = table.cast(self._schema).replace_schema_metadata(metadata)
    write_whole(self._path(self.done), lambda fresh: parquet.write_table(part, fresh))
    self.done += 1

  def finish(self) -> int:
    """Makes the parts one table and the failures one list, and removes the parts; returns how many failures.

    Without failures there is no list, and one of an earlier job in the table's place is removed.
    """
    write_json(self._folder / _JOB, {"job": self._job, "parts": self.done})
    listed = failures_file(self._output)
    count = write_failures(listed, self._failures())
    tables.write(self._output, self._schema, self._tables())
    # A kill while files are removed one by one must not leave parts under a name that the next job looks at.
    gone = self._folder.rename(self._folder.with_name(f".{self._folder.name}.{os.getpid()}.tmp"))
    shutil.rmtree(gone)
    return count

  def _path(self, number):
    return self._folder / f"part-{number:06d}.parquet"

  def _tables(self):
    for number in range(self.done):
      with parquet.ParquetFile(self._path(number)) as file:
        yield file.read().replace_schema_metadata(None)

  def _failures(self):
    for number in range(self.done):
      yield from json.loads(parquet.read_metadata(self._path(number)).metadata[_FAILURES])


def write_failures(path: Path, failures: Iterable[Failure]) -> int:
  """Lists images that could not be used; a list of an earlier job is removed where there are none. Returns how many."""
  failures = iter(failures)
  first, count = next(failures, None), 0

  def write(fresh):
    nonlocal count
    with open(fresh, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
      rows = csv.writer(file, lineterminator="\n")
      rows.writerow(Failure._fields)
      for failure in itertools.chain([first], failures):
        rows.writerow(failure)
        count += 1

  if first is None:
    path.unlink(missing_ok=True)
  else:
    write_whole(path, write)
  return count


@contextlib.contextmanager
def opened(output: Path, schema: pa.Schema, job: dict[str, Any], *, overwrite: bool = False) -> Iterator[Shards]:
  """The parts of a table that this process is to make, those that are finished already among them.

  Args:
    output: the table; its ending says the format.
    schema: its columns.
    job: what decides the table, as JSON values by name: parts of another job are not gone on with.
    overwrite: whether a table that is there already may be replaced, at the end.

  Raises:
    ValueError: there is such a table already, the parts are another job's, or another process is at work on them.
  """
  output, folder = Path(output), parts_folder(output)
  tables.check_writable(output, schema)
  job = json.loads(json.dumps(job))
  if not (folder / _JOB).exists():
    check_new(output, overwrite=overwrite)  # before anything is made there
  with claimed(folder, f"The place of the finished parts of {output.name}"):
    theirs = _read_job(folder)
    if theirs is None:
      check_new(output, overwrite=overwrite)
      for part in folder.glob("part-*.parquet"):  # whose they are nobody knows
        part.unlink()
      write_json(folder / _JOB, {"job": job})
    elif different := _differing(theirs["job"], job):
      raise ValueError(f"{folder} holds the finished parts of another job:\n  " + "\n  ".join(different)
                       + "\nGive that job's own settings to go on with it, choose another --output, or delete the "
                       "folder to begin anew.")
    elif "parts" not in theirs:  # where they are complete, a kill may have come after the table got its name
      check_new(output, overwrite=overwrite)
    # A killed process leaves what it was writing.
    for left in (*folder.glob(".*.tmp"), *output.absolute().parent.glob(f".{glob.escape(output.name)}.*.tmp")):
      if left.is_dir():
        shutil.rmtree(left)
      else:
        left.unlink(missing_ok=True)
    yield Shards(output, schema, job)


def check_new(output: Path, *, overwrite: bool) -> None:
  """Raises ValueError where the table is there already, and is not to be replaced."""
  if Path(output).exists() and not overwrite:
    raise ValueError(f"{output} is there already. Choose another --output, or replace it: --overwrite.")


def _read_job(folder):
  path = folder / _JOB
  return json.loads(path.read_text()) if path.exists() else None


def _differing(theirs, mine):
  """Lines `key: theirs there, mine now` for all that differs."""
  lines = []
  for key in sorted(theirs.keys() | mine.keys()):
    there, now = theirs.get(key), mine.get(key)
    if isinstance(there, list) and isinstance(now, list) and set(there) != set(now):
      there, now = [one for one in there if one not in now], [one for one in now if one not in there]
    if there != now:
      lines.append(f"{key}: {_short(there)} there, {_short(now)} now")
  return lines


def _short(value):
  text = ", ".join(value) or "nothing more" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 200 else f"{text[:197]}…"
