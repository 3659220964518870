"""ConvNeXt, equivariant under rotations and mirrorings.

Sources: Liu et al. 2022 (arXiv:2201.03545) for the network, Cohen and Welling 2016 (arXiv:1602.07576) for group
convolutions, Lengyel and van Gemert 2021 (arXiv:2110.09059) for those that treat each channel by itself. The group `c1`
gives the plain network of the same structure, for comparisons.
"""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models import group_layers
from galaxy_jax.models.layers import Dropout, LayerNorm, check_size, narrow_normal


class Block(nn.Module):
  """A 7×7 convolution of each channel by itself, a norm and two 1×1 group convolutions, scaled, around a shortcut."""
  group: group_layers.Group
  dtype: Any
  scale: float

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    options = {"group": self.group, "dtype": self.dtype, "kernel_init": narrow_normal}
    dense = partial(group_layers.GroupConv, kernel_size=(1, 1), use_bias=True, **options)
    y = group_layers.DepthwiseGroupConv((7, 7), name="depthwise", **options)(x)
    y = _norm(self.group, dtype=self.dtype, name="norm")(y)
    y = nn.gelu(dense(4 * width, name="expand")(y), approximate=False)
    y = dense(width, name="contract")(y)
    gamma = self.param("gamma", nn.initializers.constant(self.scale), (width // self.group.order,))
    return x + y * jnp.tile(gamma.astype(self.dtype), self.group.order)


def _norm(group, **options):
  return group_layers.per_field(LayerNorm(reduction_axes=(-2, -1), **options), group)


class EquivariantConvNeXt(nn.Module):
  """A ConvNeXt whose features turn with the image and whose outputs do not change.

  At the same `width` it has the memory and the arithmetic of the plain network, and about 1/|G| of its parameters; as
  many parameters need √|G| times the width, and |G| times the arithmetic. No row of a batch sees another: its norms
  are over channels.

  Attributes:
    outputs: number of outputs.
    stage_sizes: blocks in each stage.
    width: channels of the first stage, fields times group elements; each stage doubles them.
    group: 'c4' (rotations by 90°), 'd4' (and mirror images) or 'c1' (none).
    layer_scale: first value of the factors on the blocks' branches.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  stage_sizes: Sequence[int]
  width: int
  group: str = "d4"
  layer_scale: float = 1e-6
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features by stage.

    Features of stages are (B, H, W, |G| F), the group element varying slowest; `pooled` are invariants.

    Raises:
      ValueError: the images are too small, there is no such group, or the width is no multiple of its elements.
    """
    del train, mask
    check_size(images, 4 * 2 ** (len(self.stage_sizes) - 1))
    group = group_layers.find_group(self.group)
    conv = partial(group_layers.GroupConv, group=group, use_bias=True, dtype=self.dtype, kernel_init=narrow_normal)
    norm = partial(_norm, group, dtype=self.dtype)
    x = conv(self.width, (4, 4), strides=4, lifting=True, name="stem")(images)
    x = norm(name="stem_norm")(x)
    features = {"stem": x}
    for stage, blocks in enumerate(self.stage_sizes, 1):
      if stage > 1:
        x = norm(name=f"stage{stage}_downsample_norm")(x)
        x = conv(self.width * 2 ** (stage - 1), (2, 2), strides=2, name=f"stage{stage}_downsample")(x)
      for block in range(blocks):
        x = Block(group, self.dtype, self.layer_scale, name=f"stage{stage}_block{block + 1}")(x)
      features[f"stage{stage}"] = x
    x = LayerNorm(name="last_norm")(group_layers.pool(x, group))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, kernel_init=narrow_normal, name="head")(x), features


#: By group: ConvNeXt pico's stages and width.
C1ConvNeXtPico, C4ConvNeXtPico, D4ConvNeXtPico = (
    partial(EquivariantConvNeXt, stage_sizes=(2, 2, 6, 2), width=64, group=group) for group in ("c1", "c4", "d4"))
