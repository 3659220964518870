"""Surface brightness of the parts of a galaxy: analytic, normalised, in sky or disc coordinates.

Every profile is a function of a generalised elliptical radius, R^c = |x|^c + |y / q|^c (Athanassoula et al. 1990,
MNRAS 245, 130): ellipses for c = 2, discy below, boxy above. For any profile f(R) the flux is A(c) q ∫ 2 R f(R) dR with
A(c) the area of the unit curve, so that normalisation is exact for any shape. Sampled on a grid, a cusp loses light
between the pixels: `cusp_flux` is what a grid has to be given back.
"""
import jax.numpy as jnp
from jax.scipy.special import gammaln, i0e


def rotate(x, y, angle):
  """Coordinates along and across an axis that lies at `angle` (radians, from x towards y)."""
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return x * cos + y * sin, y * cos - x * sin


def radius(x, y, axis_ratio, shape=2.0, soft=0.0):
  """The generalised elliptical radius, in units of x; `soft` is added in quadrature and rounds the centre off."""
  if isinstance(shape, float) and shape == 2.0:
    return jnp.sqrt(x * x + (y / axis_ratio) ** 2 + soft * soft)
  log_x, log_y = jnp.log(x * x + soft * soft + 1e-9), jnp.log((y / axis_ratio) ** 2 + soft * soft + 1e-9)
  return jnp.exp(jnp.log(jnp.exp(0.5 * shape * log_x) + jnp.exp(0.5 * shape * log_y)) / shape)


def area(shape):
  """The area of the curve |x|^c + |y|^c = 1: π for c = 2."""
  return 4.0 * jnp.exp(2.0 * gammaln(1.0 + 1.0 / shape) - gammaln(1.0 + 2.0 / shape))


def sersic_b(n):
  """The b(n) that makes the scale of a Sérsic profile its half-light radius (Ciotti & Bertin 1999), n ≥ 0.5."""
  return 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n) + 46.0 / (25515.0 * n * n)


def sersic(r, half_light_radius, n, axis_ratio, shape=2.0):
  """A Sérsic profile of unit flux (Sérsic 1963): r from `radius`, arcsec; the result is per square arcsec."""
  b = sersic_b(n)
  log_flux = jnp.log(2.0 * n) + gammaln(2.0 * n) - 2.0 * n * jnp.log(b)
  norm = area(shape) * axis_ratio * half_light_radius**2 * jnp.exp(log_flux)
  return jnp.exp(-b * jnp.exp(jnp.log(r / half_light_radius + 1e-9) / n)) / norm


def exponential(r, scale_length, axis_ratio, shape=2.0):
  """An exponential disc of unit flux (Freeman 1970); arguments as `sersic`."""
  return jnp.exp(-r / scale_length) / (2.0 * area(shape) * axis_ratio * scale_length**2)


def bar(x, y, length, width, axis_ratio):
  """A bar of unit flux, nearly flat with a sharp end, boxy: (x, y) along and across it in the plane of the disc.

  exp(-R³) in the radius of exponent 3, of half-length `length` and half-width `width`; `axis_ratio` of the disc.
  """
  u, v = jnp.abs(x) / length, jnp.abs(y) / width
  return jnp.exp(-(u * u * u + v * v * v)) / (area(3.0) * axis_ratio * length * width * 2.0 / 3.0
                                              * jnp.exp(gammaln(2.0 / 3.0)))


def ring(r, ring_radius, width, axis_ratio):
  """A Gaussian ring of unit flux in the plane's radius r; the width should be below half the radius."""
  return jnp.exp(-0.5 * ((r - ring_radius) / width) ** 2) / ((2.0 * jnp.pi) ** 1.5 * ring_radius * width * axis_ratio)


def arm_pattern(phase, sharpness):
  """How much brighter the disc is along arms than on average at a radius: exp(κ cos ψ) over its mean over ψ."""
  return jnp.exp(sharpness * (jnp.cos(phase) - 1.0)) / i0e(sharpness)


def points(x, y, at_x, at_y, flux, sigma):
  """Round Gaussians on a grid of rows y (M,) and columns x (N,): flux (C, K) at (K,) places → (C, M, N).

  Two small factors an object, one along each axis, and one matrix product for all of them. `sigma` (K,) is widened by
  half a pixel, in quadrature: narrower ones would lose light between the pixels' centres.
  """
  width = jnp.sqrt(sigma * sigma + (0.5 * (x[1] - x[0])) ** 2)

  def factor(grid, at):
    return jnp.exp(-0.5 * ((grid[None, :] - at[:, None]) / width[:, None]) ** 2) / (
        jnp.sqrt(2.0 * jnp.pi) * width[:, None])

  return jnp.einsum("ck,km,kn->cmn", flux, factor(y, at_y), factor(x, at_x), optimize=[(0, 1), (0, 1)])


def cusp_flux(brightness, at_x, at_y, pitch, size):
  """The light that a grid of point samples misses at the centre of a profile, to be added there as a point.

  Under a Gaussian window of two pixels, whose own sampling is exact, the integral less the sum over the pixels nearest.

  Args:
    brightness: function of (x, y) from the profile's centre, arcsec, and of `soft` (see `radius`),
      the same at (-x, -y).
    at_x, at_y: the centre on the grid, arcsec from its middle.
    pitch: arcsec per pixel.
    size: pixels of the grid's side; decides where its pixels lie.
  """
  window = 2.0 * pitch
  r = window * jnp.exp(jnp.linspace(-6.0, 1.2, 48))
  angle = (jnp.arange(16) + 0.5) * (jnp.pi / 16)
  polar = brightness(r[:, None] * jnp.cos(angle), r[:, None] * jnp.sin(angle), 0.0).mean(axis=1)
  exact = jnp.sum(polar * jnp.exp(-0.5 * (r / window) ** 2) * r * r) * (2.0 * jnp.pi * 7.2 / 47)
  middle = (size - 1) / 2.0
  near = jnp.arange(-8, 9)
  x = (jnp.round(at_x / pitch + middle) + near - middle) * pitch - at_x
  y = (jnp.round(at_y / pitch + middle) + near - middle) * pitch - at_y
  x, y = x[None, :], y[:, None]
  samples = brightness(x, y, SOFT * pitch) * jnp.exp(-0.5 * (x * x + y * y) / window**2)
  return exact - jnp.sum(samples) * pitch**2


#: How many pixels the centres of sampled profiles are rounded off by.
SOFT = 0.3


def r_i(g_r):
  """r - i of an old or mixed population of stars by its g - r (Fukugita et al. 1995)."""
  return 0.22 + 0.45 * (g_r - 0.5)
