"""Xception (Chollet 2016), as in the published PyTorch weights (timm's legacy_xception)."""
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, check_size, make_norm


class SeparableConv(nn.Module):
  """A 3×3 convolution of each channel by itself, then a 1×1 convolution over all."""
  filters: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.he_normal())
    x = conv(x.shape[-1], (3, 3), feature_group_count=x.shape[-1], name="depthwise")(x)
    return conv(self.filters, (1, 1), name="pointwise")(x)


class Block(nn.Module):
  """Separable convolutions of these numbers of filters around a shortcut."""
  filters: tuple[int, ...]
  stride: int
  begins_with_relu: bool
  norm: Any
  dtype: Any

  @nn.compact
  def __call__(self, x, *, train, mask):
    y, shortcut = x, x
    for i, filters in enumerate(self.filters, 1):
      if i > 1 or self.begins_with_relu:
        y = nn.relu(y)
      y = SeparableConv(filters, self.dtype, name=f"separable{i}")(y)
      y = self.norm(name=f"norm{i}")(y, train=train, mask=mask)
    if self.stride > 1:
      y = nn.max_pool(y, (3, 3), strides=(self.stride, self.stride), padding=((1, 1), (1, 1)))
      shortcut = nn.Conv(self.filters[-1], (1, 1), strides=self.stride, use_bias=False, dtype=self.dtype,
                         name="projection")(x)
      shortcut = self.norm(name="projection_norm")(shortcut, train=train, mask=mask)
    return y + shortcut


class Xception(nn.Module):
  """Xception; its stages end where the resolution halves. Images have 299 pixels as published.

  Attributes:
    outputs: number of outputs.
    width: every number of filters times this.
    middle: blocks of the middle flow.
    norm: 'batch' or 'group'.
    still: stages whose batch norms keep their running moments and normalise by them, see layers.BatchNorm.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: the pmapped axis, for batch norm.
  """
  outputs: int
  width: float = 1.0
  middle: int = 8
  norm: str = "batch"
  still: tuple[str, ...] = ()
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features by stage."""
    check_size(images, 7)
    norm = make_norm(self.norm, axis_name=self.axis_name, dtype=self.dtype, still=self.still)
    scaled = lambda filters: max(1, round(filters * self.width))
    x, features = images.astype(self.dtype), {}
    for i, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
      x = nn.Conv(scaled(filters), (3, 3), strides=stride, padding="VALID", use_bias=False, dtype=self.dtype,
                  kernel_init=nn.initializers.he_normal(), name=f"stage1_conv{i}")(x)
      x = nn.relu(norm(name=f"stage1_norm{i}")(x, train=train, mask=mask))
    features["stage1"] = x
    wide = (728,) * 3
    blocks = [(2, (128, 128), 2), (3, (256, 256), 2), (4, (728, 728), 2), *[(4, wide, 1)] * self.middle,
              (5, (728, 1024), 2)]
    for number, (stage, filters, stride) in enumerate(blocks, 1):
      x = Block(tuple(map(scaled, filters)), stride, number > 1, norm, self.dtype,
                name=f"stage{stage}_block{number}")(x, train=train, mask=mask)
      features[f"stage{stage}"] = x
    for i, filters in enumerate((1536, 2048), 1):
      x = SeparableConv(scaled(filters), self.dtype, name=f"stage5_separable{i}")(x)
      x = nn.relu(norm(name=f"stage5_norm{i}")(x, train=train, mask=mask))
    features["stage5"] = x
    x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features
