"""Sends the web page's server what is no request, or no image: it may refuse, and never fail.

  python benchmarks/serve_fuzz.py [--requests=10000] [--seed=0] [--schema=200]

Serves a small untrained network in a thread, limits included, and sends over loopback: images whose bytes were
changed, forms and JSON that were, plain garbage where HTTP was expected, and (with schemathesis installed) what it
makes of the server's own OpenAPI document. Prints how often each status came, the slowest answer and the memory; ends
with status 1 at any status from 500 on but 503, where a connection was left without an answer, where an answer is not
as documented, or where a sound image is answered otherwise afterwards. What is no HTTP may be answered by closing the
connection.
"""
import base64
import http.client
import io
import json
import logging
import random
import re
import resource
import socket
import threading
import time
import warnings
import zlib
from collections import Counter
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from galaxy_jax import calibration, experiment, predictor
from galaxy_jax.configs import gz2
from galaxy_jax.serve import server
from galaxy_jax.serve.app import create_app

FLAGS = flags.FLAGS
flags.DEFINE_integer("requests", 10_000, "How many, without those of schemathesis.")
flags.DEFINE_integer("seed", 0, "Of the mutations.")
flags.DEFINE_integer("schema", 200, "Examples of schemathesis for each operation; 0: none.")

_STATIC = Path(__file__).parent.parent / "galaxy_jax/serve/static"
_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/fits", "application/octet-stream", "application/json", "",
          "multipart/form-data", "multipart/form-data; boundary=", "text/plain", "image/gif", "a/b; c=\"", "é")
_TOKENS = (b"", b"\0", b'"', b"\r\n", b"\r\n\r\n", b"--b", b"--b--", b"{", b"[" * 3000, b"NaN", b"1e999", b"9" * 5000,
           b"null", b"\xff\xfe", b"\\ud800", b"filename", b"images", b"Content-Disposition", b"SIMPLE  =", b"\x1f\x8b",
           b"MM\0*", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def network():
  """A small network that nothing was learnt with."""
  config = gz2.get_config("cpu")
  config.update({"data": {"crop": 0, "size": 32}, "augment": {"size": 16},
                 "eval": {"batch_size": 8, "rotations": 1, "flips": False}})
  config.model.options.width = 4
  config = experiment.resolve(config)
  variables = experiment.make_task(config, axis_name=None, all_views=True).init(jax.random.key(0))
  return predictor.Predictor("untrained", config, None, variables, calibration.Calibration(), {"step": 0})


def images() -> list[bytes]:
  """Sound files of every kind that is read."""
  found = [path.read_bytes() for path in sorted(_STATIC.glob("*.jpg"))]
  picture = Image.open(io.BytesIO(found[0])).resize((48, 48))
  numbers = Image.fromarray(np.random.default_rng(0).normal(9, 2, (32, 32)).astype(np.float32))
  for image, kind in ((picture, "PNG"), (picture.convert("P"), "PNG"), (picture.convert("LA"), "PNG"),
                      (numbers, "TIFF"), (picture, "TIFF"), (picture.convert("CMYK"), "JPEG"),
                      (picture.convert("1"), "TIFF")):
    file = io.BytesIO()
    image.save(file, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" and image is picture else {}))
    found.append(file.getvalue())
  cards = ("SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2",
           "NAXIS1  =                   32", "NAXIS2  =                   32", "END")
  fits = b"".join(card.ljust(80).encode() for card in cards).ljust(2880) + bytes(np.arange(1024, dtype=">f4").data)
  fits = fits.ljust(2 * 2880 + 2880, b"\0")
  packed = zlib.compressobj(wbits=31)
  return [*found, fits, packed.compress(fits) + packed.flush()]


def mutated(rng: random.Random, data: bytes) -> bytes:
  """Some bytes cut off, changed, doubled or put in."""
  data = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 3, 8))):
    if not data:
      break
    # Half of all changes are among the headers.
    place = rng.randrange(min(len(data), rng.choice((64, 600, len(data)))))
    how = rng.randrange(5)
    if how == 0:
      del data[place + 1:]
    elif how == 1:
      data[place] ^= 1 << rng.randrange(8)
    elif how == 2:
      data[place] = rng.choice((0, 1, 127, 128, 255))
    elif how == 3:
      data[place:place + rng.randrange(40)] = rng.choice(_TOKENS)
    else:
      data[place:place] = data[place:place + rng.randrange(200)]
  return bytes(data)


