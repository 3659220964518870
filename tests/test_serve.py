"""The web page's programming interface, with a stand-in for the model: answers, limits, refusals and batches."""
import base64
import contextlib
import copy
import http.client
import importlib
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import blob
from PIL import Image
from pyarrow import csv

from galaxy_jax import calibration, decision_tree, experiment, predictor
from galaxy_jax.configs import gz2
from galaxy_jax.data.decode import decode_image
from tfds_builders.errors import DataError
from tfds_builders.gz2_tree import COLUMNS

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from galaxy_jax.serve import answers, server, where
from galaxy_jax.serve.app import create_app
from galaxy_jax.serve.batching import Batcher, Full
from galaxy_jax.serve.uploads import Limits

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "galaxy_jax/serve/static"
_fractions = jax.jit(decision_tree.tree_fractions)


class StandIn:
  """What the page needs of a predictor: votes that depend on an image's pixels, at no cost."""
  name, task, columns, crop, size, batch_size = "stand-in", "votes", COLUMNS, None, 32, 8
  facts = {"model": "stand-in", "trained on": "simulated", "step": 3,
           "calibrated on": "635 galaxies of galaxy_zoo_challenge/votes/1.0.0, train[:635]"}
  table = predictor.Predictor.table

  def __init__(self, calibrated: bool = True):
    self._calibrated = calibrated
    self._weights = np.random.default_rng(3).normal(0, 0.4, (4 * 4 * 3, 37)).astype(np.float32)
    self.calls = []  # how many rows each call was of

  def with_views(self, rotations, flips):
    other = copy.copy(self)
    other.calls = []
    return other

  def with_batch_size(self, batch_size):
    other = copy.copy(self)
    other.batch_size = batch_size
    return other

  def decode(self, data):
    return decode_image(data, crop=self.crop, size=self.size)

  def features(self, pixels):
    """Means of 4 × 4 parts, as no other row changes them."""
    parts = pixels.reshape(len(pixels), 4, self.size // 4, 4, self.size // 4, 3).mean(axis=(2, 4), dtype=np.float64)
    return (parts.reshape(len(pixels), 48) / 64).astype(np.float32)

  def predict(self, pixels):
    return self.answers(pixels).fractions

  def answers(self, pixels):
    self.calls.append(len(pixels))
    features = self.features(pixels)
    fractions = np.array([_fractions(np.einsum("d,dk->k", row, self._weights)) for row in features],
                         np.float32).reshape(-1, 37)
    ends = (fractions * 0.7, np.minimum(1, fractions * 1.4)) if self._calibrated else (None, None)
    return predictor.Answers(fractions, *ends, features.max(axis=1, initial=0) / 2, features)


class ClassStandIn(StandIn):
  """The same, of three classes."""
  task, columns = "classes", ("smooth", "edge_on", "spiral")

  def answers(self, pixels):
    votes = super().answers(pixels)
    return predictor.Answers(votes.fractions[:, :3], None, None, None, votes.features)


class Blocked(StandIn):
  """A model that answers when it is told to, once it is told to wait for that."""

  def __init__(self):
    super().__init__()
    self.go, self.began = threading.Event(), threading.Event()
    self.go.set()

  def with_views(self, rotations, flips):
    return StandIn()

  def hold(self):
    self.go.clear()
    self.began.clear()

  def answers(self, pixels):
    if len(pixels):
      self.began.set()
      assert self.go.wait(20)
    return super().answers(pixels)


@pytest.fixture(scope="module")
def model():
  return StandIn()


@pytest.fixture(scope="module")
def client(model):
  app = create_app(model)
  yield app.test_client()
  app.close()


@pytest.fixture(scope="module")
def galaxies():
  """JPEG files of eleven galaxies."""
  rng = np.random.default_rng(1)
  return [blob(rng, smooth) for smooth in np.linspace(0, 1, 11)]


def multipart(*files):
  """The body of a form with these files."""
  return {"data": {"images": [(io.BytesIO(data), name) for name, data in files]}}


def predict(client, *files, query=""):
  return client.post(f"/api/v1/predict{query}", **multipart(*files))


def png(width, height):
  """A PNG file that says it has so many black and white pixels, and has few."""
  parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(2000))),
           (b"IEND", b""))
  return b"\x89PNG\r\n\x1a\n" + b"".join(
      struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)


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


