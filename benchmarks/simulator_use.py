"""What simulated galaxies are worth on real ones: training on them alone, and on them first.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_use.py --workdirs=FOLDER --seeds=0,1,2

Runs configs/gz2.py:cpu from scratch and configs/gz2_pretrained.py:cpu on 635 galaxies of the real sample, with each
seed, and compares them on the 159 others, galaxy by galaxy, with a bootstrap interval over galaxies. The pre-training
of the first seed is also what was trained on simulated galaxies alone: it is tested on all 794. `--pretrain_once` lets
all seeds start from that one, which saves a quarter of an hour each. A run that is finished is not run again.
"""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from absl import app, flags
from looks import sets
from looks.sets import TEST, TRAIN, TUNING
from scipy.stats import spearmanr

from tfds_builders.gz2_tree import ANSWER_NAMES, COLUMNS

FLAGS = flags.FLAGS
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
flags.DEFINE_string("workdirs", None, "Where the runs are kept.", required=True)
flags.DEFINE_bool("pretrain_once", False, "One pre-training for all seeds.")
#: The answers whose rank correlation is asked for.
RANKED = ("smooth_or_features_smooth", "smooth_or_features_features_or_disk", "edgeon_yes", "bar_bar", "spiral_spiral",
          "rounded_completely_round", "rounded_in_between", "rounded_cigar_shaped")


def run(module, *arguments):
  subprocess.run([sys.executable, "-m", f"galaxy_jax.{module}", *arguments], check=True)


def votes(path, split=None):
  """Predicted and voted fractions of a run's predictions, (N, 37) each, by ascending id."""
  table = pq.read_table(path)
  rows = np.argsort(table["galaxy_id"].to_numpy())
  if split:
    rows = rows[np.array(table["split"].to_pylist())[rows] == split]
  return tuple(np.stack([table[f"{kind}{name}"].to_numpy()[rows] for name in COLUMNS], axis=1)
               for kind in ("", "voted_"))


def rmse(errors):
  return float(np.sqrt(np.mean(errors**2)))


def main(_):
  folder, files = Path(FLAGS.workdirs).absolute(), sets.samples().absolute() / "kaggle_format_sample"
  data = [f"--config.data.manual_dir={files}", f"--config.data.data_dir={folder / 'data'}",
          f"--config.data.train={TRAIN}", f"--config.data.eval={TEST}", "--config.data.test="]
  errors = {"scratch": [], "pretrained": []}
  first = folder / f"pretrained{FLAGS.seeds[0]}" / "pretraining"
  for seed in FLAGS.seeds:
    for kind, config in (("pretrained", "gz2_pretrained"), ("scratch", "gz2")):
      workdir = folder / f"{kind}{seed}"
      start = []
      if kind == "pretrained" and FLAGS.pretrain_once and seed != FLAGS.seeds[0]:
        start = ["--config.pretrain.train.steps=0", f"--config.init_from={first}"]
      if not (workdir / "metrics.json").exists():
        run("main", f"--config=configs/{config}.py:cpu", f"--config.seed={seed}", f"--workdir={workdir}", *data, *start)
      predicted, voted = votes(workdir / "predictions.parquet", TEST)
      errors[kind].append(predicted - voted)
      print(f"{kind}, seed {seed}: RMSE {rmse(errors[kind][-1]):.5f} over {len(voted)} galaxies", flush=True)

  output = folder / "simulated_alone.parquet"
  run("evaluate", f"--workdir={first}", "--builder=galaxy_zoo_challenge", f"--manual_dir={files}",
      f"--data_dir={folder / 'data'}", "--split=train+validation", f"--output={output}")
  predicted, voted = votes(output)
  alone = predicted - voted
  ranks = {name: float(spearmanr(predicted[:, ANSWER_NAMES.index(name)], voted[:, ANSWER_NAMES.index(name)])[0])
           for name in RANKED}
  print(f"Trained on simulated galaxies alone: RMSE {rmse(alone):.5f} over {len(alone)} real ones, "
        f"{rmse(alone[:TUNING]):.5f} over the {TUNING} that the simulator was tuned on, {rmse(alone[TUNING:]):.5f} "
        f"over the other {len(alone) - TUNING}")
  print("Rank correlations: " + ", ".join(f"{name} {value:.2f}" for name, value in ranks.items()))

  squares = {kind: np.mean([np.mean(e**2, axis=1) for e in value], axis=0) for kind, value in errors.items()}
  rows = np.random.default_rng(0).integers(0, len(squares["scratch"]), (10_000, len(squares["scratch"])))
  ratios = np.sqrt(squares["pretrained"][rows].mean(1) / squares["scratch"][rows].mean(1)) - 1
  means = {kind: [rmse(e) for e in value] for kind, value in errors.items()}
  gain = float(np.sqrt(squares["pretrained"].mean() / squares["scratch"].mean()) - 1)
  low, high = np.percentile(ratios, [2.5, 97.5])
  for kind, values in means.items():
    print(f"{kind}: RMSE {np.mean(values):.5f}" + (f" ± {np.std(values, ddof=1):.5f}" if len(values) > 1 else ""))
  once = f"one pre-training, of seed {FLAGS.seeds[0]}, for all seeds" if FLAGS.pretrain_once else "one for each seed"
  print(f"Pre-training ({once}) changes RMSE by {gain:+.1%}; 95 % of bootstrap samples of galaxies {low:+.1%} to "
        f"{high:+.1%}")
  (folder / "simulator_use.json").write_text(json.dumps(
      {"seeds": FLAGS.seeds, "pretrain_once": FLAGS.pretrain_once, "ranks": ranks,
       "alone": {"all": rmse(alone), "tuned_on": rmse(alone[:TUNING]), "others": rmse(alone[TUNING:])},
       **means, "change": gain, "interval": [float(low), float(high)]}, indent=2))


if __name__ == "__main__":
  app.run(main)
