"""What comparisons of trained networks on the real sample share: their runs, predictions and bootstrap."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from looks import sets
from looks.sets import TEST, TRAIN

from tfds_builders.gz2_tree import COLUMNS


def run(module: str, *arguments: str) -> None:
  """Runs a command of this project and ends where it fails."""
  subprocess.run([sys.executable, "-m", f"galaxy_jax.{module}", *arguments], check=True)


def data_flags(folder: Path, train: str = TRAIN, test: str = TEST) -> list[str]:
  """The flags of main for 635 galaxies of the sample to train on and 159 to test on, the data set built in `folder`."""
  files = sets.samples().absolute() / "kaggle_format_sample"
  return [f"--config.data.manual_dir={files}", f"--config.data.data_dir={folder / 'data'}",
          f"--config.data.train={train}", f"--config.data.eval={test}", "--config.data.test="]


def train(workdir: Path, *arguments: str) -> None:
  """Trains in `workdir`; what is finished is not run again, what was broken off goes on; refuses other arguments."""
  kept = workdir.with_name(f"{workdir.name}.arguments.json")
  if kept.exists() and json.loads(kept.read_text()) != list(arguments):
    raise SystemExit(f"{workdir} was trained with other arguments, which are in {kept}. Name another folder.")
  workdir.parent.mkdir(parents=True, exist_ok=True)
  kept.write_text(json.dumps(arguments))
  if not (workdir / "metrics.json").exists():
    run("main", *arguments, f"--workdir={workdir}")


def votes(path: Path, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
  """Predicted and voted fractions of a run's predictions, (N, 37) each, by ascending id."""
  table = pq.read_table(path)
  rows = np.argsort(table["galaxy_id"].to_numpy())
  if split:
    rows = rows[np.array(table["split"].to_pylist())[rows] == split]
  return tuple(np.stack([table[f"{kind}{name}"].to_numpy()[rows] for name in COLUMNS], axis=1)
               for kind in ("", "voted_"))


def rmse(errors: np.ndarray) -> float:
  return float(np.sqrt(np.mean(errors**2)))


def change(errors: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
  """The relative change of RMSE from the reference, and the 95 % interval of a paired bootstrap over galaxies.

  Args:
    errors: (seeds, N, 37), of the same galaxies in the same order as the reference's, whose seeds may be others.
    reference: (seeds, N, 37).
  """
  squares, references = (np.mean(np.square(e), axis=(0, 2)) for e in (errors, reference))
  rows = np.random.default_rng(0).integers(0, len(squares), (10_000, len(squares)))
  low, high = np.percentile(np.sqrt(squares[rows].mean(1) / references[rows].mean(1)) - 1, [2.5, 97.5])
  return float(np.sqrt(squares.mean() / references.mean()) - 1), float(low), float(high)
