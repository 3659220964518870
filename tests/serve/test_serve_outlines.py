"""Outlines beside a model's answers: where objects are in the files sent, the queue, refusals, the command."""
import importlib
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from blob_finder import BlobFinder, paint, sky_of
from own_survey import encoded

from galaxy_jax import field_files, predictor
from tfds_builders import masks as raster

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from serve_models import Blocked, ClassStandIn, StandIn, predict

from galaxy_jax.serve.app import create_app
from galaxy_jax.serve.batching import Full
from galaxy_jax.serve.uploads import Limits

BOXES = ((10, 12, 22, 30), (40, 42, 48, 62))


class Held(BlobFinder):
  """Finds when it is told to, once it is told to wait for that."""

  def __init__(self, **options):
    super().__init__(**options)
    self.go, self.began = threading.Event(), threading.Event()
    self.go.set()

  def hold(self):
    self.go.clear()
    self.began.clear()

  def find(self, images):
    self.began.set()
    assert self.go.wait(20)
    return super().find(images)


def picture(side=64, boxes=BOXES):
  """Two rectangles, of which the first has the better score."""
  field = sky_of(side, side)
  for number, box in enumerate(boxes):
    paint(field, box, score=200 - 40 * number, label=number)
  return field


def png(field):
  return encoded(field, "PNG")


@pytest.fixture
def serve():
  """Makes a client of an application."""
  apps = []

  def make(finder=None, model=None, **limits):
    apps.append(create_app(model or StandIn(), Limits(**limits), finder=finder))
    return apps[-1].test_client()

  yield make
  for app in apps:
    app.close()


def ask(client, *fields, query=""):
  """The results for pictures."""
  response = predict(client, *[(f"{number}.png", png(field)) for number, field in enumerate(fields)], query=query)
  assert response.status_code == 200
  return response.json["results"]


def test_objects_are_where_they_are_in_the_image(serve):
  result, = ask(serve(BlobFinder()), picture())
  assert "fractions" in result and result["seen"] == {"box": [0, 0, 64, 64], "first_row": "top"}
  first, second = result["objects"]
  assert (first["class"], second["class"]) == ("round", "long")
  assert (first["score"], second["score"]) == (pytest.approx(200 / 255, abs=1e-4), pytest.approx(160 / 255, abs=1e-4))
  for found, (y0, x0, y1, x1) in zip((first, second), BOXES, strict=True):
    assert found.keys() == {"class", "score", "box", "outline", "area", "axis_ratio"}
    assert found["box"] == [y0, x0, y1, x1] and found["area"] == (y1 - y0) * (x1 - x0)
    assert found["axis_ratio"] == pytest.approx((y1 - y0) / (x1 - x0), abs=1e-4)
    polygon, = found["outline"]
    drawn = raster.polygon_mask(np.float64(polygon), 64, 64)
    assert drawn[y0:y1, x0:x1].all() and drawn.sum() == found["area"]


@pytest.mark.parametrize(("shape", "crop", "box"), [
    ((200, 300), 128, (60, 100, 80, 150)),  # the middle, as it is
    ((200, 300), None, (48, 112, 88, 176)),  # the largest square, 200 pixels
    ((768, 640), 512, (200, 160, 240, 320)),  # scaled down
    ((32, 40), None, (8, 10, 20, 22))])  # scaled up
def test_objects_are_in_pixels_of_the_file_whatever_the_model_sees(serve, shape, crop, box):
  class Cropped(ClassStandIn):
    pass
  Cropped.crop = crop
  field = paint(sky_of(*shape), box)
  result, = ask(serve(BlobFinder(), Cropped()), field)
  side = min(*shape, crop or 9999)
  top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
  assert result["seen"]["box"] == [top, left, top + side, left + side]
  found, = result["objects"]
  scale = max(1.0, side / 64)  # a pixel of what the finder looks at
  np.testing.assert_allclose(found["box"], box, atol=scale)
  assert found["area"] == pytest.approx((box[2] - box[0]) * (box[3] - box[1]), rel=0.2)
  (x0, y0), (x1, y1) = (np.float64(found["outline"][0]).min(0), np.float64(found["outline"][0]).max(0))
  np.testing.assert_allclose([y0, x0, y1 + 1, x1 + 1], box, atol=1.5 * scale)


def test_what_the_model_does_not_see_is_not_looked_at(serve):
  class Cropped(StandIn):
    crop = 64
  result, = ask(serve(BlobFinder(), Cropped()), paint(sky_of(200, 200), (10, 10, 40, 40)))
  assert result["objects"] == [] and result["seen"]["box"] == [68, 68, 132, 132]


