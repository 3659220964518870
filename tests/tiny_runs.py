"""Runs of the whole program that end in seconds: a small network, small images."""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TINY = ["--config=configs/gz2.py:scratch", "--config.data.crop=0", "--config.data.size=32", "--config.augment.size=16",
        "--config.model.options.width=4", "--config.train.batch_size=6", "--config.eval.batch_size=8",
        "--config.train.log_every=3", "--config.eval.rotations=2"]


def command(challenge_dir, data_dir, workdir, *more):
  return [sys.executable, "-m", "galaxy_jax.main", *TINY, f"--config.data.manual_dir={challenge_dir}",
          f"--config.data.data_dir={data_dir}", f"--workdir={workdir}", *more]


def run(arguments, **options):
  return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=240, **options)