@pytest.mark.parametrize("results", [
    None, "x", [1], [{}], [{"id": 1}], [{"id": "a", "fractions": 3}], [{"id": "a", "fractions": {"Class9.9": 0.1}}],
    [{"id": "a", "fractions": {"Class1.1": "much"}}], [{"id": "a", "fractions": {"Class1.1": [1]}}],
    [{"id": "a", "fractions": {"Class1.1": 10**400}}], [{"id": "a", "description": 4}],
    [{"id": "a", "probabilities": {"spiral": 0.5}}], [{"id": "a", "error": {"a": 1}}]])
def test_results_of_another_kind_make_no_table(client, results):
  response = client.post("/api/v1/table", json={"results": results})
  assert response.status_code == 422 and response.json["error"]


def test_a_table_is_made_of_so_many_results_and_no_more(monkeypatch):
  app = create_app(StandIn(), Limits(results=3))
  client = app.test_client()
  assert client.post("/api/v1/table", json={"results": [{"id": "a"}] * 3}).status_code == 200
  monkeypatch.setattr("galaxy_jax.serve.answers.table", lambda *_: pytest.fail("rows were made"))
  response = client.post("/api/v1/table", json={"results": [{"id": ""}] * 4})
  assert response.status_code == 413 and "4 results, and 3" in response.json["error"]
  # Nor is a text taken apart that is nothing but small values.
  monkeypatch.setattr("json.loads", lambda _: pytest.fail("the JSON was taken apart"))
  response = client.open("/api/v1/table", method="POST", data=b'{"results": [' + b"{}," * 3000 + b"{}]}",
                         content_type="application/json")
  assert response.status_code == 413 and b"values" in response.data
  app.close()


def test_one_table_is_made_at_a_time(monkeypatch):
  app = create_app(StandIn(), Limits(seconds=0.3))
  began, go, make = threading.Event(), threading.Event(), answers.table

  def slow(*values):
    began.set()
    assert go.wait(20)
    return make(*values)

  monkeypatch.setattr("galaxy_jax.serve.answers.table", slow)
  with ThreadPoolExecutor(1) as pool:
    first = pool.submit(app.test_client().post, "/api/v1/table", json={"results": []})
    assert began.wait(20)
    second = app.test_client().post("/api/v1/table", json={"results": []})
    go.set()
    assert second.status_code == 503 and first.result().status_code == 200
  app.close()


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


