"""What the training loop knows of a problem."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
  """A problem as a few pure functions.

  A batch is a dict of arrays with a leading axis B and `mask` (B,), 0 for padding rows. `keys` (B,) are one PRNG key
  a row. `variables` is the model's dict of collections, `params` among them. Sums are pairs (sum, count) that merge by
  addition, so that no result depends on the batch size or on the number of devices.

  Attributes:
    init: key → variables.
    augment: (keys, batch) → batch, as the model is trained on.
    loss: (variables, batch, keys) → ({name: (sum, count)}, the new collections other than `params`); the first sum
      over its count is minimised.
    predict: (variables, batch) → outputs (B, ...), an array or a dict of them, with all test-time views.
    metrics: (outputs, batch) → {name: (sum, count)}.
    finish: {name: (sum, count)} → {name: float}.
    absent: what stands in one row for a label that is missing, by the labels of a batch, beside `image` and `mask`.
    score: the name among the finished metrics that decides which checkpoint is best; lower is better.
    explain: (variables, images, classes) → what the network sees of the images, maps of where it sees the classes, and
      the stage they were taken from; raises saliency.NoMapError. None where the outputs are no classes.
    describe: (variables, images) → the outputs and the features (B, D) that they are made from, both with all test-time
      views. None where an image has no outputs as a whole.
    accumulator: () → an object with `update(outputs, batch)`, which is given every batch of a split as numpy arrays,
      and `result()` → {name: float}, which joins the finished metrics; for scores that are no means, as average
      precision. None where there are none. Raises DataError where what it needs is not installed.
  """
  init: Callable
  augment: Callable
  loss: Callable
  predict: Callable
  metrics: Callable
  finish: Callable
  absent: dict[str, np.ndarray]
  score: str
  explain: Callable | None = None
  describe: Callable | None = None
  accumulator: Callable | None = None

  @property
  def labels(self) -> tuple[str, ...]:
    """The labels of a batch."""
    return tuple(self.absent)
