"""GalaxyID's network: four convolutions, three pools and two dropouts on greyscale images of 64 pixels."""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, check_size, max_pool_2x2


class GalaxyID(nn.Module):
  """A small convolutional network; takes any number of input channels, and 8 pixels a side or more.

  Attributes:
    outputs: number of outputs.
    width: filters of the first convolution; the others have 2, 4 and 4 times as many.
    dropout: rate of both dropouts.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  width: int = 32
  dropout: float = 0.5
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) in [0, 1] to outputs (B, outputs) and features by stage."""
    del train, mask
    check_size(images, 8)
    x, features = images.astype(self.dtype), {}
    for stage, factor in enumerate((1, 2, 4, 4), 1):
      x = nn.relu(nn.Conv(self.width * factor, (3, 3), dtype=self.dtype, name=f"stage{stage}_conv")(x))
      features[f"stage{stage}"] = x
      if stage < 4:
        x = max_pool_2x2(x)
    x = Dropout(self.dropout, name="dropout1")(x.reshape(x.shape[0], -1), keys=keys)
    x = nn.relu(nn.Dense(128, dtype=self.dtype, name="hidden")(x)).astype(jnp.float32)
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout2")(x, keys=keys)
    return nn.Dense(self.outputs, name="head")(x), features
