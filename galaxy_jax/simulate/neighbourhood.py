"""What lies around a galaxy and on its frame: stars, other galaxies, artefacts, and the state of sky and telescope.

Units as in `population`. Positions are relative to the image's middle, along its columns (x) and rows (y).

References: counts of stars and galaxies at high galactic latitude as power laws (Yasuda et al. 2001, AJ 122, 1104).
Seeing, noise and level of the sky were fitted to the cut-outs: the seeing below is less than the survey's median of
1.4″ in r, as pixels and enlargement soften the image once more.
"""
import math

import jax
import jax.numpy as jnp

from galaxy_jax.simulate.draws import Draws

COMPANIONS, FIELD_OBJECTS = 3, 24
#: Of g, r, i on a native pixel, nanomaggies: the survey's, times what tiles and enlargement leave of it.
SKY_NOISE = (0.0162, 0.0241, 0.0315)
#: How far black lies above the sky, in units of that noise, g, r, i.
SKY_OFFSET = (-0.85, -0.55, -0.6)
#: How much that differs from frame to frame, likewise: in each band for itself, and in all.
SKY_SCATTER, COMMON_SCATTER = (0.12, 0.1, 0.17), 0.08
#: The share of frames with stray light from a bright star outside the image, and its colour.
STRAY_LIGHT, STRAY_COLOUR = 0.025, (1.0, 1.2, 1.8)

_ARCMIN2 = 3600.0


def around(d: Draws, width, brightest, *, objects: int = FIELD_OBJECTS) -> dict[str, jax.Array]:
  """The stars and galaxies that happen to lie in a square of `width` arcsec: the brightest, half of `objects` each.

  None of the galaxies with a shape is brighter than magnitude `brightest`.

  Returns:
    (objects,) `field_flux, field_x, field_y, field_g_r, field_r_i, field_size`, round ones, stars first;
    (COMPANIONS,) `companion_flux, companion_x, companion_y, companion_radius, companion_axis_ratio, companion_angle,
    companion_index, companion_g_r`, galaxies with a shape.
  """
  area = width * width / _ARCMIN2
  stars = objects // 2
  galaxies = objects - stars
  star = _brightest(d, area=area, density=0.6 * d.lognormal(1.0, 0.25), reference=20.0, slope=0.18, count=stars)
  galaxy = _brightest(d, area=area, density=0.55 * d.lognormal(1.0, 0.25), reference=20.5, slope=0.42, count=galaxies)
  magnitude = jnp.concatenate([jnp.maximum(star, 13.0), jnp.maximum(galaxy, 18.5)])
  star_g_r = jnp.where(d.uniform(count=stars) < 0.5, d.normal(1.4, 0.1, stars), d.normal(0.55, 0.2, stars))
  galaxy_g_r = d.normal(0.95, 0.35, galaxies)
  star_r_i = jnp.where(star_g_r > 1.1, jnp.maximum(d.normal(0.9, 0.5, stars), 0.35), 0.36 * star_g_r)
  faintness = jnp.clip((21.5 - galaxy) / 4.0, 0.0, 1.0)
  near = jnp.maximum(_brightest(d, area=area, density=0.1 * d.lognormal(1.0, 0.3), reference=18.5, slope=0.5,
                                count=COMPANIONS), brightest)
  return {
      "field_flux": 10 ** (0.4 * (22.5 - jnp.minimum(magnitude, 26.0))),
      "field_x": d.uniform(-0.52, 0.52, objects) * width,
      "field_y": d.uniform(-0.52, 0.52, objects) * width,
      "field_g_r": jnp.concatenate([star_g_r, galaxy_g_r]),
      "field_r_i": jnp.concatenate([star_r_i, 0.4 * galaxy_g_r + d.normal(0.02, 0.08, galaxies)]),
      "field_size": jnp.concatenate([jnp.zeros(stars), 0.35 + 0.9 * faintness * d.uniform(0.4, 1.3, galaxies)]),
      "companion_flux": 10 ** (0.4 * (22.5 - near)),
      "companion_x": d.uniform(-0.55, 0.55, COMPANIONS) * width,
      "companion_y": d.uniform(-0.55, 0.55, COMPANIONS) * width,
      "companion_radius": jnp.clip(10 ** (0.2 * (d.normal(21.0, 0.6, COMPANIONS) - near)) / math.sqrt(2 * math.pi), 0.5,
                                   14.0),
      "companion_axis_ratio": d.uniform(0.25, 1.0, COMPANIONS), "companion_angle": d.uniform(0, math.pi, COMPANIONS),
      "companion_index": jnp.clip(d.lognormal(1.6, 0.25, COMPANIONS), 0.8, 4.5),
      "companion_g_r": jnp.where(d.uniform(count=COMPANIONS) < 0.55, d.normal(0.9, 0.08, COMPANIONS),
                                 d.normal(0.55, 0.12, COMPANIONS))}


