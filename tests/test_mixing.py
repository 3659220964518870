"""Mixup and CutMix: rows mixed two by two, each by its own key, and their labels with them."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import valid_votes
from tasks.test_classes import make as make_classes

from galaxy_jax import experiment, mixing
from galaxy_jax.configs import base
from galaxy_jax.parallel import Parallel

ROWS, SIDE = 6, 16
KEYS = jax.random.split(jax.random.key(3), ROWS)
#: Each row's pixels and its targets are the row's number: what a mixture took from where can be read off it.
IMAGES = jnp.broadcast_to(jnp.arange(float(ROWS))[:, None, None, None], (ROWS, SIDE, SIDE, 3))
TARGETS = jnp.eye(ROWS)
EVERY = jnp.ones(ROWS)


def own_share(targets):
  return np.diag(targets)


def test_mixup_is_the_same_mean_of_pixels_and_of_targets():
  images, targets = mixing.mix(KEYS, IMAGES, TARGETS, EVERY, mixup=1.0)
  share = own_share(targets)
  partner = np.arange(ROWS) ^ 1
  np.testing.assert_allclose(targets[np.arange(ROWS), partner], 1 - share, atol=1e-6)
  for row in range(ROWS):
    np.testing.assert_allclose(images[row], share[row] * row + (1 - share[row]) * partner[row], atol=1e-5)
  assert share.min() >= 0.5 and len(set(share.tolist())) == ROWS


def test_cutmix_pastes_one_box_whose_area_is_the_partners_share():
  images, targets = mixing.mix(KEYS, IMAGES, TARGETS, EVERY, cutmix=1.0)
  for row in range(ROWS):
    of_partner = np.asarray(images[row, :, :, 0]) == row ^ 1
    assert np.all(of_partner | (np.asarray(images[row, :, :, 0]) == row))
    np.testing.assert_allclose(of_partner.mean(), 1 - targets[row, row], atol=1e-6)
    down, across = of_partner.any(1), of_partner.any(0)
    assert of_partner.sum() == down.sum() * across.sum()
  assert own_share(targets).min() < 0.9


def test_with_both_each_row_is_mixed_in_one_way():
  keys = jax.random.split(jax.random.key(0), 400)
  share, cut, _ = mixing.shares(keys, mixup=0.2, cutmix=1.0)
  assert 150 < cut.sum() < 250
  assert share.min() >= 0.5
  # Beta(0.2, 0.2) lies near its ends, Beta(1, 1) anywhere.
  assert np.median(share[~np.asarray(cut)]) > 0.95 > 0.85 > np.median(share[np.asarray(cut)])


@pytest.mark.parametrize("setting", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_a_mixture_is_of_its_pair_alone(setting):
  images, targets = mixing.mix(KEYS, IMAGES, TARGETS, EVERY, **setting)
  half_images, half_targets = mixing.mix(KEYS[2:4], IMAGES[2:4], TARGETS[2:4], EVERY[2:4], **setting)
  np.testing.assert_array_equal(images[2:4], half_images)
  np.testing.assert_array_equal(targets[2:4], half_targets)


@pytest.mark.parametrize("setting", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_what_pads_a_batch_is_mixed_into_nothing(setting):
  images = IMAGES.at[5].set(jnp.nan)
  mixed, targets = mixing.mix(KEYS, images, TARGETS, EVERY.at[5].set(0), **setting)
  np.testing.assert_array_equal(mixed[4], IMAGES[4])
  np.testing.assert_array_equal(targets[4], TARGETS[4])


def test_a_mixture_with_an_unknown_is_unknown():
  _, targets = mixing.mix(KEYS, IMAGES, TARGETS.at[0, 3].set(jnp.nan), EVERY, mixup=1.0)
  assert np.isnan(targets[:2, 3]).all() and np.isfinite(targets[2:]).all() and np.isfinite(targets[:2, :3]).all()


def test_rows_that_are_no_pairs():
  with pytest.raises(ValueError, match="rows two by two, and there are 5"):
    mixing.mix(KEYS[:5], IMAGES[:5], TARGETS[:5], EVERY[:5], mixup=1.0)
  with pytest.raises(ValueError, match=r"config\.train\.batch_size is 5; .* two by two .* a multiple of 2 is expected"):
    Parallel("jit", jax.devices()[:1]).check_batch(5, "config.train.batch_size", pairs=True)


def test_the_votes_of_a_mixture_are_those_of_both_galaxies(seen_votes):
  task, batch = seen_votes
  seen = task.augment(KEYS, batch)
  share, _, _ = mixing.shares(KEYS, mixup=1.0)
  votes = np.asarray(batch["vote_fractions"])
  expected = share[:, None] * votes + (1 - share)[:, None] * votes[np.arange(ROWS) ^ 1]
  np.testing.assert_allclose(seen["vote_fractions"], expected, atol=1e-6)
  sums, _ = task.loss(task.init(jax.random.key(0)), seen, KEYS)
  logits_free = task.loss(task.init(jax.random.key(0)), seen | {"vote_fractions": jnp.asarray(expected)}, KEYS)[0]
  np.testing.assert_allclose(sums["loss"][0], logits_free["loss"][0], rtol=1e-5)


@pytest.fixture
def seen_votes():
  """A task on votes that mixes, and a batch of it."""
  config = base.get_config()
  config.update_from_flattened_dict({
      "augment.mixup": 1.0, "model.name": "galaxyid", "model.options.width": 4, "loss.name": "tree_cross_entropy",
      "data.size": SIDE, "augment.size": SIDE})
  task = experiment.make_task(experiment.resolve(config), axis_name=None, all_views=False)
  votes = valid_votes(np.random.default_rng(0), ROWS).astype(np.float32)
  return task, {"image": jnp.full((ROWS, SIDE, SIDE, 3), 100, jnp.uint8), "mask": EVERY, "vote_fractions": votes}


@pytest.mark.parametrize("settings", [{}, {"class_weights": "balanced", "counts": (80, 5, 20)}, {
    "class_weights": "balanced", "counts": (80, 5, 20), "label_smoothing": 0.1, "loss": "focal"}])
def test_the_loss_of_a_mixed_class_is_the_mean_of_its_two(settings):
  """With weights of classes, too: the losses are linear in the target."""
  labels = jnp.array([0, 2, 1, 1, -1, 2])
  batch = {"image": jnp.zeros((ROWS, SIDE, SIDE, 3), jnp.uint8), "mask": EVERY, "label": labels}
  task, plain = (make_classes(mixed={"mixup": mixup, "cutmix": 0.0}, **settings) for mixup in (1.0, 0.0))
  variables = task.init(jax.random.key(0))
  seen = task.augment(KEYS, batch)
  share, _, _ = mixing.shares(KEYS, mixup=1.0)
  alone = lambda rows, row: jax.tree.map(lambda x: x[row:row + 1], rows)
  of = lambda made, rows: np.array([made.loss(variables, alone(rows, row), KEYS[:1])[0]["loss"] for row in range(4)])
  mixture = of(task, seen)
  own, others = (of(plain, plain.augment(KEYS, batch | {"label": of_these}))
                 for of_these in (labels, labels[jnp.arange(ROWS) ^ 1]))
  np.testing.assert_allclose(mixture[:, 0], share[:4] * own[:, 0] + (1 - share[:4]) * others[:, 0], rtol=1e-5)
  assert task.loss(variables, seen, KEYS)[0]["loss"][1] == 4  # the last two are a mixture with a galaxy without a class


@pytest.mark.parametrize("change,message", [
    ({"task": "instances"}, "are for votes and classes"),
    ({"model.output": "dirichlet", "loss.name": "dirichlet_multinomial"}, "whole numbers of votes"),
])
def test_refused(change, message):
  config = base.get_config()
  with config.unlocked():
    config.update_from_flattened_dict(change | {"augment.cutmix": 1.0})
  with pytest.raises(ValueError, match=message):
    experiment.make_task(experiment.resolve(config), axis_name=None, all_views=False)
