"""What each ingredient of configs/gz2.py:cpu is worth on the real sample, as a table.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/ablation.py --workdirs=FOLDER --seeds=0,1,2 --epochs=30

Every row is the config with one thing changed, trained on 535 galaxies with each seed, and compared with the config as
it is (for as many epochs) on 100 others, galaxy by galaxy, with a bootstrap interval over galaxies: above 0, the change
is for the worse. All 635 are those that the README's table trains on: settings may be chosen by them. In runs shorter
than the config's the average of the parameters reaches back over as large a share of the run. Test-time changes
evaluate the reference's own runs again. A run that is finished is not run again, so a table can be made row by row:
`--rows=no_ema,mixup`.
"""
import json
import statistics
from pathlib import Path

import numpy as np
import sample_runs
from absl import app, flags

from galaxy_jax.configs import gz2

#: Row → what it says in the table, and the settings that differ from the reference.
TRAINED = {
    "reference": ("`configs/gz2.py:cpu`", ()),
    "rate": ("three times the learning rate", ("optimizer.learning_rate=9e-4",)),
    "no_ema": ("no average of the parameters", ("train.ema=0",)),
    "no_turns": ("no turned and mirrored galaxies in training", ("augment.rotation=0", "augment.flip=False")),
    "no_zoom": ("none zoomed and shifted", ("augment.zoom=1", "augment.shift=0")),
    "colour": ("colours changed as in pre-training", (
        "augment.brightness=0.25", "augment.contrast=0.2", "augment.saturation=0.25", "augment.channel_gain=0.12",
        "augment.noise=0.015")),
    "squared_error": ("squared error for the tree's cross-entropy", ("loss.name=squared_error",)),
    "no_dropout": ("no dropout", ("model.options.dropout=0.0",)),
    "growth": ("images of 48, then 72, then 96 pixels", ("augment.growth=(0.5,0.75)",)),
    "mixup": ("with mixup, α = 0.2", ("augment.mixup=0.2",)),
    "cutmix": ("with CutMix, α = 1", ("augment.cutmix=1.0",)),
}
#: Row → what it says in the table, and how many rotations, and whether mirrored too, are averaged.
EVALUATED = {
    "one_view": ("one view in place of eight", 1, False),
    "sixteen_views": ("sixteen views", 8, True),
}

#: Parts of the galaxies that settings may be tuned on.
TRAIN, TEST = "train[:535]", "train[535:635]"

FLAGS = flags.FLAGS
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
flags.DEFINE_float("epochs", 30.0, "Of every run.")
flags.DEFINE_list("rows", [*TRAINED, *EVALUATED], "Which to show, the reference always first.")
flags.DEFINE_string("workdirs", None, "Where the runs are kept.", required=True)


def errors_of(path: Path, split: str | None = None) -> np.ndarray:
  """Predicted less voted, (N, 37)."""
  predicted, voted = sample_runs.votes(path, split)
  return predicted - voted


def train(folder: Path, row: str) -> np.ndarray:
  """The errors of a row's runs, (seeds, N, 37)."""
  whole, errors = gz2.get_config("cpu").train, []
  ema = 1 - (1 - whole.ema) * whole.epochs / FLAGS.epochs
  for seed in FLAGS.seeds:
    workdir = folder / f"{row}{seed}"
    sample_runs.train(workdir, "--config=configs/gz2.py:cpu", f"--config.seed={seed}",
                      f"--config.train.epochs={FLAGS.epochs}", f"--config.train.ema={ema:.4f}",
                      *sample_runs.data_flags(folder, TRAIN, TEST),
                      *(f"--config.{setting}" for setting in TRAINED[row][1]))
    errors.append(errors_of(workdir / "predictions.parquet", TEST))
  return np.stack(errors)


def evaluate(folder: Path, row: str) -> np.ndarray:
  """The errors of the reference's runs seen by other views, (seeds, N, 37)."""
  _, rotations, flips = EVALUATED[row]
  errors = []
  for seed in FLAGS.seeds:
    output = folder / f"{row}{seed}.parquet"
    if not output.exists():
      sample_runs.run("evaluate", f"--workdir={folder / f'reference{seed}'}", f"--split={TEST}",
                      f"--rotations={rotations}", f"--flips={flips}", f"--output={output}")
    errors.append(errors_of(output))
  return np.stack(errors)


def main(_):
  unknown = set(FLAGS.rows) - set(TRAINED) - set(EVALUATED)
  if unknown:
    raise app.UsageError(f"--rows has {', '.join(sorted(unknown))}; there are {', '.join((*TRAINED, *EVALUATED))}.")
  folder = Path(FLAGS.workdirs).absolute()
  reference = train(folder, "reference")
  results = {}
  print(f"{FLAGS.epochs:g} epochs, seeds {', '.join(FLAGS.seeds)}\n")
  print("| | RMSE | spread over seeds | change | 95 % of galaxy samples |\n|---|---|---|---|---|")
  for row in ("reference", *(row for row in FLAGS.rows if row != "reference")):
    errors = reference if row == "reference" else (train if row in TRAINED else evaluate)(folder, row)
    scores = [sample_runs.rmse(e) for e in errors]
    change, low, high = sample_runs.change(errors, reference)
    results[row] = {"rmse": scores, "change": change, "interval": [low, high]}
    spread = f"{statistics.stdev(scores):.5f}" if len(scores) > 1 else ""
    difference = ("", "") if row == "reference" else (f"{change:+.1%}", f"{low:+.1%} to {high:+.1%}")
    print(f"| {(TRAINED | EVALUATED)[row][0]} | {statistics.mean(scores):.5f} | {spread} | {' | '.join(difference)} |",
          flush=True)
  (folder / "ablation.json").write_text(json.dumps({"seeds": FLAGS.seeds, "epochs": FLAGS.epochs, **results}, indent=2))


if __name__ == "__main__":
  app.run(main)
