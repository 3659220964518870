"""Builds a data set of the challenge's full size on one core and prints images per second and the peak of memory.

The images are the sample's JPEG files under new ids, repeated up to 61,578; labels are drawn at random. Writing the
zips that are then built from is not counted; finding, checking and writing the images is, in a process of its own, as a
user would run it. Bars: at least 1,000 images/s, under 2 GiB.

  GALAXY_JAX_SAMPLES=… python benchmarks/build_challenge.py [--images=61578] [--file_format=array_record]
"""
import argparse
import csv
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tfds_builders.gz2_tree import COLUMNS  # noqa: E402


def write_zips(sample: Path, folder: Path, count: int) -> int:
  """Writes the competition's two training files with `count` galaxies; returns the bytes of all images."""
  with zipfile.ZipFile(sample / "images_training_rev1.zip") as source:
    images = [source.read(name) for name in source.namelist() if name.endswith(".jpg")]
  rng = np.random.default_rng(0)
  # Six digits and no order of their own in the zip: the builder has to sort them.
  ids = rng.choice(np.arange(100_000, 1_000_000), count, replace=False)
  with zipfile.ZipFile(folder / "images_training_rev1.zip", "w", zipfile.ZIP_STORED) as target:
    for i, galaxy_id in enumerate(ids):
      target.writestr(f"images_training_rev1/{galaxy_id}.jpg", images[i % len(images)])
  text = io.StringIO()
  writer = csv.writer(text)
  writer.writerow(["GalaxyID", *COLUMNS])
  for galaxy_id in ids:
    writer.writerow([galaxy_id, *(f"{value:.6f}" for value in rng.uniform(size=len(COLUMNS)))])
  with zipfile.ZipFile(folder / "training_solutions_rev1.zip", "w", zipfile.ZIP_DEFLATED) as target:
    target.writestr("training_solutions_rev1.csv", text.getvalue())
  return sum(len(images[i % len(images)]) for i in range(count))


def build(manual_dir: str, data_dir: str, file_format: str) -> None:
  """The measured process: pinned to one core, imports included."""
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  from tfds_builders.__main__ import main
  status = main(["galaxy_zoo_challenge", f"--manual_dir={manual_dir}", f"--data_dir={data_dir}",
                 f"--file_format={file_format}"])
  if status:
    raise SystemExit(status)


def main() -> None:
  """Runs the benchmark."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--images", type=int, default=61_578)
  parser.add_argument("--file_format", default="array_record")
  options = parser.parse_args()
  samples = os.environ.get("GALAXY_JAX_SAMPLES")
  if not samples:
    raise SystemExit("Skipped: set GALAXY_JAX_SAMPLES to the folder that holds kaggle_format_sample.")
  with tempfile.TemporaryDirectory() as folder:
    manual_dir, data_dir = Path(folder, "manual"), Path(folder, "data")
    manual_dir.mkdir()
    size = write_zips(Path(samples, "kaggle_format_sample"), manual_dir, options.images)
    code = "import sys; sys.path[:0] = sys.argv[1:3]; import build_challenge; build_challenge.build(*sys.argv[3:])"
    arguments = [str(ROOT), str(ROOT / "benchmarks"), str(manual_dir), str(data_dir), options.file_format]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, cpu_seconds = used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime
    shards = len(list(data_dir.rglob(f"*train.{options.file_format}-*")))
  print(f"{'images':>10} {'MB':>8} {'shards':>8} {'seconds':>8} {'CPU s':>6} {'images/s':>9} {'peak GiB':>9}")
  print(f"{options.images:>10,} {size / 1e6:>8.0f} {shards:>8} {seconds:>8.1f} {cpu_seconds:>6.1f} "
        f"{options.images / seconds:>9,.0f} {peak:>9.2f}")


if __name__ == "__main__":
  main()
