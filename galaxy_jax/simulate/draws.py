"""Random numbers by name: a row of them drawn at once, then taken one by one."""
import jax
import jax.numpy as jnp


class Draws:
  """Takes numbers from two blocks, uniform and normal, that one key has drawn in one call each.

  Thousands of galaxies are drawn side by side, so that a call a parameter would cost more than the parameters. The
  order in which numbers are taken is part of what a key means.
  """

  def __init__(self, key: jax.Array, *, size: int = 160):
    """`key`: one typed key; `size`: how many numbers of each kind there are to take."""
    for_uniforms, for_normals = jax.random.split(key)
    self._uniforms = jax.random.uniform(for_uniforms, (size,), minval=1e-7, maxval=1.0)
    self._normals = jax.random.normal(for_normals, (size,))
    self._taken = [0, 0]

  def _take(self, block, which, count):
    start = self._taken[which]
    self._taken[which] += count or 1
    if self._taken[which] > block.shape[0]:
      raise ValueError(f"all {block.shape[0]} {('uniform', 'normal')[which]} numbers are taken")
    return block[start] if count is None else block[start:start + count]

  def uniform(self, low=0.0, high=1.0, count: int | None = None):
    """Uniform in [low, high): a scalar, or (count,)."""
    return low + (high - low) * self._take(self._uniforms, 0, count)

  def normal(self, mean=0.0, spread=1.0, count: int | None = None):
    """Normal with a mean and a standard deviation: a scalar, or (count,)."""
    return mean + spread * self._take(self._normals, 1, count)

  def lognormal(self, median, dex, count: int | None = None):
    """The median times ten to a normal power with a standard deviation of `dex`."""
    return median * 10.0**(dex * self.normal(count=count))

  def power(self, low, high, exponent, count: int | None = None):
    """A power law between two limits: a density proportional to the value to the `exponent`, which is not -1."""
    k = exponent + 1.0
    return (low**k + self.uniform(count=count) * (high**k - low**k)) ** (1 / k)

  def chance(self, probability):
    """True with a probability."""
    return self.uniform() < probability

  def choice(self, weights):
    """An index, int32, by weights (K,) that need not sum to 1."""
    edges = jnp.cumsum(jnp.asarray(weights, jnp.float32))
    return jnp.minimum(jnp.sum(self.uniform() * edges[-1] >= edges), edges.shape[0] - 1).astype(jnp.int32)
