"""ConvNeXt (Liu et al. 2022) in the sizes of timm, from pico to base."""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, LayerNorm, check_size, narrow_normal


class Block(nn.Module):
  """A 7×7 convolution of each channel by itself, a norm and two dense layers, scaled, around a shortcut."""
  dtype: Any
  scale: float

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=narrow_normal)
    y = nn.Conv(width, (7, 7), feature_group_count=width, dtype=self.dtype, kernel_init=narrow_normal,
                name="depthwise")(x)
    y = LayerNorm(dtype=self.dtype, name="norm")(y)
    y = nn.gelu(dense(4 * width, name="expand")(y), approximate=False)
    y = dense(width, name="contract")(y)
    gamma = self.param("gamma", nn.initializers.constant(self.scale), (width,))
    return x + y * gamma.astype(self.dtype)


class ConvNeXt(nn.Module):
  """A ConvNeXt. No row of a batch sees another: its norms are over channels.

  Attributes:
    outputs: number of outputs.
    stage_sizes: blocks in each stage.
    width: channels of the first stage; each stage doubles them.
    layer_scale: first value of the factors on the blocks' branches.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  stage_sizes: Sequence[int]
  width: int
  layer_scale: float = 1e-6
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features by stage."""
    del train, mask
    check_size(images, 4 * 2 ** (len(self.stage_sizes) - 1))
    conv = partial(nn.Conv, padding="VALID", dtype=self.dtype, kernel_init=narrow_normal)
    norm = partial(LayerNorm, dtype=self.dtype)
    x = norm(name="stem_norm")(conv(self.width, (4, 4), strides=4, name="stem")(images.astype(self.dtype)))
    features = {"stem": x}
    for stage, blocks in enumerate(self.stage_sizes, 1):
      if stage > 1:
        x = norm(name=f"stage{stage}_downsample_norm")(x)
        x = conv(self.width * 2 ** (stage - 1), (2, 2), strides=2, name=f"stage{stage}_downsample")(x)
      for block in range(blocks):
        x = Block(self.dtype, self.layer_scale, name=f"stage{stage}_block{block + 1}")(x)
      features[f"stage{stage}"] = x
    x = LayerNorm(name="last_norm")(jnp.mean(x.astype(jnp.float32), axis=(1, 2)))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, kernel_init=narrow_normal, name="head")(x), features


ConvNeXtPico = partial(ConvNeXt, stage_sizes=(2, 2, 6, 2), width=64)
ConvNeXtNano = partial(ConvNeXt, stage_sizes=(2, 2, 8, 2), width=80)
ConvNeXtTiny = partial(ConvNeXt, stage_sizes=(3, 3, 9, 3), width=96)
ConvNeXtSmall = partial(ConvNeXt, stage_sizes=(3, 3, 27, 3), width=96)
ConvNeXtBase = partial(ConvNeXt, stage_sizes=(3, 3, 27, 3), width=128)
