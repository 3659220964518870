"""Vote fractions: what share of Galaxy Zoo's volunteers gave each of the 37 answers."""
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from galaxy_jax import decision_tree, losses, metrics, mixing
from galaxy_jax.tasks import vision
from galaxy_jax.tasks.task import Task

#: The loss on numbers of votes. It has no value for the fractions that are left when views are averaged.
ON_COUNTS = "dirichlet_multinomial"
#: The other losses by name: (fractions, targets), both (B, 37) → (B, 37).
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
#: Losses that belong to one output layer.
_BELONGS = {"tree_cross_entropy": "tree", ON_COUNTS: "dirichlet"}


def make(*, model: Callable, output: str, loss: str, conditional: bool = False, mixed: dict | None = None,
         **seen) -> Task:
  """The task of predicting vote fractions.

  Args:
    model: makes the network for a number of outputs.
    output: the output layer, a name in decision_tree.OUTPUT_LAYERS.
    loss: a name in LOSSES, summed over a galaxy's answers; or ON_COUNTS, summed over its questions, which needs the
      label `vote_counts`.
    conditional: the fractions that are learnt are of the volunteers who were asked, not of all.
    mixed: how galaxies are mixed in training, and their fractions with them: `mixup` and `cutmix` of mixing.mix.
    **seen: how the network sees the images, see vision.make.

  Raises:
    ValueError: an unknown output layer or loss, or two that do not go together; votes' numbers, of mixtures.
  """
  if output not in decision_tree.OUTPUT_LAYERS:
    raise ValueError(f"config.model.output is {output!r}; expected {', '.join(decision_tree.OUTPUT_LAYERS)}.")
  if loss not in (*LOSSES, ON_COUNTS):
    raise ValueError(f"config.loss.name is {loss!r}; expected {', '.join((*LOSSES, ON_COUNTS))}.")
  if _BELONGS.get(loss, output) != output:
    raise ValueError(f"config.loss.name {loss!r} goes with config.model.output {_BELONGS[loss]!r}, not {output!r}.")
  mixed = mixed if mixed and any(mixed.values()) else None
  if mixed and loss == ON_COUNTS:
    raise ValueError(f"config.loss.name {ON_COUNTS!r} is of whole numbers of votes, which a mixture of two galaxies "
                     "does not have; leave config.augment.mixup and config.augment.cutmix at 0.")
  sight = vision.make(model(decision_tree.NUM_ANSWERS), **seen)
  layer = decision_tree.OUTPUT_LAYERS[output]
  fraction_loss, logit_loss = LOSSES.get(loss), FROM_LOGITS.get((loss, output))

  labels = ("vote_fractions", "vote_counts") if loss == ON_COUNTS else ("vote_fractions",)
  unknown = np.full(decision_tree.NUM_ANSWERS, np.nan, np.float32)

  def sums(values, batch):
    """A galaxy counts once, with the sum over its answers."""
    labelled = jnp.any(losses.present(batch["vote_fractions"]), axis=-1)
    return losses.masked_sum(jnp.sum(values, axis=-1), batch["mask"], labelled)

  def augment(keys, batch):
    batch = sight.augment(keys, batch)
    if not mixed:
      return batch
    images, fractions = mixing.mix(keys, batch["image"], batch["vote_fractions"], batch["mask"], **mixed)
    return batch | {"image": images, "vote_fractions": fractions}

  def loss_sums(variables, batch, keys):
    logits, collections = sight.train(variables, batch, keys)
    targets = batch["vote_fractions"]
    fractions = layer(logits)
    there = losses.present(targets)
    errors = losses.masked_sum(losses.squared_error(fractions, targets), batch["mask"], there)
    if loss == ON_COUNTS:
      values = losses.dirichlet_multinomial(decision_tree.dirichlet_concentrations(logits), batch["vote_counts"])
    else:
      values = logit_loss(logits, targets) if logit_loss else fraction_loss(fractions, targets)
    return {"loss": sums(values, batch), "squared_error": errors}, collections

  def describe(variables, images):
    return sight.average(variables, images, layer)

  def vote_metrics(outputs, batch):
    targets = batch["vote_fractions"]
    loss_of_fractions = {"loss": sums(fraction_loss(outputs, targets), batch)} if fraction_loss else {}
    return loss_of_fractions | metrics.vote_metrics(outputs, targets, batch["mask"], conditional=conditional)

  return Task(init=sight.init, augment=augment, loss=loss_sums,
              predict=lambda variables, batch: describe(variables, batch["image"])[0], metrics=vote_metrics,
              finish=metrics.finish, score="rmse", absent=dict.fromkeys(labels, unknown), describe=describe)
