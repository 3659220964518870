"""VGG-16 (Simonyan and Zisserman 2014), as timm has it: its dense layers are convolutions, so any size will do."""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.models.layers import Dropout, check_size, max_pool_2x2

#: Rows and columns that the first hidden layer looks at.
_HIDDEN_KERNEL = 7


class VGG(nn.Module):
  """A stack of 3×3 convolutions and 2×2 maxima without normalisation, then two hidden layers.

  Attributes:
    outputs: number of outputs.
    stage_sizes: convolutions in each stage.
    width: filters of the first stage; each of the next three doubles them.
    hidden: units of the two hidden layers; 0 for none, and the mean over the image goes into the last layer.
    dropout: rate after each hidden layer; without them before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  stage_sizes: Sequence[int]
  width: int = 64
  hidden: int = 4096
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features by stage."""
    del train, mask
    check_size(images, 2 ** len(self.stage_sizes))
    conv = partial(nn.Conv, dtype=self.dtype, kernel_init=nn.initializers.he_normal())
    x, features = images.astype(self.dtype), {}
    for stage, layers in enumerate(self.stage_sizes, 1):
      for layer in range(layers):
        x = nn.relu(conv(self.width * 2 ** min(stage - 1, 3), (3, 3), name=f"stage{stage}_conv{layer + 1}")(x))
      features[f"stage{stage}"] = x
      x = max_pool_2x2(x)
    if self.hidden:
      x = _at_least(x, _HIDDEN_KERNEL)
      for layer, kernel in ((1, _HIDDEN_KERNEL), (2, 1)):
        x = nn.relu(conv(self.hidden, (kernel, kernel), padding="VALID", name=f"hidden{layer}")(x))
        if layer == 1:
          x = Dropout(self.dropout, name="dropout1")(x, keys=keys)
    x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout2")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features


def _at_least(x, size):
  """Brings (B, H, W, C) to at least `size` rows and columns, each the mean of those that it overlaps."""
  for axis in (1, 2):
    if x.shape[axis] < size:
      weights = jnp.asarray(_overlap_means(x.shape[axis], size), x.dtype)
      x = jnp.moveaxis(jnp.tensordot(weights, x, (1, axis), precision="highest"), 0, axis)
  return x


def _overlap_means(old, new):
  """PyTorch's adaptive mean from `old` cells to `new` as a matrix (new, old)."""
  weights = np.zeros((new, old))
  for cell in range(new):
    first, end = cell * old // new, -(-(cell + 1) * old // new)
    weights[cell, first:end] = 1 / (end - first)
  return weights


VGG16 = partial(VGG, stage_sizes=(2, 2, 3, 3, 3))
