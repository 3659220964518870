"""Many masks of one image as a bit each of its pixels: small in memory, and turned or cut out together.

Mask n is bit n % 8 of plane n // 8. Masks may overlap.
"""
import jax.numpy as jnp
import numpy as np


def planes(masks: int) -> int:
  """How many bytes a pixel so many masks take."""
  return -(-masks // 8)


def pack(masks: np.ndarray) -> np.ndarray:
  """Masks (N, H, W), not 0 inside, as planes (H, W, P) uint8, P = planes(N); in numpy."""
  return np.ascontiguousarray(np.moveaxis(np.packbits(np.asarray(masks) != 0, axis=0, bitorder="little"), 0, -1))


def unpack(packed, masks: int):
  """The first `masks` of planes (..., H, W, P): (..., masks, H, W) bool; numpy in, numpy out, else a jax array."""
  xp = np if isinstance(packed, np.ndarray) else jnp
  return xp.stack([packed[..., n // 8] & np.uint8(1 << n % 8) != 0 for n in range(masks)], axis=-3)