@pytest.mark.parametrize("body, status, word", [
    ({}, 411, "Content-Length"), ({"data": b"x"}, 415, "Content-Type"),
    ({"data": {"other": (io.BytesIO(b"x"), "a.jpg")}}, 400, "images"),
    ({"data": {"images": "text"}, "content_type": "multipart/form-data"}, 400, "no image"),
    ({"data": b"garbage", "content_type": "multipart/form-data; boundary=x"}, 400, "no image"),
    ({"data": b"garbage", "content_type": "multipart/form-data"}, 400, "no image"),
    ({"data": b"", "content_type": "image/png", "environ_overrides": {"CONTENT_LENGTH": "0"}}, 400, "no image"),
    ({"data": b"GIF89a", "content_type": "image/png"}, 400, "JPEG"),
    ({"data": b"GIF89a", "content_type": "image/gif"}, 415, "image/gif"),
    ({"data": b"{", "content_type": "application/json"}, 400, "JSON"),
    ({"data": b"[" * 50_000, "content_type": "application/json"}, 400, "JSON"),
    ({"data": b'{"images": [' + b"[]," * 50_000, "content_type": "application/json"}, 413, "64000 values"),
    ({"data": b"\xff\xfe\x00", "content_type": "application/json"}, 400, "JSON"),
    ({"json": []}, 422, "images"), ({"json": {"images": "x"}}, 422, "images"),
    ({"json": {"images": [3]}}, 422, "images[0]"),
    ({"json": {"images": [], "more": 1}}, 422, "images"), ({"json": {"images": []}}, 400, "no image"),
    ({"json": {"images": ["é"]}}, 422, "base64"), ({"json": {"images": ["////"]}}, 400, "JPEG"),
    ({"json": {"images": [None]}}, 422, "images[0]"),
    ({"json": {"images": [""] * 65}}, 413, "64"),
    ({"data": png(8000, 7900), "content_type": "image/png"}, 400, "decoded"),
    ({"data": png(9000, 9000), "content_type": "image/png"}, 400, "9000 x 9000 pixels"),
    ({"data": png(30000, 30000), "content_type": "image/png"}, 400, "too large"),
    ({"data": b"SIMPLE  =" + b" " * 5000, "content_type": "image/fits"}, 400, "FITS"),
    ({"data": b"\x1f\x8b\x08" + b"x" * 50, "content_type": "image/fits"}, 400, "FITS"),
], ids=lambda value: str(value)[:40])
def test_what_is_no_request_is_refused_in_words(client, body, status, word):
  response = client.post("/api/v1/predict", **body)
  assert response.status_code == status
  assert word in response.json["error"]
  assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method, address, status", [
    ("get", "/nowhere", 404), ("get", "/static/page.html", 404), ("get", "/static/../app.py", 404),
    ("get", "/api/v1/predict", 405), ("delete", "/", 405), ("post", "/healthz", 405),
    ("post", "/api/v1/predict?format=xml", 422), ("post", "/api/v1/predict?view=yes", 422),
    ("post", "/api/v1/table?format=json", 422), ("post", "/api/v1/table", 411)])
def test_addresses_that_are_none(client, method, address, status):
  response = getattr(client, method)(address)
  assert response.status_code == status
  assert response.json["error"]
  if status == 405:
    assert response.headers["Allow"]


def test_a_body_is_refused_by_its_length_before_it_is_read(client):
  class Unread(io.RawIOBase):
    def readinto(self, buffer):
      raise AssertionError("the body was read")

  for address in ("/api/v1/predict", "/api/v1/table"):
    environ = {"wsgi.input": Unread(), "CONTENT_TYPE": "image/jpeg"}
    for length, status in (({"CONTENT_LENGTH": str(2**31)}, 413), ({}, 411)):
      response = client.post(address, environ_overrides=environ | length)
      assert response.status_code == status and response.json["error"]


def test_more_images_than_a_request_may_hold(client, galaxies):
  response = predict(client, *[("a.jpg", galaxies[0])] * 65)
  assert response.status_code == 413 and "65 images, and 64" in response.json["error"]


def test_a_fits_image_has_no_more_pixels_than_any_other():
  fits = pytest.importorskip("astropy.io.fits")
  app = create_app(StandIn(), Limits(pixels=1599))
  file = io.BytesIO()
  fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((40, 40), np.float32))]).writeto(file)
  response = app.test_client().post("/api/v1/predict", data=file.getvalue(), content_type="image/fits")
  assert response.status_code == 400 and "40 x 40 pixels, more than the 1599" in response.json["error"]
  app.close()


def test_a_gzip_file_that_unpacks_to_too_much_is_refused(model):
  import gzip
  app = create_app(model, Limits(pixels=10_000))
  packed = gzip.compress(b"SIMPLE  =" + bytes(200_000))
  response = app.test_client().post("/api/v1/predict", data=packed, content_type="image/fits")
  assert response.status_code == 400 and "unpacks to more than 80000 bytes" in response.json["error"]
  app.close()


