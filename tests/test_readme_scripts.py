"""The README's scripts that read a data set from other programs, as they are printed there."""
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS = {"With PyTorch": "torch", "With Grain": "grain", "With TensorFlow": "tensorflow"}
#: A demo of 33 small galaxies stands in for the 2,000 that would take a minute to render.
SMALL = """
import tfds_builders.galaxy_sim.galaxy_sim_dataset_builder as module
demo = module.Builder.BUILDER_CONFIGS[0]
demo.splits = {"train": 33}
demo.recipe = demo.recipe._replace(size=64, rendered=64)
"""


def scripts() -> dict[str, str]:
  """Heading -> script."""
  text = (ROOT / "README.md").read_text()
  return {heading: code for heading, code in re.findall(r"\n(With \w+)[^\n]*:\n\n```python\n(.*?)```", text, re.S)}


def test_there_is_one_for_each_program():
  assert set(scripts()) == set(NEEDS)
  assert all(len(code.strip().splitlines()) == 5 for code in scripts().values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Where the scripts run: the first finds nothing and builds, the next finds its build."""
  return tmp_path_factory.mktemp("scripts")


@pytest.mark.parametrize("heading", NEEDS)
def test_it_runs_as_printed(heading, folder):
  if importlib.util.find_spec(NEEDS[heading]) is None:
    pytest.skip(f"{NEEDS[heading]} is not installed")
  done = subprocess.run([sys.executable, "-c", SMALL + scripts()[heading]], cwd=folder, capture_output=True,
                        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
  assert done.returncode == 0, done.stderr
  assert re.search(r"[\[(]32, 64, 64, 3[\])]", done.stdout), done.stdout
  assert "UserWarning" not in done.stderr, done.stderr