def test_rows_of_fits_images_count_from_the_bottom(serve):
  fits = pytest.importorskip("astropy.io.fits")
  pixels = np.random.default_rng(0).normal(1, 0.01, (80, 64)).astype(np.float32)
  pixels[20:32, 12:40] = 100
  file = io.BytesIO()
  fits.PrimaryHDU(pixels).writeto(file)
  result, = predict(serve(BlobFinder()), ("a.fits", file.getvalue())).json["results"]
  assert result["seen"] == {"box": [8, 0, 72, 64], "first_row": "bottom"}
  found, = result["objects"]
  assert found["box"] == [20, 12, 32, 40]
  np.testing.assert_array_equal(raster.polygon_mask(np.float64(found["outline"][0]), 80, 64), pixels > 50)


def test_images_share_calls_and_each_keeps_its_own_objects(serve):
  finder = BlobFinder(batch_size=4)
  client = serve(finder)
  fields = [picture(boxes=[(5 + n, 6, 20 + n, 30)] * (n % 3 > 0)) for n in range(11)]
  alone = [ask(client, field)[0]["objects"] for field in fields]
  assert [len(objects) for objects in alone] == [int(n % 3 > 0) for n in range(11)]
  finder.calls.clear()
  files = [(f"{n}.png", png(field)) for n, field in enumerate(fields)]
  files.insert(4, ("notes.txt", b"no galaxy"))
  results = predict(client, *files).json["results"]
  assert results.pop(4).keys() == {"id", "error"}
  assert [result["objects"] for result in results] == alone
  assert [len(call) for call in finder.calls] == [4, 4, 3]
  with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda n: ask(client, fields[n % 11])[0]["objects"], range(44)))
  assert found == [alone[n % 11] for n in range(44)]


def test_a_finder_that_sees_less_than_it_is_shown(serve):
  result, = ask(serve(BlobFinder(64, seen=48)), picture(boxes=[(2, 3, 20, 20), (30, 28, 40, 60)]))
  assert [found["box"] for found in result["objects"]] == [[2, 3, 20, 20], [30, 28, 40, 60]]


def test_without_a_run_nothing_is_said_of_objects(serve):
  client = serve()
  result, = ask(client, picture(), query="?objects=1")
  assert not {"objects", "seen"} & result.keys()
  assert "outlines" not in client.get("/api/v1/model").json
  assert not {"objects", "seen"} & _schema(client)["properties"].keys()
  assert "outline" not in client.get("/").get_data(as_text=True).lower()


def test_nothing_is_looked_for_that_was_not_asked_for(serve):
  finder = BlobFinder()
  client = serve(finder)
  finder.calls.clear()
  assert not {"objects", "seen"} & ask(client, picture(), query="?objects=0&view=1")[0].keys()
  table = predict(client, ("a.png", png(picture())), query="?format=csv")
  assert table.status_code == 200 and not finder.calls
  assert table.data == predict(serve(), ("a.png", png(picture())), query="?format=csv").data
  assert predict(client, ("a.png", png(picture())), query="?objects=many").status_code == 422


def test_results_with_objects_make_a_table(serve):
  client = serve(BlobFinder())
  results = ask(client, picture(), sky_of(64, 64))
  response = client.post("/api/v1/table", json={"results": results})
  assert response.status_code == 200 and len(response.data.splitlines()) == 3 and b"objects" not in response.data


def _schema(client):
  return client.get("/api/v1/openapi.json").json["components"]["schemas"]["Result"]


def test_objects_are_as_documented(serve):
  jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
  client = serve(BlobFinder())
  document = client.get("/api/v1/openapi.json").json
  pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed").validate(document)
  parameters = document["paths"]["/api/v1/predict"]["post"]["parameters"]
  assert "objects" in [parameter["name"] for parameter in parameters]
  assert client.get("/api/v1/model").json["outlines"] == {"name": "blobs", "classes": ["round", "long"]}
  results = ask(client, picture(), sky_of(64, 64), query="?view=1&saliency=1")
  for result in [*results, *predict(client, ("b", b"?")).json["results"]]:
    jsonschema.validate(result, _schema(client))
  assert results[1]["objects"] == []
  one = results[0]["objects"][0]
  for wrong in ({"class": "square"}, {"box": [1, 2, 3]}, {"score": 2}, {"outline": []}, {"more": 1}):
    with pytest.raises(jsonschema.ValidationError):
      jsonschema.validate(results[0] | {"objects": [one | wrong]}, _schema(client))


def test_a_full_queue_of_outlines_says_when_to_come_back(serve):
  finder = Held(batch_size=2)
  client = serve(finder, waiting=2)
  finder.hold()
  with ThreadPoolExecutor(2) as pool:
    first = pool.submit(ask, client, picture())
    assert finder.began.wait(20)
    second = pool.submit(ask, client, picture(), picture())
    outlining = client.application.extensions["galaxy_jax"]._outlining
    while outlining.waiting < 2:
      assert not second.done()
    response = predict(client, ("c.png", png(picture())))
    finder.go.set()
    assert response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
    assert "2 images wait already" in response.json["error"]
    assert len(first.result()) == 1 and len(second.result()) == 2


