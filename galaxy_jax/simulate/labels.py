"""Classes from votes, and outlines from light.

References: Zhu et al. 2019, Ap&SS 364, 55 (five classes, thresholds on the challenge's columns); Leung & Bovy, astroNN,
and Walmsley et al. 2022, MNRAS 509, 3966 (Galaxy10 DECaLS's ten classes).
"""
import jax.numpy as jnp

from galaxy_jax import decision_tree
from tfds_builders.class_lists import FIVE_CLASS_RULE
from tfds_builders.gz2_tree import COLUMNS


def five_class(fractions):
  """Zhu et al.'s class of cumulative vote fractions: (..., 37) → (...) int32, -1 where none applies.

  As published, thresholds are on the challenge's raw columns, and the first class that applies is taken.
  """
  applies = [jnp.all(jnp.stack([fractions[..., COLUMNS.index(name)] >= least for name, least in rule.items()]), axis=0)
             for rule in FIVE_CLASS_RULE]
  return jnp.select(applies, list(range(len(applies))), -1).astype(jnp.int32)


def ten_class(fractions):
  """Galaxy10 DECaLS's class that Galaxy Zoo 2's answers allow: (..., 37) → (...) int32, -1 where none leads clearly.

  Galaxy Zoo DECaLS asked for mergers and disturbance directly; here more than 0.5 must find something odd.
  """
  c = jnp.moveaxis(fractions, -1, 0)
  t = jnp.moveaxis(decision_tree.conditional(fractions), -1, 0)
  odd = c[13] > 0.5
  merging = odd & (t[23] >= jnp.maximum(t[20], t[21]))
  smooth, disc = c[0] > 0.5, c[1] > 0.5
  edge_on, spiral = disc & (t[3] > 0.5), disc & (t[4] > 0.5) & (t[7] > 0.5)
  barred = spiral & (t[5] > 0.5)
  return jnp.select(
      [odd & ((t[20] > 0.3) | (t[21] > 0.3)) & ~merging, merging & (t[23] > 0.3), smooth & (t[15] > 0.5),
       smooth & (t[16] > 0.5), smooth & (t[17] > 0.5), barred, spiral & (t[28] > 0.5), spiral,
       edge_on & (t[27] > 0.5), edge_on],
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], -1).astype(jnp.int32)


def outline(light, threshold):
  """The pixels inside an isophote: light (..., H, W) above `threshold`, in the same unit."""
  return light > threshold


def bounding_box(mask):
  """The box around a mask: (..., H, W) bool → (..., 4) float32 y0, x0, y1, x1, ends exclusive; zeros where empty."""
  rows, columns = jnp.any(mask, axis=-1), jnp.any(mask, axis=-2)

  def ends(line):
    first = jnp.argmax(line, axis=-1)
    last = line.shape[-1] - jnp.argmax(line[..., ::-1], axis=-1)
    return jnp.where(jnp.any(line, axis=-1), jnp.stack([first, last]), 0)

  (y0, y1), (x0, x1) = ends(rows), ends(columns)
  return jnp.stack([y0, x0, y1, x1], axis=-1).astype(jnp.float32)
