"""Metrics as pairs (sum, count) that merge by addition, and what is made of them at the end.

Every function of a batch returns {name: (sum, count)}; pairs of many batches, devices or hosts are added (`merge`) and
only then divided (`finish`), so a metric does not depend on how its rows were batched. Padding rows (mask 0) and
missing labels (NaN, or negative classes) are in neither the sum nor the count. Most sums are scalars; those of
`calibration` and `confusion` are arrays.
"""
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.losses import masked_sum, present, squared_error
from tfds_builders.gz2_tree import QUESTIONS


def vote_metrics(predictions, targets, mask, *, conditional=False, calibration_bins=10):
  """Compares predicted with voted fractions.

  Args:
    predictions: (B, 37) vote fractions.
    targets: (B, 37) vote fractions, NaN where missing.
    mask: (B,) 1 for rows that count, 0 for padding.
    conditional: both are of the volunteers who were asked; else of all.
    calibration_bins: bins of equal width over predicted fractions in [0, 1].

  Returns:
    {name: (sum, count)}, see `finish` for what becomes of them:
      squared_error, absolute_error: over all 37 answers;
      squared_error/<question>: over the answers of one question;
      accuracy/<question>: the leading answer is the same, over the galaxies asked: those that at least half of
        the volunteers brought to the question, and that have any votes there;
      accuracy: all of these together;
      calibration_predicted, calibration_voted: per bin of the predicted fraction, (bins,) and (bins,).
  """
  there = present(targets)
  voted = jnp.where(there, targets, 0.0)
  errors = squared_error(predictions, targets)
  result = {
      "squared_error": masked_sum(errors, mask, there),
      "absolute_error": masked_sum(jnp.abs(predictions - voted), mask, there),
  }
  for question in QUESTIONS:
    columns = question.columns
    result[f"squared_error/{question.name}"] = masked_sum(errors[:, columns], mask, there[:, columns])

  of_all = decision_tree.cumulative(voted) if conditional else voted
  counts = decision_tree.asked(of_all) & (decision_tree.question_sums(voted) > 0)
  counts &= jnp.all(decision_tree.by_question(there, fill=True), axis=-1)
  correct = decision_tree.leading_answers(predictions) == decision_tree.leading_answers(voted)
  result["accuracy"] = masked_sum(correct, mask, counts)
  for number, question in enumerate(QUESTIONS):
    result[f"accuracy/{question.name}"] = masked_sum(correct[:, number], mask, counts[:, number])
  return result | calibration(predictions, targets, mask, bins=calibration_bins)


def calibration(predictions, targets, mask, *, bins=10):
  """Sums what was predicted and what was found, by bins of the prediction.

  Args:
    predictions: (B, ...) in [0, 1]; values outside go to the first or last bin.
    targets: the same shape: fractions or 0 and 1, NaN where missing.
    mask: (B,).
    bins: bins of equal width.

  Returns:
    calibration_predicted, calibration_voted: (sum, count) each, all of shape (bins,).
  """
  there = present(targets)
  weight = there * mask.reshape(mask.shape + (1,) * (there.ndim - mask.ndim)).astype(jnp.float32)
  number = jnp.clip(jnp.floor(predictions * bins), 0, bins - 1).astype(jnp.int32)
  chosen = jax.nn.one_hot(number, bins) * weight[..., None]
  axes = tuple(range(chosen.ndim - 1))
  count = jnp.sum(chosen, axis=axes)

  def binned(values):
    return jnp.sum(chosen * jnp.where(weight > 0, values, 0.0)[..., None], axis=axes)

  return {"calibration_predicted": (binned(predictions), count), "calibration_voted": (binned(targets), count)}


