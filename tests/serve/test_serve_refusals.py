"""What the page's programming interface refuses, and how: requests, sizes, other pages."""
import io
import re
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from serve_models import StandIn, predict

from galaxy_jax.serve import answers
from galaxy_jax.serve.app import create_app
from galaxy_jax.serve.uploads import Limits

STATIC = Path(__file__).parents[2] / "galaxy_jax/serve/static"


def png(width, height):
  """A PNG file that says it has so many black and white pixels, and has few."""
  parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(2000))),
           (b"IEND", b""))
  return b"\x89PNG\r\n\x1a\n" + b"".join(
      struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)


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
