"""An AlexNet-like network (Krizhevsky et al. 2012) that subsamples in its first three convolutions, without pooling."""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, check_size


class AlexNet(nn.Module):
  """Five convolutions and three dense layers; takes images from 16 pixels, which the strides make one cell.

  Attributes:
    outputs: number of outputs.
    width: filters of the first convolution; the others have 2, 3, 3 and 2 times as many.
    hidden: units of the two hidden dense layers.
    dropout: rate after each hidden dense layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  width: int = 64
  hidden: int = 1024
  dropout: float = 0.5
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) in [0, 1] to outputs (B, outputs) and features by stage."""
    del train, mask
    check_size(images, 16)
    x, features = images.astype(self.dtype), {}
    layers = ((1, 11, 4), (2, 5, 2), (3, 3, 2), (3, 3, 1), (2, 3, 1))
    for stage, (factor, kernel, stride) in enumerate(layers, 1):
      x = nn.Conv(self.width * factor, (kernel, kernel), strides=stride, padding=kernel // 2, dtype=self.dtype,
                  kernel_init=nn.initializers.he_normal(), name=f"stage{stage}_conv")(x)
      x = nn.relu(x)
      features[f"stage{stage}"] = x
    x = x.reshape(x.shape[0], -1)
    for layer in (1, 2):
      x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=nn.initializers.he_normal(),
                           name=f"hidden{layer}")(x))
      x = Dropout(self.dropout, name=f"dropout{layer}")(x, keys=keys)
    x = x.astype(jnp.float32)
    features["pooled"] = x
    return nn.Dense(self.outputs, name="head")(x), features
