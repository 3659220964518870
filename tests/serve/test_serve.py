"""The page's programming interface, with a stand-in for the model: answers, tables, maps, and the document of it."""
import base64
import io
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import csv

from galaxy_jax import decision_tree, predictor
from tfds_builders.gz2_tree import COLUMNS

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from serve_models import ClassStandIn, StandIn, multipart, predict

from galaxy_jax.serve import where
from galaxy_jax.serve.app import create_app

STATIC = Path(__file__).parents[2] / "galaxy_jax/serve/static"


def test_an_image_gets_its_answer_however_it_comes(client, model, galaxies):
  data = galaxies[0]
  bodies = (multipart(("a.jpg", data)), {"data": data, "content_type": "image/jpeg"},
            {"data": data, "content_type": "application/octet-stream"},
            {"json": {"images": [base64.b64encode(data).decode()]}})
  said = model.answers(model.decode(data)[None])
  for body in bodies:
    response = client.post("/api/v1/predict", **body)
    assert response.status_code == 200
    assert response.json["model"] == "stand-in"
    result, = response.json["results"]
    assert list(result["fractions"]) == list(COLUMNS)
    for name, values in (("fractions", said.fractions), ("low", said.lower), ("high", said.upper)):
      np.testing.assert_array_equal(np.float32(list(result[name].values())), values[0].astype(np.float32))
    assert result["description"] == decision_tree.sentence(said.fractions[0])
    assert result["gz2_class"] == decision_tree.gz2_class(said.fractions[0])
    assert np.float32(result["novelty"]) == said.novelty[0]
    # Question 7 is asked of those who said smooth, question 2 of those who said features or disk.
    assert ("rounded" in result["asked"]) == (said.fractions[0, 0] >= 0.5)
    assert ("edgeon" in result["asked"]) == (said.fractions[0, 1] >= 0.5)
    assert {"smooth_or_features", "odd"} <= set(result["asked"])


def test_images_keep_their_order_and_a_bad_one_spoils_no_other(client, galaxies):
  alone = [predict(client, ("x.jpg", data)).json["results"][0] for data in galaxies]
  files = [(f"{number}.jpg", data) for number, data in enumerate(galaxies)]
  files.insert(4, ("notes.txt", b"not a galaxy"))
  results = predict(client, *files).json["results"]
  assert [result["id"] for result in results] == [name for name, _ in files]
  assert results.pop(4).keys() == {"id", "error"}
  assert [result["fractions"] for result in results] == [result["fractions"] for result in alone]


def test_without_calibration_there_are_no_intervals(galaxies):
  app = create_app(StandIn(calibrated=False))
  result, = predict(app.test_client(), ("a.jpg", galaxies[0])).json["results"]
  assert result["low"] is None and result["high"] is None
  app.close()


def test_classes_have_probabilities(galaxies):
  app = create_app(ClassStandIn())
  client = app.test_client()
  result, = predict(client, ("a.jpg", galaxies[0]), query="?saliency=1").json["results"]
  assert set(result["probabilities"]) == {"smooth", "edge_on", "spiral"} and "fractions" not in result
  assert result["predicted"] == max(result["probabilities"], key=result["probabilities"].get)
  assert result["novelty"] is None
  assert result["saliency"]["answer"] == result["predicted"]
  table = csv.read_csv(io.BytesIO(predict(client, ("a.jpg", galaxies[0]), query="?format=csv").data))
  assert "probability_edge_on" in table.schema.names
  app.close()


def test_a_table_has_what_the_answers_say(client, galaxies):
  files = [("a.jpg", galaxies[0]), ("b.txt", b"?"), ("ç.jpg", galaxies[5])]
  results = predict(client, *files).json["results"]
  direct = predict(client, *files, query="?format=parquet")
  later = client.post("/api/v1/table?format=parquet", json={"results": results})
  assert direct.mimetype == later.mimetype == "application/vnd.apache.parquet"
  table = pq.read_table(io.BytesIO(direct.data))
  assert table.equals(pq.read_table(io.BytesIO(later.data)))
  rows = table.to_pylist()
  assert [row["galaxy_id"] for row in rows] == ["a.jpg", "b.txt", "ç.jpg"]
  assert {row["model"] for row in rows} == {"stand-in"}
  assert rows[1]["Class1.1"] is None and rows[1]["error"] and rows[0]["error"] is None
  assert np.float32(rows[2]["Class1.1"]) == np.float32(results[2]["fractions"]["Class1.1"])
  assert rows[2]["Class11.6_high"] is not None and rows[2]["gz2_class"] == results[2]["gz2_class"]
  text = csv.read_csv(io.BytesIO(client.post("/api/v1/table", json={"results": results}).data))
  assert text.schema.names == table.schema.names and text["galaxy_id"].to_pylist() == table["galaxy_id"].to_pylist()


