"""A stand-in for `simulate.galaxy` that compiles in no time: a blob that is redder and rounder the smoother it is."""
import jax
import jax.numpy as jnp


def galaxy(key, *, size, crop=424, mix="natural", quality=0):
  """One galaxy, as the simulator's: image, votes, labels, outline."""
  shape, angle, noise, votes = jax.random.split(key, 4)
  smooth = jax.random.uniform(shape)
  turn = jax.random.uniform(angle, maxval=jnp.pi)
  y, x = jnp.mgrid[:size, :size] / size - 0.5
  u, v = x * jnp.cos(turn) + y * jnp.sin(turn), (y * jnp.cos(turn) - x * jnp.sin(turn)) / (0.3 + 0.7 * smooth)
  light = 200 * jnp.exp(-6 * jnp.hypot(u, v) * (crop or 424) / 424)
  pixels = light[..., None] * jnp.stack([1.0, 0.8, 1 - 0.6 * smooth]) + 3 * jax.random.normal(noise, (size, size, 3))
  # Not valid votes down the tree: whoever trains on them needs numbers in [0, 1] alone.
  fractions = jax.random.uniform(votes, (37,)).at[:3].set(jnp.stack([smooth, 1 - smooth, 0.0]))
  return {"image": jnp.clip(pixels, 0, 255).astype(jnp.uint8), "vote_fractions": fractions,
          "expected_fractions": fractions, "vote_counts": jnp.round(40 * fractions).astype(jnp.int32),
          "five_class": jnp.int32(0), "ten_class": jnp.int32(0), "kind": jnp.int32(0), "mask": light > 30,
          "box": jnp.zeros(4)}