def test_uploads_touch_no_disk(client, galaxies, monkeypatch):
  """Above 500 kB Werkzeug writes a form's files into temporary ones, unless it is told otherwise."""
  def refuse(*_, **__):
    raise AssertionError("a temporary file was opened")
  for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
    monkeypatch.setattr(f"tempfile.{name}", refuse)
  monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", refuse)
  large = galaxies[0] + bytes(3_000_000)
  assert predict(client, ("large.jpg", large), ("small.jpg", galaxies[1])).status_code == 200


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


def test_mutated_images_never_break_it(client):
  rng = np.random.default_rng(5)
  whole = (STATIC / "example_edge_on.jpg").read_bytes()
  files = []
  for number in range(300):
    data = bytearray(whole)
    if number % 3 == 0:
      del data[rng.integers(1, len(data)):]
    else:
      reach = 700 if number % 3 == 1 else len(data)  # the first bytes are the headers
      for place in rng.integers(0, reach, rng.integers(1, 6)):
        data[place] ^= 1 << rng.integers(8)
    files.append((f"{number}.jpg", bytes(data)))
  results = []
  for start in range(0, len(files), 60):
    response = predict(client, *files[start:start + 60])
    assert response.status_code == 200
    results += response.json["results"]
  refused = [result for result in results if "error" in result]
  # Truncated ones are all refused; of single bits that flip, many change a pixel's colour only.
  assert 100 <= len(refused) < 300
  assert all(result["error"].startswith(result["id"]) for result in refused)


def test_a_full_queue_says_when_to_come_back(galaxies):
  model = Blocked()
  app = create_app(model, Limits(waiting=3))
  model.hold()
  pool = ThreadPoolExecutor(2)
  first = pool.submit(predict, app.test_client(), ("a.jpg", galaxies[0]))
  assert model.began.wait(20)
  three = [("b.jpg", galaxies[1])] * 3
  second = pool.submit(predict, app.test_client(), *three)
  service = app.extensions["galaxy_jax"]
  while app.test_client().get("/healthz").json["waiting"] < 3:
    assert service is app.extensions["galaxy_jax"] and not second.done()
  response = predict(app.test_client(), ("c.jpg", galaxies[2]))
  assert response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
  assert "3 images wait already" in response.json["error"]
  model.go.set()
  assert first.result().status_code == second.result().status_code == 200
  app.close()


def test_a_request_waits_for_so_long_and_no_longer(galaxies):
  model = Blocked()
  app = create_app(model, Limits(seconds=0.3))
  model.hold()
  response = predict(app.test_client(), ("a.jpg", galaxies[0]))
  assert response.status_code == 503 and "longer than 0.3 s" in response.json["error"]
  model.go.set()
  app.close()


def test_decoding_ends_when_the_time_is_over(galaxies):
  class Slow(StandIn):
    def decode(self, data):
      time.sleep(0.2)
      return super().decode(data)

  app = create_app(Slow(), Limits(seconds=0.5))
  response = predict(app.test_client(), *[("a.jpg", galaxies[0])] * 20)
  assert response.status_code == 503 and "longer than 0.5 s" in response.json["error"]
  assert not app.extensions["galaxy_jax"].health()[0]["waiting"]
  app.close()


def test_a_request_that_is_refused_leaves_nothing_in_the_queues(galaxies, monkeypatch):
  model = Blocked()
  app = create_app(model)
  model.hold()
  with ThreadPoolExecutor(1) as pool:
    first = pool.submit(predict, app.test_client(), ("a.jpg", galaxies[0]))
    assert model.began.wait(20)

    def full(_):
      raise Full("9 images wait already")
    monkeypatch.setattr(app.extensions["galaxy_jax"]._explaining, "submit", full)
    response = predict(app.test_client(), ("b.jpg", galaxies[1]), query="?saliency=1")
    assert response.status_code == 503 and "9 images" in response.json["error"]
    assert app.test_client().get("/healthz").json["waiting"] == 0
    model.go.set()
    assert first.result().status_code == 200
  app.close()


