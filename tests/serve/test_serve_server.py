"""The page's server and the command that starts it."""
import http.client
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tfds_builders.errors import DataError

pytest.importorskip("flask", reason="the page needs the extra serve")
pytest.importorskip("waitress", reason="the page needs the extra serve")

from serve_models import serving

from galaxy_jax.serve import server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address(model):
  """Where a server listens, (host, port), whose bodies may have 100,000 bytes."""
  with serving(model, bytes=100_000) as url:
    yield re.fullmatch(r"http://([\d.]+):(\d+)/", url).groups()


def test_the_server_refuses_in_json_what_the_application_never_sees(address, galaxies):
  def ask(body, headers, chunked=False):
    for _ in range(9):
      try:
        return once(body, headers, chunked)
      except ConnectionError:  # refused while the rest was on its way: the answer may be lost with the connection
        continue
    raise AssertionError("no answer in nine times")

  def once(body, headers, chunked):
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
  response, body = ask([bytes(50_000)] * 3, {"Transfer-Encoding": "chunked"}, chunked=True)
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
  code = ("import runpy; from galaxy_jax import predictor; from serve_models import StandIn; "
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
