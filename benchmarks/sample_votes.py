"""What a variant of configs/gz2.py reaches on the real sample, and in what time, with the command a user would type.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/sample_votes.py --variant=cpu --seeds=0,1,2

Trains on `train[:635]` and evaluates on `train[635:]+validation` (159 galaxies), with all test-time views; the time is
that of the whole command, from building the data set to the report. Beside it what two constant predictions reach.
Other settings follow after --: `-- --config.train.epochs=20`.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from looks import sets
from looks.sets import TEST, TRAIN

from galaxy_jax.data.sources import split_source
from tfds_builders.prepare import prepare

FLAGS = flags.FLAGS
flags.DEFINE_enum("variant", "cpu", ["cpu", "scratch"], "Of configs/gz2.py.")
flags.DEFINE_list("seeds", ["0"], "Seeds to train with, one after the other.")
flags.DEFINE_string("workdirs", None, "Keep the runs below this folder.")


def votes(builder, split):
  return np.stack([record["vote_fractions"] for record in split_source(builder, split)])


def main(argv):
  manual_dir = sets.samples().absolute() / "kaggle_format_sample"
  with tempfile.TemporaryDirectory() as folder:
    scores = []
    for seed in FLAGS.seeds:
      workdir = Path(FLAGS.workdirs or folder) / f"seed{seed}"
      start = time.monotonic()
      subprocess.run([sys.executable, "-m", "galaxy_jax.main", f"--config=configs/gz2.py:{FLAGS.variant}",
                      f"--config.data.manual_dir={manual_dir}", f"--config.data.data_dir={folder}/data{seed}",
                      f"--config.data.train={TRAIN}", f"--config.data.eval={TEST}", f"--config.seed={seed}",
                      f"--workdir={workdir}", *argv[1:]], check=True)
      scores.append(json.loads((workdir / "metrics.json").read_text())["rmse"])
      print(f"seed {seed}: RMSE {scores[-1]:.5f} after {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    builder = prepare("galaxy_zoo_challenge", data_dir=f"{folder}/data{FLAGS.seeds[0]}")
    trained, tested = votes(builder, TRAIN), votes(builder, TEST)
  spread = f" ± {statistics.stdev(scores):.5f}" if len(scores) > 1 else ""
  print(f"RMSE over {len(tested)} galaxies: {statistics.mean(scores):.5f}{spread} ({len(scores)} seeds); the training "
        f"mean {np.sqrt(np.mean((tested - trained.mean(0))**2)):.4f}, all zeros {np.sqrt(np.mean(tested**2)):.4f}")


if __name__ == "__main__":
  app.run(main)
