"""Measures the web page's server under load, over loopback: images a second, how long answers take, and its memory.

  python benchmarks/serve_load.py --workdir=runs/gz2 [--seconds=20] [--images=1] [--clients=1,8,64]

Starts `python -m galaxy_jax.serve` as a process of its own and sends it simulated galaxies, or those of
GALAXY_JAX_SAMPLES, from so many threads at a time, each of which waits for its answer before it sends the next. Clients
and server share the machine's cores. Ends with status 1 where any answer is none of 200 or 503.
"""
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "The run that answers; without it the model that the package brings along.")
flags.DEFINE_float("seconds", 20, "How long, with each number of clients.")
flags.DEFINE_integer("images", 1, "Images a request.")
flags.DEFINE_list("clients", ["1", "8", "64"], "How many clients at a time.")

_HEADERS = {"Content-Type": "multipart/form-data; boundary=b"}
_EXAMPLES = Path(__file__).parent.parent / "galaxy_jax/serve/static"


def galaxies() -> list[bytes]:
  """JPEG files."""
  if folder := os.environ.get("GALAXY_JAX_SAMPLES"):
    with zipfile.ZipFile(Path(folder) / "kaggle_format_sample/images_training_rev1.zip") as archive:
      return [archive.read(name) for name in archive.namelist() if name.endswith(".jpg")][:256]
  return [path.read_bytes() for path in sorted(_EXAMPLES.glob("*.jpg"))]


def body_of(images: list[bytes]) -> bytes:
  """A form with these files; its boundary is `b`."""
  parts = [b'--b\r\nContent-Disposition: form-data; name="images"; filename="%d.jpg"\r\n\r\n%b\r\n' % (number, data)
           for number, data in enumerate(images)]
  return b"".join(parts) + b"--b--\r\n"


def resident(pid: int) -> float:
  """MiB of memory that a process holds; NaN where the system does not say."""
  try:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
  except OSError:
    return float("nan")
  return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def client(address, images, number, end, found):
  """Sends requests until `end`; puts (status, seconds) into `found`."""
  connection = http.client.HTTPConnection(*address, timeout=120)
  rng = np.random.default_rng(number)
  while time.perf_counter() < end:
    chosen = [images[index] for index in rng.integers(0, len(images), FLAGS.images)]
    begin = time.perf_counter()
    try:
      connection.request("POST", "/api/v1/predict", body_of(chosen), _HEADERS)
      response = connection.getresponse()
      response.read()
      status = response.status
    except (OSError, http.client.HTTPException) as error:
      status = type(error).__name__
      connection.close()
    found.append((status, time.perf_counter() - begin))
    if status == 503:
      time.sleep(1)


def measure(address, pid, images, clients):
  """Prints a row; returns the statuses."""
  found, memory = [], [resident(pid)]
  end = time.perf_counter() + FLAGS.seconds
  threads = [threading.Thread(target=client, args=(address, images, number, end, found)) for number in range(clients)]
  begin = time.perf_counter()
  for thread in threads:
    thread.start()
  while time.perf_counter() < end:
    time.sleep(min(1.0, max(0.0, end - time.perf_counter())))
    memory.append(resident(pid))
  for thread in threads:
    thread.join()
  passed = time.perf_counter() - begin
  good = np.array([seconds for status, seconds in found if status == 200]) * 1000
  middle, late, last = np.percentile(good, (50, 99, 100)) if len(good) else (np.nan,) * 3
  print(f"{clients:>7}{len(good) * FLAGS.images / passed:>10.1f}{middle:>10.0f}{late:>10.0f}{last:>10.0f}"
        f"{memory[0]:>10.0f}{memory[len(memory) // 2]:>8.0f}{memory[-1]:>8.0f}{max(memory):>8.0f}"
        f"   {dict(Counter(status for status, _ in found))}", flush=True)
  return {status for status, _ in found}


def main(_):
  command = [sys.executable, "-m", "galaxy_jax.serve", "--port=0"]
  process = subprocess.Popen(command + ([f"--workdir={FLAGS.workdir}"] if FLAGS.workdir else []),
                             stdout=subprocess.PIPE, text=True)
  try:
    line = process.stdout.readline()
    if not (match := re.search(r"http://([\d.]+):(\d+)/", line)):
      raise SystemExit("The server did not start.")
    images = galaxies()
    print(f"{line.strip()}\n{len(images)} images, {FLAGS.images} a request, {FLAGS.seconds:g} s each")
    print(f"{'clients':>7}{'images/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'MiB first':>10}{'middle':>8}"
          f"{'last':>8}{'most':>8}   statuses", flush=True)
    statuses = set().union(*(measure(match.groups(), process.pid, images, int(count)) for count in FLAGS.clients))
    process.send_signal(signal.SIGTERM)
    process.wait(30)
  finally:
    process.kill()
    process.wait()
  return 0 if statuses <= {200, 503} else 1


if __name__ == "__main__":
  app.run(main)
