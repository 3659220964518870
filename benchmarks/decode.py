"""Measures decoding into the cache: images a second on one core, beside Pillow's plain decode of the same bytes.

  GALAXY_JAX_SAMPLES=…/data python benchmarks/decode.py [--repeats=3]

Takes the challenge JPEGs of the sample (424 x 424 pixels), held in memory. Each row decodes all of them into a fresh
cache, files and renaming included, pinned to one core; the last rows use every core, by threads and by processes. The
best of the repeats counts; wall time.
"""
import io
import os
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from galaxy_jax.data.decode import cores, decode_image, decoded

REPEATS = flags.DEFINE_integer("repeats", 3, "The best of how many runs counts.")
SETTINGS = ((None, 212), (384, 192), (256, 128), (384, 144), (256, 96), (None, 424))


def plain(source):
  """What anyone would write."""
  for record in source:
    np.asarray(Image.open(io.BytesIO(record["image"])).convert("RGB"))


def into_cache(source, crop, size, workers=1):
  """A fresh cache, thrown away."""
  with tempfile.TemporaryDirectory() as folder:
    decoded(source, crop=crop, size=size, cache_dir=folder, key="benchmark", workers=workers)


def by_processes(source, crop, size):
  """The alternative to threads: pixels come back through pipes."""
  with ProcessPoolExecutor(cores()) as pool:
    images = [record["image"] for record in source]
    list(pool.map(partial(decode_image, crop=crop, size=size), images, chunksize=64))


def measure(source, run):
  """Images a second."""
  best = float("inf")
  for _ in range(REPEATS.value):
    start = time.perf_counter()
    run(source)
    best = min(best, time.perf_counter() - start)
  return len(source) / best


def main(_):
  folder = os.environ.get("GALAXY_JAX_SAMPLES")
  if not folder:
    raise SystemExit("GALAXY_JAX_SAMPLES names no folder with the real samples; nothing is measured.")
  with zipfile.ZipFile(Path(folder) / "kaggle_format_sample/images_training_rev1.zip") as archive:
    source = [{"image": archive.read(name), "galaxy_id": i}
              for i, name in enumerate(name for name in archive.namelist() if name.endswith(".jpg"))]
  print(f"{len(source)} images of {np.mean([len(record['image']) for record in source]) / 1000:.1f} kB on average")

  all_cores = cores()
  if hasattr(os, "sched_setaffinity"):
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(available)})
  baseline = measure(source, plain)
  print(f"\n{'one core':<34}{'images/s':>9}{'of plain':>10}\n{'Pillow, plain decode':<34}{baseline:9.0f}{1:9.2f}x")
  for crop, size in SETTINGS:
    rate = measure(source, partial(into_cache, crop=crop, size=size))
    print(f"{f'cache, central {crop or 424} to {size}':<34}{rate:9.0f}{rate / baseline:9.2f}x")

  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, available)
  print(f"\n{f'{all_cores} cores, central 256 to 96':<34}{'images/s':>9}")
  for name, run in (("threads, into the cache", partial(into_cache, crop=256, size=96, workers=all_cores)),
                    ("processes, pixels only", partial(by_processes, crop=256, size=96))):
    print(f"{name:<34}{measure(source, run):9.0f}")


if __name__ == "__main__":
  app.run(main)
