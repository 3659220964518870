"""Streamed batches are the resident ones, from any step, for any number of workers and hosts."""
import contextlib
import itertools
import multiprocessing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from galaxy_jax.data import decode, order, resident, stream

PIXELS = {"crop": 48, "size": 24}
LABELS = ("vote_fractions", "galaxy_id")
BATCH, SEED = 8, 11


def take(source, count, **changes):
  arguments = {"labels": LABELS, "seed": SEED, "batch_size": BATCH, **PIXELS} | changes
  with contextlib.closing(stream.training_batches(source, **arguments)) as batches:
    return list(itertools.islice(batches, count))


def assert_same(got, expected):
  assert len(got) == len(expected)
  for one, other in zip(got, expected, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      assert one[name].dtype == other[name].dtype
      np.testing.assert_array_equal(one[name], other[name])


def test_same_as_resident_over_the_end_of_an_epoch(tmp_path, records):
  data = decode.decoded(records, cache_dir=tmp_path, key="test", **PIXELS)
  mesh = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
  placed = resident.place(data, mesh, labels=LABELS, sharded=False)

  @jax.jit
  def draw(placed, epoch, place):
    return resident.draw(placed, order.batch_indices(SEED, epoch, place, BATCH, len(records), jnp), mesh=mesh,
                         sharded=False)

  for start in (0, 10**9):
    expected = [jax.device_get(draw(placed, *order.batch_start(start + t, BATCH, len(records)))) for t in range(6)]
    assert_same(take(records, 6, start=start), expected)


def test_starts_at_any_step_and_stops(records):
  batches = take(records, 7)
  assert_same(take(records, 9, start=3, stop=7), batches[3:])


def test_hosts_share_each_batch_in_order(records):
  parts = [take(records, 3, process_index=host, process_count=4) for host in range(4)]
  joined = [{name: np.concatenate([part[name] for part in step]) for name in step[0]}
            for step in zip(*parts, strict=True)]
  assert_same(joined, take(records, 3))


def test_processes_give_the_same_and_end(records):
  assert_same(take(records, 5, workers=2, start=2), take(records, 5, start=2))
  assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_unusable_images_are_named(records, workers):
  source = [record | {"image": b"<html>"} for record in records]
  with pytest.raises(ValueError, match=r"Record \d+ \(galaxy_id \d+\).*--skip_bad"):
    take(source, 1, workers=workers)


def test_uneven_hosts_are_refused(records):
  with pytest.raises(ValueError, match="cannot be shared by 3 hosts"):
    take(records, 1, process_count=3)
