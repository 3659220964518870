"""Run by test_simulated_feed.py in a process of its own with four forced CPU devices: stores the batches that a
simulated feed gives its step, under jit and pmap, on one device and on four, and the keys of the galaxies drawn."""
import sys

import jax
import numpy as np
import stand_in

from galaxy_jax import feeds, simulate
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import votes
from galaxy_jax.train_step import State

BATCH, STEPS, SIZE = 8, 4, 12
drawn = []


def counted(key, **settings):
  jax.debug.callback(lambda data: drawn.append(tuple(data)), jax.random.key_data(key))
  return stand_in.galaxy(key, **settings)


def keep_batch(state, batch, *, axis_name=None):
  """A step that learns nothing and returns its batch."""
  kept = {name: batch[name] for name in ("image", "vote_fractions", "place", "mask")}
  if axis_name:
    kept = jax.lax.all_gather(kept, axis_name, tiled=True)
  return state._replace(step=state.step + 1), kept


def main(path):
  task = votes.Task(*[None] * 6, absent={"vote_fractions": np.full(37, np.nan)}, score="rmse")
  stored = {}
  simulate.galaxy = counted
  for kind, devices, steps_per_call in (("jit", 1, 1), ("jit", 4, 2), ("pmap", 4, 1)):
    parallel = Parallel(kind, jax.devices()[:devices])
    feed = feeds.SimulatedFeed(task=task, parallel=parallel, seed=3, batch_size=BATCH, steps_per_call=steps_per_call,
                               size=SIZE, crop=256, mix="natural", quality=0, votes="drawn", epoch=100)
    feed.compile(keep_batch)
    state = parallel.replicate(State(np.int32(0), {}, {}, {}, {}))
    drawn.clear()
    batches = []
    for step in range(0, STEPS, steps_per_call):
      state, batch = feed.advance(state, step, steps_per_call)
      batch = parallel.fetch(batch)
      batches += [jax.tree.map(lambda x: x[i], batch) for i in range(steps_per_call)] if steps_per_call > 1 else [batch]
    jax.effects_barrier()
    name = f"{kind}/{devices}/{steps_per_call}"
    stored |= {f"{name}/{key}": np.stack([batch[key] for batch in batches]) for key in batches[0]}
    stored[f"{name}/drawn"] = np.array(drawn)
  np.savez(path, **stored)


if __name__ == "__main__":
  main(sys.argv[1])
