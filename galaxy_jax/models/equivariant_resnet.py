"""Residual networks that are equivariant under rotations and mirrorings, as ResNet-18 is under shifts.

Source: Cohen and Welling 2016 (arXiv:1602.07576). The blocks are those of `resnet`, with group convolutions in place of
the ordinary ones and norms by field; the group `c1` gives the plain network of the same structure, for comparisons.
"""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models import group_layers
from galaxy_jax.models.layers import Dropout, make_norm
from galaxy_jax.models.resnet import Block

_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class EquivariantResNet(nn.Module):
  """A residual network whose features turn with the image and whose outputs do not change.

  At the same `width` it has the memory and the arithmetic of the plain network, and 1/|G| of its parameters; as many
  parameters need √|G| times the width, and |G| times the arithmetic.

  Attributes:
    outputs: number of outputs.
    stage_sizes: blocks in each stage.
    group: 'c4' (rotations by 90°), 'd4' (and mirror images) or 'c1' (none).
    bottleneck: bottleneck blocks (their outputs are four times as wide) instead of basic ones.
    width: channels of the first stage, fields times group elements; each stage doubles them.
    stem: (kernel, stride) of the first convolution. With an even stride an even kernel fits an even size, and an odd
      one an odd size; else it becomes one wider, see group_layers.
    stem_pool: the maximum of neighbours with stride 2 after the stem.
    preactivation: norm and ReLU before each convolution.
    norm: 'batch' or 'group', of fields.
    still: stages whose batch norms keep their running moments and normalise by them, see layers.BatchNorm.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: the pmapped axis, for batch norm.
  """
  outputs: int
  stage_sizes: Sequence[int]
  group: str = "d4"
  bottleneck: bool = False
  width: int = 64
  stem: tuple[int, int] = (6, 2)
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
    """Images (B, H, W, C) in [0, 1] to outputs (B, outputs) and features by stage.

    Features of stages are (B, H, W, |G| F), the group element varying slowest; `pooled` are invariants.

    Raises:
      ValueError: there is no such group, or the width is no multiple of its elements.
    """
    group = group_layers.find_group(self.group)
    conv = partial(group_layers.GroupConv, group=group, dtype=self.dtype, kernel_init=_he_normal)
    plain_norm = make_norm(self.norm, axis_name=self.axis_name, dtype=self.dtype, still=self.still)
    norm = lambda **options: group_layers.per_field(plain_norm(**options), group)
    kernel, stride = self.stem
    x = conv(self.width, (kernel, kernel), strides=stride, padding=(kernel - 1) // 2, lifting=True, name="stem")(images)
    if not self.preactivation:
      x = nn.relu(norm(name="stem_norm")(x, train=train, mask=mask))
    if self.stem_pool:
      x = group_layers.max_pool(x)
    features = {"stem": x}
    for stage, blocks in enumerate(self.stage_sizes):
      for block in range(blocks):
        x = Block(self.width * 2**stage, 2 if stage > 0 and block == 0 else 1, self.bottleneck, self.preactivation,
                  conv, norm, name=f"stage{stage + 1}_block{block + 1}")(x, train=train, mask=mask)
      features[f"stage{stage + 1}"] = x
    if self.preactivation:
      x = nn.relu(norm(name="last_norm")(x, train=train, mask=mask))
    x = group_layers.pool(x, group)
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features


#: By group: ResNet-18's stages.
C1ResNet18, C4ResNet18, D4ResNet18 = (
    partial(EquivariantResNet, stage_sizes=(2, 2, 2, 2), group=group) for group in ("c1", "c4", "d4"))
