"""Apache Beam's workers say of every image what the command says of it."""
import pytest

pytest.importorskip("apache_beam", reason="needs Apache Beam: pip install 'galaxy_jax[scale]'")

import apache_beam as beam
from apache_beam.testing.util import assert_that
from own_survey import write_csv
from predictions import MeanColours, folder
from pyarrow import parquet

from galaxy_jax import inputs, predict, shipped
from galaxy_jax.predict_beam import PredictRows

LOADED = []


def load(workdirs, **options):
  LOADED.append((workdirs, options))
  return predict.Members([MeanColours(batch_size=options["batch_size"])])


def holds(expected, key):
  def check(found):
    assert sorted(found, key=lambda row: row[key]) == sorted(expected, key=lambda row: row[key])
  return check


def test_its_rows_are_those_of_the_command(tmp_path, monkeypatch):
  folder(tmp_path, 20)
  (tmp_path / "bad.png").write_bytes(b"text")
  images = [{"id": n, "path": str(tmp_path / f"{n:03d}.png"), "model": f"m{n}"} for n in range(20)]
  wrong = [{"id": 20, "path": str(tmp_path / "bad.png"), "model": ""},
           {"id": 21, "path": str(tmp_path / "none.png"), "model": ""}]
  write_csv(tmp_path / "t.csv", [["id", "path", "model"], *(list(image.values()) for image in images + wrong)])
  members = predict.Members([MeanColours()])
  assert predict.predict(members, inputs.find(str(tmp_path / "t.csv")), tmp_path / "p.parquet", progress=False) == 2
  rows = parquet.read_table(tmp_path / "p.parquet").to_pylist()
  assert rows[3]["model_input"] == "m3" and len(rows) == 20

  monkeypatch.setattr(predict, "load", load)
  # One whose bytes come along in place of a path, and two that come to nothing.
  given = images + wrong + [{"id": 22, "bytes": (tmp_path / "000.png").read_bytes()}, {"id": 23}]
  first = {name: value for name, value in rows[0].items() if name not in ("path", "model_input")}
  failures = [{"id": 20, "path": wrong[0]["path"],
               "reason": "is no JPEG or PNG or TIFF image (4 bytes, which begin with 74 65 78 74)"},
              {"id": 21, "path": wrong[1]["path"], "reason": "is not there"},
              {"id": 23, "path": "", "reason": "has neither path nor bytes"}]
  (tmp_path / "run").mkdir()
  (tmp_path / "run/config.json").write_text("{}")
  with beam.Pipeline(runner="DirectRunner") as pipeline:
    found = pipeline | beam.Create(given) | PredictRows(str(tmp_path / "run"), batch_size=4)
    assert_that(found.rows, holds([*rows, first | {"id": 22}], "id"), label="rows")
    assert_that(found.failures, holds(failures, "id"), label="failures")
  [(workdirs, options)] = LOADED  # once, however many threads and bundles
  assert workdirs == [str(tmp_path / "run")] and options["batch_size"] == 4


def test_a_run_that_is_not_there_is_said_before_the_pipeline_starts():
  for workdir in ("gs://bucket/runs/gz2", [shipped.DEFAULT, "nowhere"]):
    with pytest.raises(FileNotFoundError, match="is no run of"):
      PredictRows(workdir)
  with pytest.raises(ValueError, match="The planes are 0,1"):
    PredictRows(planes=(0, 1))
