"""What intervals about predicted vote fractions hold of galaxies that they were not calibrated on.

  python benchmarks/interval_coverage.py --workdirs=runs/a,runs/b --split='train[635:]+validation'

Of each finished run on votes: a fifth of the galaxies of its predictions after the other is judged by intervals that
the others calibrated, and for each level and question the share of voted fractions inside is printed beside what chance
allows a question with as many galaxies in 95 of 100 samples.
"""
from pathlib import Path

import numpy as np
import sample_runs
from absl import app, flags

from galaxy_jax import uncertainty

FLAGS = flags.FLAGS
flags.DEFINE_list("workdirs", None, "Finished runs.", required=True)
flags.DEFINE_string("split", None, "The split whose predictions are judged; without one all that have votes.")


def main(_):
  for workdir in map(Path, FLAGS.workdirs):
    predicted, voted = sample_runs.votes(workdir / "predictions.parquet", FLAGS.split)
    known = np.isfinite(voted).all(axis=1)
    predicted, voted = predicted[known], voted[known]
    print(f"{workdir}, {len(voted)} galaxies, RMSE {sample_runs.rmse(predicted - voted):.4f}")
    found = uncertainty.cross_coverage(predicted, voted)
    for level, (whole, by_question) in zip(uncertainty.LEVELS, found, strict=True):
      allowed = 1.96 * np.sqrt(level * (1 - level) / len(voted))
      outside = [name for name, share in by_question.items() if abs(share - level) > allowed]
      print(f"  {level:.0%}: {whole:.1%} over all; by question {min(by_question.values()):.1%} to "
            f"{max(by_question.values()):.1%}, allowed {level - allowed:.1%} to {min(level + allowed, 1):.1%}; "
            f"outside: {', '.join(outside) or 'none'}")


if __name__ == "__main__":
  app.run(main)
