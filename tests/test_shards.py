"""Finished parts outlive any kill, belong to one job, and become one table with its failures exactly once."""
import csv
import json
import multiprocessing

import pyarrow as pa
import pytest
from pyarrow import parquet

from galaxy_jax import shards
from galaxy_jax.shards import Failure, failures_file, opened, parts_folder

SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float32())])
JOB = {"model": "m", "columns": ["id (int64)", "x (float)"], "views": 2}


def part(*ids):
  return pa.table({"id": pa.array(ids, pa.int64()), "x": pa.array([i / 2 for i in ids], pa.float32())})


def ids_of(path):
  return parquet.read_table(path)["id"].to_pylist()


def test_parts_become_one_table(tmp_path):
  output = tmp_path / "t.parquet"
  with opened(output, SCHEMA, JOB) as done:
    assert (done.done, done.complete) == (0, False)
    done.add(part(1, 2), [])
    done.add(part(), [Failure(7, "a,b.jpg", 'is "no" image')])
  assert not output.exists()
  with opened(output, SCHEMA, JOB) as done:
    assert done.done == 2
    done.add(part(3), [Failure("x", "c.jpg", "is not there")])
    assert done.finish() == 2
  assert ids_of(output) == [1, 2, 3] and parquet.read_schema(output).metadata is None
  with open(failures_file(output), newline="") as file:
    assert list(csv.reader(file)) == [["id", "path", "reason"], ["7", "a,b.jpg", 'is "no" image'],
                                      ["x", "c.jpg", "is not there"]]
  assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet", "t.parquet.failures.csv"]


def test_half_written_files_count_for_nothing(tmp_path):
  output = tmp_path / "t.parquet"
  with opened(output, SCHEMA, JOB) as done:
    done.add(part(1), [])
  left = [parts_folder(output) / ".part-000001.parquet.123.tmp", tmp_path / ".t.parquet.123.tmp",
          tmp_path / ".t.parquet.failures.csv.123.tmp"]
  for path in left:
    path.write_bytes(b"PAR1 half")
  with opened(output, SCHEMA, JOB) as done:
    assert done.done == 1 and not any(path.exists() for path in left)
    done.add(part(2), [])
    done.finish()
  assert ids_of(output) == [1, 2] and [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("at", ["failures", "table", "parts"])
def test_a_kill_while_the_parts_become_one(tmp_path, monkeypatch, at):
  """Before the failures, before the table, and after it, when its parts are not yet removed."""
  output = tmp_path / "t.parquet"

  def killed(*_):
    raise KeyboardInterrupt
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    where = {"failures": (shards, "write_whole"), "table": (shards.tables, "write"), "parts": (shards.Path, "rename")}
    with opened(output, SCHEMA, JOB) as done:
      done.add(part(1), [Failure(2, "b", "is not there")])
      patch.setattr(*where[at], killed)
      done.finish()
  assert output.exists() == (at == "parts")
  with opened(output, SCHEMA, JOB) as done:
    assert (done.done, done.complete) == (1, True)
    assert done.finish() == 1
  assert ids_of(output) == [1] and failures_file(output).read_text() == "id,path,reason\n2,b,is not there\n"
  assert not parts_folder(output).exists()


def test_parts_of_nobody_knows_what_job_are_made_again(tmp_path):
  output = tmp_path / "t.parquet"
  with opened(output, SCHEMA, JOB) as done:
    done.add(part(1), [])
    done.add(part(2), [])
  (parts_folder(output) / "job.json").unlink()
  with opened(output, SCHEMA, JOB | {"model": "another"}) as done:
    assert (done.done, done.complete) == (0, False)
    done.add(part(3), [])
    done.finish()
  assert ids_of(output) == [3]


def test_a_kill_while_the_parts_are_removed_leaves_none_to_the_next_job(tmp_path, monkeypatch):
  output = tmp_path / "t.parquet"

  def killed(folder):
    (folder / "job.json").unlink()
    raise KeyboardInterrupt
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), opened(output, SCHEMA, JOB) as done:
    done.add(part(1), [])
    patch.setattr(shards.shutil, "rmtree", killed)
    done.finish()
  assert ids_of(output) == [1] and not parts_folder(output).exists()
  with opened(output, SCHEMA, JOB | {"model": "another"}, overwrite=True) as done:
    assert done.done == 0
    done.add(part(2), [])
    done.finish()
  assert ids_of(output) == [2] and [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_part_that_went_missing_is_made_again(tmp_path):
  output = tmp_path / "t.parquet"
  with opened(output, SCHEMA, JOB) as done:
    done.add(part(1), [])
    done.add(part(2), [])
  (parts_folder(output) / "part-000001.parquet").unlink()
  (parts_folder(output) / "job.json").write_text(json.dumps({"job": JOB, "parts": 2}))
  with opened(output, SCHEMA, JOB) as done:
    assert (done.done, done.complete) == (1, False)


def test_another_job_is_refused_with_what_differs(tmp_path):
  output = tmp_path / "t.parquet"
  with opened(output, SCHEMA, JOB) as done:
    done.add(part(1), [])
  other = JOB | {"views": 8, "columns": ["id (int64)", "y (float)"]}
  for overwrite in (False, True):
    with pytest.raises(ValueError) as error, opened(output, SCHEMA, other, overwrite=overwrite):
      pass
    lines = str(error.value).splitlines()
    assert lines[1:3] == ["  columns: x (float) there, y (float) now", "  views: 2 there, 8 now"]
    assert "delete the folder" in lines[-1]
  with opened(output, SCHEMA, JOB) as done:
    assert done.done == 1


def test_a_table_that_is_there_is_refused(tmp_path):
  output = tmp_path / "t.parquet"
  output.write_text("mine")
  failures_file(output).write_text("of an earlier job")
  with pytest.raises(ValueError, match=r"t.parquet is there already.*--overwrite"), opened(output, SCHEMA, JOB):
    pass
  assert output.read_text() == "mine" and not parts_folder(output).exists()
  with opened(output, SCHEMA, JOB, overwrite=True) as done:
    done.add(part(1), [])
  assert output.read_text() == "mine"
  with pytest.raises(ValueError, match="is there already"), opened(output, SCHEMA, JOB):  # unfinished parts
    pass
  with opened(output, SCHEMA, JOB, overwrite=True) as done:
    done.finish()
  assert ids_of(output) == [1] and not failures_file(output).exists()


def _try(output, queue):
  try:
    with opened(output, SCHEMA, JOB):
      queue.put("in")
  except ValueError as error:
    queue.put(str(error))


def test_a_second_process_is_refused(tmp_path):
  pytest.importorskip("fcntl")
  context = multiprocessing.get_context("spawn")
  queue = context.Queue()
  with opened(tmp_path / "t.csv", SCHEMA, JOB):
    process = context.Process(target=_try, args=(tmp_path / "t.csv", queue))
    process.start()
    answer = queue.get(timeout=60)
    process.join()
  assert "t.csv.parts, where another process is at work" in answer