def test_outlines_end_when_the_time_is_over(serve):
  finder = Held(batch_size=2)
  client = serve(finder, seconds=0.5)
  finder.hold()
  response = predict(client, *[("a.png", png(picture()))] * 5)
  assert response.status_code == 503 and "longer than 0.5 s" in response.json["error"]
  assert client.application.extensions["galaxy_jax"]._outlining.waiting == 0
  finder.go.set()
  assert len(ask(client, picture())[0]["objects"]) == 2


def test_where_outlines_are_refused_the_model_is_not_asked_either(serve, monkeypatch):
  model = Blocked()
  client = serve(BlobFinder(), model)

  def full(_):
    raise Full("9 images wait already")
  monkeypatch.setattr(client.application.extensions["galaxy_jax"]._outlining, "submit", full)
  model.hold()
  with ThreadPoolExecutor(1) as pool:
    first = pool.submit(ask, client, picture(), query="?objects=0")
    assert model.began.wait(20)
    response = predict(client, ("b.png", png(picture())))
    waiting = client.get("/healthz").json["waiting"]
    model.go.set()
    assert response.status_code == 503 and "9 images" in response.json["error"] and waiting == 0
    assert len(first.result()) == 1


def test_a_finder_that_fails_leaves_the_server_at_work(serve):
  class Failing(BlobFinder):
    def find(self, images):
      if images[..., 0].max() > 250:
        raise RuntimeError("RESOURCE_EXHAUSTED")
      return super().find(images)

  client = serve(Failing())
  for _ in range(2):
    response = predict(client, ("a.png", png(paint(sky_of(64, 64), (2, 2, 30, 30), score=255))))
    assert response.status_code == 503 and "RESOURCE" not in response.json["error"]
    assert len(ask(client, picture())[0]["objects"]) == 2


def test_outlines_touch_no_disk(serve, monkeypatch):
  client = serve(BlobFinder())

  def refuse(*_, **__):
    raise AssertionError("a temporary file was opened")
  for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
    monkeypatch.setattr(f"tempfile.{name}", refuse)
  assert len(ask(client, picture(), picture())) == 2


def test_the_finder_has_run_before_anyone_asks(serve):
  finder = BlobFinder()
  serve(finder)
  assert [call.shape for call in finder.calls] == [(1, 64, 64, 3)]


def test_the_page_names_the_run_and_loads_what_draws(serve):
  class Named(BlobFinder):
    name = "mask_galaxy <b>"
  client = serve(Named())
  text = client.get("/").get_data(as_text=True)
  assert "mask_galaxy &lt;b&gt;" in text and 'src="static/outlines.js"' in text
  assert client.get("/static/outlines.js").status_code == 200


@pytest.fixture
def command(monkeypatch):
  """The command with a stand-in for its model; gives a function of --outlines."""
  module = importlib.import_module("galaxy_jax.serve.__main__")
  monkeypatch.setattr(predictor, "load", lambda workdir: StandIn())

  def run(outlines):
    flags = SimpleNamespace(workdir=None, outlines=outlines, host="127.0.0.1", port=0)
    monkeypatch.setattr(module, "FLAGS", flags)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return module.main([])
  return run


def test_the_command_refuses_a_run_that_finds_nothing_before_it_listens(command, monkeypatch, tmp_path):
  monkeypatch.setattr("galaxy_jax.serve.server.bind", lambda *_: pytest.fail("the port was opened"))
  with pytest.raises(ValueError, match="simulated-gz2 finds no objects: it learnt votes of whole images"):
    command("simulated-gz2")
  for missing in (str(tmp_path), ""):
    with pytest.raises(FileNotFoundError, match=r"is no run of galaxy_jax\.main"):
      command(missing)


def test_the_command_says_whose_outlines_are_shown(command, monkeypatch, capsys):
  monkeypatch.setattr("galaxy_jax.finder.load", lambda workdir, batch_size: BlobFinder())
  served = []
  monkeypatch.setattr("galaxy_jax.serve.server.bind", lambda app, *_: (
      SimpleNamespace(run=lambda: served.append(ask(app.test_client(), picture()))), "http://127.0.0.1:1/"))
  assert command("runs/mask_galaxy") == 0
  assert "answers at http://127.0.0.1:1/, with outlines by blobs" in capsys.readouterr().out
  assert len(served[0][0]["objects"]) == 2


def test_a_class_has_one_colour_everywhere():
  """On the page, in catalogues' pictures and regions, and in reports."""
  from galaxy_jax.report import instance_figures
  script = (importlib.resources.files("galaxy_jax.serve") / "static/outlines.js").read_text()
  listed = re.findall(r'"(#\w+)"', re.search(r"const COLOURS = \[(.+?)\];", script, re.S)[1])
  assert tuple(listed) == field_files.COLOURS
  assert [instance_figures.colour_of(label)[0] for label in range(9)] == [*listed, *listed[:2]]
