"""Vote fractions: what share of Galaxy Zoo's volunteers gave each of the 37 answers."""
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from galaxy_jax import augment as augmentation
from galaxy_jax import decision_tree, losses, metrics
from galaxy_jax.tasks.task import Task

#: Losses by name: (fractions, targets), both (B, 37) → (B, 37).
LOSSES = {
    "squared_error": losses.squared_error,
    "binary_cross_entropy": losses.fraction_cross_entropy,
    "tree_cross_entropy": losses.tree_fraction_cross_entropy,
}
#: The same losses from logits, for the output layers that allow it: there nothing is clipped, and a wrong certainty
#: still has a gradient.
FROM_LOGITS = {
    ("binary_cross_entropy", "sigmoid"): losses.binary_cross_entropy,
    ("tree_cross_entropy", "tree"): losses.tree_cross_entropy,
}


def make(*, model: Callable, output: str, loss: str, size: int, view: float, working_size: int, greyscale: bool,
         geometry: dict, colour: dict, rotations: int, flips: bool, zooms: Sequence[float]) -> Task:
  """The task of predicting vote fractions.

  Args:
    model: makes the network for a number of outputs.
    output: the output layer, a name in decision_tree.OUTPUT_LAYERS.
    loss: a name in LOSSES; summed over a galaxy's answers.
    size: pixels the network sees.
    view: share of the working image's width that it sees.
    working_size: pixels of the working images.
    greyscale: one channel instead of three.
    geometry: how images are turned in training, see augment.affine_matrices.
    colour: how their colours change, see augment.colour.
    rotations: test-time rotations, by equal parts of a turn, 1 for none.
    flips: whether each is mirrored too.
    zooms: and seen at each of these zooms.

  Raises:
    ValueError: an unknown output layer or loss, or two that do not go together.
  """
  if output not in decision_tree.OUTPUT_LAYERS:
    raise ValueError(f"config.model.output is {output!r}; expected {', '.join(decision_tree.OUTPUT_LAYERS)}.")
  if loss not in LOSSES:
    raise ValueError(f"config.loss.name is {loss!r}; expected {', '.join(LOSSES)}.")
  if loss == "tree_cross_entropy" and output != "tree":
    raise ValueError(f"config.loss.name 'tree_cross_entropy' goes with config.model.output 'tree', not {output!r}.")
  network = model(decision_tree.NUM_ANSWERS)
  layer = decision_tree.OUTPUT_LAYERS[output]
  fraction_loss, logit_loss = LOSSES[loss], FROM_LOGITS.get((loss, output))
  crop = view * working_size
  views = augmentation.view_matrices(crop=crop, size=size, rotations=[360 * i / rotations for i in range(rotations)],
                                     flips=(False, True) if flips else (False,), zooms=zooms)
  channels = augmentation.greyscale if greyscale else lambda images: images

  def init(key):
    images = jnp.zeros((1, size, size, 1 if greyscale else 3))
    return jax.jit(partial(network.init, train=False))(key, images)

  def augment(keys, batch):
    matrices = augmentation.affine_matrices(keys, crop=crop, size=size, **geometry)
    images = augmentation.colour(keys, augmentation.warp(batch["image"], matrices, size), **colour)
    return batch | {"image": channels(images)}

  def sums(values, batch):
    """A galaxy counts once, with the sum over its answers."""
    labelled = jnp.any(losses.present(batch["vote_fractions"]), axis=-1)
    return losses.masked_sum(jnp.sum(values, axis=-1), batch["mask"], labelled)

  def loss_sums(variables, batch, keys):
    (logits, _), collections = network.apply(variables, batch["image"], train=True, mask=batch["mask"], keys=keys,
                                             mutable=[name for name in variables if name != "params"])
    targets = batch["vote_fractions"]
    fractions = layer(logits)
    there = losses.present(targets)
    errors = losses.masked_sum(losses.squared_error(fractions, targets), batch["mask"], there)
    values = logit_loss(logits, targets) if logit_loss else fraction_loss(fractions, targets)
    return {"loss": sums(values, batch), "squared_error": errors}, collections

  def predict(variables, batch):
    # Views are folded into the batch: a loop around convolutions is slow on CPU.
    images = batch["image"]
    turned = channels(jnp.stack([augmentation.warp(images, matrix, size) for matrix in views], axis=1))
    logits, _ = network.apply(variables, turned.reshape(-1, *turned.shape[2:]), train=False)
    return jnp.mean(layer(logits).reshape(len(images), len(views), -1), axis=1)

  def vote_metrics(outputs, batch):
    targets = batch["vote_fractions"]
    return {"loss": sums(fraction_loss(outputs, targets), batch),
            **metrics.vote_metrics(outputs, targets, batch["mask"])}

  return Task(init=init, augment=augment, loss=loss_sums, predict=predict, metrics=vote_metrics,
              finish=metrics.finish, labels=("vote_fractions",), score="rmse")
