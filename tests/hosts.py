"""Run by test_hosts.py as one of two hosts with two devices each: stores what this one sees of a step that both run."""
import sys

import jax
import numpy as np

from galaxy_jax.parallel import AXIS, Parallel

ROWS = 8


def step(state, batch, *, axis_name):
  """A moving sum over all rows, and the rows themselves as every device numbers them."""
  total = jax.numpy.sum(batch["x"] * (1 + batch["place"]))
  if axis_name:
    total = jax.lax.psum(total, axis_name)
  return {"sum": state["sum"] + total}, total


def main(path, port, index):
  jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
  stored = {}
  for kind in ("jit", "pmap"):
    parallel = Parallel(kind)
    assert parallel.device_count == 4 and parallel.axis_name == (AXIS if kind == "pmap" else None)
    compiled = parallel.compile(lambda state, batch, axis_name, parallel=parallel: step(
        state, batch | {"place": parallel.rows(ROWS)}, axis_name=axis_name))
    state = parallel.replicate({"sum": np.float32(0)})
    for number in range(3):
      whole = np.arange(ROWS, dtype=np.float32) + number
      mine = whole[ROWS // 2 * jax.process_index():][:ROWS // 2]
      state, total = compiled(state, parallel.split_rows({"x": mine}))
      stored[f"{kind}/{number}"] = parallel.fetch(total)
    # As a checkpoint takes it, and as a resumed run places it again.
    kept = parallel.fetch(state)
    merged = parallel.globalise(state)["sum"]
    assert merged.sharding.is_fully_replicated and len(merged.sharding.device_set) == 4
    stored[f"{kind}/kept"] = kept["sum"]
    stored[f"{kind}/merged"] = np.asarray(merged.addressable_shards[0].data)
    stored[f"{kind}/placed"] = parallel.fetch(parallel.replicate(kept))["sum"]
  np.savez(path, **stored)


if __name__ == "__main__":
  main(*sys.argv[1:])
