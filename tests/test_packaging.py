"""The installed package: complete, light to import, and usable without a clone."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """A folder with what `pip install .` installs, from a copy so that the clone stays clean."""
  pytest.importorskip("setuptools")
  clone, target = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("site")
  for name in ("setup.py", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, clone)
  for name in ("galaxy_jax", "configs", "tfds_builders"):
    shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
  subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", target,
                  clone], check=True, capture_output=True)
  return target


def run(installed, folder, *arguments):
  return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
                        env=os.environ | {"PYTHONPATH": str(installed)})


def test_it_finds_the_files_it_ships(installed, tmp_path):
  shipped = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
  builder = "tfds_builders/galaxy_zoo_challenge"
  assert {"galaxy_jax/configs/base.py", "galaxy_jax/configs/gz2.py", f"{builder}/README.md",
          f"{builder}/CITATIONS.bib", f"{builder}/TAGS.txt", f"{builder}/checksums.tsv", "galaxy_jax/feature_map.html",
          "galaxy_jax/serve/static/page.html", "galaxy_jax/serve/static/page.js",
          *(f"galaxy_jax/shipped/simulated-gz2/{name}" for name in ("parameters.npz", "config.json", "README.md"))
          } <= shipped
  assert not [name for name in shipped if name.startswith(("tests/", "configs/", "benchmarks/"))]
  code = ("import galaxy_jax.main, tfds_builders, galaxy_jax.configs.gz2 as c; print(galaxy_jax.__file__); "
          "print(tfds_builders.builder_class('galaxy_zoo_challenge').get_metadata().citation[:5]); "
          "print(c.get_config('cpu').name)")
  result = run(installed, tmp_path, "-c", code)
  assert result.returncode == 0, result.stderr
  where, citation, name = result.stdout.splitlines()[:3]
  assert where.startswith(str(installed))
  assert (citation[0], name) == ("@", "gz2")


def test_a_config_is_found_without_a_clone(installed, tmp_path):
  result = run(installed, tmp_path, "-m", "galaxy_jax.main", "--config=configs/gz2.py:cpu", "--workdir=run",
               "--config.data.manual_dir=/nowhere", "--config.data.data_dir=data")
  assert result.returncode == 1
  # The config was read: this is what its data section says, and nothing before.
  assert result.stderr.splitlines()[-1].startswith("error: config.data.manual_dir is /nowhere")


def test_importing_the_package_loads_nothing_heavy():
  for modules, heavy in (("galaxy_jax, tfds_builders", ("jax", "tensorflow", "matplotlib")),
                         ("galaxy_jax.train", ("tensorflow", "matplotlib"))):
    code = f"import {modules}, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_importing_the_program_does_not_start_jax():
  """--distributed tells jax of the other hosts, which it takes only before its first use; so does this setting."""
  code = "import jax, galaxy_jax.main; jax.config.update('jax_num_cpu_devices', 1)"
  result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stderr
