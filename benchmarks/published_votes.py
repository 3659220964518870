"""What the published systems that learn votes reach on the real sample: the table of docs/published.md.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/published_votes.py --systems=galaxyid,alexnet,dieleman,zoobot

Each is trained by its config's `cpu` variant with the command a user would type, one after the other: galaxyid and
zoobot on galaxy_zoo_2's own splits, alexnet and dieleman on `train[:635]` of the challenge's form against
`train[635:]+validation`. Other settings for all of them follow after --: `-- --config.train.epochs=10`.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags
from looks import sets
from looks.sets import TEST, TRAIN

from galaxy_jax.logbook import read_history

FLAGS = flags.FLAGS
_CHALLENGE = ("kaggle_format_sample", [f"--config.data.train={TRAIN}", f"--config.data.eval={TEST}",
                                       "--config.data.test="])
#: System → its config, its folder of the samples, and the flags of its protocol.
SYSTEMS = {
    "galaxyid": ("galaxyid.py", "gz2_sample", []),
    "alexnet": ("alexnet.py:cpu", *_CHALLENGE),
    "dieleman": ("dieleman.py:cpu", *_CHALLENGE),
    "zoobot": ("zoobot.py:cpu", "gz2_sample", ["--config.data.eval=validation+test"]),
}
flags.DEFINE_list("systems", list(SYSTEMS), "Which to train.")
flags.DEFINE_string("workdirs", None, "Keep the runs below this folder.")


def main(argv):
  samples = sets.samples().absolute()
  print("| system | RMSE | mean squared error | parameters | images/s | minutes |\n|---|---|---|---|---|---|")
  with tempfile.TemporaryDirectory() as folder:
    for name in FLAGS.systems:
      config, data, more = SYSTEMS[name]
      workdir = Path(FLAGS.workdirs or folder) / name
      start = time.monotonic()
      subprocess.run([sys.executable, "-m", "galaxy_jax.main", f"--config=configs/{config}", f"--workdir={workdir}",
                      f"--config.data.manual_dir={samples / data}", f"--config.data.data_dir={folder}/data", *more,
                      *argv[1:]], check=True)
      minutes = (time.monotonic() - start) / 60
      rmse = json.loads((workdir / "metrics.json").read_text())["rmse"]
      parameters = json.loads((workdir / "facts.json").read_text())["run"]["parameters"]
      rates = [rate for _, rate in read_history(workdir / "metrics.csv")["images_per_second"]]
      cells = (name, f"{rmse:.4f}", f"{rmse**2:.4f}", f"{parameters:,}", f"{statistics.median(rates):.0f}",
               f"{minutes:.1f}")
      print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  app.run(main)
