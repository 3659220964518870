"""Small data in the published form, made on the spot."""
import atexit
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfds_builders.gz2_tree import COLUMNS, QUESTIONS

# Compiling is most of the time of networks that run for a few steps.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "True")
# The whole-program tests start many processes that compile the same few functions.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="galaxy_jax_compiled_")
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
  atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def samples() -> Path:
  """The folder of real galaxies."""
  folder = os.environ.get("GALAXY_JAX_SAMPLES")
  if not folder or not Path(folder).is_dir():
    pytest.skip("GALAXY_JAX_SAMPLES names no folder with the real samples")
  return Path(folder)


@pytest.fixture(scope="session")
def reference_outputs(samples) -> Path:
  """The folder with what the published networks compute, beside that of the real galaxies."""
  folder = samples.parent / "reference_outputs"
  if not (folder / "weights_rule.py").exists():
    pytest.skip(f"there are no reference outputs in {folder}")
  return folder


def valid_votes(rng: np.random.Generator, count: int, first: float = 1.0) -> np.ndarray:
  """Vote fractions (count, 37) in which every question sums to its parent; `first`: how usual its first answer is."""
  votes = np.zeros((count, len(COLUMNS)))
  for name in ("smooth_or_features", "odd", "edgeon", "rounded", "odd_feature", "bar", "spiral", "bulge_prominence",
               "bulge_shape", "arms_winding", "arms_number"):
    question = next(q for q in QUESTIONS if q.name == name)
    parent = 1.0 if question.parent is None else votes[:, question.parent:question.parent + 1]
    votes[:, question.columns] = rng.dirichlet([first, *[1.0] * (len(question.answers) - 1)], count) * parent
  return votes


def blob(rng: np.random.Generator, smooth: float, side: int = 48) -> bytes:
  """A JPEG of a blob that is redder and rounder the more volunteers call it smooth."""
  y, x = np.mgrid[:side, :side] - (side - 1) / 2
  angle = rng.uniform(0, np.pi)
  u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / (0.3 + 0.7 * smooth)
  light = 200 * np.exp(-np.hypot(u, v) / 8)
  pixels = np.stack([light, light * 0.8, light * (1 - 0.6 * smooth)], -1) + rng.normal(10, 3, (side, side, 3))
  file = io.BytesIO()
  Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=95)
  return file.getvalue()


def stored_by(script: str, path: Path, *, devices: int, optimised: bool = True) -> dict[str, np.ndarray]:
  """The arrays that a script of this folder stores at `path`, in a process of its own with so many CPU devices.

  Its code is `optimised` as in a run where rounding is what is compared.
  """
  root = Path(__file__).parent.parent
  environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu",
                              "JAX_DISABLE_MOST_OPTIMIZATIONS": str(not optimised), "PYTHONPATH": str(root)}
  subprocess.run([sys.executable, root / "tests" / script, path], env=environment, check=True, timeout=300)
  with np.load(path) as file:
    return dict(file)


@pytest.fixture(scope="session")
def challenge_dir(tmp_path_factory) -> Path:
  """A folder with the competition's files: 60 labelled galaxies and 7 without labels."""
  return write_challenge(tmp_path_factory.mktemp("challenge"))


def write_challenge(folder: Path, first: float = 1.0) -> Path:
  """Writes the competition's files, as `challenge_dir` has them; `first`: see `valid_votes`."""
  rng = np.random.default_rng(0)
  ids = np.sort(rng.choice(900_000, 67, replace=False) + 100_000)
  votes = valid_votes(rng, 60, first)
  rows = [",".join(["GalaxyID", *COLUMNS])]
  rows += [",".join([str(i), *(f"{value:.6f}" for value in row)]) for i, row in zip(ids[:60], votes, strict=True)]
  with zipfile.ZipFile(folder / "training_solutions_rev1.zip", "w") as archive:
    archive.writestr("training_solutions_rev1.csv", "\n".join(rows) + "\n")
  for name, part, smooth in (("training", ids[:60], votes[:, 0]), ("test", ids[60:], np.full(7, 0.5))):
    with zipfile.ZipFile(folder / f"images_{name}_rev1.zip", "w") as archive:
      for galaxy_id, value in zip(part, smooth, strict=True):
        archive.writestr(f"images_{name}_rev1/{galaxy_id}.jpg", blob(rng, value))
  return folder
