"""Resident and streamed feeds drive the same step over the same batches, one step a call or several."""
import contextlib
import io

import jax
import numpy as np
import pytest
from conftest import valid_votes
from PIL import Image

from galaxy_jax import feeds, models, optim
from galaxy_jax.data import decode, order, sources
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import votes
from galaxy_jax.train_step import init_state, make_train_step

COUNT, BATCH, STEPS = 10, 4, 8


@pytest.fixture(scope="module")
def source():
  rng = np.random.default_rng(0)

  def jpeg():
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()
  return [{"image": jpeg(), "galaxy_id": 2**40 + i, "vote_fractions": row.astype(np.float32)}
          for i, row in enumerate(valid_votes(rng, COUNT))]


@pytest.fixture(scope="module")
def results(source, tmp_path_factory):
  """{way of feeding: (parameters, losses by step, ids of batch 3)}."""
  parallel = Parallel("jit", jax.devices()[:1])
  task = votes.make(
      model=lambda outputs: models.create("galaxyid", outputs=outputs, width=4), output="tree", loss="squared_error",
      size=16, view=0.8, working_size=20, greyscale=True, geometry={"rotation": 360.0}, colour={"noise": 0.05},
      rotations=1, flips=False, zooms=(1.0,))
  optimizer = optim.optimizer("nesterov", lambda _: 0.01)
  step = make_train_step(task, optimizer, seed=5, ema=0.9)
  data = decode.decoded(source, crop=None, size=20, cache_dir=tmp_path_factory.mktemp("cache"), key="source")
  common = {"task": task, "parallel": parallel, "seed": 5, "batch_size": BATCH}
  found = {}
  for name, feed in {
      "one": feeds.ResidentFeed(data, steps_per_call=1, sharded=False, **common),
      "four": feeds.ResidentFeed(data, steps_per_call=4, sharded=False, **common),
      "sharded": feeds.ResidentFeed(data, steps_per_call=1, sharded=True, **common),
      "stream": feeds.StreamFeed(source, crop=None, size=20, workers=0, **common)}.items():
    with contextlib.closing(feed) if name == "stream" else contextlib.nullcontext():
      feed.compile(step)
      state, losses = parallel.replicate(init_state(task, optimizer, seed=0, ema=0.9)), []
      for t in range(0, STEPS, feed.steps_per_call):
        state, sums = feed.advance(state, t, feed.steps_per_call)
        losses += np.ravel(parallel.fetch(sums)["loss"][0]).tolist()
      found[name] = (parallel.fetch(state), losses, feed.batch_ids(3))
  return found


@pytest.mark.parametrize("other", ["four", "sharded", "stream"])
def test_every_feed_trains_the_same(results, other):
  (state, losses, ids), (other_state, other_losses, other_ids) = results["one"], results[other]
  assert len(losses) == STEPS
  np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state, other_state)
  np.testing.assert_array_equal(other_ids, ids)


def test_ids_survive_beyond_32_bits_and_epochs_hold_everyone(source, results):
  assert results["one"][2].min() >= 2**40
  feed = feeds.StreamFeed(source, task=votes_task_labels(), parallel=None, seed=5, batch_size=5, crop=None, size=20,
                          workers=0)
  for epoch in range(3):
    both = np.concatenate([feed.batch_ids(2 * epoch), feed.batch_ids(2 * epoch + 1)])
    assert sorted(both) == [record["galaxy_id"] for record in source]


def test_rows_that_come_more_than_once(source, tmp_path):
  """What every feed trains on is the order of the longer epoch, looked up in the rows."""
  rows = np.repeat(np.arange(COUNT, dtype=np.int32), [1, 1, 4, 1, 1, 1, 2, 1, 1, 3])
  data = decode.decoded(source, crop=None, size=20, cache_dir=tmp_path, key="source")
  parallel = Parallel("jit", jax.devices()[:1])
  common = {"task": votes_task_labels(), "parallel": parallel, "seed": 5, "batch_size": BATCH}
  votes_of = np.stack([record["vote_fractions"] for record in source])
  for feed in (feeds.ResidentFeed(data, rows=rows, steps_per_call=1, sharded=False, **common),
               feeds.StreamFeed(sources.Rows(source, rows), crop=None, size=20, workers=0, **common)):
    assert feed.examples == 16
    feed.compile(lambda state, batch, axis_name=None: (state, {"seen": (batch["vote_fractions"], batch["mask"])}))
    state, seen = parallel.replicate({"step": np.zeros(())}), []
    for step in range(4):
      expected = rows[order.step_rows(5, step, BATCH, 16)]
      state, sums = feed.advance(state, step, 1)
      np.testing.assert_array_equal(parallel.fetch(sums)["seen"][0], votes_of[expected])
      np.testing.assert_array_equal(feed.batch_ids(step), 2**40 + expected.astype(np.int64))
      seen += expected.tolist()
    assert sorted(seen) == rows.tolist()
    if isinstance(feed, feeds.StreamFeed):
      feed.close()


def votes_task_labels():
  class Task:
    labels = ("vote_fractions",)
  return Task
