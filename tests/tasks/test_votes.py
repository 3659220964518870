"""The vote task: its loss against numpy, its views, its refusals."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import valid_votes

from galaxy_jax import decision_tree, metrics, models
from galaxy_jax.tasks import votes
from tfds_builders.gz2_tree import QUESTIONS


def make(**changes):
  settings = {
      "model": lambda outputs: models.create("galaxyid", outputs=outputs, width=4), "output": "tree",
      "loss": "squared_error", "size": 16, "view": 1.0, "working_size": 16, "greyscale": False,
      "geometry": {"rotation": 360.0, "flip": True}, "colour": {}, "rotations": 4, "flips": True, "zooms": (1.0,)}
  return votes.make(**settings | changes)


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  targets = valid_votes(rng, 5).astype(np.float32)
  targets[1] = np.nan
  return {"image": jnp.asarray(rng.integers(0, 256, (5, 16, 16, 3), np.uint8)), "vote_fractions": jnp.asarray(targets),
          "mask": jnp.array([1.0, 1, 1, 1, 0])}


def test_predictions_are_invariant_under_the_views(batch):
  task = make()
  variables = task.init(jax.random.key(0))
  predict = jax.jit(task.predict)
  predicted = predict(variables, batch)
  np.testing.assert_allclose(decision_tree.question_sums(predicted), decision_tree.parent_fractions(predicted),
                             atol=1e-6)
  for turned in (jnp.rot90(batch["image"], 1, (1, 2)), batch["image"][:, :, ::-1], batch["image"][:, ::-1]):
    np.testing.assert_allclose(predict(variables, batch | {"image": turned}), predicted, atol=1e-6)
  one = make(rotations=1, flips=False)
  assert not np.allclose(one.predict(variables, batch | {"image": batch["image"][:, ::-1]}),
                         one.predict(variables, batch), atol=1e-6)


@pytest.mark.parametrize("loss", sorted(votes.LOSSES))
def test_losses_count_a_labelled_galaxy_once(batch, loss):
  task = make(loss=loss)
  variables = task.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 5)
  seen = task.augment(keys, batch)
  sums, collections = task.loss(variables, seen, keys)
  assert collections == {}
  total, count = sums["loss"]
  assert count == 3
  # The same from the outputs, row by row in numpy.
  p = np.asarray(task_outputs(task, variables, seen, keys), np.float64)
  t = np.asarray(batch["vote_fractions"], np.float64)
  parent = np.asarray(decision_tree.parent_fractions(p))[:, decision_tree.QUESTION_OF]
  values = {"squared_error": (p - t)**2, "binary_cross_entropy": -t * np.log(p) - (1 - t) * np.log1p(-p),
            "tree_cross_entropy": -t * np.log(p / parent)}[loss]
  np.testing.assert_allclose(total, values[[0, 2, 3]].sum(), rtol=1e-4)


def task_outputs(task, variables, seen, keys):
  network = models.create("galaxyid", outputs=37, width=4)
  logits, _ = network.apply(variables, seen["image"], train=True, keys=keys)
  return decision_tree.tree_fractions(logits)


def test_metrics_say_the_loss_of_the_predictions(batch):
  task = make(loss="tree_cross_entropy")
  predicted = task.predict(task.init(jax.random.key(0)), batch)
  finished = task.finish(metrics.merge(task.metrics(predicted, batch)))
  errors = np.asarray(predicted - batch["vote_fractions"])[[0, 2, 3]]
  np.testing.assert_allclose(finished["rmse"], np.sqrt(np.mean(errors**2)), rtol=1e-5)
  assert finished["loss"] > 0


def test_greyscale_images_have_one_channel(batch):
  task = make(greyscale=True)
  assert task.augment(jax.random.split(jax.random.key(0), 5), batch)["image"].shape == (5, 16, 16, 1)
  assert task.predict(task.init(jax.random.key(0)), batch).shape == (5, 37)


def test_the_loss_on_counts_is_the_likelihood_of_a_galaxys_questions(batch):
  task = make(output="dirichlet", loss=votes.ON_COUNTS)
  assert task.labels == ("vote_fractions", "vote_counts")
  counts = np.random.default_rng(3).integers(0, 9, (5, 37))
  counts[2, 15:] = 0
  counted = batch | {"vote_counts": jnp.asarray(counts, jnp.float32)}
  variables = task.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 5)
  seen = task.augment(keys, counted)
  sums, _ = task.loss(variables, seen, keys)
  network = models.create("galaxyid", outputs=37, width=4)
  logits = np.asarray(network.apply(variables, seen["image"], train=True, keys=keys)[0], np.float64)
  concentrations = 1 + 100 / (1 + np.exp(-logits))
  expected = 0.0
  for question in QUESTIONS:
    alpha, votes_cast = concentrations[:, question.columns], counts[:, question.columns]
    logs = scipy.stats.dirichlet_multinomial.logpmf(votes_cast, alpha, votes_cast.sum(-1))
    expected -= logs[[0, 2, 3]].sum()
  total, count = sums["loss"]
  assert count == 3  # the second galaxy has no fractions, the last is padding
  np.testing.assert_allclose(total, expected, rtol=1e-4)
  # What is predicted: the mean of the distributions, down the tree; averaged views have no likelihood.
  predicted = task.predict(variables, batch)
  np.testing.assert_allclose(decision_tree.question_sums(predicted), decision_tree.parent_fractions(predicted),
                             atol=1e-5)
  assert "loss" not in task.metrics(predicted, batch)


@pytest.mark.parametrize(("changes", "message"), [
    ({"output": "softmax"}, r"config\.model\.output is 'softmax'"),
    ({"loss": "hinge"}, r"config\.loss\.name is 'hinge'"),
    ({"loss": "tree_cross_entropy", "output": "sigmoid"}, "goes with"),
    ({"loss": "dirichlet_multinomial", "output": "tree"}, "goes with config.model.output 'dirichlet'"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    make(**changes)