def form(rng, files):
  """A form with files, under names that may be anything."""
  names = [rng.choice((b"a.jpg", b"a.fits", b"", b"../../etc/passwd", b"\xff\xfe", b"a" * 3000, b"=1+1", b"%00",
                       b'a";x="')) for _ in files]
  field = rng.choice((b"images",) * 8 + (b"image", b"", b"images[]"))
  parts = [b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n' % (field, name, data)
           for name, data in zip(names, files, strict=True)]
  return b"".join(parts) + b"--b--\r\n"


def case(rng: random.Random, sound: list[bytes]) -> tuple[str, str, bytes, dict[str, str]]:
  """(method, address, body, headers) of a request that is wrong in some way, or nearly right."""
  query = rng.choice(("",) * 6 + ("?view=1", "?saliency=1", "?format=csv", "?format=parquet", "?format=%00",
                                  "?view=%ff", "?format=json&format=csv"))
  address, method = f"/api/v1/predict{query}", "POST"
  files = [mutated(rng, rng.choice(sound)) for _ in range(rng.choice((1, 1, 1, 2, 5)))]
  kind = rng.randrange(10)
  if kind < 3:
    body, content = files[0], rng.choice(_TYPES[:5])
  elif kind < 6:
    body, content = form(rng, files), "multipart/form-data; boundary=b"
  elif kind == 6:
    body, content = mutated(rng, form(rng, files[:1])), "multipart/form-data; boundary=b"
  elif kind == 7:
    body = json.dumps({"images": [base64.b64encode(data[:5000]).decode() for data in files]}).encode()
    body, content = rng.choice((body, mutated(rng, body), rng.choice(_TOKENS))), "application/json"
  elif kind == 8:
    result = {"id": "a", "fractions": {"Class1.1": 0.5}, "low": None, "novelty": 1, "description": "x"}
    body = mutated(rng, json.dumps({"results": [result] * rng.choice((0, 1, 3))}).encode())
    address, content = f"/api/v1/table{rng.choice(('', '?format=parquet', '?format=x'))}", "application/json"
  else:
    body, content = rng.choice((files[0], b"", rng.choice(_TOKENS))), rng.choice(_TYPES)
    method = rng.choice(("POST", "PUT", "GET", "DELETE", "PATCH", "OPTIONS", "HEAD"))
    address = rng.choice((address, "/", "/healthz", "/static/..%2f..%2fapp.py", "/%00", "/static/", "//",
                          "/api/v1/" + "x" * 3000))
  headers = {"Content-Type": content} if content else {}
  if rng.random() < 0.05:
    headers[rng.choice(("Host", "Origin"))] = rng.choice(("", "null", "x", "[::1", "http://[", "http://localhost", "é"))
  return method, address, body, headers


def sent(connection, method, address, body, headers) -> int:
  """The status of the answer."""
  headers = {name: value.encode("utf-8") for name, value in headers.items()}
  connection.request(method, address, body, headers)
  response = connection.getresponse()
  data = response.read()
  if response.status >= 400 and method != "HEAD":
    json.loads(data)["error"]
  return response.status


