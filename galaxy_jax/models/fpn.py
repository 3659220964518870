"""The convolutional half of a detector: a residual network's stages and the feature pyramid on top of them."""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models import resnet
from galaxy_jax.models.layers import make_norm

#: The networks whose stages a pyramid can stand on.
BACKBONES = {"resnet18": resnet.ResNet18, "resnet26": resnet.ResNet26, "resnet50": resnet.ResNet50,
             "resnet101": resnet.ResNet101}
#: The stages of those networks, and the levels of the pyramid that they give: P2 has a stride of 4 pixels.
STAGES = ("stage1", "stage2", "stage3", "stage4")
_LEVELS = (2, 3, 4, 5)

_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_he_uniform = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


def norm_layer(kind: str, *, still: tuple[str, ...] = (), **options: Any):
  """make_norm's layer, with one more kind: 'frozen', batch norm that normalises by its running moments always."""
  if kind not in ("frozen", "batch", "group"):
    raise ValueError(f"norm is {kind!r}; expected 'frozen', 'batch' or 'group'.")
  return make_norm("batch", still=("all",), **options) if kind == "frozen" else make_norm(kind, still=still, **options)


class Trunk(nn.Module):
  """The stages of a residual network of resnet.py, under the same parameter names, without its head.

  Attributes:
    stage_sizes: blocks in each stage.
    bottleneck: see resnet.ResNet.
    width: filters of the first stage.
    norm: 'frozen', 'batch' or 'group'.
    caffe: as in the first residual networks, which matterport's Mask R-CNN has: a stage's stride sits in its first 1×1
      convolution instead of the 3×3, and the maximum after the stem is padded at the end first (TensorFlow's 'SAME').
    remat: recompute each block in the backward pass, for memory.
    dtype: of the computation.
    axis_name: the pmapped axis, for batch norm.
    still: see layers.BatchNorm.
  """
  stage_sizes: Sequence[int]
  bottleneck: bool = False
  width: int = 64
  norm: str = "frozen"
  caffe: bool = False
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None
  still: tuple[str, ...] = ()

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False, mask: jax.Array | None = None) -> list[jax.Array]:
    """Images (B, H, W, C) to features of strides 4, 8, 16, 32; a side of n pixels has ⌈n / stride⌉ cells."""
    conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, kernel_init=_he_normal)
    norm = norm_layer(self.norm, axis_name=self.axis_name, dtype=self.dtype, still=self.still)
    run = lambda block, x, mask: block(x, train=train, mask=mask)
    run = nn.remat(run) if self.remat else run
    x = conv(self.width, (7, 7), strides=2, padding=3, name="stem")(images.astype(self.dtype))
    x = nn.relu(norm(name="stem_norm")(x, train=train, mask=mask))
    x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME" if self.caffe else ((1, 1), (1, 1)))
    features = []
    for stage, blocks in enumerate(self.stage_sizes):
      for block in range(blocks):
        stride = 2 if stage > 0 and block == 0 else 1
        if self.caffe and stride > 1:
          # Both 1×1 convolutions that see the block's input would skip these cells: the rest of the block is the same.
          x, stride = x[:, ::stride, ::stride], 1
        x = run(resnet.Block(self.width * 2**stage, stride, self.bottleneck, False, conv, norm,
                             name=f"stage{stage + 1}_block{block + 1}"), x, mask)
      features.append(x)
    return features


class FPN(nn.Module):
  """A feature pyramid (Lin et al. 2017): P2 to P5 of one width, and P6, every second cell of P5.

  Attributes:
    width: channels of every level.
    norm: None, 'frozen' or 'group'; the convolutions have biases where there is none.
    dtype: of the computation.
  """
  width: int = 256
  norm: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: Sequence[jax.Array]) -> list[jax.Array]:
    """Features (B, H, W, C) of strides 4, 8, 16, 32 to five levels (B, H, W, width) of strides 4 to 64.

    Raises:
      ValueError: another number of features than four, or one that is not half as large as the one before, rounded up.
    """
    if len(features) != len(_LEVELS):
      raise ValueError(f"The feature pyramid stands on {len(_LEVELS)} stages and was given {len(features)}.")

    def conv(x, kernel, name):
      y = nn.Conv(self.width, (kernel, kernel), padding=kernel // 2, use_bias=self.norm is None, dtype=self.dtype,
                  kernel_init=_he_uniform, name=name)(x)
      if self.norm is None:
        return y
      return norm_layer(self.norm, axis_name=None, dtype=self.dtype)(name=f"{name}_norm")(y, train=False)

    pyramid, above = [], None
    for level, x in reversed(list(zip(_LEVELS, features, strict=True))):
      lateral = conv(x, 1, f"lateral{level}")
      above = lateral if above is None else lateral + _doubled(above, lateral.shape[1:3])
      pyramid.insert(0, conv(above, 3, f"output{level}"))
    return pyramid + [pyramid[-1][:, ::2, ::2]]


def _doubled(x, size):
  """The nearest cells of (B, h, w, C) for a level of `size`, which has twice as many, or one less."""
  if any(2 * old - new not in (0, 1) for old, new in zip(x.shape[1:3], size, strict=True)):
    raise ValueError(f"A level of {size[0]}×{size[1]} cells lies below one of {x.shape[1]}×{x.shape[2]}; the pyramid "
                     "expects half as many, rounded up. Give it the stages of a network that halves its maps.")
  x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
  return x[:, :size[0], :size[1]]
