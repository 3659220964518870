"""What simulated galaxies are worth on real ones: training on them alone, and on them first.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_use.py --workdirs=FOLDER --seeds=0,1,2

Runs configs/gz2.py:scratch and configs/gz2.py:cpu, the same network from the model that comes with the package, which
has seen simulated galaxies alone, on 635 galaxies of the real sample, with each seed, and compares them on the 159
others, galaxy by galaxy, with a bootstrap interval over galaxies. With `--own_pretraining` each seed is pre-trained by
itself instead (configs/gz2_pretrained.py:cpu), half an hour more for each. The model that comes with the package is
also tested as it is on all 794. A run that is finished is not run again.
"""
import json
import time
from pathlib import Path

import numpy as np
import sample_runs
from absl import app, flags
from looks.sets import TEST, TUNING
from sample_runs import rmse
from scipy.stats import spearmanr

from galaxy_jax import shipped
from tfds_builders.gz2_tree import ANSWER_NAMES

FLAGS = flags.FLAGS
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
flags.DEFINE_string("workdirs", None, "Where the runs are kept.", required=True)
flags.DEFINE_bool("own_pretraining", False, "A pre-training for each seed.")
#: The answers whose rank correlation is asked for.
RANKED = ("smooth_or_features_smooth", "smooth_or_features_features_or_disk", "edgeon_yes", "bar_bar", "spiral_spiral",
          "rounded_completely_round", "rounded_in_between", "rounded_cigar_shaped")


def main(_):
  folder = Path(FLAGS.workdirs).absolute()
  data = sample_runs.data_flags(folder)
  errors = {"scratch": [], "pretrained": []}
  beginning = "gz2_pretrained.py:cpu" if FLAGS.own_pretraining else "gz2.py:cpu"
  for seed in FLAGS.seeds:
    for kind, config in (("pretrained", beginning), ("scratch", "gz2.py:scratch")):
      workdir = folder / f"{kind}{seed}"
      start = time.monotonic()
      sample_runs.train(workdir, f"--config=configs/{config}", f"--config.seed={seed}", *data)
      predicted, voted = sample_runs.votes(workdir / "predictions.parquet", TEST)
      errors[kind].append(predicted - voted)
      print(f"{kind}, seed {seed}: RMSE {rmse(errors[kind][-1]):.5f} over {len(voted)} galaxies, "
            f"{(time.monotonic() - start) / 60:.1f} minutes", flush=True)

  output = folder / "simulated_alone.parquet"
  sample_runs.run("evaluate", f"--workdir={shipped.DEFAULT}", "--builder=galaxy_zoo_challenge",
                  *(flag.replace("config.data.", "") for flag in data[:2]), "--split=train+validation",
                  f"--output={output}")
  predicted, voted = sample_runs.votes(output)
  alone = predicted - voted
  ranks = {name: float(spearmanr(predicted[:, ANSWER_NAMES.index(name)], voted[:, ANSWER_NAMES.index(name)])[0])
           for name in RANKED}
  print(f"Trained on simulated galaxies alone: RMSE {rmse(alone):.5f} over {len(alone)} real ones, "
        f"{rmse(alone[:TUNING]):.5f} over the {TUNING} that the simulator was tuned on, {rmse(alone[TUNING:]):.5f} "
        f"over the other {len(alone) - TUNING}")
  print("Rank correlations: " + ", ".join(f"{name} {value:.2f}" for name, value in ranks.items()))

  means = {kind: [rmse(e) for e in value] for kind, value in errors.items()}
  gain, low, high = sample_runs.change(np.stack(errors["pretrained"]), np.stack(errors["scratch"]))
  for kind, values in means.items():
    print(f"{kind}: RMSE {np.mean(values):.5f}" + (f" ± {np.std(values, ddof=1):.5f}" if len(values) > 1 else ""))
  once = "one for each seed" if FLAGS.own_pretraining else "that of the package, for all seeds"
  print(f"Pre-training ({once}) changes RMSE by {gain:+.1%}; 95 % of bootstrap samples of galaxies {low:+.1%} to "
        f"{high:+.1%}")
  (folder / "simulator_use.json").write_text(json.dumps(
      {"seeds": FLAGS.seeds, "own_pretraining": FLAGS.own_pretraining, "ranks": ranks,
       "alone": {"all": rmse(alone), "tuned_on": rmse(alone[:TUNING]), "others": rmse(alone[TUNING:])},
       **means, "change": gain, "interval": [float(low), float(high)]}, indent=2))


if __name__ == "__main__":
  app.run(main)
