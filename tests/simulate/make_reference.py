"""Stores what keys mean, for test_galaxy.py: run it when simulate.VERSION is raised, on the oldest supported jax.

  python tests/simulate/make_reference.py
"""
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import simulate

if __name__ == "__main__":
  keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(24))
  batch = jax.jit(jax.vmap(partial(simulate.galaxy, size=32)))(keys)
  np.savez_compressed(Path(__file__).with_name("reference.npz"), version=simulate.VERSION,
                      images=np.asarray(batch["image"]), counts=np.asarray(batch["vote_counts"]))
