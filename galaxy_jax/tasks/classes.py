"""Classes: which one of a list of names a galaxy has."""
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import losses, metrics, mixing
from galaxy_jax.tasks import vision
from galaxy_jax.tasks.task import Task

LOSSES = ("cross_entropy", "focal")
#: How galaxies weigh in the loss by their class: alike; or so that every class has the same part in it.
WEIGHTS = ("none", "balanced")
#: What the last layer's biases are at first: 0; or such that every galaxy gets the training split's frequencies.
BIASES = ("zeros", "log_frequencies")

#: The name in a batch of what a mixture's classes are.
_MIXED = "mixed_classes"

# Probabilities below it cost no more: a mean over views in float32 may be 0.
_SMALLEST = 1e-7


def make(*, model: Callable, names: Sequence[str], label: str, counts: Sequence[int] | None, loss: str,
         label_smoothing: float, focal_gamma: float, class_weights: str, head_bias: str, mixed: dict | None = None,
         **seen) -> Task:
  """The task of predicting one class of several.

  The outputs are probabilities (B, C), the mean of the views' softmax. What decides which checkpoint is best is
  `error`, the share of galaxies whose most probable class is wrong: the published figures of all these systems are
  accuracies, and the cross-entropy of a network that grows too sure of itself rises long before its accuracy falls.

  Args:
    model: makes the network for a number of outputs.
    names: of the classes, in the order of their numbers.
    label: the records' feature with the class, negative where unknown; such galaxies count nowhere.
    counts: galaxies of the training split in each class; needed by 'balanced' and 'log_frequencies' in training, None
      where the task only predicts.
    loss: a name in LOSSES.
    label_smoothing: see losses.softmax_cross_entropy.
    focal_gamma: see losses.focal_loss.
    class_weights: a name in WEIGHTS; 'balanced' weighs a class by the inverse of its frequency, 1 in the mean over the
      training split's galaxies.
    head_bias: a name in BIASES. With log_frequencies the first loss is that of answering with the frequencies, and the
      network need not find them out; the model `most_frequent` then answers so without training.
    mixed: how galaxies are mixed in training, and their classes with them: `mixup` and `cutmix` of mixing.mix.
    **seen: how the network sees the images, see vision.make.

  Raises:
    ValueError: an unknown loss, kind of weights or of biases.
  """
  for key, value, known in (("loss.name", loss, LOSSES), ("loss.class_weights", class_weights, WEIGHTS),
                            ("model.head_bias", head_bias, BIASES)):
    if value not in known:
      raise ValueError(f"config.{key} is {value!r}; of classes, {', '.join(known)} are expected.")
  sight = vision.make(model(len(names)), **seen)
  weights = balanced_weights(counts) if counts is not None and class_weights == "balanced" else np.ones(len(names))
  weights = jnp.asarray(weights, jnp.float32)

  def init(key):
    variables = sight.init(key)
    if counts is None or head_bias == "zeros":
      return variables
    params = variables["params"]
    bias = jnp.asarray(log_frequencies(counts), params["head"]["bias"].dtype)
    return variables | {"params": params | {"head": params["head"] | {"bias": bias}}}

  def distributions(labels):
    """(B, C) of (B,) classes: 1 for the class and 0 for the others, NaN where it is unknown."""
    known = losses.present(labels)[:, None]
    return jnp.where(known, jax.nn.one_hot(jnp.maximum(labels, 0), len(names)), jnp.nan)

  def augment(keys, batch):
    batch = sight.augment(keys, batch)
    if not mixed or not any(mixed.values()):
      return batch
    images, classes = mixing.mix(keys, batch["image"], distributions(batch[label]), batch["mask"], **mixed)
    return batch | {"image": images, _MIXED: classes}

  def loss_sums(variables, batch, keys):
    logits, collections = sight.train(variables, batch, keys)
    labels = batch[label]
    learnt = batch[_MIXED] if _MIXED in batch else distributions(labels)
    there = jnp.all(losses.present(learnt), axis=1)
    # Not divided by the sum of the weights: their mean is 1 over the split, and a batch's own sum would be noise.
    learnt = learnt * weights
    if loss == "focal":
      values = losses.focal_loss(logits, learnt, gamma=focal_gamma, label_smoothing=label_smoothing)
    else:
      values = losses.softmax_cross_entropy(logits, learnt, label_smoothing=label_smoothing)
    correct = jnp.argmax(logits, axis=-1) == labels
    return {"loss": losses.masked_sum(values, batch["mask"], there),
            "accuracy": losses.masked_sum(correct, batch["mask"], there)}, collections

  def describe(variables, images):
    return sight.average(variables, images, jax.nn.softmax)

  def class_metrics(probabilities, batch):
    labels = batch[label]
    there = losses.present(labels)
    true = jnp.take_along_axis(probabilities, jnp.where(there, labels, 0)[:, None], axis=-1)[:, 0]
    surprise = -jnp.log(jnp.maximum(true, _SMALLEST))
    return {"cross_entropy": losses.masked_sum(surprise, batch["mask"], there),
            **metrics.class_metrics(probabilities, labels, batch["mask"], top_k=(2,) if len(names) > 2 else ())}

  def finish(sums):
    result = metrics.finish(sums)
    if "confusion" in sums:
      confusion, of_class = (np.asarray(part, np.float64) for part in sums["confusion"])
      result["error"] = 1 - result["accuracy"]
      result |= {f"accuracy/{name}": float(confusion[number, number] / of_class[number, 0])
                 for number, name in enumerate(names) if of_class[number, 0] > 0}
    return result

  return Task(init=init, augment=augment, loss=loss_sums,
              predict=lambda variables, batch: describe(variables, batch["image"])[0], metrics=class_metrics,
              finish=finish, absent={label: np.int32(-1)}, score="error", explain=sight.explain, describe=describe)


def balanced_weights(counts: Sequence[int]) -> np.ndarray:
  """N / (K n(c)) for each class c with n(c) > 0 galaxies, of N in K such classes; 0 for a class without any.

  Every class then has the same part in the loss, and the mean of the weights over the N galaxies is 1.
  """
  counts = np.asarray(counts, np.float64)
  seen = counts > 0
  return np.where(seen, counts.sum() / (seen.sum() * np.where(seen, counts, 1)), 0.0)


def log_frequencies(counts: Sequence[int]) -> np.ndarray:
  """log(n(c) / N); a class without any galaxy counts as half a one."""
  counts = np.maximum(np.asarray(counts, np.float64), 0.5)
  return np.log(counts / counts.sum())
