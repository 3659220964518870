"""Measures galaxy_jax.predict on a catalogue of any length: images a second, peak memory, and what a kill costs.

  GALAXY_JAX_SAMPLES=…/data python benchmarks/predict_catalogue.py --count=100000 [--workdir=runs/gz2]

The cut-outs of the sample come again and again under new ids: hard links, in folders of 1,000, in a temporary folder.
The command predicts them once in peace; then again, killed (SIGKILL) at random moments and started anew each time until
it ends. Both tables must be the same to the last bit, with every id once. Memory is the process's own high-water mark
(VmHWM, Linux). "from start to end" has the start of Python and of jax in it, "predicting" has not.
"""
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from absl import app, flags
from looks import sets
from pyarrow import parquet

FLAGS = flags.FLAGS
_FOLDER = 1000  # images
flags.DEFINE_integer("count", 100_000, "Cut-outs to predict.", lower_bound=1)
flags.DEFINE_string("workdir", None, "The model: a run; without one, that of the package.")
flags.DEFINE_integer("kills", 3, "How often the second job is killed.")
flags.DEFINE_integer("seed", 0, "Of the moments at which it is.")
flags.DEFINE_string("folder", None, "Where the temporary folder is made, on a disk with room.")


class Ran(NamedTuple):
  """A command that ended: seconds in all and of predicting, MiB at most, and whether it was killed."""
  seconds: float
  predicting: float
  memory: float
  killed: bool


def catalogue(folder: Path, count: int) -> Path:
  """The folder of `count` cut-outs."""
  images = sorted((sets.samples() / "gz2_sample/images_gz2/images").glob("*.jpg"))
  (folder / "originals").mkdir()
  originals = [folder / "originals" / image.name for image in images]
  for image, original in zip(images, originals, strict=True):
    original.write_bytes(image.read_bytes())
  for number in range(count):
    place = folder / "images" / f"{number // _FOLDER:05d}"
    if number % _FOLDER == 0:
      place.mkdir(parents=True)
    os.link(originals[number % len(originals)], place / f"{number:08d}.jpg")
  return folder / "images"


def run(images: Path, output: Path, kill_after: float | None = None, more: tuple[str, ...] = ()) -> Ran:
  """The command on the images; with `kill_after` it is killed so many seconds after it has its model and its images."""
  command = [sys.executable, "-m", "galaxy_jax.predict", f"--input={images}", f"--output={output}", *more,
             *([f"--workdir={FLAGS.workdir}"] if FLAGS.workdir else [])]
  start, begun, memory, killed = time.monotonic(), None, 0.0, False
  with tempfile.TemporaryFile("w+") as log:
    process = subprocess.Popen(command, stderr=log)
    while process.poll() is None:
      memory = max(memory, high_water(process.pid))
      if begun is None and b" galaxies of " in os.pread(log.fileno(), 1 << 20, 0):
        begun = time.monotonic()
      if kill_after is not None and begun is not None and time.monotonic() - begun >= kill_after:
        os.kill(process.pid, signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
      time.sleep(0.02)
    seconds = time.monotonic() - start
    log.seek(0)
    text = log.read()
  if process.returncode and not killed:
    raise SystemExit(text)
  took = re.findall(r"after ([0-9.]+) s", text)
  return Ran(seconds, float(took[-1]) if took else float("nan"), memory, killed)


def high_water(pid: int) -> float:
  """The most memory that a process has had, in MiB; 0 where it is gone."""
  try:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
  except OSError:
    return 0.0
  return int(found[1]) / 1024 if found else 0.0


def main(argv):
  moments = random.Random(FLAGS.seed)
  with tempfile.TemporaryDirectory(dir=FLAGS.folder) as folder:
    folder, more = Path(folder), tuple(argv[1:])
    images = catalogue(folder, FLAGS.count)
    whole = run(images, folder / "whole.parquet", more=more)
    print("| images | predicting, images/s | seconds from start to end | most memory, MiB |\n|---|---|---|---|\n"
          f"| {FLAGS.count:,} | {FLAGS.count / whole.predicting:.0f} | {whole.seconds:.1f} | {whole.memory:.0f} |")
    seconds = 0.0
    for number in range(FLAGS.kills):
      part = run(images, folder / "killed.parquet", moments.uniform(0, whole.predicting / FLAGS.kills), more)
      seconds += part.seconds
      finished = len(list((folder / "killed.parquet.parts").glob("part-*.parquet")))
      print(f"{'Killed' if part.killed else 'Ended before it was killed'} ({number + 1}) after {part.seconds:.1f} s; "
            f"{finished} parts are finished.", flush=True)
      if not part.killed:
        break
    else:
      seconds += run(images, folder / "killed.parquet", more=more).seconds
    ours, theirs = (parquet.read_table(folder / name) for name in ("killed.parquet", "whole.parquet"))
    once = theirs["id"].to_pylist() == [f"{number:08d}" for number in range(FLAGS.count)]
    print(f"Killed and gone on: {seconds:.1f} s in all. Every id once and in order: {once}. The same table: "
          f"{ours.equals(theirs)}.")
    if not (once and ours.equals(theirs)):
      raise SystemExit(1)


if __name__ == "__main__":
  app.run(main)
