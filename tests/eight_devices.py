"""Run by test_parallel.py in a process of its own with eight forced CPU devices: trains the same batches under jit and
pmap on one and on eight devices, and stores what came out."""
import sys
from functools import partial

import jax
import numpy as np
import optax
from conftest import blob, valid_votes

from galaxy_jax import models, optim
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import classes, votes
from galaxy_jax.train_step import init_state, make_train_step
from tfds_builders.images import decode

BATCH, STEPS = 16, 4
WAYS = (("jit", 1), ("jit", 8), ("pmap", 8))
#: Three rows of the first device's two are real, and none of some other devices': every kind of unevenness.
UNEVEN = np.array([1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0], np.float32)


def batches(mask):
  rng = np.random.default_rng(1)
  for _ in range(STEPS):
    targets = valid_votes(rng, BATCH).astype(np.float32)
    images = np.stack([decode(blob(rng, row[0], side=24)) for row in targets])
    targets[2] = np.nan  # a galaxy without votes
    label = np.where(np.arange(BATCH) % 5 == 1, -1, rng.integers(0, 3, BATCH)).astype(np.int32)
    yield {"image": images, "vote_fractions": targets, "label": label, "mask": mask}


def keep_gradient():
  """A link of an optimiser's chain that passes the gradient on and keeps it as its state."""
  return optax.GradientTransformation(lambda params: jax.tree.map(lambda p: 0 * p, params),
                                      lambda gradient, _, params: (gradient, gradient))


def first_state(task, optimizer):
  """The state before the first step, off its special values: a zero scale would hide what is behind it."""
  state = init_state(task, optimizer, seed=0, ema=0.9)
  rng = np.random.default_rng(2)
  params = jax.tree.map(lambda p: np.asarray(p) + rng.normal(0, 0.1, p.shape).astype(np.float32), state.params)
  return state._replace(params=params)


MASKS = {"full": np.ones(BATCH, np.float32), "uneven": UNEVEN}
_SEEN = {"size": 16, "view": 0.7, "working_size": 24, "greyscale": False, "rotations": 1, "flips": False,
         "zooms": (1.0,), "geometry": {"rotation": 360.0, "zoom": 1.2, "flip": True, "shift": 0.05},
         "colour": {"brightness": 0.1, "noise": 0.02}}


def of_votes(network):
  return votes.make(model=lambda outputs: network(outputs=outputs, width=8, dropout=0.3), output="tree",
                    loss="tree_cross_entropy", **_SEEN)


def of_classes(network):
  """Weighted classes, some of which are unknown, on a stage that stays with its batch norm."""
  return classes.make(model=lambda outputs: network(outputs=outputs, width=4, still=("stem",)), names=("a", "b", "c"),
                      label="label", counts=(8, 3, 1), loss="cross_entropy", label_smoothing=0.1, focal_gamma=2.0,
                      class_weights="balanced", head_bias="log_frequencies", **_SEEN)


def runs(kind, devices, optimizer, make_task=of_votes, masks=MASKS, frozen=()):
  """Yields, for each mask, its name, the states after the first and the last step, and all losses."""
  parallel = Parallel(kind, jax.devices()[:devices])
  task = make_task(partial(models.create, "resnet18", stage_sizes=(1,), stem=(3, 1), stem_pool=False,
                           axis_name=parallel.axis_name))
  step = make_train_step(task, optimizer, seed=3, ema=0.9, frozen=frozen)
  compiled = parallel.compile(
      lambda state, batch, axis_name: step(state, batch | {"place": parallel.rows(BATCH)}, axis_name=axis_name))
  for name, mask in masks.items():
    state, states, losses = parallel.replicate(first_state(task, optimizer)), [], []
    for batch in batches(mask):
      state, sums = compiled(state, parallel.split_rows(batch))
      total, count = parallel.fetch(sums)["loss"]
      losses.append(total / count)
      states.append(parallel.fetch(state))
    yield name, states[0], states[-1], np.array(losses)


def main(path):
  stored = {}

  def store(where, tree):
    for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
      stored[f"{where}/{jax.tree_util.keystr(place)}"] = leaf

  adamw = optax.chain(keep_gradient(), optim.optimizer("adamw", lambda _: 1e-3, weight_decay=0.05))
  nesterov = optim.optimizer("nesterov", lambda _: 0.05, weight_decay=1e-4)
  for kind, devices in WAYS:
    for masking, _, state, _ in runs(kind, devices, nesterov):
      store(f"{masking}/nesterov/{kind}/{devices}", (state.params, state.collections, state.ema))
    for masking, first, _, losses in runs(kind, devices, adamw):
      store(f"{masking}/gradient/{kind}/{devices}", first.opt_state[0])
      store(f"{masking}/adamw/{kind}/{devices}", {"loss": losses})
  some = optim.optimizer("nesterov", lambda _: 0.05, weight_decay=1e-4, frozen=("stem",))
  for kind, devices in WAYS:
    _, first, last, losses = next(runs(kind, devices, some, of_classes, {"uneven": UNEVEN}, frozen=("stem",)))
    for name, state in (("first", first), ("last", last)):
      store(f"classes/{name}/{kind}/{devices}", (state.params, state.collections, state.ema))
    store(f"classes/losses/{kind}/{devices}", {"loss": losses})
  np.savez(path, **stored)


if __name__ == "__main__":
  main(sys.argv[1])
