"""Whether trained models of classes are right as often as they say.

  python benchmarks/class_confidence.py --workdirs=runs/a,runs/b --split=test

Of each finished run: the mean confidence (the probability of the most probable class) and the accuracy, with the 95 %
interval of its bootstrap over galaxies, as the network says it and at the temperature that other galaxies ask for, and
how many bins of galaxies are right more or less often than their confidence allows.
"""
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from absl import app, flags

from galaxy_jax import temperature
from galaxy_jax.report.confidence import confidence

FLAGS = flags.FLAGS
flags.DEFINE_list("workdirs", None, "Finished runs.", required=True)
flags.DEFINE_string("split", None, "The split whose predictions are judged; without one all that have a label.")


def main(_):
  for workdir in map(Path, FLAGS.workdirs):
    table = pq.read_table(workdir / "predictions.parquet")
    if FLAGS.split:
      table = table.filter(np.array(table["split"].to_pylist()) == FLAGS.split)
    table = table.filter(table["label"].is_valid())
    columns = [name for name in table.column_names if name.startswith("probability_")]
    names = [name.removeprefix("probability_") for name in columns]
    if not names:
      raise SystemExit(f"The predictions in {workdir} have no column probability_…: its run is not one of classes.")
    probabilities = np.stack([table[name].to_numpy() for name in columns], axis=1)
    labels = np.array([names.index(label) for label in table["label"].to_pylist()])
    print(f"{workdir}, {len(labels)} galaxies, temperature of all {temperature.fit(probabilities, labels):.2f}")
    for said, values in (("as it says", probabilities), ("tempered", temperature.held_out(probabilities, labels))):
      found = confidence(values, labels)
      share, low, high = found.accuracy
      inside = "inside" if low <= found.mean <= high else "OUTSIDE"
      print(f"  {said}: confidence {found.mean:.3f}, accuracy {share:.3f} ({low:.3f} to {high:.3f}: {inside}); "
            f"calibration error {found.error:.3f}, of a true confidence {found.chance[0]:.3f}, up to "
            f"{found.chance[1]:.3f}; {found.outside} of {len(found.count)} bins outside their bars")


if __name__ == "__main__":
  app.run(main)
