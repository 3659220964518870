"""The vision transformer (Dosovitskiy et al. 2020) of DINOv2 (Oquab et al. 2023), small and base."""
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from galaxy_jax.models.layers import Dropout, LayerNorm, check_size, narrow_normal


class Attention(nn.Module):
  """Multi-head self-attention over (B, tokens, channels)."""
  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    b, tokens, width = x.shape
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=narrow_normal)
    q, k, v = jnp.moveaxis(dense(3 * width, name="qkv")(x).reshape(b, tokens, 3, self.heads, width // self.heads), 2, 0)
    # The weights of a token's neighbours sum to one over hundreds of tokens: in bfloat16 they would not.
    scores = jnp.einsum("bqhc,bkhc->bhqk", q, k, preferred_element_type=jnp.float32) * (width // self.heads) ** -0.5
    weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
    return dense(width, name="projection")(jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(b, tokens, width))


class Block(nn.Module):
  """Attention, then two dense layers, each normalised first, scaled, around a shortcut."""
  heads: int
  dtype: Any
  scale: float

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    norm = partial(LayerNorm, dtype=self.dtype)
    dense = partial(nn.Dense, dtype=self.dtype, kernel_init=narrow_normal)
    gamma = lambda i: self.param(f"gamma{i}", nn.initializers.constant(self.scale), (width,)).astype(self.dtype)
    x = x + gamma(1) * Attention(self.heads, self.dtype, name="attention")(norm(name="norm1")(x))
    y = nn.gelu(dense(4 * width, name="expand")(norm(name="norm2")(x)), approximate=False)
    return x + gamma(2) * dense(width, name="contract")(y)


class VisionTransformer(nn.Module):
  """A vision transformer whose answer is read from the class token. Each of its blocks is a stage.

  The position embeddings belong to an image of `grid` patches a side. For other sizes they are interpolated as timm
  does: bicubic, with antialiasing where there are fewer patches.

  Attributes:
    outputs: number of outputs.
    width: channels of a token.
    heads: attention heads.
    depth: blocks.
    patch: pixels a side of a patch; images are a whole number of them.
    grid: patches a side that the position embeddings are for; DINOv2's published ones are for 37, or 518 pixels.
    layer_scale: first value of the factors on the blocks' branches.
    dropout: rate before the last layer.
    dtype: of the computation; parameters and outputs are float32.
    axis_name: taken for the common signature; there is no batch norm here.
  """
  outputs: int
  width: int
  heads: int
  depth: int = 12
  patch: int = 14
  grid: int = 37
  layer_scale: float = 1e-5
  dropout: float = 0.0
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool, mask: jax.Array | None = None,
               keys: jax.Array | None = None) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Images (B, H, W, C) to outputs (B, outputs) and features: each stage's patches as (B, rows, columns, channels).

    Raises:
      ValueError: the images are no whole number of patches.
    """
    del train, mask
    check_size(images, self.patch, multiple=self.patch)
    x = nn.Conv(self.width, (self.patch, self.patch), strides=self.patch, padding="VALID", dtype=self.dtype,
                kernel_init=narrow_normal, name="stem")(images.astype(self.dtype))
    b, rows, columns, width = x.shape
    class_token = self.param("stem_class", nn.initializers.normal(1e-6), (1, 1, width))
    position = self.param("stem_position", narrow_normal, (1, 1 + self.grid**2, width))
    x = jnp.concatenate([jnp.broadcast_to(class_token, (b, 1, width)), x.reshape(b, -1, width)], axis=1)
    x = (x + _resampled(position, self.grid, rows, columns)).astype(self.dtype)
    as_image = lambda tokens: tokens[:, 1:].reshape(b, rows, columns, width)
    features = {"stem": as_image(x)}
    for block in range(1, self.depth + 1):
      x = Block(self.heads, self.dtype, self.layer_scale, name=f"stage{block}")(x)
      features[f"stage{block}"] = as_image(x)
    x = LayerNorm(name="last_norm")(x[:, 0].astype(jnp.float32))
    features["pooled"] = x
    x = Dropout(self.dropout, name="dropout")(x, keys=keys)
    return nn.Dense(self.outputs, kernel_init=narrow_normal, name="head")(x), features


def _resampled(position, grid, rows, columns):
  """Position embeddings (1, 1 + grid², C) for rows × columns patches; the class token's stays."""
  if (rows, columns) == (grid, grid):
    return position
  width = position.shape[-1]
  patches = jax.image.resize(position[:, 1:].reshape(1, grid, grid, width), (1, rows, columns, width), "cubic",
                             precision="highest")
  return jnp.concatenate([position[:, :1], patches.reshape(1, -1, width)], axis=1)


DINOv2Small = partial(VisionTransformer, width=384, heads=6)
DINOv2Base = partial(VisionTransformer, width=768, heads=12)
