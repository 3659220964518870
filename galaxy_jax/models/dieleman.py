"""The Galaxy Zoo challenge's winner: four views of a galaxy, cut into sixteen parts that share their convolutions.

Sources: Dieleman, Willett and Dambre 2015, MNRAS 450, 1441 (arXiv:1503.07077), and the published program of the best
single model, `try_convnet_cc_multirotflip_3x69r45_maxout2048_extradense.py` in benanne/kaggle-galaxies.

What differs: the view turned by 45° is made here of the network's input, not of the photograph, so it is interpolated
once more than the upright one (and, under augmentation, than the published one). The output layer,
`decision_tree.dieleman_fractions`, and the beginning without it belong to the task.
"""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.augment import view_matrices, warp
from galaxy_jax.models.layers import Dropout, max_pool_2x2


class Dieleman(nn.Module):
  """Four convolutions on each of sixteen parts, two maxout layers on all of them together.

  The input is of any size from `view` pixels. The turned view's corners lie √2 further out than the upright one's: with
  99 pixels, the default of `view` being 69, both see sky; in a smaller input the corners are mirrored.

  Attributes:
    outputs: number of outputs.
    view: pixels of a view: the centre of the input, upright and turned by 45°, each mirrored too.
    part: pixels of a part; four overlapping corners of each view, turned so that the galaxy is at the lower right.
    width: filters of the first convolution; the others have 2, 4 and 4 times as many.
    hidden: units of both maxout layers, each the larger of two linear ones.
    dropout: rate before each of the three dense layers.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  view: int = 69
  part: int = 45
  width: int = 32
  hidden: int = 2048
  dropout: float = 0.5
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, S, S, C) in [0, 1] to outputs (B, outputs) and features by stage.

    The features of the stages are those of the parts, (B, 16, H, W, C).

    Raises:
      ValueError: the images are smaller than a view, or a part is larger than one or too small for the convolutions.
    """
    del train, mask
    if not 37 <= self.part <= self.view <= images.shape[1]:
      raise ValueError("config.model.name 'dieleman' needs 37 ≤ part ≤ view ≤ the input's pixels; config.model.options "
                       f"give part {self.part} and view {self.view}, config.augment.size is {images.shape[1]}.")
    x = cut_parts(make_views(images, self.view), self.part)
    rows, parts = x.shape[:2]
    x, features = x.reshape(rows * parts, *x.shape[2:]).astype(self.dtype), {}
    layers = ((1, 6, 0.01, True), (2, 5, 0.01, True), (4, 3, 0.01, False), (4, 3, 0.1, True))
    for stage, (factor, kernel, deviation, pool) in enumerate(layers, 1):
      x = nn.Conv(self.width * factor, (kernel, kernel), padding="VALID", use_bias=False, dtype=self.dtype,
                  kernel_init=nn.initializers.normal(deviation), name=f"stage{stage}_conv")(x)
      # A bias for each place: what is expected of a part depends on where in it the galaxy is.
      bias = self.param(f"stage{stage}_bias", nn.initializers.constant(0.1), x.shape[1:])
      x = nn.relu(x + bias.astype(self.dtype))
      features[f"stage{stage}"] = x.reshape(rows, parts, *x.shape[1:])
      if pool:
        x = max_pool_2x2(x)
    x = x.reshape(rows, -1)
    for layer in (1, 2):
      x = Dropout(self.dropout, name=f"dropout{layer}")(x, keys=keys)
      x = nn.Dense(2 * self.hidden, dtype=self.dtype, kernel_init=nn.initializers.normal(0.001),
                   bias_init=nn.initializers.constant(0.01), name=f"maxout{layer}")(x)
      x = jnp.max(x.reshape(rows, self.hidden, 2), axis=-1)
    x = x.astype(jnp.float32)
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout3")(x, keys=keys)
    return nn.Dense(self.outputs, kernel_init=nn.initializers.normal(0.01),
                    bias_init=nn.initializers.constant(0.1), name="head")(x), features


def make_views(images: jax.Array, size: int) -> jax.Array:
  """The centres of images, upright and turned by 45°, each as it is and mirrored: (B, S, S, C) → (B, 4, size, size, C).
  """
  matrices = view_matrices(crop=size, size=size, rotations=(0, 45))
  # Where the centre falls between pixels the plain crop is half a pixel off; that keeps it free of interpolation.
  margin = (images.shape[1] - size) // 2
  upright = images[:, margin:margin + size, margin:margin + size]
  turned = warp(images, np.asarray(matrices[1]), size)
  return jnp.stack([upright, upright[:, :, ::-1], turned, turned[:, :, ::-1]], axis=1)


def cut_parts(views: jax.Array, size: int) -> jax.Array:
  """The four corners of each view, turned by multiples of 90° so that the view's centre is at their lower right.

  (B, V, S, S, C) → (B, 4 V, size, size, C), the corners varying fastest: upper left, upper right, lower right, lower
  left.
  """
  turns = [jnp.rot90(views, number, axes=(2, 3))[:, :, :size, :size] for number in range(4)]
  parts = jnp.stack(turns, axis=2)
  return parts.reshape(parts.shape[0], -1, *parts.shape[3:])
