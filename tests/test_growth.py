"""Progressive resizing: which step sees which size, resumes in between, and what cannot grow."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import evaluation, experiment, feeds, growth, workdirs
from galaxy_jax.configs import base
from galaxy_jax.configs.gz2 import get_config
from galaxy_jax.parallel import Parallel
from galaxy_jax.train import train
from galaxy_jax.train_step import make_train_step

STEPS = 6


@pytest.fixture
def make_config(challenge_dir, tmp_path):
  def make(**changes):
    config = get_config("scratch")
    config.model.options.update({"width": 4, "stage_sizes": (1,), "stem": (3, 1), "stem_pool": False})
    config.update_from_flattened_dict({
        "data.manual_dir": str(challenge_dir), "data.data_dir": str(tmp_path / "data"), "data.crop": 0,
        "data.size": 24, "augment.size": 24, "augment.growth": (1 / 3, 0.7), "train.batch_size": 6,
        "eval.batch_size": 6, "train.steps": STEPS, "train.eval_every": 1 / STEPS} | changes)
    return config
  return make


def parameters(workdir):
  parallel = Parallel("jit")
  return parallel.fetch(evaluation.restore(workdirs.read_config(workdir), workdir, parallel, "latest").variables)


def test_a_run_that_was_broken_off_in_a_part_ends_as_one_that_was_not(make_config, tmp_path, monkeypatch):
  """Step 3 belongs to the second part, which begins with step 2: both parts are entered again."""
  seen = []
  advance = feeds.ResidentFeed.advance

  def watched(feed, state, step, count):
    if watched.breaks_at == step:
      raise KeyboardInterrupt
    before = feed._call
    result = advance(feed, state, step, count)
    seen.append((step, before))
    return result

  def looked_at(task, *arguments, **options):
    batch = {"image": jnp.zeros((1, 24, 24, 3), jnp.uint8), "vote_fractions": jnp.zeros((1, 37)), "mask": jnp.ones(1)}
    sizes.append(jax.eval_shape(task.augment, jax.random.split(jax.random.key(0), 1), batch)["image"].shape[1])
    return make_train_step(task, *arguments, **options)

  sizes = []
  monkeypatch.setattr("galaxy_jax.train.make_train_step", looked_at)
  monkeypatch.setattr(feeds.ResidentFeed, "advance", watched)
  watched.breaks_at = None
  assert train(make_config(), tmp_path / "whole").finished
  assert sizes == [8, 16, 24]
  # One compiled call for each part of two steps.
  calls = [call for _, call in seen]
  assert [step for step, _ in seen] == list(range(STEPS))
  assert calls[0] is calls[1] is not calls[2] is calls[3] is not calls[4] is calls[5]
  watched.breaks_at = 3
  with pytest.raises(KeyboardInterrupt):
    train(make_config(), tmp_path / "broken")
  watched.breaks_at = None
  assert train(make_config(), tmp_path / "broken").finished
  jax.tree.map(np.testing.assert_array_equal, parameters(tmp_path / "whole"), parameters(tmp_path / "broken"))
  assert train(make_config(**{"augment.growth": ()}), tmp_path / "one_size").finished
  one_size = parameters(tmp_path / "one_size")
  assert any(not np.array_equal(*pair) for pair in zip(
      *map(jax.tree.leaves, (one_size, parameters(tmp_path / "whole"))), strict=True))


def test_sizes_are_whole_strides_and_end_with_the_full_one():
  config = base.get_config()
  config.augment.size = 100
  assert growth.sizes(config) == [100]
  config.augment.growth = (0.5, 0.75)
  assert growth.sizes(config) == [48, 72, 100]


def test_parts_begin_with_whole_calls():
  assert growth.starts(3, 90, 1) == [0, 30, 60]
  assert growth.starts(3, 100, 16) == [0, 32, 64]
  assert growth.starts(1, 100, 16) == [0]
  assert growth.starts(10, 30, 16)[-1] == 16  # the last part has steps, however few there are


@pytest.mark.parametrize("shares", [(0.75, 0.5), (0.5, 0.5), (0.0,), (1.0,), (-0.5,), ("a",), (0.5, 0.52)])
def test_shares_that_do_not_grow(shares):
  config = base.get_config()
  config.augment.growth = shares
  with pytest.raises(ValueError, match=r"config\.augment\.growth is .*; expected growing shares"):
    growth.sizes(config)


def test_a_network_of_one_size_cannot_grow():
  config = base.get_config()
  config.augment.growth, config.model.name = (0.5,), "galaxyid"
  make = lambda c: experiment.make_task(experiment.resolve(c), axis_name=None, all_views=False)
  with pytest.raises(ValueError, match="from 64 to 128 pixels, and galaxyid has other parameters for each size"):
    growth.tasks(config, make(config), make)
