"""The class task: its losses and figures against numpy and scikit-learn, missing labels, the baseline, its refusals."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, recall_score

from galaxy_jax import metrics, models
from galaxy_jax.tasks import classes

NAMES = ("round", "edge_on", "spiral")
LABELS = np.array([2, -1, 0, 2, 1], np.int32)
MASK = np.array([1.0, 1, 1, 1, 0], np.float32)
COUNTED = [0, 2, 3]


def make(network="galaxyid", **changes):
  options = {"width": 4} if network == "galaxyid" else {}
  settings = {
      "model": lambda outputs: models.create(network, outputs=outputs, **options),
      "names": NAMES, "label": "label", "counts": None, "loss": "cross_entropy", "label_smoothing": 0.0,
      "focal_gamma": 2.0, "class_weights": "none", "head_bias": "zeros", "size": 16, "view": 1.0, "working_size": 16,
      "greyscale": False, "geometry": {"rotation": 360.0, "rotation_step": 90.0, "flip": True}, "colour": {},
      "rotations": 4, "flips": True, "zooms": (1.0,), "normalise": "per_image"}
  return classes.make(**settings | changes)


@pytest.fixture(scope="module")
def batch():
  images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
  return {"image": jnp.asarray(images), "label": jnp.asarray(LABELS), "mask": jnp.asarray(MASK)}


@pytest.mark.parametrize(("loss", "smoothing", "weights"), [
    ("cross_entropy", 0.0, "none"), ("cross_entropy", 0.1, "balanced"), ("focal", 0.0, "balanced")])
def test_losses_by_hand(batch, loss, smoothing, weights):
  counts = (30, 5, 10)
  task = make(loss=loss, label_smoothing=smoothing, class_weights=weights, counts=counts)
  variables = task.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 5)
  network = models.create("galaxyid", outputs=3, width=4)

  @jax.jit
  def both(variables):
    seen = task.augment(keys, batch)
    return task.loss(variables, seen, keys)[0], network.apply(variables, seen["image"], train=True, keys=keys)[0]

  sums, logits = both(variables)
  logits = np.asarray(logits, np.float64)
  log_p = np.log(scipy.special.softmax(logits, axis=1))
  target = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
  values = -(target * log_p * (1 - np.exp(log_p)) ** (2.0 if loss == "focal" else 0.0)).sum(1)
  if weights == "balanced":
    values = values * np.array([45 / (3 * n) for n in counts])[LABELS]
  assert sums["loss"][1] == 3
  np.testing.assert_allclose(sums["loss"][0], values[COUNTED].sum(), rtol=1e-4)
  right = logits.argmax(1) == LABELS
  assert (float(sums["accuracy"][0]), float(sums["accuracy"][1])) == (right[COUNTED].sum(), 3)


def test_galaxies_without_a_label_pass_no_gradient(batch):
  task = make()
  variables = task.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 5)
  alone = batch | {"mask": jnp.array([0.0, 1, 0, 0, 0])}
  total = lambda params: task.loss({"params": params}, task.augment(keys, alone), keys)[0]["loss"][0]
  gradient = jax.jit(jax.grad(total))(variables["params"])
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_predictions_are_probabilities_that_the_views_leave_alone(batch):
  task = make()
  variables = task.init(jax.random.key(0))
  predict = jax.jit(task.predict)
  predicted = predict(variables, batch)
  np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-6)
  np.testing.assert_allclose(predict(variables, batch | {"image": jnp.rot90(batch["image"], 1, (1, 2))}), predicted,
                             atol=1e-5)


def test_figures_against_scikit_learn():
  task = make()
  rng = np.random.default_rng(1)
  labels = rng.integers(-1, 3, 40).astype(np.int32)
  probabilities = rng.dirichlet(np.ones(3), 40).astype(np.float32)
  parts = []
  for rows in (slice(0, 30), slice(30, 50)):  # uneven batches, the second padded
    real = len(labels[rows])
    mask = np.concatenate([np.ones(real), np.zeros(3)]).astype(np.float32)
    parts.append(task.metrics(jnp.asarray(np.pad(probabilities[rows], ((0, 3), (0, 0)))),
                              {"label": jnp.asarray(np.pad(labels[rows], (0, 3))), "mask": jnp.asarray(mask)}))
  found = task.finish(metrics.merge(*parts))
  known = labels >= 0
  true, predicted = labels[known], probabilities[known].argmax(1)
  expected = {"accuracy": accuracy_score(true, predicted), "error": 1 - accuracy_score(true, predicted),
              "balanced_accuracy": balanced_accuracy_score(true, predicted),
              "macro_f1": f1_score(true, predicted, average="macro"),
              "cross_entropy": log_loss(true, probabilities[known]),
              "top_2_accuracy": np.mean(probabilities[known].argmin(1) != true)}
  expected |= {f"accuracy/{name}": value
               for name, value in zip(NAMES, recall_score(true, predicted, average=None), strict=True)}
  assert found.keys() == expected.keys() and task.score in found
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, rel=1e-5), name


def test_the_baseline_answers_with_the_frequencies(batch):
  counts = (30, 5, 65)
  task = make("most_frequent", head_bias="log_frequencies", counts=counts)
  variables = task.init(jax.random.key(0))
  np.testing.assert_allclose(task.predict(variables, batch), np.tile([0.3, 0.05, 0.65], (5, 1)), rtol=1e-5)
  # Nothing is left to train: over the split itself the gradient is zero.
  split = {"image": jnp.zeros((100, 16, 16, 3)), "label": jnp.repeat(jnp.arange(3), jnp.array(counts)),
           "mask": jnp.ones(100)}
  gradient = jax.grad(lambda p: task.loss({"params": p}, split, None)[0]["loss"][0])(variables["params"])
  np.testing.assert_allclose(gradient["head"]["bias"], 0, atol=1e-4)


def test_any_network_may_begin_with_the_frequencies():
  plain, counted = make().init(jax.random.key(0)), make(head_bias="log_frequencies", counts=(1, 0, 3)).init(
      jax.random.key(0))
  np.testing.assert_allclose(counted["params"]["head"]["bias"], np.log([1 / 4.5, 0.5 / 4.5, 3 / 4.5]), rtol=1e-6)
  assert jax.tree.structure(plain) == jax.tree.structure(counted)
  np.testing.assert_array_equal(plain["params"]["stage1_conv"]["kernel"],
                                counted["params"]["stage1_conv"]["kernel"])


def test_balanced_weights_give_every_class_the_same_part():
  counts = np.array([10, 0, 30, 60])
  weights = classes.balanced_weights(counts)
  np.testing.assert_allclose((weights * counts)[[0, 2, 3]], 100 / 3)
  assert np.sum(weights * counts) / 100 == pytest.approx(1) and weights[1] == 0


@pytest.mark.parametrize(("changes", "message"), [
    ({"loss": "squared_error"}, r"config\.loss\.name is 'squared_error'; of classes, cross_entropy, focal"),
    ({"class_weights": "inverse"}, r"config\.loss\.class_weights is 'inverse'"),
    ({"head_bias": "prior"}, r"config\.model\.head_bias is 'prior'"),
    ({"normalise": "zscore"}, r"config\.augment\.normalise is 'zscore'; expected none, per_image, imagenet"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    make(**changes)
