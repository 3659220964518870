"""Light profiles against integrals in numpy and scipy."""
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from galaxy_jax.simulate import profiles


def total(profile, reach, shape=2.0):
  """The flux of a profile of the elliptical radius inside `reach`: f(R) over the area between its isophotes."""
  area = 4.0 * special.gamma(1 + 1 / shape) ** 2 / special.gamma(1 + 2 / shape)
  r = np.geomspace(1e-6, reach, 20_000)
  return integrate.trapezoid(np.asarray(profile(jnp.asarray(r, jnp.float32)), float) * 2.0 * area * r * r, np.log(r))


@pytest.mark.parametrize("n", [0.8, 1.0, 2.5, 4.0])
def test_sersic_has_unit_flux_and_half_of_it_inside_its_radius(n):
  def profile(r):
    return profiles.sersic(r, 2.0, n, 0.5)

  assert 0.5 * total(profile, 2000.0) == pytest.approx(1.0, abs=0.01)  # the axis ratio of a half
  assert 0.5 * total(profile, 2.0) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("shape", [1.25, 2.0, 3.5])
def test_exponential_has_unit_flux_for_any_isophote(shape):
  assert 0.3 * total(lambda r: profiles.exponential(r, 3.0, 0.3, shape), 100.0, shape) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("shape", [1.3, 2.0, 4.0])
def test_area_of_the_unit_curve(shape):
  axis = (np.arange(2000) - 999.5) / 1000
  inside = np.abs(axis)[:, None] ** shape + np.abs(axis)[None] ** shape < 1
  assert float(profiles.area(shape)) == pytest.approx(inside.mean() * 4, abs=4e-3)


def test_bar_and_ring_have_unit_flux():
  axis = (np.arange(800) - 399.5) * 0.05
  x, y = jnp.meshgrid(jnp.asarray(axis), jnp.asarray(axis))
  # Projected by an inclined disc, areas shrink by its axis ratio, and y / q is the place in its plane.
  bar = profiles.bar(x, y / 0.6, 6.0, 1.5, 0.6)
  assert float(bar.sum()) * 0.05**2 == pytest.approx(1.0, abs=0.01)
  ring = profiles.ring(jnp.hypot(x, y / 0.6), 5.0, 0.8, 0.6)
  assert float(ring.sum()) * 0.05**2 == pytest.approx(1.0, abs=0.01)


def test_arms_average_to_one_around_the_disc():
  phase = jnp.linspace(0, 2 * jnp.pi, 1000, endpoint=False)
  for sharpness in (0.5, 3.0):
    assert float(profiles.arm_pattern(phase, sharpness).mean()) == pytest.approx(1.0, abs=1e-4)


def test_radius_of_shape_two_is_that_of_an_ellipse():
  x, y = jnp.asarray([3.0, 0.0, 1.0]), jnp.asarray([0.0, 2.0, 1.0])
  expected = np.sqrt(np.asarray(x) ** 2 + (np.asarray(y) / 0.5) ** 2)
  np.testing.assert_allclose(profiles.radius(x, y, 0.5), expected, rtol=1e-6)
  np.testing.assert_allclose(profiles.radius(x, y, 0.5, jnp.float32(2.0)), expected, rtol=1e-4)


def test_points_keep_flux_and_place():
  axis = jnp.arange(-20.0, 20.0, 0.5)
  light = profiles.points(axis, axis, jnp.asarray([3.0, -5.0]), jnp.asarray([0.0, 8.0]), jnp.asarray([[2.0, 1.0]]),
                          jnp.asarray([1.0, 2.0]))[0]
  assert float(light.sum()) * 0.25 == pytest.approx(3.0, rel=1e-3)
  row, column = np.unravel_index(np.argmax(light), light.shape)
  assert (axis[column], axis[row]) == (3.0, 0.0)
