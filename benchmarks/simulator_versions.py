"""Whether a key means the same galaxy on two versions of jax: images within a count, votes the same.

  python benchmarks/simulator_versions.py --write=FILE      with one version
  python benchmarks/simulator_versions.py --compare=FILE    with the other
"""
from functools import partial

import jax
import numpy as np
from absl import app, flags

from galaxy_jax import simulate

FLAGS = flags.FLAGS
flags.DEFINE_string("write", None, "Where to store galaxies and the version.")
flags.DEFINE_string("compare", None, "What to compare with.")
flags.DEFINE_integer("galaxies", 2048, "How many galaxies.")
flags.DEFINE_integer("size", 64, "Pixels.")


def main(_):
  make = jax.jit(jax.vmap(partial(simulate.galaxy, size=FLAGS.size)))
  images, counts = [], []
  for start in range(0, FLAGS.galaxies, 64):
    batch = make(jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(start, start + 64)))
    images.append(np.asarray(batch["image"]))
    counts.append(np.asarray(batch["vote_counts"]))
  images, counts = np.concatenate(images), np.concatenate(counts)
  if FLAGS.write:
    np.savez_compressed(FLAGS.write, images=images, counts=counts, jax=jax.__version__, simulator=simulate.VERSION)
  if FLAGS.compare:
    other = np.load(FLAGS.compare)
    if str(other["simulator"]) != simulate.VERSION:
      raise SystemExit(f"{FLAGS.compare} holds simulator {other['simulator']}, this is {simulate.VERSION}.")
    difference = np.abs(images.astype(int) - other["images"].astype(int))
    same = (counts == other["counts"]).all(1)
    print(f"jax {other['jax']} and {jax.__version__}, {len(images)} galaxies of {FLAGS.size} pixels: largest "
          f"difference {difference.max()} counts, {np.mean(difference > 0):.2e} of the values differ; the same votes "
          f"for {same.mean():.2%}")


if __name__ == "__main__":
  app.run(main)
