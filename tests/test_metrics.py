"""Metrics against numpy over the whole set, and their independence of batches and padding."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import decision_tree, metrics
from tfds_builders.gz2_tree import QUESTIONS

ROWS = 50

vote_metrics = jax.jit(metrics.vote_metrics)


@pytest.fixture
def votes():
  """Predicted and voted fractions; row 3 has no labels, row 5 only question 1's."""
  predicted, voted = (np.array(decision_tree.tree_fractions(2 * jax.random.normal(jax.random.key(key), (ROWS, 37))))
                      for key in (0, 1))
  voted[3] = np.nan
  voted[5, 3:] = np.nan
  return predicted, voted


def test_vote_metrics_against_numpy(votes):
  predicted, voted = votes
  result = metrics.finish(vote_metrics(predicted, voted, np.ones(ROWS)))
  np.testing.assert_allclose(result["rmse"], np.sqrt(np.nanmean((predicted - voted)**2)), rtol=1e-5)
  np.testing.assert_allclose(result["absolute_error"], np.nanmean(np.abs(predicted - voted)), rtol=1e-5)
  hits = []
  for question in QUESTIONS:
    there, guess = voted[:, question.columns], predicted[:, question.columns]
    np.testing.assert_allclose(result[f"rmse/{question.name}"], np.sqrt(np.nanmean((guess - there)**2)), rtol=1e-5)
    counts = ~np.isnan(there).any(-1)
    if question.parent is not None:
      counts &= voted[:, question.parent] >= 0.5
    hits.append(np.argmax(guess[counts], -1) == np.argmax(there[counts], -1))
    expected = hits[-1].mean() if counts.any() else np.nan
    np.testing.assert_allclose(result[f"accuracy/{question.name}"], expected, rtol=1e-6)
  np.testing.assert_allclose(result["accuracy"], np.concatenate(hits).mean(), rtol=1e-6)


def test_question_without_votes_has_no_leading_answer():
  voted = np.zeros((1, 37), np.float32)
  voted[0, [1, 14]] = 1.0  # featured, but question 2 has no votes
  sums = vote_metrics(voted, voted, np.ones(1))
  assert float(sums["accuracy/edgeon"][1]) == 0
  assert float(sums["accuracy"][1]) == 2
  assert np.isnan(metrics.finish(sums)["accuracy/edgeon"])


def test_batches_and_padding_do_not_matter(votes):
  predicted, voted = votes
  whole = metrics.finish(vote_metrics(predicted, voted, jnp.ones(ROWS)))
  parts = []
  for start in range(0, ROWS, 16):
    rows = min(16, ROWS - start)
    batch = [np.full((16, 37), np.nan, np.float32) for _ in range(2)]
    batch[0][:rows], batch[1][:rows] = predicted[start:start + rows], voted[start:start + rows]
    batch[1][rows:] = 0.5
    parts.append(vote_metrics(*batch, np.arange(16) < rows))
  merged = metrics.finish(metrics.merge(*parts))
  assert merged.keys() == whole.keys()
  for name, value in whole.items():
    np.testing.assert_allclose(merged[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_accuracy_of_fractions_of_those_asked_counts_those_who_were(votes):
  """The same galaxies, once with the fractions of all volunteers and once with those of the volunteers asked."""
  of_all = votes
  of_asked = [np.asarray(decision_tree.conditional(values)) for values in votes]
  both = [metrics.finish(metrics.vote_metrics(*values, np.ones(ROWS), conditional=conditional))
          for values, conditional in ((of_all, False), (of_asked, True))]
  names = [name for name in both[0] if name.startswith("accuracy")]
  assert len(names) == 12
  for name in names:
    np.testing.assert_allclose(both[1][name], both[0][name], rtol=1e-6, err_msg=name)
  wrongly = metrics.finish(metrics.vote_metrics(*of_asked, np.ones(ROWS)))
  assert wrongly["accuracy"] != pytest.approx(both[0]["accuracy"], rel=1e-3)


def test_calibration_against_numpy(votes):
  predicted, voted = votes
  sums = metrics.calibration(predicted, voted, np.ones(ROWS), bins=5)
  there = ~np.isnan(voted)
  number = np.digitize(predicted[there], np.linspace(0, 1, 6)[1:-1])
  curve = metrics.calibration_curve(sums)
  gaps = 0
  for index in range(5):
    chosen = number == index
    means = predicted[there][chosen].mean(), voted[there][chosen].mean()
    np.testing.assert_allclose([c[index] for c in curve], [*means, chosen.sum()], rtol=1e-5)
    gaps += abs(means[0] - means[1]) * chosen.sum()
  np.testing.assert_allclose(metrics.finish(sums)["calibration_error"], gaps / there.sum(), rtol=1e-5)


def test_calibrated_predictions_have_no_calibration_error():
  # A prediction of 0.25 that comes true in one of four cases.
  sums = metrics.calibration(jnp.full((8,), 0.25), jnp.array([1., 0, 0, 0, 0, 1, 0, 0]), jnp.ones(8))
  np.testing.assert_allclose(metrics.finish(sums)["calibration_error"], 0, atol=1e-7)


def test_class_metrics_against_numpy():
  random = np.random.default_rng(0)
  logits, labels = random.normal(size=(60, 4)).astype(np.float32), random.integers(0, 4, size=60)
  mask = (np.arange(60) < 55).astype(np.float32)
  labels[7] = -1
  sums = jax.jit(lambda *args: metrics.class_metrics(*args, top_k=(1, 2)))(logits, labels, mask)
  real = (mask > 0) & (labels >= 0)
  order, true = np.argsort(-logits[real], axis=-1), labels[real]
  expected = np.zeros((4, 4))
  np.add.at(expected, (true, order[:, 0]), 1)
  np.testing.assert_array_equal(sums["confusion"][0], expected)
  result = metrics.finish(sums)
  np.testing.assert_allclose(result["accuracy"], np.mean(order[:, 0] == true), rtol=1e-6)
  np.testing.assert_allclose(result["top_1_accuracy"], result["accuracy"])
  np.testing.assert_allclose(result["top_2_accuracy"], np.mean((order[:, :2] == true[:, None]).any(-1)), rtol=1e-6)
  recall = np.diagonal(expected) / expected.sum(1)
  precision = np.diagonal(expected) / expected.sum(0)
  np.testing.assert_allclose(result["balanced_accuracy"], recall.mean(), rtol=1e-6)
  np.testing.assert_allclose(result["macro_f1"], np.mean(2 * recall * precision / (recall + precision)), rtol=1e-6)


def test_ties_count_once():
  sums = metrics.class_metrics(jnp.zeros((3, 3)), jnp.arange(3), jnp.ones(3), top_k=(1, 2, 3))
  result = metrics.finish(sums)
  np.testing.assert_allclose([result[f"top_{k}_accuracy"] for k in (1, 2, 3)], [1 / 3, 2 / 3, 1], rtol=1e-6)


def test_merge_names_what_is_missing():
  with pytest.raises(ValueError, match="accuracy"):
    metrics.merge({"loss": (1, 2), "accuracy": (1, 2)}, {"loss": (1, 2)})
