"""Losses, elementwise and unreduced, and the one helper that sums them under a mask.

A missing label is NaN (or a negative integer class). It costs 0 and passes no gradient; `present` says which labels
are there, so that they can be left out of the count as well:

  loss = squared_error(predictions, targets)
  total, count = masked_sum(loss, batch["mask"], present(targets))
"""
import jax
import jax.numpy as jnp
import optax

from galaxy_jax import decision_tree


def present(targets):
  """Which labels are there: bool of the targets' shape, false where NaN, or negative for integer classes."""
  targets = jnp.asarray(targets)
  return ~jnp.isnan(targets) if jnp.issubdtype(targets.dtype, jnp.inexact) else targets >= 0


def masked_sum(values, *masks):
  """Sums `values` and counts them, under the product of masks.

  Args:
    values: (B, ...) losses or metrics, unreduced.
    *masks: (B,) or any further leading axes of `values`: 1 counts, 0 does not, anything between is a weight.

  Returns:
    (sum, count), two float32 scalars. A value under a zero mask is not looked at: it may be NaN.

  Raises:
    ValueError: a mask's shape is not the beginning of the values'.
  """
  values = jnp.asarray(values)
  weight = jnp.ones(values.shape, jnp.float32)
  for mask in masks:
    mask = jnp.asarray(mask)
    leading = zip(mask.shape, values.shape, strict=False)
    if mask.ndim > values.ndim or any(size not in (1, expected) for size, expected in leading):
      raise ValueError(f"a mask of shape {mask.shape} does not cover values of shape {values.shape}: expected "
                       f"{values.shape[:1]}, one number a row, up to {values.shape}, one for each value")
    weight = weight * mask.astype(jnp.float32).reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
  return jnp.sum(jnp.where(weight > 0, values, 0.0) * weight), jnp.sum(weight)


def _same_shape(predictions, targets):
  if jnp.shape(predictions) != jnp.shape(targets):
    raise ValueError(f"predictions of shape {jnp.shape(predictions)} against targets of shape {jnp.shape(targets)}: "
                     "expected the same")


def squared_error(predictions, targets):
  """(prediction - target)², elementwise; 0 where the target is NaN."""
  _same_shape(predictions, targets)
  return jnp.square(predictions - jnp.where(present(targets), targets, predictions))


def smooth_l1(predictions, targets, beta=1 / 9):
  """|x| - β/2 of x = prediction - target, x²/(2β) where |x| < β, elementwise (Girshick 2015, arXiv:1504.08083)."""
  _same_shape(predictions, targets)
  return optax.huber_loss(predictions, targets, delta=beta) / beta


def binary_cross_entropy(logits, targets):
  """-t log σ(z) - (1 - t) log(1 - σ(z)), elementwise, from logits; 0 where the target is NaN.

  Args:
    logits: any shape.
    targets: the same shape, in [0, 1]: a vote fraction serves as well as a class.
  """
  _same_shape(logits, targets)
  there = present(targets)
  return jnp.where(there, optax.sigmoid_binary_cross_entropy(logits, jnp.where(there, targets, 0.0)), 0.0)


def fraction_cross_entropy(fractions, targets, eps=1e-6):
  """-t log p - (1 - t) log(1 - p), elementwise, from probabilities; 0 where the target is NaN.

  For output layers whose fractions are products, where no logit belongs to one answer alone.

  Args:
    fractions: any shape, in [0, 1].
    targets: the same shape, in [0, 1].
    eps: p is clipped to [eps, 1 - eps], which bounds the loss; beyond it there is no gradient.
  """
  _same_shape(fractions, targets)
  there = present(targets)
  target = jnp.where(there, targets, 0.0)
  fraction = jnp.clip(fractions, eps, 1 - eps)
  return jnp.where(there, -target * jnp.log(fraction) - (1 - target) * jnp.log1p(-fraction), 0.0)


def tree_cross_entropy(logits, targets):
  """-t(c) log softmax_q(z)(c), elementwise, with the softmax over the answers of c's question q.

  Summed over the answers it is the cross-entropy of each question's conditional fractions, weighted by the share of
  the volunteers who were asked it: the negative log-likelihood of the votes down the tree, per volunteer. It belongs
  to the output layer `decision_tree.tree_fractions`.

  Args:
    logits: (..., 37).
    targets: (..., 37) cumulative vote fractions, NaN where missing.

  Returns:
    (..., 37), 0 where the target is NaN.
  """
  _same_shape(logits, targets)
  # A large negative number, not infinity, in the empty slots: 0 · ∞ would be NaN in the gradient.
  by_question = decision_tree.by_question(logits, fill=-1e9)
  log_conditional = decision_tree.from_questions(jax.nn.log_softmax(by_question, axis=-1))
  return -jnp.where(present(targets), targets, 0.0) * log_conditional


def tree_fraction_cross_entropy(fractions, targets, eps=1e-6):
  """`tree_cross_entropy` from vote fractions: -t(c) log(p(c) / p(π(c))), p and their ratio clipped at `eps`."""
  _same_shape(fractions, targets)
  conditional = jnp.clip(decision_tree.conditional(fractions, eps), eps, 1.0)
  return -jnp.where(present(targets), targets, 0.0) * jnp.log(conditional)