def raw(rng: random.Random, address: tuple[str, int], sound: list[bytes]) -> str:
  """Sends what may be no HTTP; the status of what comes back, or 'closed'."""
  body = rng.choice(sound)[:3000]
  whole = (b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
           b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
  head = whole[:whole.index(b"\r\n\r\n")]
  without = head[:head.rindex(b"\r\n")]  # its Content-Length
  text = rng.choice((
      mutated(rng, whole[:200]) + whole[200:], rng.choice(_TOKENS) + whole, b"\x16\x03\x01" + body,
      b"GET " + b"/" * 300_000, b"X: " + b"y" * 300_000, head + b"\r\nContent-Length: 3\r\n\r\n" + body,
      without + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + body, without + b"\r\nContent-Length: -1\r\n\r\n",
      without + b"\r\nContent-Length: 99999999999999999999\r\n\r\n"))
  with socket.create_connection(address, timeout=20) as connection:
    try:
      connection.sendall(text)
      connection.shutdown(socket.SHUT_WR)
      answer = connection.recv(4096)
    except (ConnectionError, BrokenPipeError):
      return "closed"
  match = re.match(rb"HTTP/1\.[01] (\d+)", answer)
  return match[1].decode() if match else "closed"


def mutate(address, seed, count, statuses, faults, slowest):
  """Sends `count` requests, one after the other."""
  rng, sound = random.Random(seed), images()
  connection = http.client.HTTPConnection(*address, timeout=120)
  for _ in range(count):
    begin = time.perf_counter()
    request = None if rng.random() < 0.05 else case(rng, sound)
    try:
      status = str(sent(connection, *request)) if request else raw(rng, address, sound)
    except Exception as error:  # whatever it is, no answer that is one came
      status = type(error).__name__
      connection.close()
    if status not in ("closed", "503") and not "200" <= status < "500":
      faults.append((status, *(request or ("no HTTP",))))
    statuses[status] += 1
    slowest[0] = max(slowest[0], time.perf_counter() - begin)


def by_schema(url, statuses, faults):
  """What schemathesis makes of the document."""
  try:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
  except ImportError:
    print("schemathesis is not installed; its requests are left out.")
    return
  schema = schemathesis.openapi.from_url(f"{url}api/v1/openapi.json")
  # Bytes that are no image are refused, though the document cannot say which these are.
  excluded = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
  for operation in schema.get_all_operations():
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
      try:
        strategy = operation.ok().as_strategy(generation_mode=mode)

        @seed(FLAGS.seed)
        @settings(max_examples=FLAGS.schema, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(case=strategy)
        def check(case):
          response = case.call(timeout=60)
          statuses[str(response.status_code)] += 1
          case.validate_response(response, excluded_checks=excluded)
        check()
      except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
          raise
        if "Impossible to generate negative" in str(error) or type(error).__name__ in ("Unsatisfiable", "SkipTest"):
          continue
        faults.append((type(error).__name__, operation.ok().label, mode.name, str(error)[:1500]))


def main(_):
  logging.disable(logging.CRITICAL)
  warnings.filterwarnings("ignore", module="PIL")
  page = create_app(network())
  listening, url = server.bind(page, "127.0.0.1", 0)
  threading.Thread(target=listening.run, daemon=True).start()
  address = re.fullmatch(r"http://([\d.]+):(\d+)/", url).groups()
  reference = page.test_client().post("/api/v1/predict", data=images()[0], content_type="image/jpeg").json
  statuses, faults, slowest = Counter(), [], [0.0]
  memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  print(f"before: {memory():.0f} MiB at most")
  begin, workers = time.perf_counter(), 4
  threads = [threading.Thread(target=mutate, args=(address, f"{FLAGS.seed} {number}", -(-FLAGS.requests // workers),
                                                   statuses, faults, slowest)) for number in range(workers)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  print(f"{sum(statuses.values())} mutated requests in {time.perf_counter() - begin:.0f} s, the slowest "
        f"{slowest[0]:.1f} s: {dict(sorted(statuses.items()))}; {memory():.0f} MiB at most")
  if FLAGS.schema:
    documented = Counter()
    by_schema(url, documented, faults)
    print(f"{sum(documented.values())} of schemathesis: {dict(sorted(documented.items()))}")
  again = page.test_client().post("/api/v1/predict", data=images()[0], content_type="image/jpeg").json
  if again != reference:
    faults.append(("a sound image is answered otherwise",))
  for fault in faults[:10]:
    print("fault:", *(str(part)[:1000] for part in fault))
  print(f"{len(faults)} faults")
  return 1 if faults else 0


if __name__ == "__main__":
  app.run(main)
