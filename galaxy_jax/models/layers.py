"""Layers whose results do not depend on what else shares the batch or on how many devices share it.

flax's own normalisation and dropout see one device's rows. Here the moments of a batch are sums over
the real rows of all devices, and each row draws its dropout from its own key.
"""
import zlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
  """Batch normalisation over the real rows of the global batch (Ioffe and Szegedy 2015).

  Attributes:
    axis_name: the pmapped axis to sum the moments over; None under jit, where the batch is global already.
    momentum: share of the running moments that one step keeps.
    epsilon: added to the variance.
    scale_init: initial scale; zeros make a residual branch start as nothing.
    dtype: of the result. The moments are float32 always.
  """
  axis_name: str | None = None
  momentum: float = 0.9
  epsilon: float = 1e-5
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
    if train:
      mean, var = self._moments(x, mask)
      if not self.is_initializing():
        running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
    else:
      mean, var = running_mean.value, running_var.value
    # One multiply and one add over the whole tensor: passes over memory are what a norm costs.
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    return (x * factor.astype(x.dtype) + (bias - mean * factor).astype(x.dtype)).astype(self.dtype)

  def _moments(self, x, mask):
    axes = tuple(range(x.ndim - 1))
    x = x.astype(jnp.float32)
    if mask is None:
      mask = jnp.ones(x.shape[:1])
    weights = mask.reshape((-1,) + (1,) * (x.ndim - 1))
    pixels = x[0, ..., 0].size
    sums = (jnp.sum(x * weights, axes), jnp.sum(jnp.square(x) * weights, axes), jnp.sum(mask) * pixels)
    if self.axis_name is not None and not self.is_initializing():
      sums = jax.lax.psum(sums, self.axis_name)
    total, squares, count = sums
    count = jnp.maximum(count, 1)
    mean = total / count
    return mean, jnp.maximum(squares / count - jnp.square(mean), 0)


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


def make_norm(kind: str, *, axis_name: str | None, dtype: Any) -> Callable[..., nn.Module]:
  """The constructor of a normalisation layer by its name, `batch` or `group`."""
  if kind == "batch":
    return lambda **options: BatchNorm(axis_name=axis_name, dtype=dtype, **options)
  if kind == "group":
    return lambda **options: GroupNorm(dtype=dtype, **options)
  raise ValueError(f"norm is {kind!r}; expected 'batch' or 'group'.")


def max_pool_2x2(x: jax.Array) -> jax.Array:
  """Maximum over 2×2 blocks of (B, H, W, C); odd last rows and columns are dropped.

  Written as a reshape because the backward pass of a window reduction is three times slower on CPU.
  """
  b, h, w, c = x.shape
  x = x[:, :h // 2 * 2, :w // 2 * 2]
  return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