def softmax_cross_entropy(logits, labels, label_smoothing=0.0):
  """-Σ t(c) log softmax(z)(c) over the classes c, with t smoothed to (1 - s) t + s / C.

  Args:
    logits: (..., C).
    labels: (...) integer classes, negative where missing; or (..., C) a distribution, NaN where missing. One whose
      parts are weighted by class, and whose sum is not 1, costs what its parts cost.
    label_smoothing: s, in [0, 1) (Szegedy et al. 2016, arXiv:1512.00567, section 7).

  Returns:
    (...) the loss of each row, 0 where the label is missing.

  Raises:
    ValueError: labels of another shape or type.
  """
  target, there = _distributions(logits, labels, label_smoothing)
  return jnp.where(there, optax.softmax_cross_entropy(logits, target), 0.0)


def focal_loss(logits, labels, gamma=2.0, label_smoothing=0.0):
  """-Σ t(c) (1 - p(c))^γ log p(c) over the classes c, with p = softmax(z): cross-entropy less what is learnt already.

  Lin et al. 2017 (arXiv:1708.02002), for more than two classes; γ = 0 is the cross-entropy.

  Args:
    logits: (..., C).
    labels, label_smoothing: as in `softmax_cross_entropy`.
    gamma: γ, at least 0.

  Returns:
    (...) the loss of each row, 0 where the label is missing.

  Raises:
    ValueError: labels of another shape or type.
  """
  target, there = _distributions(logits, labels, label_smoothing)
  log_p = jax.nn.log_softmax(logits, axis=-1)
  # Exact near 0, unlike 1 - p, and never 0, where its power has no slope for γ < 1.
  others = jnp.maximum(-jnp.expm1(log_p), 1e-12)
  return jnp.where(there, -jnp.sum(target * others**gamma * log_p, axis=-1), 0.0)


def _distributions(logits, labels, label_smoothing):
  """The target of each row, (..., C), and whether it is there, (...); arguments as in `softmax_cross_entropy`."""
  labels = jnp.asarray(labels)
  if jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == logits.shape[:-1]:
    there = labels >= 0
    target = jax.nn.one_hot(jnp.where(there, labels, 0), logits.shape[-1], dtype=logits.dtype)
  elif jnp.issubdtype(labels.dtype, jnp.floating) and labels.shape == logits.shape:
    there = jnp.all(present(labels), axis=-1)
    target = jnp.where(there[..., None], labels, 0.0)
  else:
    raise ValueError(f"labels of shape {labels.shape} and type {labels.dtype} for logits of shape {logits.shape}: "
                     f"expected integer classes {logits.shape[:-1]} or float distributions {logits.shape}")
  # As optax.smooth_labels, but of targets of any sum: what is spread is a share of it.
  spread = jnp.sum(target, axis=-1, keepdims=True) / target.shape[-1]
  return (1 - label_smoothing) * target + label_smoothing * spread, there


def dirichlet_multinomial(concentrations, counts):
  """The negative log-likelihood of the votes to each question, given a Dirichlet over its answers.

  With k(i) votes to answer i of a question, n = Σ k(i), concentrations α(i) and α₀ = Σ α(i),

    -log P = -log Γ(n+1) - log Γ(α₀) + log Γ(n+α₀) + Σ [log Γ(k(i)+1) + log Γ(α(i)) - log Γ(k(i)+α(i))]

  (Walmsley et al. 2020, MNRAS 491, 1554; 2022, MNRAS 509, 3966). A question nobody was asked has n = 0 and
  costs exactly 0, in value and in gradient, so the tree needs no mask here. In float32, with up to 40 votes an answer
  and concentrations of `decision_tree.dirichlet_concentrations`, a question's loss is right to 1e-3 and its gradient
  by a concentration to 3e-6.

  Args:
    concentrations: (..., 37), positive; see `decision_tree.dirichlet_concentrations`.
    counts: (..., 37) votes, not negative, whole or weighted, not fractions; NaN where missing.

  Returns:
    (..., 11) per question; 0 where any answer's count is missing.
  """
  _same_shape(concentrations, counts)
  counts = decision_tree.by_question(counts)
  total_concentration = decision_tree.question_sums(concentrations)
  concentrations = decision_tree.by_question(concentrations, fill=1.0)
  counts = jnp.where(jnp.all(present(counts), axis=-1, keepdims=True), counts, 0.0)
  total = jnp.sum(counts, axis=-1)
  lgamma = jax.scipy.special.gammaln
  answers = lgamma(counts + 1) + lgamma(concentrations) - lgamma(counts + concentrations)
  question = lgamma(total + total_concentration) - lgamma(total_concentration) - lgamma(total + 1)
  # What has no votes is 0 by the formula, but not to the last bit: gammaln(1) is not exactly 0 in float32.
  return jnp.where(total > 0, question, 0.0) + jnp.sum(jnp.where(counts > 0, answers, 0.0), axis=-1)
