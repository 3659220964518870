"""Inception-v3 (Szegedy et al. 2015) without its auxiliary classifier, padded as the PyTorch weights expect."""
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, check_size, make_norm

#: The network's own, larger than other families'.
_EPSILON = 1e-3


class ConvNorm(nn.Module):
  """A convolution, its norm and a ReLU."""
  filters: int
  kernel: tuple[int, int]
  norm: Callable
  dtype: Any
  stride: int = 1
  same: bool = True

  @nn.compact
  def __call__(self, x, *, train, mask):
    x = nn.Conv(self.filters, self.kernel, strides=self.stride, padding="SAME" if self.same else "VALID",
                use_bias=False, dtype=self.dtype, kernel_init=nn.initializers.he_normal(), name="conv")(x)
    return nn.relu(self.norm(epsilon=_EPSILON, name="norm")(x, train=train, mask=mask))


#: The blocks by kind: branches side by side, a branch a row of layers (name, filters, kernel[, stride 2]). Two layers
#: in one place both see what came before, and both are the branch's result. 0 filters are the block's own number.
_A = (
    (("branch1x1", 64, (1, 1)),),
    (("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))),
    (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))),
    ("mean", ("branch_pool", 0, (1, 1))),
)
_B = (
    (("branch3x3", 384, (3, 3), 2),),
    (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3), 2)),
    ("maximum",),
)
_C = (
    (("branch1x1", 192, (1, 1)),),
    (("branch7x7_1", 0, (1, 1)), ("branch7x7_2", 0, (1, 7)), ("branch7x7_3", 192, (7, 1))),
    (("branch7x7dbl_1", 0, (1, 1)), ("branch7x7dbl_2", 0, (7, 1)), ("branch7x7dbl_3", 0, (1, 7)),
     ("branch7x7dbl_4", 0, (7, 1)), ("branch7x7dbl_5", 192, (1, 7))),
    ("mean", ("branch_pool", 192, (1, 1))),
)
_D = (
    (("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3), 2)),
    (("branch7x7x3_1", 192, (1, 1)), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)),
     ("branch7x7x3_4", 192, (3, 3), 2)),
    ("maximum",),
)
_E = (
    (("branch1x1", 320, (1, 1)),),
    (("branch3x3_1", 384, (1, 1)), (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))),
    (("branch3x3dbl_1", 448, (1, 1)), ("branch3x3dbl_2", 384, (3, 3)),
     (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1)))),
    ("mean", ("branch_pool", 192, (1, 1))),
)
#: The blocks of each stage after the stem's two: (published name, branches, the block's own number of filters).
_STAGES = {
    3: (("5b", _A, 32), ("5c", _A, 64), ("5d", _A, 64)),
    4: (("6a", _B, 0), ("6b", _C, 128), ("6c", _C, 160), ("6d", _C, 160), ("6e", _C, 192)),
    5: (("7a", _D, 0), ("7b", _E, 0), ("7c", _E, 0)),
}


class Mixed(nn.Module):
  """A block of parallel branches, side by side in the channels."""
  branches: tuple
  own: int
  width: float
  norm: Callable
  dtype: Any

  @nn.compact
  def __call__(self, x, *, train, mask):
    def conv(y, name, filters, kernel, stride=1):
      layer = ConvNorm(_scaled(filters or self.own, self.width), kernel, self.norm, self.dtype, stride,
                       same=stride == 1, name=name)
      return layer(y, train=train, mask=mask)

    results = []
    for branch in self.branches:
      ends = [x]
      for place in branch:
        if place == "mean":  # cells beyond the border count as zeros
          ends = [nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=True)]
        elif place == "maximum":
          ends = [nn.max_pool(x, (3, 3), strides=(2, 2))]
        else:
          layers = place if isinstance(place[0], tuple) else (place,)
          ends = [conv(ends[0], *layer) for layer in layers]
      results += ends
    return jnp.concatenate(results, axis=-1)


def _scaled(filters, width):
  return max(1, round(filters * width))


class InceptionV3(nn.Module):
  """Inception-v3; its stages end where the resolution halves. Images have 75 pixels or more, 299 as published.

  Attributes:
    outputs: number of outputs.
    width: every number of filters times this.
    norm: 'batch' or 'group'.
    still: stages whose batch norms keep their running moments and normalise by them, see layers.BatchNorm.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: the pmapped axis, for batch norm.
  """
  outputs: int
  width: float = 1.0
  norm: str = "batch"
  still: tuple[str, ...] = ()
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features by stage."""
    check_size(images, 75)
    norm = make_norm(self.norm, axis_name=self.axis_name, dtype=self.dtype, still=self.still)
    x, features = images.astype(self.dtype), {}
    for stage, layers in ((1, ((32, 3, 2, False), (32, 3, 1, False), (64, 3, 1, True))),
                          (2, ((80, 1, 1, False), (192, 3, 1, False)))):
      for i, (filters, kernel, stride, same) in enumerate(layers, 1):
        x = ConvNorm(_scaled(filters, self.width), (kernel, kernel), norm, self.dtype, stride, same,
                     name=f"stage{stage}_conv{i}")(x, train=train, mask=mask)
      features[f"stage{stage}"] = x
      x = nn.max_pool(x, (3, 3), strides=(2, 2))
    for stage, blocks in _STAGES.items():
      for name, branches, own in blocks:
        x = Mixed(branches, own, self.width, norm, self.dtype, name=f"stage{stage}_mixed{name}")(
            x, train=train, mask=mask)
      features[f"stage{stage}"] = x
    x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features