def test_what_the_model_saw_and_where_it_looked(client, model, galaxies):
  result, = predict(client, ("a.jpg", galaxies[0]), query="?view=1&saliency=1").json["results"]
  seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(result["view"]))))
  assert seen.shape == (32, 32, 3)
  assert np.abs(seen.astype(int) - model.decode(galaxies[0])).mean() < 4
  assert result["saliency"]["answer"] in ("Class1.1", "Class1.2")
  assert np.shape(result["saliency"]["map"]) == (where.GRID, where.GRID)
  assert np.max(result["saliency"]["map"]) == 100
  five = predict(client, *[("a.jpg", galaxies[0])] * 5, query="?saliency=1")
  assert five.status_code == 413


def test_the_map_shows_what_the_answer_hangs_on():
  class Corner(StandIn):
    def answers(self, pixels):
      light = pixels[:, 4:8, 20:24].mean(axis=(1, 2, 3)) / 255
      fractions = np.zeros((len(pixels), 37), np.float32)
      fractions[:, 0], fractions[:, 1] = 1 - light, light
      return predictor.Answers(fractions, None, None, None, fractions)

  image = np.zeros((32, 32, 3), np.uint8)
  image[4:8, 20:24] = 240
  image[20:28, 4:12] = 240
  maps = where.explainer(Corner())(np.stack([image, np.zeros_like(image)]))
  assert maps.answer.tolist() == [1, 0]
  assert np.unravel_index(maps.fall[0].argmax(), (8, 8)) == (1, 5)
  assert maps.fall[0, 1, 5] > 0.8 and maps.fall[0, 5:, :3].max() < 0.01
  # An image as dark as its sky is the same however it is covered.
  assert not maps.fall[1].any()


def test_a_galaxy_of_fits_and_tiff(client):
  image = np.random.default_rng(0).normal(100, 10, (40, 40)).astype(np.float32)
  file = io.BytesIO()
  Image.fromarray(image).save(file, "TIFF")
  result, = predict(client, ("deep.tif", file.getvalue())).json["results"]
  assert "fractions" in result
  fits = pytest.importorskip("astropy.io.fits")
  file = io.BytesIO()
  fits.PrimaryHDU(image).writeto(file)
  result, = predict(client, ("deep.fits", file.getvalue())).json["results"]
  assert "fractions" in result


def test_the_document_is_sound_and_names_every_address(client):
  document = client.get("/api/v1/openapi.json").json
  rules = {str(rule) for rule in client.application.url_map.iter_rules()}
  assert set(document["paths"]) == rules - {"/", "/static/<name>"}
  pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed").validate(document)


def test_answers_are_as_documented(client, galaxies):
  jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
  document = client.get("/api/v1/openapi.json").json
  schema = {"$ref": "#/components/schemas/Result", "components": document["components"]}
  results = predict(client, ("a.jpg", galaxies[0]), ("b", b"?"), query="?view=1&saliency=1").json["results"]
  for result in results:
    jsonschema.validate(result, schema)
  with pytest.raises(jsonschema.ValidationError):
    jsonschema.validate(results[0] | {"fractions": {"Class99": 1}}, schema)


def test_the_page_asks_no_other_host_and_has_nothing_inline(client):
  page = client.get("/")
  text = page.get_data(as_text=True)
  assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
  assert "stand-in" in text and "learnt from simulated galaxies alone" in text
  assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", text)
  loaded = re.findall(r'(?:src|href)="([^"#]+)"', text) + re.findall(r'data-files="([^"]+)"', text)[0].split()
  for address in loaded:
    assert client.get(f"/{address}" if "/" in address else f"/static/{address}").status_code == 200, address
  written = text + "".join(path.read_text() for path in STATIC.iterdir() if path.suffix in (".css", ".js", ".svg"))
  assert set(re.findall(r"https?://[^\s\"']+", written)) == {"http://www.w3.org/2000/svg"}
  assert client.get("/static/page.js", headers={"If-None-Match": client.get("/static/page.js").headers["ETag"]}
                    ).status_code == 304


def test_a_model_on_real_galaxies_is_not_called_simulated(galaxies):
  class Real(ClassStandIn):
    facts = {"trained on": "real <b>"}

  app = create_app(Real())
  text = app.test_client().get("/").get_data(as_text=True)
  assert "learnt" not in text.partition("</header>")[0] and "real &lt;b&gt;" in text and "3 classes" in text
  app.close()


def test_a_model_on_simulated_and_then_real_galaxies_is_called_so():
  class Both(StandIn):
    facts = {"trained on": "simulated, then real"}

  app = create_app(Both())
  text = app.test_client().get("/").get_data(as_text=True)
  assert "first from simulated galaxies, then from real ones" in text and "simulated galaxies alone" not in text
  app.close()
