"""Layers whose results do not depend on what else shares the batch or on how many devices share it.

flax's own normalisation and dropout see one device's rows. Here the moments of a batch are sums over
the real rows of all devices, and each row draws its dropout from its own key.
"""
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def stage_of(name: str) -> str:
  """The stage of a network that a parameter belongs to: what its name has before the first underscore."""
  return name.partition("_")[0]


class BatchNorm(nn.Module):
  """Batch normalisation over the real rows of the global batch (Ioffe and Szegedy 2015).

  Attributes:
    axis_name: the pmapped axis to sum the moments over; None under jit, where the batch is global already.
    momentum: share of the running moments that one step keeps.
    epsilon: added to the variance.
    still: stages of the network (see models.stage_of) in which the running moments stay as they are and normalise in
      training, too; ("all",) for every one.
    scale_init: initial scale; zeros make a residual branch start as nothing.
    dtype: of the result. The moments are float32 always.
  """
  axis_name: str | None = None
  momentum: float = 0.9
  epsilon: float = 1e-5
  still: tuple[str, ...] = ()
  scale_init: Callable = nn.initializers.ones
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    """Normalises `x` (B, ..., C); `mask` (B,) is 0 for rows that the moments leave out."""
    channels = x.shape[-1]
    scale = self.param("scale", self.scale_init, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
    running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
    if not train or self._is_still():
      factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
      shift = bias - running_mean.value * factor
      return (x.astype(jnp.float32) * factor + shift).astype(self.dtype)
    weights = jnp.ones(x.shape[:1]) if mask is None else mask
    weights = weights.astype(jnp.float32).reshape((-1,) + (1,) * (x.ndim - 1))
    axis_name = None if self.is_initializing() else self.axis_name
    y, mean, var = _batch_norm(x, scale, bias, weights, self.epsilon, axis_name)
    if not self.is_initializing():
      running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
      running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
    return y.astype(self.dtype)

  def _is_still(self):
    return "all" in self.still or any(stage_of(name) in self.still for name in self.path)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _batch_norm(x, scale, bias, weights, epsilon, axis_name):
  """Normalises `x` by the moments of the rows with weight 1; returns (y, mean, variance)."""
  return _batch_norm_forward(x, scale, bias, weights, epsilon, axis_name)[0]


def _batch_norm_forward(x, scale, bias, weights, epsilon, axis_name):
  axes = tuple(range(x.ndim - 1))
  wide = x.astype(jnp.float32)
  count = jnp.sum(weights) * (x[0, ..., 0].size)
  total, squares, count = _over_devices(
      (jnp.sum(wide * weights, axes), jnp.sum(jnp.square(wide) * weights, axes), count), axis_name)
  count = jnp.maximum(count, 1)
  mean = total / count
  var = jnp.maximum(squares / count - jnp.square(mean), 0)
  inverse = jax.lax.rsqrt(var + epsilon)
  y = ((wide - mean) * (inverse * scale) + bias).astype(x.dtype)
  return (y, mean, var), (x, scale, weights, mean, inverse, count)


def _batch_norm_backward(epsilon, axis_name, saved, cotangents):
  # Written out because the derivative of E[x²] - E[x]² cancels: here rounding stays at that of the sums. The moments
  # are not differentiated, they only feed the running ones.
  del epsilon
  x, scale, weights, mean, inverse, count = saved
  axes = tuple(range(x.ndim - 1))
  dy = cotangents[0].astype(jnp.float32)
  normed = (x.astype(jnp.float32) - mean) * inverse
  dbias, dscale = jnp.sum(dy, axes), jnp.sum(dy * normed, axes)
  all_dbias, all_dscale = _over_devices((dbias, dscale), axis_name)
  dx = (scale * inverse) * (dy - weights * (all_dbias + normed * all_dscale) / count)
  return dx.astype(x.dtype), dscale, dbias, jnp.zeros_like(weights)


_batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


def _over_devices(tree, axis_name):
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


class GroupNorm(nn.Module):
  """Group normalisation (Wu and He 2018), with BatchNorm's signature: it looks at no other row."""
  groups: int = 32
  epsilon: float = 1e-5
  scale_init: Callable = nn.initializers.ones
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    del train, mask
    groups = min(self.groups, x.shape[-1])
    while x.shape[-1] % groups:
      groups -= 1
    return nn.GroupNorm(groups, epsilon=self.epsilon, dtype=self.dtype, scale_init=self.scale_init)(x)


class Dropout(nn.Module):
  """Dropout drawn row by row: a row's mask depends on its key and on the layer's place in the network alone."""
  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, *, keys: jax.Array | None) -> jax.Array:
    """Zeroes a share `rate` of `x` (B, ...) and scales the rest; keeps `x` where `keys` (B,) is None."""
    if keys is None or self.rate == 0:
      return x
    layer = zlib.crc32("/".join(self.path).encode())
    draw = lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.rate, x.shape[1:])
    return jnp.where(jax.vmap(draw)(keys), x / (1 - self.rate), 0).astype(x.dtype)


#: Layer normalisation as published weights have it. The two-pass variance: the one from squares cancels in float32.
LayerNorm = partial(nn.LayerNorm, epsilon=1e-6, use_fast_variance=False)
#: First kernels of the networks that are built of it.
narrow_normal = nn.initializers.truncated_normal(0.02)


def make_norm(kind: str, *, axis_name: str | None, dtype: Any, still: tuple[str, ...] = ()) -> Callable[..., nn.Module]:
  """The constructor of a normalisation layer by its name, `batch` or `group`; `still` is for `batch`."""
  if kind == "batch":
    return lambda **options: BatchNorm(axis_name=axis_name, dtype=dtype, still=still, **options)
  if kind == "group":
    return lambda **options: GroupNorm(dtype=dtype, **options)
  raise ValueError(f"norm is {kind!r}; expected 'batch' or 'group'.")


def check_size(images: jax.Array, smallest: int, *, multiple: int = 1) -> None:
  """Refuses images (B, H, W, C) of which nothing would be left on the way through a network.

  Raises:
    ValueError: a side has fewer than `smallest` pixels or is no multiple of `multiple`.
  """
  height, width = images.shape[1:3]
  if min(height, width) < smallest or height % multiple or width % multiple:
    raise ValueError(f"The images have {height}×{width} pixels; this network takes at least {smallest} a side"
                     + (f", a multiple of {multiple}" if multiple > 1 else "") + ". Change config.augment.size.")


def max_pool_2x2(x: jax.Array) -> jax.Array:
  """Maximum over 2×2 blocks of (B, H, W, C); odd last rows and columns are dropped.

  Written as a reshape because the backward pass of a window reduction is three times slower on CPU.
  """
  b, h, w, c = x.shape
  x = x[:, :h // 2 * 2, :w // 2 * 2]
  return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
