"""Residual networks (He et al. 2015, 2016): ResNet-18, 26, 50 and 101 as one family.

Padding is symmetric and the stride sits in a bottleneck's 3×3, as in the published PyTorch weights, so that those
can be loaded. The network of Zhu et al. 2019 is the same family with pre-activation, twice the filters and a stem of
64 filters of 6×6 (configs/morph5.py).
"""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, make_norm

_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Block(nn.Module):
  """One residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1 with `bottleneck`."""
  filters: int
  stride: int
  bottleneck: bool
  preactivation: bool
  conv: Any
  norm: Any

  @nn.compact
  def __call__(self, x, *, train, mask):
    norm = lambda y, **options: self.norm(**options)(y, train=train, mask=mask)
    kernels = [(1, 1), (self.stride, 3), (1, 1)] if self.bottleneck else [(self.stride, 3), (1, 3)]
    width = self.filters * 4 if self.bottleneck else self.filters
    shortcut = x
    needs_projection = x.shape[-1] != width or self.stride != 1
    y = x
    if self.preactivation:
      y = nn.relu(norm(y))
      if needs_projection:
        shortcut = self.conv(width, (1, 1), strides=self.stride, name="projection")(y)
    elif needs_projection:
      shortcut = norm(self.conv(width, (1, 1), strides=self.stride, name="projection")(x), name="projection_norm")
    for i, (stride, kernel) in enumerate(kernels):
      last = i == len(kernels) - 1
      y = self.conv(width if last else self.filters, (kernel, kernel), strides=stride, padding=kernel // 2)(y)
      if self.preactivation:
        y = y if last else nn.relu(norm(y))
      elif last:
        # A branch that starts as nothing lets deep networks train from the first step (Goyal et al. 2017).
        y = norm(y, scale_init=nn.initializers.zeros)
      else:
        y = nn.relu(norm(y))
    return y + shortcut if self.preactivation else nn.relu(y + shortcut)


class ResNet(nn.Module):
  """A residual network.

  Attributes:
    outputs: number of outputs.
    stage_sizes: blocks in each stage.
    bottleneck: bottleneck blocks (their outputs are four times as wide) instead of basic ones.
    width: filters of the first stage; each stage doubles them.
    stem: (kernel, stride) of the first convolution.
    stem_width: its filters; 0: as many as `width`.
    stem_pool: a 3×3 maximum with stride 2 after the stem.
    preactivation: norm and ReLU before each convolution (He et al. 2016).
    norm: 'batch' or 'group'.
    still: stages whose batch norms keep their running moments and normalise by them, see layers.BatchNorm.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: the pmapped axis, for batch norm.
  """
  outputs: int
  stage_sizes: Sequence[int]
  bottleneck: bool = False
  width: int = 64
  stem: tuple[int, int] = (7, 2)
  stem_width: int = 0
  stem_pool: bool = True
  preactivation: bool = False
  norm: str = "batch"
  still: tuple[str, ...] = ()
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) in [0, 1] to outputs (B, outputs) and features by stage."""
    conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=_he_normal)
    norm = make_norm(self.norm, axis_name=self.axis_name, dtype=self.dtype, still=self.still)
    kernel, stride = self.stem
    x = conv(self.stem_width or self.width, (kernel, kernel), strides=stride,
             padding=[((kernel - 1) // 2, kernel // 2)] * 2, name="stem")(images.astype(self.dtype))
    if not self.preactivation:
      x = nn.relu(norm(name="stem_norm")(x, train=train, mask=mask))
    if self.stem_pool:
      x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    features = {"stem": x}
    for stage, blocks in enumerate(self.stage_sizes):
      for block in range(blocks):
        x = Block(self.width * 2**stage, 2 if stage > 0 and block == 0 else 1, self.bottleneck, self.preactivation,
                  conv, norm, name=f"stage{stage + 1}_block{block + 1}")(x, train=train, mask=mask)
      features[f"stage{stage + 1}"] = x
    if self.preactivation:
      x = nn.relu(norm(name="last_norm")(x, train=train, mask=mask))
    x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features


ResNet18 = partial(ResNet, stage_sizes=(2, 2, 2, 2))
ResNet26 = partial(ResNet, stage_sizes=(2, 2, 2, 2), bottleneck=True)
ResNet50 = partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True)
ResNet101 = partial(ResNet, stage_sizes=(3, 4, 23, 3), bottleneck=True)
