"""What the training loop knows of a problem."""
from collections.abc import Callable
from typing import NamedTuple


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
    predict: (variables, batch) → outputs (B, ...), with all test-time views.
    metrics: (outputs, batch) → {name: (sum, count)}.
    finish: {name: (sum, count)} → {name: float}.
    labels: the labels of a batch, beside `image` and `mask`.
    score: the name among the finished metrics that decides which checkpoint is best; lower is better.
  """
  init: Callable
  augment: Callable
  loss: Callable
  predict: Callable
  metrics: Callable
  finish: Callable
  labels: tuple[str, ...]
  score: str