def class_metrics(logits, labels, mask, *, top_k=()):
  """Compares predicted with true classes.

  Args:
    logits: (B, C), any monotonic function of the probabilities.
    labels: (B,) integer classes, negative where missing.
    mask: (B,).
    top_k: numbers k for which the true class among the k best is counted too.

  Returns:
    {name: (sum, count)}:
      accuracy, top_<k>_accuracy;
      confusion: the sum (C, C) counts galaxies by true (row) and predicted (column) class, the count (C, 1) those of
        each true class, so that sum / count has the recall of each class on its diagonal.
  """
  there = present(labels)
  true = jnp.where(there, labels, 0)
  weight = (mask * there).astype(jnp.float32)
  result = {"accuracy": masked_sum(jnp.argmax(logits, axis=-1) == true, weight)}
  # Classes strictly better than the true one. A class that ties with it is taken as worse when it comes later.
  true_logit = jnp.take_along_axis(logits, true[:, None], axis=-1)
  earlier = jnp.arange(logits.shape[-1]) < true[:, None]
  rank = jnp.sum((logits > true_logit) | ((logits == true_logit) & earlier), axis=-1)
  for k in top_k:
    result[f"top_{k}_accuracy"] = masked_sum(rank < k, weight)
  classes = logits.shape[-1]
  rows = jax.nn.one_hot(true, classes) * weight[:, None]
  columns = jax.nn.one_hot(jnp.argmax(logits, axis=-1), classes)
  confusion = jnp.matmul(rows.T, columns, precision=jax.lax.Precision.HIGHEST)
  result["confusion"] = (confusion, jnp.sum(confusion, axis=-1, keepdims=True))
  return result


def merge(*results):
  """Adds {name: (sum, count)} of several batches, on the host and in float64, where millions still add exactly.

  Raises:
    ValueError: the results do not have the same names.
  """
  names = {name: None for result in results for name in result}
  for number, result in enumerate(results):
    missing = [name for name in names if name not in result]
    if missing:
      raise ValueError(f"metrics {missing} are in some results but not in number {number}; all must have the same")
  return {name: tuple(sum(np.asarray(result[name][part], np.float64) for result in results) for part in (0, 1))
          for name in names}


def finish(sums):
  """Divides: {name: (sum, count)} over a whole split → {name: float}.

  `squared_error…` becomes `rmse…`, the root of the mean (over all N × 37 values, the score of the Kaggle challenge);
  `calibration_…` becomes `calibration_error`, the mean of |predicted - voted| over bins weighted by their counts;
  `confusion` becomes `balanced_accuracy`, the mean recall, and `macro_f1`, over the classes with a true member;
  all else is sum / count. Where nothing was counted the value is NaN.
  """
  result = {}
  for name, (total, count) in sums.items():
    total, count = np.asarray(total, np.float64), np.asarray(count, np.float64)
    if name == "calibration_predicted":
      gap = np.abs(total - np.asarray(sums["calibration_voted"][0], np.float64))
      result["calibration_error"] = _divide(gap.sum(), count.sum())
    elif name == "confusion":
      result |= _from_confusion(total)
    elif name.startswith("squared_error"):
      result["rmse" + name.removeprefix("squared_error")] = float(np.sqrt(_divide(total, count)))
    elif name != "calibration_voted":
      result[name] = _divide(total, count)
  return result


def calibration_curve(sums):
  """The curve behind `calibration_error`.

  Args:
    sums: {name: (sum, count)} with those of `calibration`.

  Returns:
    predicted, voted, count: (bins,) each: the means within each bin, NaN in an empty bin.
  """
  predicted, count = (np.asarray(part, np.float64) for part in sums["calibration_predicted"])
  voted = np.asarray(sums["calibration_voted"][0], np.float64)
  divisor = np.where(count > 0, count, np.nan)
  return predicted / divisor, voted / divisor, count


def _divide(total, count):
  return float(total / count) if count > 0 else float("nan")


def _from_confusion(confusion):
  true, predicted, correct = confusion.sum(1), confusion.sum(0), np.diagonal(confusion)
  seen = true > 0
  if not seen.any():
    return {"balanced_accuracy": float("nan"), "macro_f1": float("nan")}
  return {"balanced_accuracy": float(np.mean(correct[seen] / true[seen])),
          "macro_f1": float(np.mean(2 * correct[seen] / (true[seen] + predicted[seen])))}
