import numpy as np
import pytest

from galaxy_jax import novelty


@pytest.fixture(scope="module")
def draw():
  """(count) → features that vary along few axes, with a little in all others."""
  rng = np.random.default_rng(0)
  axes = rng.normal(size=(5, 40))
  return lambda count: rng.normal(size=(count, 5)) @ axes + 0.1 * rng.normal(size=(count, 40)) + 3


@pytest.fixture(scope="module")
def galaxies(draw):
  """The features of known galaxies and of galaxies held out."""
  return draw(400), draw(1000)


@pytest.mark.parametrize("held_out", [120, 1000])
def test_one_in_a_hundred_other_galaxies_is_beyond_one(draw, held_out):
  known, others = draw(400), draw(20_000)
  # The held out are few: over many such samples the share is that of which the reference speaks.
  shares = [np.mean(novelty.fit(known, draw(held_out)).novelty(others) > 1) for _ in range(30)]
  assert np.mean(shares) == pytest.approx(0.01, abs=0.004)


def test_what_lies_beside_the_known_axes_is_new(galaxies):
  familiar = novelty.fit(*galaxies)
  shifted = galaxies[1][:50] + np.random.default_rng(1).normal(size=(1, 40))
  assert familiar.novelty(shifted).min() > 2
  assert np.median(familiar.novelty(galaxies[1])) < 1


def test_units_of_the_features_do_not_matter(galaxies):
  known, held_out = galaxies
  plain, scaled = novelty.fit(known, held_out), novelty.fit(1000 * known - 7, 1000 * held_out - 7)
  np.testing.assert_allclose(scaled.novelty(1000 * held_out - 7), plain.novelty(held_out), rtol=1e-3)


@pytest.mark.parametrize("known, held_out", [
    (np.zeros((100, 0)), np.zeros((200, 0))), (np.ones((100, 8)), np.ones((200, 8))),
    (np.random.default_rng(0).normal(size=(3, 8)), np.ones((200, 8))),
    (np.random.default_rng(0).normal(size=(99, 8)), np.random.default_rng(1).normal(size=(98, 8)))])
def test_nothing_to_compare_is_none(known, held_out):
  assert novelty.fit(known, held_out) is None
