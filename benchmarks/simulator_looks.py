"""How well simulated galaxies pass for real ones: two-sample distances of statistics, and two judges.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/simulator_looks.py --output=FOLDER

Both sides have passed the same JPEG coder, and the simulated galaxies are drawn in the shares in which the real ones'
largest answers are. Judge one is gradient boosting on statistics: on the quantities the simulator is asked to match,
once each; on their groups, by channel and ring and with the structure of the noise; and on all. Judge two is a
ResNet-18 on images of 64 pixels. Each judges galaxies it was not trained on. The tables name what gives the simulated
ones away, the worst first. Into the folder go `looks.json` and the figures.
"""
import time

import numpy as np
from absl import app, flags
from looks import figures, judges, network, sets, statistics

from galaxy_jax import simulate

FLAGS = flags.FLAGS
flags.DEFINE_enum("judge", "both", ["boosting", "resnet", "both"], "Who judges.")
flags.DEFINE_integer("images", 4000, "Galaxies a side.")
flags.DEFINE_enum("size", "424", ["212", "424"], "Pixels the simulated ones are rendered with; 212 is quicker.")
flags.DEFINE_integer("seed", 0, "Of the simulated galaxies, the folds and the first weights.")
flags.DEFINE_bool("exclude_held_out", False, "Leave out the real galaxies that the simulator may not be tuned on, the "
                  f"labelled ones after the first {sets.TUNING}.")
flags.DEFINE_integer("epochs", 6, "Of the ResNet's training.")
flags.DEFINE_integer("rows", 40, "Rows of the table that are printed.")
flags.DEFINE_string("output", None, "Folder for looks.json and figures.")


def main(_):
  start = time.monotonic()
  real = sets.real(sets.samples(), exclude_held_out=FLAGS.exclude_held_out)
  chosen = np.sort(np.random.default_rng(FLAGS.seed).permutation(len(real.images))[:FLAGS.images])
  shares = sets.shares(real.strata)
  print("real galaxies: " + ", ".join(f"{name} {share:.1%}" for name, share in zip(sets.STRATA, shares, strict=True)))
  ours = sets.simulated(FLAGS.images, shares, seed=FLAGS.seed, size=int(FLAGS.size))
  theirs = real.images[chosen]
  if int(FLAGS.size) != sets.PUBLISHED:
    theirs = sets.recoded(theirs)
  print(f"{len(theirs):,} real and {len(ours.images):,} simulated galaxies after {time.monotonic() - start:.0f} s")
  found = {"simulator": simulate.VERSION, "images": FLAGS.images, "size": int(FLAGS.size), "seed": FLAGS.seed,
           "exclude_held_out": FLAGS.exclude_held_out,
           "strata": dict(zip(sets.STRATA, shares.tolist(), strict=True)),
           "simulated_strata": dict(zip(sets.STRATA, sets.shares(ours.strata).tolist(), strict=True))}
  charts = []
  if FLAGS.judge != "resnet":
    tables = [statistics.measure(images) for images in (theirs, ours.images)]
    charts += boosting(*tables, found)
  if FLAGS.judge != "boosting":
    charts += resnet(theirs, ours.images, found)
  if FLAGS.output:
    figures.save(FLAGS.output, "looks", found, charts)
  print(f"{time.monotonic() - start:.0f} s in all")


def boosting(real, simulated, found):
  matched = judges.boosting(judges.matched(real), judges.matched(simulated), seed=FLAGS.seed)
  print(judges.table(judges.distances(judges.matched(real), judges.matched(simulated)), matched), "\n")
  named = judges.boosting(real.only(judges.NAMED), simulated.only(judges.NAMED), seed=FLAGS.seed, explain=False)
  every = judges.boosting(real, simulated, seed=FLAGS.seed)
  distances = judges.distances(real, simulated)
  print(judges.table(distances, every, rows=FLAGS.rows))
  couplings = judges.couplings(real, simulated)
  print("\nrank correlations that differ most: real, simulated")
  for first, second, theirs, ours in couplings:
    print(f"{first:26s}{second:26s}{theirs:7.2f}{ours:7.2f}")
  print("\ngroup                AUC alone   loss of AUC without it")
  for group in sorted(every.group_auc, key=lambda name: -every.group_auc[name]):
    print(f"{group:20s}{every.group_auc[group]:10.3f}{every.group_importance[group]:25.4f}")
  for name, verdict in (("quantities to be matched", matched), ("their groups of statistics", named),
                        (f"all {len(real.names)} statistics", every)):
    print(f"gradient boosting, {name}: AUC {verdict.auc:.4f} ({verdict.interval[0]:.4f} to {verdict.interval[1]:.4f})")
  found["boosting"] = {
      "auc": every.auc, "interval": every.interval, "auc_named": named.auc, "interval_named": named.interval,
      "auc_matched": matched.auc, "interval_matched": matched.interval, "matched": matched.importance,
      "group_auc": every.group_auc, "group_importance": every.group_importance, "importance": every.importance,
      "couplings": couplings, "distances": {item.name: item._asdict() for item in distances}}
  return [figures.distributions(real, simulated), figures.profiles(real, simulated), figures.groups(every)]


def resnet(real, simulated, found):
  verdict = network.judge(real, simulated, seed=FLAGS.seed, epochs=FLAGS.epochs)
  low, high = verdict.interval
  print(f"ResNet-18, {network.SIDE} px: AUC {verdict.auc:.4f} ({low:.4f} to {high:.4f}), training loss by epoch "
         + " ".join(f"{loss:.3f}" for loss in verdict.losses))
  for name, auc in verdict.ablations.items():
    print(f"  without {name:28s}{auc:.4f}")
  print("mean absolute gradient by ring (outer radius, sides), red, green, blue | its mean, + is more simulated")
  for ring, outer in enumerate(network.RINGS):
    print(f"  {outer:.2f}  " + "  ".join(f"{value:9.2e}" for value in verdict.by_radius[1, :, ring]) + "   |"
          + "  ".join(f"{value:+9.2e}" for value in verdict.by_radius[0, :, ring]))
  print("share of the gradient's power by frequency (from, cycles a pixel), red, green, blue")
  for band, low in enumerate(network.BANDS[:-1]):
    print(f"  {low:.2f}  " + "  ".join(f"{value:7.1%}" for value in verdict.by_frequency[:, band]))
  found["resnet"] = {"auc": verdict.auc, "interval": verdict.interval, "losses": verdict.losses,
                     "ablations": verdict.ablations, "rings": network.RINGS, "by_radius": verdict.by_radius.tolist(),
                     "bands": network.BANDS, "by_frequency": verdict.by_frequency.tolist()}
  return [figures.saliency(simulated, verdict), figures.gradients(verdict)]


if __name__ == "__main__":
  app.run(main)
