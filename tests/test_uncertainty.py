"""Intervals about predicted vote fractions hold the share of votes that they say."""
import json

import numpy as np
import pytest
from conftest import valid_votes

from galaxy_jax import uncertainty
from tfds_builders.gz2_tree import QUESTIONS


def galaxies(count, seed):
  """Predicted fractions, and voted ones that scatter more about 0.5 than about 0 and 1, and more in one question."""
  rng = np.random.default_rng(seed)
  predicted = valid_votes(rng, count)
  spread = 0.25 * np.sqrt(predicted * (1 - predicted))
  spread[:, QUESTIONS[3].columns] *= 2
  return predicted, np.clip(predicted + spread * rng.standard_normal(predicted.shape), 0, 1)


@pytest.fixture(scope="module")
def fitted():
  return uncertainty.fit(*galaxies(2000, 0))


@pytest.mark.parametrize("level", uncertainty.LEVELS)
def test_other_galaxies_votes_are_inside_as_often_as_said(fitted, level):
  predicted, voted = galaxies(2000, 1)
  share, by_question = uncertainty.coverage(fitted.bounds(predicted, level), voted)
  assert share == pytest.approx(level, abs=0.01)
  for name, value in by_question.items():
    assert value == pytest.approx(level, abs=0.03), name


def test_intervals_are_as_wide_as_the_errors_there(fitted):
  predicted, voted = galaxies(4000, 2)
  low, high = fitted.bounds(predicted, 0.9)
  assert (low >= 0).all() and (high <= 1).all() and (low <= predicted).all() and (high >= predicted).all()
  inside = (voted >= low) & (voted <= high)
  for start in (0.02, 0.1, 0.3, 0.5, 0.7):
    part = (predicted >= start) & (predicted < start + 0.1)
    assert inside[part].mean() == pytest.approx(0.9, abs=0.05), start
  wide, narrow = (high - low)[:, QUESTIONS[3].columns], (high - low)[:, QUESTIONS[2].columns]
  same = lambda width, columns: width[(predicted[:, columns] > 0.2) & (predicted[:, columns] < 0.3)].mean()
  assert same(wide, QUESTIONS[3].columns) > 1.5 * same(narrow, QUESTIONS[2].columns)


def test_a_higher_level_is_never_narrower(fitted):
  predicted, _ = galaxies(200, 3)
  widths = [np.subtract(*fitted.bounds(predicted, level)[::-1]).mean() for level in uncertainty.LEVELS]
  assert widths == sorted(widths) and widths[0] < widths[-1]


def test_missing_votes_are_left_out():
  predicted, voted = galaxies(400, 4)
  holed = np.concatenate([voted, np.full_like(voted, np.nan)])
  fitted = uncertainty.fit(np.concatenate([predicted, predicted]), holed)
  whole = uncertainty.fit(predicted, voted)
  assert fitted.galaxies == 400
  np.testing.assert_array_equal(fitted.factors, whole.factors)
  share, _ = uncertainty.coverage(fitted.bounds(np.concatenate([predicted, predicted]), 0.9), holed)
  assert share == uncertainty.coverage(whole.bounds(predicted, 0.9), voted)[0]


def test_json_keeps_them(fitted):
  again = uncertainty.from_json(json.loads(json.dumps(fitted.as_json())))
  predicted, _ = galaxies(10, 5)
  np.testing.assert_array_equal(again.bounds(predicted, 0.68), fitted.bounds(predicted, 0.68))
  assert again.galaxies == 2000


def test_older_files_have_one_factor_for_both_groups(fitted):
  stored = fitted.as_json()
  old = uncertainty.from_json(stored | {"factors": fitted.factors[..., 1].tolist()})
  np.testing.assert_array_equal(old.factors, np.stack([fitted.factors[..., 1]] * 2, axis=-1))


def test_galaxies_that_are_asked_have_intervals_of_their_own():
  """Nine in ten are not asked about arms and have no votes there, all but exactly as predicted; the tenth scatters."""
  def some(count, seed):
    rng = np.random.default_rng(seed)
    arms = next(q for q in QUESTIONS if q.name == "arms_number").columns
    predicted = valid_votes(rng, count)
    asked = rng.random(count) < 0.1
    predicted[:, arms] = np.where(asked[:, None], rng.dirichlet([1.0] * 6, count), 0.002)
    voted = np.clip(predicted + 0.02 * rng.standard_normal(predicted.shape), 0, 1)
    voted[:, arms] = np.where(asked[:, None], np.clip(predicted[:, arms] + 0.2 * rng.standard_normal((count, 6)), 0, 1),
                              0)
    return predicted, voted, asked, arms
  predicted, voted, _, _ = some(2000, 1)
  fitted = uncertainty.fit(predicted, voted)
  predicted, voted, asked, arms = some(2000, 2)
  low, high = fitted.bounds(predicted, 0.9)
  inside = ((voted >= low) & (voted <= high))[:, arms]
  assert inside[asked].mean() == pytest.approx(0.9, abs=0.03)
  assert (high - low)[asked][:, arms].mean() > 5 * (high - low)[~asked][:, arms].mean()


def test_too_few_galaxies_and_unknown_levels_are_named(fitted):
  predicted, voted = galaxies(18, 6)
  with pytest.raises(ValueError, match=r"hold 95% of the votes need 19 galaxies with votes .* there are 18\."):
    uncertainty.fit(predicted, voted)
  with pytest.raises(ValueError, match=r"of 0\.8 are not calibrated; there are those of 0\.5, 0\.68, 0\.9, 0\.95\."):
    fitted.bounds(predicted, 0.8)


@pytest.mark.parametrize(("count", "level", "expected"), [
    (9, 0.9, 9), (19, 0.9, 18), (19, 0.95, 19), (99, 0.68, 68), (20, 0.5, 11), (8, 0.9, 9)])
def test_the_rank_is_that_of_conformal_prediction(count, level, expected):
  assert uncertainty.rank(count, level) == expected
  # An error to come is as likely in each of the gaps between those known, so that this many lie below the rank.
  assert expected / (count + 1) >= level > (expected - 1) / (count + 1)


def test_a_width_is_the_error_of_its_rank():
  rng = np.random.default_rng(3)
  predicted = np.full((99, 37), 0.5)
  voted = predicted + rng.permuted(np.linspace(0.001, 0.4, 99 * 37)).reshape(99, 37)
  fitted = uncertainty.fit(predicted, voted, (0.9,))
  errors = np.sort(np.abs(predicted - voted), axis=None)
  np.testing.assert_allclose(fitted.half_widths, errors[int(np.ceil((99 * 37 + 1) * 0.9)) - 1])


def test_each_galaxy_is_judged_by_intervals_of_the_others():
  rng = np.random.default_rng(3)
  predicted = rng.dirichlet(np.ones(37), 600)
  voted = np.clip(predicted + rng.normal(0, 0.05, predicted.shape), 0, 1)
  low, high = uncertainty.cross_bounds(predicted, voted, (0.5, 0.9))
  for level, bounds in zip((0.5, 0.9), zip(low, high, strict=True), strict=True):
    whole, by_question = uncertainty.coverage(bounds, voted)
    assert whole == pytest.approx(level, abs=0.02)
    assert len(by_question) == 11 and min(by_question.values()) > level - 0.06
  # Were they judged by their own, so few galaxies would all be inside.
  few = slice(0, 60)
  voted = rng.uniform(size=(60, 37))
  (low,), (high,) = uncertainty.cross_bounds(predicted[few], voted, (0.95,))
  honest, _ = uncertainty.coverage((low, high), voted)
  assert honest < 0.99
