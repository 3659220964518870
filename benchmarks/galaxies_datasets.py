"""Galaxy Zoo 2 by this project's builder and by that of galaxies-datasets (PyPI), on the same 794 real galaxies.

Both build from the same files: the sample's table is given the columns that galaxies-datasets insists on, with zeros
where it has none. Each build and each reading is a process of its own, imports included, the best of three; reading is
all images decoded to pixels with their labels, once, each in its own usual way: `as_data_source` on ArrayRecord,
`tfds.load` on TFRecord. The size of an install is that of a distribution with all it requires.

galaxies-datasets wants an environment of its own, with what it needs and does not ask for:

  python -m venv peer && peer/bin/pip install galaxies-datasets "numpy<2" importlib_resources
  GALAXY_JAX_SAMPLES=… python benchmarks/galaxies_datasets.py --peer=peer/bin/python
"""
import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tfds_builders.galaxy_zoo_2.hart16 import ANSWERS, SUFFIXES  # noqa: E402

OUR_BUILD = """
import sys
from tfds_builders.prepare import prepare
prepare("galaxy_zoo_2/votes", manual_dir=sys.argv[1], data_dir=sys.argv[2], progress=False)
"""
OUR_READ = """
import sys
from tfds_builders.prepare import prepare
builder = prepare("galaxy_zoo_2/votes", data_dir=sys.argv[2], progress=False)
source = builder.as_data_source("train+validation+test")
pixels = sum(source[i]["image"].size for i in range(len(source)))
assert pixels == 794 * 424 * 424 * 3, pixels
"""
PEER_BUILD = """
import sys
import tensorflow_datasets as tfds
from galaxies_datasets import datasets
builder = tfds.builder("galaxy_zoo2", data_dir=sys.argv[2])
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=sys.argv[1]))
"""
PEER_READ = """
import sys
import tensorflow_datasets as tfds
from galaxies_datasets import datasets
source = tfds.as_numpy(tfds.load("galaxy_zoo2", split="train", data_dir=sys.argv[2]))
pixels = sum(record["image"].size for record in source)
assert pixels == 794 * 424 * 424 * 3, pixels
"""
INSTALLED = """
import importlib.metadata as metadata, json, os, sys
from packaging.requirements import Requirement
todo, found = [Requirement(name) for name in sys.argv[1:]], {}
while todo:
  requirement = todo.pop()
  name = requirement.name.lower().replace("_", "-")
  wanted = [requirement.marker is None or requirement.marker.evaluate({"extra": ""})]
  if not any(wanted) or name in found:
    continue
  try:
    distribution = metadata.distribution(name)
  except metadata.PackageNotFoundError:
    continue
  paths = {str(distribution.locate_file(file)) for file in distribution.files or ()}
  found[name] = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
  todo += map(Requirement, distribution.requires or ())
print(json.dumps([sum(found.values()), len(found)]))
"""
#: What importing and running the builders takes; the rest of galaxy_jax is for training.
OUR_NEEDS = ("tensorflow-datasets", "array-record", "etils", "importlib_resources", "numpy", "pillow", "pyarrow",
             "tqdm")


def write_sources(sample: Path, ours: Path, peers: Path) -> None:
  """Writes the same files in the two layouts, with all columns of the published table."""
  columns = ("ra", "dec", "rastring", "decstring", *(f"{answer}_{suffix}" for answer in ANSWERS for suffix in SUFFIXES))
  with (sample / "gz2_hart16.csv").open() as file:
    absent = dict.fromkeys(columns, "0") | {"rastring": "00:00:00.00", "decstring": "+00:00:00.0"}
    rows = [{name: row.get(name) or absent[name] for name in dict.fromkeys((*row, *columns))}
            for row in csv.DictReader(file)]
  for folder, images in ((ours, ours / "images_gz2" / "images"), (peers / "galaxy_zoo_2",) * 2):
    folder.mkdir(parents=True)
    shutil.copytree(sample / "images_gz2" / "images", images if folder == ours else images / "images")
    shutil.copy(sample / "gz2_filename_mapping.csv", folder)
    with (folder / "gz2_hart16.csv").open("w") as file:
      writer = csv.DictWriter(file, rows[0].keys())
      writer.writeheader()
      writer.writerows(rows)


def seconds(python: str, code: str, *arguments) -> float:
  """The wall-clock time of a process."""
  environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
  started = time.perf_counter()
  result = subprocess.run([python, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True,
                          check=False)
  if result.returncode:
    raise SystemExit(result.stderr)
  return time.perf_counter() - started


def installed(python: str, *names: str) -> tuple[int, int]:
  """Bytes and number of the distributions that these and what they require are."""
  result = subprocess.run([python, "-c", INSTALLED, *names], capture_output=True, text=True, check=False)
  if result.returncode:
    raise SystemExit(result.stderr)
  return tuple(json.loads(result.stdout))


def measure(python: str, build: str, read: str, manual_dir: Path, folder: Path) -> tuple[float, float, int]:
  """Seconds to build, seconds to read, and bytes of the data set."""
  building = min(seconds(python, build, manual_dir, folder / str(i)) for i in range(3))
  reading = min(seconds(python, read, manual_dir, folder / "0") for _ in range(3))
  return building, reading, sum(path.stat().st_size for path in (folder / "0").rglob("*") if path.is_file())


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--peer", required=True, help="the python of an environment with galaxies-datasets")
  options = parser.parse_args()
  if not (samples := os.environ.get("GALAXY_JAX_SAMPLES")):
    raise SystemExit("Skipped: set GALAXY_JAX_SAMPLES to the folder that holds gz2_sample.")
  print(f"{'':<20} {'build s':>8} {'read s':>8} {'data MB':>8} {'install MB':>11} {'packages':>9}")
  with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    write_sources(Path(samples, "gz2_sample"), folder / "ours", folder / "peers")
    for name, python, build, read, manual_dir, needs in (
        ("galaxy_zoo_2/votes", sys.executable, OUR_BUILD, OUR_READ, folder / "ours", OUR_NEEDS),
        ("galaxies-datasets", options.peer, PEER_BUILD, PEER_READ, folder / "peers", ("galaxies-datasets",))):
      building, reading, size = measure(python, build, read, manual_dir, folder / f"built by {name.split('/')[0]}")
      install, packages = installed(python, *needs)
      print(f"{name:<20} {building:>8.1f} {reading:>8.1f} {size / 1e6:>8.1f} {install / 1e6:>11.0f} {packages:>9}")


if __name__ == "__main__":
  main()