def test_the_model_has_run_before_anyone_asks():
  """One galaxy, as many as the page sends at a time, and a map, which is one call of its own."""
  class Counting(StandIn):
    def __init__(self):
      super().__init__()
      self.views = []

    def with_views(self, rotations, flips):
      self.views.append(super().with_views(rotations, flips))
      return self.views[-1]

    def with_batch_size(self, batch_size):
      assert batch_size == where.GRID ** 2 + 1
      return self

  model = Counting()
  app = create_app(model, Limits(together=5))
  assert {1, 5} <= set(model.calls)
  app.extensions["galaxy_jax"]._warming.result(20)
  assert model.views[0].calls == [65]
  app.close()


def test_a_batch_that_fails_leaves_the_server_at_work(galaxies):
  class Failing(StandIn):
    def answers(self, pixels):
      if len(pixels) and pixels.max() > 250:
        raise RuntimeError("RESOURCE_EXHAUSTED")
      return super().answers(pixels)

  app = create_app(Failing())
  file = io.BytesIO()
  Image.new("RGB", (32, 32), "white").save(file, "PNG")
  client = app.test_client()
  for _ in range(2):
    response = predict(client, ("white.png", file.getvalue()))
    assert response.status_code == 503 and "RESOURCE" not in response.json["error"]
    assert predict(client, ("a.jpg", galaxies[0])).status_code == 200
  assert client.get("/healthz").json["status"] == "ok"
  app.close()
  assert client.get("/healthz").status_code == 503


def test_requests_share_calls_and_each_gets_its_own_rows():
  calls, busy = [], threading.Event()

  def run(rows):
    busy.wait(20)
    calls.append(len(rows))
    return {"twice": 2 * rows, "none": None}

  batcher = Batcher(run, rows=8, waiting=1000)
  rng = np.random.default_rng(0)
  requests = [rng.integers(0, 1000, (size, 2)) for size in (1, 3, 20, 1, 1, 5, 8, 2, 1)]
  jobs = [batcher.submit(rows) for rows in requests]
  busy.set()
  for rows, job in zip(requests, jobs, strict=True):
    np.testing.assert_array_equal(job.result(20)["twice"], 2 * rows)
  # 42 rows, which all waited but those of the first call.
  assert max(calls) <= 8 and sum(calls) == 42 and len(calls) <= 7
  batcher.close()
  with pytest.raises(Full):
    batcher.submit(requests[0])


def test_a_cancelled_request_is_not_run():
  ran, go, began = [], threading.Event(), threading.Event()

  def run(rows):
    began.set()
    go.wait(20)
    ran.extend(rows[:, 0].tolist())
    return rows

  batcher = Batcher(run, rows=2, waiting=10)
  first = batcher.submit(np.full((1, 1), 1))
  assert began.wait(20)
  second, third = (batcher.submit(np.full((2, 1), value)) for value in (2, 3))
  assert second.cancel()
  go.set()
  assert first.result(20)[0, 0] == 1 and third.result(20)[0, 0] == 3
  batcher.close()
  assert ran == [1, 3, 3] and batcher.waiting == 0


def test_a_request_that_is_given_up_halfway_is_not_run_to_its_end():
  ran, go, began = [], threading.Event(), threading.Event()

  def run(rows):
    began.set()
    assert go.wait(20)
    ran.extend(rows[:, 0].tolist())
    return rows

  batcher = Batcher(run, rows=2, waiting=10)
  long = batcher.submit(np.full((10, 1), 1))
  assert began.wait(20)
  with pytest.raises(Full):
    batcher.submit(np.full((3, 1), 2))
  assert long.cancel() and batcher.waiting == 0
  after = batcher.submit(np.full((3, 1), 2))
  go.set()
  assert after.result(20).tolist() == [[2]] * 3
  batcher.close()
  assert ran == [1, 1, 2, 2, 2]


