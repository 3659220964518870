"""Mixtures of two galaxies and of what is known of them: mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et
al. 2019, arXiv:1905.04899).

Rows are mixed two by two, the first with the second, the third with the fourth …, each by its own key: where each
device has an even number of rows, which Parallel.check_batch asks for, pairs lie on one device, and jit and pmap see
the same mixtures.
"""
import jax
import jax.numpy as jnp

# What a row's key is folded with; augmentation folds it with other numbers.
_MIXING = 0x6D6978


def shares(keys, *, mixup=0.0, cutmix=0.0):
  """Draws how each row is mixed.

  Args:
    keys: (B,) typed PRNG keys, one a row.
    mixup, cutmix: α of the Beta(α, α) that the row's own share is drawn from; 0: not so. With both, each row is mixed
      in one of the two ways, equally likely.

  Returns:
    share: (B,) float32, how much of the row is its own, 0.5 … 1: the larger of the two, so that a row stays the galaxy
      that its class and id name. (Its partner draws for itself, so nothing is lost by it.)
    cut: (B,) bool, whether a box of the partner's is pasted, instead of a mean taken.
    centre: (B, 2) float32 in [0, 1), where the box lies, down and across.
  """
  def draw(key):
    which, blend, box, place = jax.random.split(jax.random.fold_in(key, _MIXING), 4)
    # Ways that are not asked for are never drawn.
    cut = jax.random.bernoulli(which, bool(cutmix) / (bool(mixup) + bool(cutmix)) if mixup or cutmix else 0.0)
    share = jnp.where(cut, jax.random.beta(box, cutmix or 1.0, cutmix or 1.0),
                      jax.random.beta(blend, mixup or 1.0, mixup or 1.0))
    return jnp.maximum(share, 1 - share), cut, jax.random.uniform(place, (2,))

  return jax.vmap(draw)(keys)


def mix(keys, images, targets, mask, *, mixup=0.0, cutmix=0.0):
  """Mixes each row with the one beside it.

  Args:
    keys: (B,) typed PRNG keys, one a row; B even.
    images: (B, H, W, C) float.
    targets: (B, K) float, fractions or class probabilities; NaN where unknown, which makes the mixture's unknown too.
    mask: (B,), 0 for rows that only pad a batch: nothing is mixed with them.
    mixup, cutmix: as `shares`.

  Returns:
    Images and targets of the same shapes. A pasted box counts in the target with the area of it that lies in the image.

  Raises:
    ValueError: rows that do not come in pairs.
  """
  rows, height, width = images.shape[:3]
  if rows % 2:
    raise ValueError(f"Mixup and CutMix mix rows two by two, and there are {rows}.")
  share, cut, centre = shares(keys, mixup=mixup, cutmix=cutmix)
  share = jnp.where(_partners(mask) > 0, share, 1.0)
  half = jnp.sqrt(1 - share) / 2
  inside = (_within(height, centre[:, 0], half)[:, :, None] & _within(width, centre[:, 1], half)[:, None, :])
  # Of each pixel, what is the row's own.
  own = jnp.where(cut[:, None, None], 1.0 - inside, share[:, None, None])[..., None]
  share = jnp.where(cut, 1 - jnp.mean(inside, axis=(1, 2)), share)[:, None]
  blend = lambda values, part: jnp.where(part == 1, values, part * values + (1 - part) * _partners(values))
  return blend(images, own), blend(targets, share)


def _partners(values):
  """Each row's partner, (B, ...)."""
  return jnp.flip(values.reshape(-1, 2, *values.shape[1:]), axis=1).reshape(values.shape)


def _within(length, centre, half):
  """(B, length) bool: the pixels within `half` of `centre` (both (B,), shares of the image)."""
  position = (jnp.arange(length) + 0.5) / length
  return jnp.abs(position - centre[:, None]) < half[:, None]
