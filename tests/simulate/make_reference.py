"""Stores what keys mean, for test_galaxy.py: run it when simulate.VERSION is raised, on the oldest supported jax.

  python tests/simulate/make_reference.py
"""
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import simulate

#: Near enough that most are seen on the detector's own pixels, through its JPEG tiles, and coded once more.
VIEW = {"size": 32, "crop": 64, "quality": 75}


def main():
  path = Path(__file__).with_name("reference.npz")
  keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(24))
  batch = jax.jit(jax.vmap(partial(simulate.galaxy, **VIEW)))(keys)
  images, counts = (np.asarray(batch[name]) for name in ("image", "vote_counts"))
  if path.exists():
    with np.load(path) as stored:
      if str(stored["version"]) == simulate.VERSION and not (
          np.array_equal(stored["images"], images) and np.array_equal(stored["counts"], counts)):
        raise SystemExit(f"Keys mean other galaxies than those of version {simulate.VERSION}: raise simulate.VERSION.")
  np.savez_compressed(path, version=simulate.VERSION, view=json.dumps(VIEW), images=images, counts=counts)


if __name__ == "__main__":
  main()
