"""Eight classes of the real sample in their published split: configs/morph8.py:cpu, and the peer beside it.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/eight_classes.py --workdirs=FOLDER --seeds=0,1,2 --peers=a.npz,b.npz

Trains on the galaxies of the sample that are the published tables' train and valid, and tests on their test. --peers
are files of benchmarks/timm_peer.py. Accuracies are compared galaxy by galaxy, with a bootstrap interval over galaxies.
Other settings of the runs follow after --. A run that is finished is not run again.
"""
import csv
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import sample_runs
from absl import app, flags
from looks import sets

FLAGS = flags.FLAGS
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
flags.DEFINE_string("workdirs", None, "Where the runs are kept.", required=True)
flags.DEFINE_list("peers", [], "Predictions of the peer.")
flags.DEFINE_list("splits", ["train+validation", "test"], "To train and to test on.")


def answers(workdir: Path, split: str, names: dict[int, str]) -> tuple[np.ndarray, np.ndarray]:
  """The predicted and the given class of each galaxy of a split, by their files' names, as the peer reads them."""
  table = pq.read_table(workdir / "predictions.parquet")
  table = table.filter(np.array(table["split"].to_pylist()) == split)
  order = np.argsort([names[number] for number in table["galaxy_id"].to_pylist()])
  return tuple(np.array(table[name].to_pylist())[order] for name in ("predicted", "label"))


def described(name: str, rows: np.ndarray) -> str:
  scores = rows.mean(axis=1)
  spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
  each = ", ".join(f"{score:.3f}" for score in scores)
  return f"{name}: accuracy {scores.mean():.3f}{spread} ({each}), {rows.shape[1]} galaxies"


def main(argv):
  folder, files = Path(FLAGS.workdirs).absolute(), sets.samples().absolute()
  manual = folder / "files"
  manual.mkdir(parents=True, exist_ok=True)
  for path in (path for part in ("gz2_sample", "gz2_eight_classes") for path in (files / part).iterdir()):
    if not (manual / path.name).exists():
      (manual / path.name).symlink_to(path)
  train, test = FLAGS.splits
  with open(files / "gz2_sample/gz2_filename_mapping.csv") as file:
    names = {int(row["objid"]): row["asset_id"] for row in csv.DictReader(file)}
  ours = []
  for seed in FLAGS.seeds:
    start = time.monotonic()
    workdir = folder / f"{train}_{seed}"
    sample_runs.train(workdir, "--config=configs/morph8.py:cpu", f"--config.seed={seed}",
                      f"--config.data.train={train}", f"--config.data.eval={test}",
                      f"--config.data.manual_dir={manual}",
                      f"--config.data.data_dir={folder / 'data'}", *argv[1:])
    predicted, given = answers(workdir, test, names)
    ours.append(predicted == given)
    print(f"seed {seed}: accuracy {ours[-1].mean():.3f}, {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
  ours = np.stack(ours)
  print(described("morph8:cpu", ours))
  if FLAGS.peers:
    kept = [np.load(path) for path in FLAGS.peers]
    theirs = np.stack([file["predicted"].argmax(1) == file["truth"] for file in kept])
    print(described("peer", theirs), f"; {np.mean([file['seconds'] for file in kept]) / 60:.1f} minutes each")
    # The peer's classes are numbers, ours names: the galaxies are the same if the two go together one to one.
    for path, file in zip(FLAGS.peers, kept, strict=True):
      pairs = set(zip(given.tolist(), file["truth"].tolist(), strict=True))
      if not len(pairs) == len({name for name, _ in pairs}) == len({number for _, number in pairs}):
        raise SystemExit(f"The peer of {path} was tested on other galaxies.")
    difference = ours.mean(0) - theirs.mean(0)
    rows = np.random.default_rng(0).integers(0, len(difference), (10_000, len(difference)))
    low, high = np.percentile(difference[rows].mean(1), [2.5, 97.5])
    print(f"difference {difference.mean():+.3f}; 95 % of bootstrap samples of galaxies {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
  app.run(main)
