"""Non-maximum suppression and the choice of the best rows, with fixed shapes and masks."""
import jax
import jax.numpy as jnp

from galaxy_jax.detection.boxes import iou


def nms(boxes, scores, valid, threshold, groups=None):
  """Which boxes greedy non-maximum suppression keeps.

  A box is kept where no better box that is kept overlaps it by more than `threshold`. That is a fixed point of
  `keep = valid & ~any(suppress & keep)`, found by iteration: after n rounds the n best links of every chain of
  suppressions are final, and chains are short. It equals the greedy loop at every threshold.

  Args:
    boxes: (N, 4) y0, x0, y1, x1, pixels.
    scores: (N,). Of equal scores the row before is the better; a row with NaN counts as not valid.
    valid: (N,) bool; other rows are neither kept nor suppress any.
    threshold: the largest intersection over union that two kept boxes may have.
    groups: (N,) integers or None: boxes of different groups (classes, or levels of the pyramid) do not suppress
      each other.

  Returns:
    (N,) bool.
  """
  valid = valid.astype(bool) & ~jnp.isnan(scores)
  row = jnp.arange(len(boxes))
  # Compared instead of sorted: nothing has to be gathered there and back.
  better = (scores[:, None] > scores) | ((scores[:, None] == scores) & (row[:, None] < row))
  suppress = better & (iou(boxes, boxes) > threshold) & valid[:, None] & valid
  if groups is not None:
    suppress &= groups[:, None] == groups
  step = lambda keep: valid & ~jnp.any(suppress & keep[:, None], axis=0)
  first = step(valid)
  keep, _ = jax.lax.while_loop(lambda pair: jnp.any(pair[0] != pair[1]), lambda pair: (step(pair[0]), pair[0]),
                               (first, valid))
  return keep


def top_k(scores, valid, k):
  """The rows with the best scores.

  Args:
    scores: (N,) float. Of equal ones the row before comes first.
    valid: (N,) bool: the rows to choose from. NaN is not chosen.
    k: how many; may be more than N.

  Returns:
    indices: (k,) int32, best first; some row (0 beyond N) where there is no further valid one.
    chosen: (k,) bool: which of them are valid rows.
  """
  valid = valid.astype(bool) & ~jnp.isnan(scores)
  number = min(k, len(scores))
  # A valid score may be -inf: it still comes before what is not valid.
  finite = jnp.maximum(scores.astype(jnp.float32), jnp.finfo(jnp.float32).min)
  order = jax.lax.top_k(jnp.where(valid, finite, -jnp.inf), number)[1]
  return jnp.pad(order, (0, k - number)), jnp.pad(valid[order], (0, k - number))


def take(rows, indices, chosen):
  """Rows (N, ...) at `indices` (k,), zeros where not `chosen` (k,): what follows `top_k`."""
  return jnp.where(chosen.reshape(chosen.shape + (1,) * (rows.ndim - 1)), rows[indices], jnp.zeros((), rows.dtype))
