"""Run by test_instances_parallel.py in a process of its own with two forced CPU devices: trains the same batches of
images with objects under jit and pmap on one and on two devices, and stores what came out."""
import sys

import instances as small
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import optim
from galaxy_jax.data.decode import Decoded
from galaxy_jax.evaluation import Evaluator
from galaxy_jax.parallel import Parallel
from galaxy_jax.train_step import State, make_train_step

#: Of four rows the last of the first device's two is padding; one of the others has no objects.
OBJECTS, MASK = (2, 1, 0, 3), np.array([1, 0, 1, 1], np.float32)


def main(path):
  jax.config.update("jax_disable_most_optimizations", True)  # six programs are compiled
  stored = {}
  for kind, devices in (("jit", 1), ("jit", 2), ("pmap", 2)):
    parallel = Parallel(kind, jax.devices()[:devices])
    task = small.task(axis_name=parallel.axis_name, network={"norm": "batch"},
                      geometry={"rotation": 360.0, "rotation_step": 90.0, "shift": 0.1})
    optimizer = optim.optimizer("nesterov", lambda _: 0.02, weight_decay=1e-4)
    step = make_train_step(task, optimizer, seed=3, ema=0.9)
    compiled = parallel.compile(
        lambda state, batch, axis_name, step=step, parallel=parallel: step(
            state, batch | {"place": parallel.rows(4)}, axis_name=axis_name))
    first = small.variables(small.task(network={"norm": "batch"}))
    rest = {name: part for name, part in first.items() if name != "params"}
    params = first["params"]
    state = parallel.replicate(State(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), first))
    for number in range(2):
      batch = jax.device_get(small.batch(OBJECTS, seed=number)) | {"mask": MASK}
      state, sums = compiled(state, parallel.split_rows(batch))
      for name, (total, count) in parallel.fetch(sums).items():
        stored[f"{kind}/{devices}/sums/{number}/{name}"] = np.array([total, count])
    for place, leaf in jax.tree_util.tree_leaves_with_path(parallel.fetch((state.params, state.collections))):
      stored[f"{kind}/{devices}/state/{jax.tree_util.keystr(place)}"] = leaf
    split = jax.device_get(small.batch((1, 2, 3, 0, 1), seed=7))
    predicted, metrics = Evaluator(task, parallel, batch_size=2).run(
        parallel.replicate(first), Decoded(split["image"], {name: split[name] for name in task.labels}))
    stored |= {f"{kind}/{devices}/found/{name}": value for name, value in predicted.items()}
    stored |= {f"{kind}/{devices}/figures/{name}": np.array(value) for name, value in metrics.items()}
  np.savez(path, **stored)


if __name__ == "__main__":
  main(sys.argv[1])
