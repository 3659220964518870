"""Builds a data set of Galaxy10 DECaLS's full size and prints images per second, the peak of memory, and sizes on disk.

The file that is built from has the real one's shape, with gzip and the chunks that h5py chooses, 555 rows each. Its
images are the centres, 256 x 256 pixels, of real ones from the challenge, turned by right angles, with as much sky and
noise as makes them pack like the real file, which takes 154 kB an image. Writing it is not counted; finding, hashing,
checking and writing the images is, in a process of its own, as a user would run it. Bar: under 1 GiB.

  GALAXY_JAX_SAMPLES=… python benchmarks/build_galaxy10.py [--galaxies=17736] [--cores=2] [--folder=/tmp]
"""
import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tfds_builders.galaxy10.hdf5_file import DECALS  # noqa: E402

#: Of the published file: its rows and bytes.
GALAXIES, BYTES = 17_736, 2_735_267_419
#: Counts added to every pixel, as real images have a grey sky, and the noise on top.
_SKY, _NOISE = 25, 11


def write_file(images: list[Path], path: Path, count: int) -> None:
  """Writes a file of `count` galaxies, a block of chunks at a time."""
  import h5py
  rng = np.random.default_rng(0)
  side = DECALS.side
  with h5py.File(path, "w") as file:
    dataset = file.create_dataset("images", (count, side, side, 3), np.uint8, chunks=(min(555, count), 16, 16, 1),
                                  compression="gzip")
    for start in range(0, count, dataset.chunks[0]):
      block = np.empty((min(dataset.chunks[0], count - start), side, side, 3), np.uint8)
      for row in range(len(block)):
        number = start + row
        image = np.asarray(Image.open(images[number % len(images)]).convert("RGB"))
        edge = (image.shape[0] - side) // 2
        turned = np.rot90(image[edge:edge + side, edge:edge + side], number // len(images) % 4)
        noise = rng.standard_normal(turned.shape, np.float32) * _NOISE
        block[row] = np.clip(np.rint(turned + _SKY + noise), 0, 255)
      dataset[start:start + len(block)] = block
    file["ans"] = rng.integers(0, 10, count).astype(np.uint8)
    for name, low, high in (("ra", 0, 360), ("dec", -20, 30), ("redshift", 0, 0.2), ("pxscale", 0.2, 0.5)):
      file[name] = rng.uniform(low, high, count)


def build(manual_dir: str, data_dir: str, cores: str) -> None:
  """The measured process, imports included."""
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(cores)])
  from tfds_builders.__main__ import main
  if status := main(["galaxy10/decals", f"--manual_dir={manual_dir}", f"--data_dir={data_dir}"]):
    raise SystemExit(status)


def main() -> None:
  """Runs the benchmark."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--galaxies", type=int, default=GALAXIES)
  parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
  parser.add_argument("--folder", help="where to put the file and the data set meanwhile: about 300 kB a galaxy")
  options = parser.parse_args()
  samples = os.environ.get("GALAXY_JAX_SAMPLES")
  if not samples:
    raise SystemExit("Skipped: set GALAXY_JAX_SAMPLES to the folder that holds kaggle_partial.")
  # So that a benchmark that is stopped leaves nothing, and its child ends with it.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    file, data_dir = Path(folder, "manual", DECALS.file_name), Path(folder, "data")
    file.parent.mkdir()
    write_file(sorted(Path(samples, "kaggle_partial", "images").rglob("*.jpg")), file, options.galaxies)
    code = "import sys; sys.path[:0] = sys.argv[1:3]; import build_galaxy10; build_galaxy10.build(*sys.argv[3:])"
    arguments = [str(ROOT), str(ROOT / "benchmarks"), str(file.parent), str(data_dir), str(options.cores)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    original = file.stat().st_size
    built = sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file())
    shards = len(list(data_dir.rglob("*.array_record-*")))
  print(f"{'galaxies':>10} {'HDF5 MB':>8} {'built MB':>9} {'shards':>7} {'cores':>6} {'seconds':>8} {'CPU s':>7} "
        f"{'images/s':>9} {'peak GiB':>9}")
  print(f"{options.galaxies:>10,} {original / 1e6:>8.0f} {built / 1e6:>9.0f} {shards:>7} {options.cores:>6} "
        f"{seconds:>8.1f} {used.ru_utime + used.ru_stime:>7.1f} {options.galaxies / seconds:>9,.0f} "
        f"{used.ru_maxrss / 2**20:>9.2f}")
  print(f"An image takes {original / options.galaxies / 1e3:.0f} kB in the HDF5 file (published: "
        f"{BYTES / GALAXIES / 1e3:.0f}) and {built / options.galaxies / 1e3:.0f} kB as built.")


if __name__ == "__main__":
  main()
