"""The baseline that looks at no image: the same outputs for every galaxy."""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class MostFrequent(nn.Module):
  """One bias for each output and nothing else, so that the class with the largest is the answer to every image.

  Of all such answers the classes' frequencies have the lowest cross-entropy. With config.model.head_bias at
  log_frequencies they are where it begins, by counting, and there is nothing left to train.

  Attributes:
    outputs: number of outputs.
    dtype, axis_name: taken for the common signature.
  """
  outputs: int
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs), the same in each row; there are no features but an empty one."""
    del train, mask, keys
    nothing = jnp.zeros((images.shape[0], 0))
    return _Bias(self.outputs, name="head")(nothing), {"pooled": nothing}


class _Bias(nn.Module):
  """A dense layer without inputs."""
  outputs: int

  @nn.compact
  def __call__(self, x):
    return jnp.broadcast_to(self.param("bias", nn.initializers.zeros, (self.outputs,)), (x.shape[0], self.outputs))
