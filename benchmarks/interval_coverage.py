"""What intervals about predicted vote fractions hold of galaxies that they were not calibrated on.

  python benchmarks/interval_coverage.py --workdirs=runs/a,runs/b --split='train[635:]+validation'

Of each finished run on votes: a fifth of the galaxies of its predictions after the other is judged by intervals that
the others calibrated, and for each level and question the share of voted fractions inside is printed beside what chance
allows a question with as many galaxies in 95 of 100 samples; and the same for the galaxies of which the question is
expected to be asked, with their number.
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
    bounds = list(zip(*uncertainty.cross_bounds(predicted, voted), strict=True))
    those_asked = uncertainty.of_asked(predicted, voted)
    for level, ends in zip(uncertainty.LEVELS, bounds, strict=True):
      whole, by_question = uncertainty.coverage(ends, voted)
      allowed = 1.96 * np.sqrt(level * (1 - level) / len(voted))
      outside = [name for name, share in by_question.items() if abs(share - level) > allowed]
      print(f"  {level:.0%}: {whole:.1%} over all; by question {min(by_question.values()):.1%} to "
            f"{max(by_question.values()):.1%}, allowed {level - allowed:.1%} to {min(level + allowed, 1):.1%}; "
            f"outside: {', '.join(outside) or 'none'}")
      whole, by_question = uncertainty.coverage(ends, those_asked)
      print(f"       of those expected to be asked {whole:.1%}; " + ", ".join(
          f"{name} {share:.0%} ({count})" for (name, share), count in zip(
              by_question.items(), uncertainty.asked(predicted).sum(axis=0), strict=True)))


if __name__ == "__main__":
  app.run(main)
