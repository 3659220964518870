"""Measures augmentation: milliseconds for a batch of 32, as one compiled call.

  python benchmarks/augment.py

Prints a table: the warp alone in the ways it could be written, then what a training step does. `alternatives` are kept
here so that the choice in `galaxy_jax.augment.warp` can be measured again on other hardware or another jax.
"""
import functools
import statistics
import time

import jax
import jax.numpy as jnp

from galaxy_jax import augment

BATCH = 32
SHAPES = ((144, 144, 96), (424, 424, 224))  # working side, crop, output side
GEOMETRY = {"rotation": 360.0, "zoom": 1.1, "shift": 0.02, "flip": True}


def pack(images):
  """(B, H, W, 3) uint8 → (B, H, W) uint32, a pixel a word."""
  words = images.astype(jnp.uint32)
  return words[..., 0] | words[..., 1] << 8 | words[..., 2] << 16


def positions(matrices, side, size):
  centred = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
  m = matrices[..., None, None]
  x, y = (jnp.clip(m[:, i, 0] * centred + m[:, i, 1] * centred[:, None] + m[:, i, 2] + (side - 1) / 2, 0, side - 1)
          for i in (0, 1))
  column, row = (jnp.minimum(position.astype(jnp.int32), side - 2) for position in (x, y))
  return column, row, (x - column)[..., None], (y - row)[..., None]


def interpolate(taps, x_fraction, y_fraction):
  a, b, c, d = (tap.astype(jnp.float32) for tap in taps)
  upper, lower = a + x_fraction * (b - a), c + x_fraction * (d - c)
  return (upper + y_fraction * (lower - upper)) * (1 / 255)


def warp_packed(words, matrices, size):
  """Four gathers of 32-bit words that hold a pixel each."""
  side = words.shape[1]
  column, row, x_fraction, y_fraction = positions(matrices, side, size)
  gather = jax.vmap(lambda image, index: image.at[index].get(mode="promise_in_bounds"))
  flat = words.reshape(words.shape[0], -1)
  taps = [gather(flat, row * side + column + offset) for offset in (0, 1, side, side + 1)]
  return interpolate([(tap[..., None] >> jnp.array([0, 8, 16], jnp.uint32)) & 255 for tap in taps], x_fraction,
                     y_fraction)


def warp_blocks(images, matrices, size):
  """One gather of blocks of 2×2 pixels."""
  column, row, x_fraction, y_fraction = positions(matrices, images.shape[1], size)
  numbers = jax.lax.GatherDimensionNumbers(offset_dims=(2, 3, 4), collapsed_slice_dims=(), start_index_map=(0, 1))
  gather = jax.vmap(lambda image, index: jax.lax.gather(image, index, numbers, (2, 2, 3), mode="promise_in_bounds"))
  blocks = gather(images, jnp.stack([row, column], -1))
  return interpolate([blocks[..., i, j, :] for i in (0, 1) for j in (0, 1)], x_fraction, y_fraction)


def warp_flat(images, matrices, size):
  """Pixels gathered from the flattened batch: not to be partitioned over devices."""
  rows, side = images.shape[:2]
  column, row, x_fraction, y_fraction = positions(matrices, side, size)
  index = (jnp.arange(rows)[:, None, None] * side + row) * side + column
  flat = images.reshape(-1, images.shape[-1])
  taps = [flat.at[index + offset].get(mode="promise_in_bounds") for offset in (0, 1, side, side + 1)]
  return interpolate(taps, x_fraction, y_fraction)


def milliseconds(function, *arguments, repeats=30):
  """The least and the median time of a compiled call."""
  compiled = jax.jit(function)
  jax.block_until_ready(compiled(*arguments))
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(1e3 * (time.perf_counter() - start))
  return min(times), statistics.median(times)


def main():
  device = jax.devices()[0]
  print(f"{BATCH} images a call, jax {jax.__version__}, {device.platform} {device.device_kind}")
  print(f"{'':44s}{'least ms':>9s}{'median ms':>11s}")
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(BATCH))
  for side, crop, size in SHAPES:
    images = jax.random.bits(jax.random.key(1), (BATCH, side, side, 3), jnp.uint8)
    draw = functools.partial(augment.affine_matrices, crop=crop, size=size, **GEOMETRY)
    matrices, words = jax.jit(draw)(keys), jax.jit(pack)(images)
    warped = jax.jit(augment.warp, static_argnums=2)(images, matrices, size)

    def at_size(warp, size=size, **kwargs):
      return lambda images, matrices: warp(images, matrices, size, **kwargs)

    def whole(keys, images, draw=draw, size=size):
      return augment.colour(keys, augment.warp(images, draw(keys), size), brightness=0.1, contrast=0.1, pca_noise=0.5)

    for name, function, *arguments in (
        ("warp, reflect", at_size(augment.warp), images, matrices),
        ("warp, edge", at_size(augment.warp, border="edge"), images, matrices),
        ("  alternative: packed words", at_size(warp_packed), words, matrices),
        ("  alternative: 2×2 blocks", at_size(warp_blocks), images, matrices),
        ("  alternative: flattened batch", at_size(warp_flat), images, matrices),
        ("matrices", draw, keys),
        ("colour: brightness, contrast, pca noise",
         functools.partial(augment.colour, brightness=0.1, contrast=0.1, pca_noise=0.5), keys, warped),
        ("colour: gaussian noise", functools.partial(augment.colour, noise=0.01), keys, warped),
        ("matrices, warp and colour without noise", whole, keys, images),
    ):
      least, median = milliseconds(function, *arguments)
      print(f"{side}→{size} {name:36s}{least:9.2f}{median:11.2f}", flush=True)


if __name__ == "__main__":
  main()
