"""A page of simulated beside real galaxies, with what the other benchmarks of the simulator found.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_looks.py --output=REPORT
  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_votes.py --output=REPORT
  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_report.py --output=REPORT

For each of the 37 answers the galaxies that it fits best: of the labelled real sample, and of as many simulated ones
of the mix that is meant to be like it, both decoded from the same kind of JPEG. `REPORT/report.html` needs nothing but
itself. It shows real galaxies, whose images may not be redistributed with this project: keep it out of the project's
folder. `--gallery=FILE` writes a picture of simulated galaxies alone, which needs no sample.
"""
from pathlib import Path

import numpy as np
from absl import app, flags
from looks import figures, sets, sheets

from galaxy_jax import decision_tree
from galaxy_jax.report import page
from tfds_builders.gz2_tree import QUESTIONS

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Folder of the report; looks.json and votes.json are taken from it.")
flags.DEFINE_string("gallery", None, "A PNG file of simulated galaxies alone.")
flags.DEFINE_string("mix", "balanced", "The simulator's population.")
flags.DEFINE_integer("seed", 0, "Of the simulated galaxies, below 40.")
#: The area under the curve that the judge of the quantities to match may reach.
_WANTED = 0.85
#: Candidates of the gallery, of which the clearest are shown.
_CANDIDATES = 4000
_GALLERY_ROWS = 4


def main(_):
  if not (FLAGS.output or FLAGS.gallery):
    raise SystemExit("Nothing to do: name the report's folder with --output=FOLDER, or a picture with --gallery=FILE.")
  if FLAGS.gallery:
    seeds, votes = candidates(_CANDIDATES)
    rows = sheets.gallery_rows(votes, _GALLERY_ROWS)
    images = drawn(seeds, np.concatenate(rows))
    Path(FLAGS.gallery).write_bytes(sheets.gallery([[images[row] for row in column] for column in rows],
                                                   [label for _, _, label in sheets.GALLERY]))
  if FLAGS.output:
    print(report(Path(FLAGS.output)))


def candidates(number):
  """Seeds and votes of so many simulated galaxies."""
  seeds = (np.arange(number) + 3_000_000_000 + 20_000_000 * FLAGS.seed).astype(np.uint32)
  return seeds, sets.render(seeds, FLAGS.mix, size=64, batch=1000, names=("vote_fractions",))["vote_fractions"]


def drawn(seeds, rows):
  """{row: image (212, 212, 3)} of the galaxies chosen, each rendered once."""
  rows = np.unique(rows)
  images = sets.published(sets.render(seeds[rows], FLAGS.mix, size=sets.PUBLISHED, batch=16)["image"])
  return dict(zip(rows.tolist(), images, strict=True))


def report(folder):
  """Writes the page; returns its path."""
  votes, files = sets.voted(sets.samples())
  seeds, ours = candidates(len(votes))
  wanted = {question: ([sheets.chosen(votes, question, answer) for answer in range(len(question.answers))],
                       [sheets.chosen(ours, question, answer) for answer in range(len(question.answers))])
            for question in QUESTIONS}
  images = drawn(seeds, np.concatenate([rows for _, simulated in wanted.values() for rows in simulated]))
  charts = []
  real_share, our_share = (np.asarray(decision_tree.conditional(table)) for table in (votes, ours))
  for question, (theirs, simulated) in wanted.items():
    real = [list(zip(sets.decoded([files[row] for row in rows]), real_share[rows, column], strict=True))
            for column, rows in enumerate(theirs, question.start)]
    fake = [[(images[row], our_share[row, column]) for row in rows]
            for column, rows in enumerate(simulated, question.start)]
    charts.append(sheets.sheet(question, real, fake))
  looks, look_charts = figures.load(folder, "looks")
  polls, poll_charts = figures.load(folder, "votes")
  sections = [page.Section("votes", "Votes", page.figures(poll_charts)),
              page.Section("looks", "Looks", page.figures(look_charts)),
              page.Section("answers", "Every answer, real and simulated", page.figures(charts), new_page=True)]
  text = page.page("Simulated galaxies", _lead(looks), ["Real galaxies are shown beside simulated ones: the images are "
                   "SDSS's, and this page is not to be redistributed with the code."],
                   _numbers(looks, polls), sections, kicker="galaxy_jax simulator report")
  (folder / "figures").mkdir(parents=True, exist_ok=True)
  for chart in [*poll_charts, *look_charts, *charts]:
    (folder / "figures" / f"{chart.name}.png").write_bytes(chart.png)
  path = folder / "report.html"
  path.write_text(text, encoding="utf-8")
  return path


def _lead(looks):
  judged = looks.get("boosting")
  if not judged:
    return "Simulated galaxies beside the real ones they are meant to be like."
  worst = sorted(judged["matched"], key=lambda name: -judged["matched"][name])[:3]
  return ("Gradient boosting on the quantities that the simulator is to match, once each, tells simulated from real "
          f"galaxies with an area under the curve of {judged['auc_matched']:.3f}, where 0.5 is guessing and less than "
          f"{_WANTED} is wanted; what gives them away to it most is "
          + ", ".join(name.replace("_", " ") for name in worst) + ".")


def _numbers(looks, polls):
  numbers = []
  if "boosting" in looks:
    judged = looks["boosting"]
    numbers += [("Boosting, quantities to match", f"{judged['auc_matched']:.3f}",
                 f"area under the curve, less than {_WANTED} wanted"),
                ("Boosting, their groups", f"{judged['auc_named']:.3f}", "by channel and ring"),
                ("Boosting, all statistics", f"{judged['auc']:.3f}", f"{len(judged['distances'])} of them")]
  if "resnet" in looks:
    numbers.append(("ResNet-18, 64 px", f"{looks['resnet']['auc']:.3f}", "area under the curve"))
  if polls:
    every, chance = polls["parts"]["all"]["summary"], polls["chance"]["summary"]
    numbers.append(("Votes", f"{every['mean']:.3f}",
                    f"root mean square difference of the 37 means; two halves of the real ones {chance['mean']:.3f}"))
  return numbers


if __name__ == "__main__":
  app.run(main)