def test_threads_get_what_they_would_get_alone(client, model, galaxies):
  alone = [predict(client, ("x.jpg", data)).json["results"][0]["fractions"] for data in galaxies]
  model.calls.clear()
  with ThreadPoolExecutor(16) as pool:
    replies = list(pool.map(lambda number: predict(client, ("x.jpg", galaxies[number % 11])), range(176)))
  found = [reply.json["results"][0]["fractions"] for reply in replies]
  assert found == [alone[number % 11] for number in range(176)]
  assert max(model.calls) <= model.batch_size and sum(model.calls) == 176


def test_a_network_behind_the_page_answers_alike_alone_and_in_company(galaxies):
  config = gz2.get_config("cpu")
  config.update({"data": {"crop": 0, "size": 32}, "augment": {"size": 16},
                 "eval": {"batch_size": 4, "rotations": 2, "flips": False}})
  config.model.options.width = 4
  config = experiment.resolve(config)
  variables = experiment.make_task(config, axis_name=None, all_views=True).init(jax.random.key(0))
  network = predictor.Predictor("untrained", config, None, variables, calibration.Calibration(), {"step": 0})
  app = create_app(network)
  client = app.test_client()
  files = [(f"{number}.jpg", data) for number, data in enumerate(galaxies)]
  together = predict(client, *files, query="?saliency=0").json["results"]
  alone = predict(client, files[3], query="?saliency=1").json["results"][0]
  assert np.shape(alone["saliency"]["map"]) == (where.GRID, where.GRID)
  expected = network.predict(np.stack([network.decode(data) for data in galaxies]))
  for name, values in zip(COLUMNS, expected.T, strict=True):
    np.testing.assert_allclose([result["fractions"][name] for result in together], values, atol=1e-6)
    np.testing.assert_allclose(alone["fractions"][name], values[3], atol=1e-6)
  assert {result["novelty"] for result in together} == {None} and together[0]["low"] is None
  app.close()


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


@pytest.mark.parametrize("host, origin, local, status", [
    ("localhost:8000", None, True, 200), ("127.0.0.1:8000", "http://127.0.0.1:8000", True, 200),
    ("[::1]:8000", "http://[::1]:8000", True, 200), ("LOCALHOST", "http://localhost", True, 200),
    ("evil.example", None, True, 403), ("evil.example:8000", "http://evil.example:8000", True, 403),
    ("127.0.0.1.evil.example", None, True, 403), ("[::1", None, True, 403), ("", None, True, 403),
    ("localhost:8000", "http://evil.example", True, 403), ("localhost:8000", "http://localhost:3000", True, 403),
    ("localhost:8000", "null", True, 403), ("localhost:8000", "http://[", True, 403),
    ("galaxies.example", None, False, 200), ("galaxies.example", "https://galaxies.example", False, 200),
    ("galaxies.example", "https://evil.example", False, 403)])
def test_no_other_page_can_use_it(model, galaxies, host, origin, local, status):
  app = create_app(model, local=local)
  headers = {"Host": host} | ({"Origin": origin} if origin else {})
  response = app.test_client().post("/api/v1/predict", data=galaxies[0], content_type="image/jpeg", headers=headers)
  assert response.status_code == status and ("error" in response.json) == (status == 403)
  # What a browser reads for a page of another origin it keeps from it; a name that leads here it does not.
  named = app.test_client().get("/api/v1/model", headers={"Host": host})
  known = re.match(r"localhost|127\.0\.0\.1(:|$)|\[::1\]", host, re.I)
  assert named.status_code == (403 if local and not known else 200)
  app.close()


@contextlib.contextmanager
def serving(model, **limits):
  """A server of a model in a thread; gives its address."""
  app = create_app(model, Limits(**limits))
  listening, url = server.bind(app, "127.0.0.1", 0, Limits(**limits))

  def run():
    with contextlib.suppress(OSError):  # its socket is closed while it waits at it
      listening.run()

  thread = threading.Thread(target=run, daemon=True)
  thread.start()
  yield url
  listening.close()
  app.close()


