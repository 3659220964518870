"""Requests of the page that share device calls: queues, time, and failures."""
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from PIL import Image

from galaxy_jax import calibration, experiment, predictor
from galaxy_jax.configs import gz2
from tfds_builders.gz2_tree import COLUMNS

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from serve_models import Blocked, StandIn, predict

from galaxy_jax.serve import where
from galaxy_jax.serve.app import create_app
from galaxy_jax.serve.batching import Batcher, Full
from galaxy_jax.serve.uploads import Limits


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
