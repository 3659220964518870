"""Simulated volunteers beside real ones: mean and spread of the 37 vote fractions and the correlations between them.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_votes.py --output=FOLDER

The real votes are those of the labelled sample, the simulated ones of the mix that is meant to be like it. Settings
may be tuned on the first 635 real galaxies alone: each table is given for those, for the other 159, and for all. How
much of a difference is chance is said by the same measure between two halves of the real galaxies. Into the folder go
`votes.json` and the figures.
"""
import numpy as np
from absl import app, flags
from looks import figures, sets, vote_figures
from scipy.stats import ks_2samp

from tfds_builders.gz2_tree import ANSWER_NAMES, QUESTIONS

FLAGS = flags.FLAGS
flags.DEFINE_integer("galaxies", 20_000, "How many simulated galaxies.")
flags.DEFINE_integer("seed", 0, "Of the simulated galaxies, below 40.")
flags.DEFINE_string("mix", "balanced", "The simulator's population.")
flags.DEFINE_string("output", None, "Folder for votes.json and figures.")


def main(_):
  real, _ = sets.voted(sets.samples())
  seeds = (np.arange(FLAGS.galaxies) + 2_000_000_000 + 50_000_000 * FLAGS.seed).astype(np.uint32)
  ours = sets.render(seeds, FLAGS.mix, size=64, batch=1000, names=("vote_fractions",))["vote_fractions"]
  parts = {"all": real, "tuning": real[:sets.TUNING], "held out": real[sets.TUNING:]}
  found = {"galaxies": FLAGS.galaxies, "mix": FLAGS.mix, "seed": FLAGS.seed, "parts": {}}
  for name, part in parts.items():
    found["parts"][name] = compare(part, ours)
  chance = compare(real[::2], real[1::2])
  found["chance"] = chance
  print(table(found["parts"]["tuning"], f"the first {sets.TUNING} real galaxies"))
  print(table(found["parts"]["all"], f"all {len(real)} real galaxies"))
  print(f"\n{'against':12s}{'galaxies':>9s}{'mean':>9s}{'deviation':>11s}{'K-S':>8s}{'correlations':>14s}{'alike':>8s}")
  for name, part in (*found["parts"].items(), ("two halves", chance)):
    print(f"{name:12s}{part['galaxies']:9d}" + "".join(
        f"{part['summary'][key]:{width}.4f}" for key, width in
        (("mean", 9), ("deviation", 11), ("kolmogorov_smirnov", 8), ("correlation", 14), ("alike", 8))))
  print("mean, deviation: root mean square difference over the 37 columns; K-S: its mean; correlations: root mean\n"
        "square difference over the pairs of columns; alike: correlation of the two sets of correlations. The last\n"
        "row is chance.")
  if FLAGS.output:
    charts = [vote_figures.means(real, ours), vote_figures.correlations(real, ours)]
    figures.save(FLAGS.output, "votes", found, charts)


def compare(real, simulated):
  """Both sets' moments by column, and how far they are apart."""
  columns = []
  for index, name in enumerate(ANSWER_NAMES):
    columns.append({"answer": name, "mean": [float(votes[:, index].mean()) for votes in (real, simulated)],
                    "deviation": [float(votes[:, index].std()) for votes in (real, simulated)],
                    "kolmogorov_smirnov": float(ks_2samp(real[:, index], simulated[:, index]).statistic)})
  moments = {key: np.array([column[key] for column in columns]) for key in ("mean", "deviation", "kolmogorov_smirnov")}
  theirs, ours = (vote_figures.correlation(votes) for votes in (real, simulated))
  pairs = np.array([(i, j) for i in range(37) for j in range(i)])
  theirs, ours = theirs[pairs[:, 0], pairs[:, 1]], ours[pairs[:, 0], pairs[:, 1]]
  return {"galaxies": len(real), "columns": columns, "summary": {
      "mean": float(np.sqrt(np.mean(np.diff(moments["mean"])**2))),
      "deviation": float(np.sqrt(np.mean(np.diff(moments["deviation"])**2))),
      "kolmogorov_smirnov": float(moments["kolmogorov_smirnov"].mean()),
      "correlation": float(np.sqrt(np.mean((theirs - ours)**2))),
      "alike": float(np.corrcoef(theirs, ours)[0, 1])}}


def table(part, title):
  lines = [f"\nagainst {title}", f"{'answer':34s}{'mean: real':>11s}{'simulated':>11s}{'deviation: real':>17s}"
           f"{'simulated':>11s}{'K-S':>7s}"]
  rows = {column["answer"]: column for column in part["columns"]}
  for question in QUESTIONS:
    for answer in question.answers:
      row = rows[f"{question.name}_{answer}"]
      lines.append(f"{row['answer']:34s}{row['mean'][0]:11.3f}{row['mean'][1]:11.3f}{row['deviation'][0]:17.3f}"
                   f"{row['deviation'][1]:11.3f}{row['kolmogorov_smirnov']:7.3f}")
  return "\n".join(lines)


if __name__ == "__main__":
  app.run(main)