@pytest.fixture
def address(model):
  """Where a server listens, (host, port), whose bodies may have 100,000 bytes."""
  with serving(model, bytes=100_000) as url:
    yield re.fullmatch(r"http://([\d.]+):(\d+)/", url).groups()


def test_the_server_refuses_in_json_what_the_application_never_sees(address, galaxies):
  def ask(body, headers, chunked=False):
    connection = http.client.HTTPConnection(*address, timeout=20)
    headers = {"Content-Type": "image/jpeg"} | headers
    connection.request("POST", "/api/v1/predict", body, headers, encode_chunked=chunked)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response, json.loads(text)

  assert ask(galaxies[0], {})[0].status == 200
  # The length is enough to be refused: none of the body is sent.
  response, body = ask(None, {"Content-Length": "100001"})
  assert response.status == 413 and "Too Large" in body["error"]
  assert response.headers["Content-Security-Policy"]
  response, body = ask(iter([bytes(50_000)] * 3), {"Transfer-Encoding": "chunked"}, chunked=True)
  assert response.status == 413 and body["error"]
  # A body without a length but with an end is as good as another.
  response, body = ask(iter([galaxies[0]]), {"Transfer-Encoding": "chunked"}, chunked=True)
  assert response.status == 200 and "fractions" in body["results"][0]
  response, body = ask(None, {"Content-Length": "many"})
  assert response.status == 400 and body["error"]


def test_bodies_share_the_memory_that_there_is_for_them(address, galaxies):
  def begin(length):
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.putrequest("POST", "/api/v1/predict")
    for name, value in (("Content-Type", "image/jpeg"), ("Content-Length", str(length))):
      connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"x")
    return connection

  def whole():
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request("POST", "/api/v1/predict", galaxies[0], {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    return response, json.loads(response.read())

  # Those that are answered, and those that are refused for their own length, hold nothing.
  for _ in range(10):
    assert whole()[0].status == 200
    assert begin(100_001).getresponse().status == 413
  held = [begin(100_000) for _ in range(server.LARGEST_BODIES)]
  end = time.monotonic() + 20
  while (answer := whole())[0].status == 200:  # the server has not heard of all of them
    assert time.monotonic() < end
  assert answer[0].status == 503 and answer[0].headers["Retry-After"] and "bytes" in answer[1]["error"]
  for connection in held[1:]:
    connection.close()
  while whole()[0].status == 503:
    assert time.monotonic() < end
  held[0].close()


def test_a_port_that_is_taken_is_named(address, client):
  with pytest.raises(ValueError, match=rf"--port={address[1]} cannot be listened at"):
    server.bind(client.application, address[0], int(address[1]))


def test_the_command_says_where_it_answers_and_ends_when_it_is_told():
  code = ("import runpy; from galaxy_jax import predictor; from test_serve import StandIn; "
          "predictor.load = lambda workdir: StandIn(); runpy.run_module('galaxy_jax.serve', run_name='__main__')")
  process = subprocess.Popen([sys.executable, "-c", code, "--port=0"], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                             env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
  try:
    url = re.search(r"stand-in answers at (http://127.0.0.1:\d+/)", process.stdout.readline())[1]
    with urllib.request.urlopen(f"{url}healthz", timeout=20) as response:
      assert json.load(response)["status"] == "ok"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
  finally:
    process.kill()
    process.wait()


def test_the_command_says_what_it_lacks(monkeypatch):
  command = importlib.import_module("galaxy_jax.serve.__main__")
  monkeypatch.setitem(sys.modules, "waitress", None)
  with pytest.raises(DataError, match=r"The page needs waitress: pip install 'galaxy_jax\[serve\]'"):
    command.main([])


def test_the_command_refuses_a_folder_without_a_run(tmp_path):
  result = subprocess.run([sys.executable, "-m", "galaxy_jax.serve", f"--workdir={tmp_path}"], cwd=ROOT, text=True,
                          capture_output=True, timeout=60)
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1].startswith(f"error: {tmp_path} is no run")
