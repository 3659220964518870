"""Galaxies drawn inside the training step: a function of (seed, step, row) alone, each drawn by one device."""
import jax
import numpy as np
import pytest
import stand_in
from conftest import stored_by
from simulated_on_devices import BATCH, SIZE, STEPS

from galaxy_jax import feeds, simulate
from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.parallel import Parallel
from galaxy_jax.tasks import votes

WAYS = ["jit/1/1", "jit/4/2", "pmap/4/1"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  """{way: {name: array}} from a process with four devices."""
  arrays = stored_by("simulated_on_devices.py", tmp_path_factory.mktemp("devices") / "stored.npz", devices=4,
                     optimised=False)
  return {way: {name.rpartition("/")[2]: array for name, array in arrays.items() if name.startswith(way)}
          for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_a_galaxy_depends_on_seed_step_and_row_alone(stored, way):
  galaxy = jax.jit(lambda key: stand_in.galaxy(key, size=SIZE, crop=256))
  for step in range(STEPS):
    for row in range(BATCH):
      key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), step), row)
      expected = galaxy(jax.random.fold_in(key, 0x67616C61))
      np.testing.assert_allclose(stored[way]["image"][step, row].astype(int), expected["image"], atol=1)
      np.testing.assert_allclose(stored[way]["vote_fractions"][step, row], expected["vote_fractions"], atol=1e-6)
    np.testing.assert_array_equal(stored[way]["place"][step], np.arange(BATCH))
  assert (stored[way]["mask"] == 1).all()


@pytest.mark.parametrize("way", WAYS)
def test_each_galaxy_is_drawn_once(stored, way):
  drawn = stored[way]["drawn"]
  assert len(drawn) == len(np.unique(drawn, axis=0)) == BATCH * STEPS


def test_the_simulator_gives_what_the_vote_task_takes():
  task = votes.Task(*[None] * 6, absent={"vote_fractions": np.full(37, np.nan)}, score="rmse")
  feed = feeds.SimulatedFeed(task=task, parallel=Parallel("jit", jax.devices()[:1]), seed=0, batch_size=2,
                             steps_per_call=1, size=32, crop=256, mix="natural", quality=0, votes="drawn", epoch=10)
  batch = jax.eval_shape(feed.draw, 0, np.arange(2))
  assert {name: (value.shape, str(value.dtype)) for name, value in batch.items()} == {
      "image": ((2, 32, 32, 3), "uint8"), "vote_fractions": ((2, 37), "float32"), "mask": ((2,), "float32")}


def test_expected_votes_are_learnt_where_they_are_asked_for(monkeypatch):
  names = ("image", "vote_fractions", "expected_fractions")
  rows = lambda key, **_: dict(zip(names, jax.random.uniform(key, (3, 37)), strict=True))
  monkeypatch.setattr(simulate, "galaxy", rows)
  task = votes.Task(*[None] * 6, absent={"vote_fractions": np.full(37, np.nan)}, score="rmse")
  drawn, expected = (
      feeds.SimulatedFeed(task=task, parallel=Parallel("jit", jax.devices()[:1]), seed=0, batch_size=2,
                          steps_per_call=1, size=32, crop=0, mix="natural", quality=0, votes=name, epoch=10)
      .draw(0, np.arange(2)) for name in feeds.VOTES)
  np.testing.assert_array_equal(drawn["image"], expected["image"])
  assert (drawn["vote_fractions"] != expected["vote_fractions"]).all()


@pytest.mark.parametrize(("changes", "message"), [
    ({"simulator.votes": "many"}, r"config\.simulator\.votes is 'many'; expected drawn or expected"),
    ({"data.target": "debiased"}, r"config\.data\.target is 'debiased'; of simulated galaxies .* the vote_fractions"),
    ({"task": "classes"}, r"config\.data\.label is 'label'; of simulated galaxies .* five_class, ten_class, kind can"),
])
def test_what_the_simulator_does_not_draw_is_refused(changes, message):
  config = get_config("scratch")
  config.update_from_flattened_dict({"data.source": "simulated"} | changes)
  with pytest.raises(ValueError, match=message):
    feeds.check(config)


def test_the_simulators_classes_are_those_of_the_data_set():
  config = get_config("scratch")
  config.update_from_flattened_dict({"task": "classes", "data.source": "simulated", "data.label": "five_class"})
  feeds.check(config)
  feeds.check_classes(config, simulate.FIVE_CLASSES)
  for others in (simulate.FIVE_CLASSES[::-1], ("round", "edge_on")):
    with pytest.raises(ValueError, match="what the simulator calls 'five_class' are completely_round_smooth, "):
      feeds.check_classes(config, others)
  config.data.source = "auto"
  feeds.check_classes(config, ("round", "edge_on"))