def _brightest(d, *, area, density, reference, slope, count):
  """Magnitudes of the brightest `count` objects of a Poisson field, the brightest first.

  There are N(<m) = density 10^(slope (m - reference)) of them in a square arcmin, and `area` square arcmin.
  """
  arrivals = jnp.cumsum(-jnp.log(d.uniform(count=count)))
  return reference + jnp.log10(arrivals / (area * density)) / slope


def artifacts(d: Draws, bad, g: dict) -> dict[str, jax.Array]:
  """What should not be there: `star_flux` of a bright star in the galaxy's place; a satellite's trail, `trail_strength`
  (nanomaggies per square arcsec), `trail_angle, trail_offset, trail_band` (3,); a bad column, `column_strength`
  (nanomaggies per native pixel), `column_offset, column_band`.

  Args:
    bad: whether one of them lies on the galaxy; else the last two are rare, and seldom near it.
    g: `flux` and `half_light_radius` of the galaxy.
  """
  which = d.choice([0.4, 0.4, 0.2])
  trail, column = (bad & (which == 1)) | d.chance(0.003), (bad & (which == 2)) | d.chance(0.001)
  size = g["half_light_radius"]
  return {"star_flux": jnp.where(bad & (which == 0), g["flux"] * 2.0 * 30.0 ** d.uniform(), 0.0),
          "trail_strength": jnp.where(trail, d.uniform(0.3, 3.0), 0.0), "trail_angle": d.uniform(0, math.pi),
          "trail_offset": size * d.normal(0.0, jnp.where(bad, 0.5, 4.0)),
          "trail_band": jax.nn.one_hot(d.choice([1.0, 1.0, 1.0]), 3),
          "column_strength": jnp.where(column, d.uniform(0.3, 2.0), 0.0),
          "column_offset": size * d.normal(0.0, jnp.where(bad, 0.4, 4.0)),
          "column_band": jax.nn.one_hot(d.choice([1.0, 1.0, 1.0]), 3)}


def frame(d: Draws) -> dict[str, jax.Array]:
  """`seeing` in r, FWHM in arcsec, before the enlargement softens it further; (3,) `sky_noise` and `sky_offset`,
  nanomaggies on a native pixel; (3, 2) `band_shift` against r; `tile_quality` of the JPEG coder, and `tile_phase` (2,),
  where on its blocks the galaxy falls.
  """
  noise = jnp.asarray(SKY_NOISE) * d.lognormal(1.0, 0.06) * d.lognormal(1.0, 0.025, 3)
  stray = jnp.where(d.chance(STRAY_LIGHT), d.lognormal(0.6, 0.35), 0.0) * jnp.asarray(STRAY_COLOUR)
  offset = jnp.asarray(SKY_NOISE) * (jnp.asarray(SKY_OFFSET) + jnp.asarray(SKY_SCATTER) * d.normal(0.0, 1.0, 3)
                                     + d.normal(0.0, COMMON_SCATTER) + stray)
  shift = jnp.clip(d.normal(0.0, 0.085, 6).reshape(3, 2), -0.5, 0.5) * jnp.asarray([[1.0], [0.0], [1.0]])
  return {"seeing": jnp.clip(d.lognormal(1.07, 0.05), 0.9, 2.0), "sky_noise": noise, "sky_offset": offset,
          "band_shift": shift, "tile_quality": d.uniform(82.0, 92.0), "tile_phase": jnp.floor(d.uniform(0, 16, 2))}
