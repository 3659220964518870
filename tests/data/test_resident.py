"""The split on the devices gives the same batches, replicated or sharded, under jit and pmap, on 1 and 8 devices."""
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from galaxy_jax.data import order, resident
from galaxy_jax.data.decode import Decoded

ROWS, BATCH, SEED = 21, 16, 1
LABELS = ("vote_fractions", "label", "flag")


def split():
  """A split that no number of devices divides, with a value that no sum may spoil."""
  rng = np.random.default_rng(0)
  votes = rng.random((ROWS, 37), np.float32)
  votes[4] = np.nan
  return Decoded(rng.integers(0, 256, (ROWS, 5, 5, 3), np.uint8),
                 {"vote_fractions": votes, "label": np.arange(ROWS) - 7, "flag": rng.random(ROWS) < 0.5,
                  "objid": np.arange(ROWS) + 2**60})


def mesh_of(count):
  return jax.make_mesh((count,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def rows_of(step):
  return order.batch_indices(SEED, *order.batch_start(step, BATCH, ROWS), BATCH, ROWS)


def batches(count, *, sharded, pmap, steps=4):
  """The first batches, as numpy arrays over the global batch."""
  mesh = mesh_of(count)
  data = resident.place(split(), mesh, labels=LABELS, sharded=sharded, pmap=pmap)
  mask = np.arange(BATCH) % 3 > 0

  def step(data, indices):
    return resident.draw(data, indices, jnp.float32(mask), mesh=mesh, sharded=sharded,
                         axis_name="batch" if pmap else None)

  if pmap:
    compiled = jax.pmap(step, axis_name="batch", devices=jax.devices()[:count], in_axes=(0, None))
  else:
    compiled = jax.jit(step)
  for t in range(steps):
    batch = compiled(data, rows_of(t))
    yield {name: np.asarray(x).reshape(-1, *x.shape[2:]) if pmap else np.asarray(x) for name, x in batch.items()}


def check(count):
  data = split()
  arrays = {"image": data.images} | {name: data.labels[name] for name in LABELS}
  for sharded, pmap in itertools.product((False, True), (False, True)):
    for t, batch in enumerate(batches(count, sharded=sharded, pmap=pmap)):
      rows = rows_of(t)
      assert batch.keys() == {*arrays, "row", "mask"}
      np.testing.assert_array_equal(batch["row"], rows)
      np.testing.assert_array_equal(batch["mask"], np.arange(BATCH) % 3 > 0)
      for name, array in arrays.items():
        np.testing.assert_array_equal(batch[name], array[rows], err_msg=f"{name} {sharded=} {pmap=} {t=}")
      assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32 and batch["flag"].dtype == bool


def test_one_device():
  check(1)


def test_eight_devices():
  environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu",
                              "PYTHONPATH": str(Path(__file__).parents[2])}
  subprocess.run([sys.executable, __file__], env=environment, check=True, timeout=300)


def test_without_a_mask_all_rows_are_real():
  mesh = mesh_of(1)
  data = resident.place(split(), mesh, labels=[], sharded=False)
  batch = resident.draw(data, jnp.array([3, 0, 3]), mesh=mesh, sharded=False)
  np.testing.assert_array_equal(batch["mask"], [1, 1, 1])
  np.testing.assert_array_equal(batch["image"], split().images[[3, 0, 3]])


def test_identifiers_stay_on_the_host():
  with pytest.raises(ValueError, match="'objid' has values beyond 32 bits"):
    resident.place(split(), mesh_of(1), labels=["objid"], sharded=False)


def device(limit, used=0):
  stats = limit and {"bytes_limit": limit, "bytes_in_use": used}
  return SimpleNamespace(process_index=0, memory_stats=lambda: stats)


@pytest.mark.parametrize("size, devices, expected", [
    (40, [device(100)], "replicated"), (41, [device(100)], "stream"), (41, [device(100)] * 2, "sharded"),
    (80, [device(100)] * 2, "sharded"), (81, [device(100)] * 2, "stream"),
    (40, [device(100), device(100, 50)], "sharded")])
def test_fits_by_the_devices_free_memory(size, devices, expected):
  assert resident.fits(size, devices) == expected


def test_cpu_devices_share_the_host_s_memory(monkeypatch):
  monkeypatch.setattr(resident, "_host_memory", lambda: 800)
  assert resident.fits(40, [device(None)] * 8) == "replicated"
  assert resident.fits(320, [device(None)]) == "replicated"
  assert resident.fits(320, [device(None)] * 8) == "sharded"
  assert resident.fits(321, [device(None)] * 8) == "stream"


if __name__ == "__main__":
  check(8)
  try:
    resident.draw({}, jnp.arange(12), mesh=mesh_of(8), sharded=False)
  except ValueError as error:
    assert "cannot be shared by 8 devices" in str(error)
  else:
    raise AssertionError("12 rows on 8 devices were accepted")
