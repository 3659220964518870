"""What the published systems that learn classes reach on the real sample: rows of the table of docs/published.md.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/published_classes.py --systems=morph5,morph5_vgg16,morph8

Each is trained by its config's `cpu` variant with the command a user would type, one after the other, on the splits
that the data set has. Other settings for all of them follow after --: `-- --config.train.epochs=10`.
"""
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from absl import app, flags
from looks import sets

from galaxy_jax.logbook import read_history

FLAGS = flags.FLAGS
#: System → the folders of the samples that its files are in, and the split that the table is about.
SYSTEMS = {
    "morph5": (("kaggle_format_sample",), "test"),
    "morph5_vgg16": (("kaggle_format_sample",), "test"),
    "morph8": (("gz2_sample", "gz2_eight_classes"), "test"),
}
flags.DEFINE_list("systems", list(SYSTEMS), "Which to train.")
flags.DEFINE_string("workdirs", None, "Keep the runs below this folder.")


def main(argv):
  samples = sets.samples().absolute()
  print("| system | accuracy | most frequent class | galaxies | by class | parameters | images/s | minutes |\n"
        "|---|---|---|---|---|---|---|---|")
  with tempfile.TemporaryDirectory() as folder:
    for name in FLAGS.systems:
      files, split = SYSTEMS[name]
      manual = Path(folder, name)
      manual.mkdir()
      for path in (path for part in files for path in (samples / part).iterdir()):
        (manual / path.name).symlink_to(path)
      workdir = Path(FLAGS.workdirs or folder).absolute() / f"{name}_run"
      start = time.monotonic()
      subprocess.run([sys.executable, "-m", "galaxy_jax.main", f"--config=configs/{name}.py:cpu",
                      f"--workdir={workdir}", f"--config.data.manual_dir={manual}",
                      f"--config.data.data_dir={folder}/data", *argv[1:]], check=True)
      minutes = (time.monotonic() - start) / 60
      table = pq.read_table(workdir / "predictions.parquet")
      of_split, predicted, label = (np.array(table[key].to_pylist()) for key in ("split", "predicted", "label"))
      label, right = label[of_split == split], (predicted == label)[of_split == split]
      classes, counts = np.unique(label, return_counts=True)
      parameters = json.loads((workdir / "facts.json").read_text())["run"]["parameters"]
      rates = [rate for _, rate in read_history(workdir / "metrics.csv")["images_per_second"]]
      by_class = ", ".join(f"{c} {right[label == c].mean():.2f}" for c in classes)
      cells = (name, f"{right.mean():.3f}", f"{counts.max() / counts.sum():.3f}", len(right), by_class,
               f"{parameters:,}", f"{statistics.median(rates):.0f}", f"{minutes:.1f}")
      print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
  app.run(main)
