"""Which galaxies there are: the true parameters of one, drawn from published distributions.

Lengths are arcsec, angles radians, fluxes nanomaggies (22.5 mag is 1), colours magnitudes. A galaxy is a flat dict of
scalars and short vectors, so that vmap makes a population of it.

Where the distributions come from:
  magnitudes, sizes: the main sample of Galaxy Zoo 2 is r < 17 with r90 > 3″ (Willett et al. 2013, MNRAS 435, 2835);
    number counts of slope 0.5 (Yasuda et al. 2001, AJ 122, 1104); mean surface brightness inside the half-light radius
    and its scatter by type (Shen et al. 2003, MNRAS 343, 978; Blanton et al. 2003, ApJ 594, 186).
  colours: bimodal (Strateva et al. 2001, AJ 122, 1861), redder bulges (Fukugita et al. 1995, PASP 107, 945).
  bulges and discs: flux fractions and Sérsic indices (Gadotti 2009, MNRAS 393, 1531; Simard et al. 2011, ApJS 196, 11);
    discs' thickness of a fifth (Padilla & Strauss 2008, MNRAS 388, 1321); ellipticals' axis ratios (the same).
  arms: pitch angles of 10° to 35° (Seigar & James 1998, MNRAS 299, 685; Hart et al. 2017, MNRAS 472, 2263), two arms
    the most frequent (Hart et al. 2016, MNRAS 461, 3663), flocculence (Elmegreen & Elmegreen 1987, ApJ 314, 3).
  bars: a third of discs, half-lengths about 1.3 scale lengths (Masters et al. 2011, MNRAS 411, 2026; Gadotti 2011).
  foreground and background: power-law counts of stars at high galactic latitude and of galaxies (Yasuda et al. 2001).
"""
import math

import jax
import jax.numpy as jnp

from galaxy_jax.simulate import profiles
from galaxy_jax.simulate.draws import Draws
from galaxy_jax.simulate.instrument import CUTOUT_PIXELS, CUTOUT_SCALE
from tfds_builders.class_lists import SIMULATED_KINDS

(ELLIPTICAL, LENTICULAR, SPIRAL, EDGE_ON, IRREGULAR, DISTURBED, MERGER, RING, LENS,
 ARTIFACT) = range(len(SIMULATED_KINDS))

#: Populations by name: the weight of each kind.
MIXES = {
    "natural": (0.32, 0.17, 0.33, 0.08, 0.02, 0.02, 0.03, 0.02, 0.002, 0.005),
    "balanced": (0.23, 0.12, 0.16, 0.27, 0.025, 0.01, 0.17, 0.008, 0.004, 0.003),
}

#: Of g, r, i on a native pixel, nanomaggies.
SKY_NOISE = jnp.array([0.0195, 0.029, 0.038])
KNOTS, COMPANIONS, FIELD_OBJECTS = 20, 3, 24

_ARCMIN2 = 3600.0


def _by_kind(kind, default, **values):
  """The value of the galaxy's kind: those named, else the default."""
  table = [values.get(name, default) for name in SIMULATED_KINDS]
  return jnp.stack([jnp.asarray(value, jnp.float32) for value in table])[kind]


def _is(kind, *kinds):
  return jnp.any(jnp.stack([kind == k for k in kinds]), axis=0)


def draw(key: jax.Array, weights, *, faintest: float = 17.05, smallest: float = 1.75,
         largest: float = 40.0) -> dict[str, jax.Array]:
  """One galaxy with all that lies around it on the sky.

  Args:
    key: a typed key.
    weights: of the SIMULATED_KINDS, as in MIXES.
    faintest: magnitude in r.
    smallest, largest: half-light radii, arcsec. Smaller ones are not in the sample: they are drawn just above.

  Returns:
    The parameters, float32; `kind` is an index into SIMULATED_KINDS.
  """
  d = Draws(key, uniforms=400, normals=200)
  kind = d.choice(weights)
  g = {"kind": kind, "orientation": d.uniform(0, 2 * math.pi)}
  disc = _is(kind, LENTICULAR, SPIRAL, EDGE_ON, RING, IRREGULAR)
  either = _is(kind, DISTURBED, MERGER)
  has_disc = disc | (either & d.chance(0.6)) | (_is(kind, ARTIFACT) & d.chance(0.5))
  late = _is(kind, SPIRAL, IRREGULAR, RING) | (has_disc & ~_is(kind, LENTICULAR, EDGE_ON) & d.chance(0.4)) | (
      _is(kind, EDGE_ON) & d.chance(0.5))
  g["has_disc"], g["late"] = has_disc * 1.0, late * 1.0

  # Brightness and size
  g["magnitude"] = jnp.maximum(faintest + jnp.log10(d.uniform(1e-3, 1.0)) / 0.55, 13.0)
  g["redshift"] = jnp.clip(d.lognormal(0.075, 0.22) * 10 ** (0.1 * (g["magnitude"] - 16.5)), 0.004, 0.25)
  surface = _by_kind(kind, 20.5, elliptical=20.4, spiral=21.15, irregular=21.6, edge_on=21.1, ring=21.3)
  surface = d.normal(surface + 0.25 * (g["magnitude"] - 16.4), 0.5)
  half_light = 10 ** (0.2 * (surface - g["magnitude"])) / math.sqrt(2 * math.pi)
  half_light = jnp.where(half_light < smallest, smallest * (1.0 + 0.27 * d.uniform()), half_light)
  g["half_light_radius"] = jnp.minimum(half_light, largest)
  flux = 10 ** (0.4 * (22.5 - g["magnitude"]))
  g["flux"] = flux

  # Shape of the whole
  edge_on = _is(kind, EDGE_ON)
  cos_low = jnp.where(edge_on, 0.0, _by_kind(kind, 0.12, lenticular=0.25, spiral=0.28, ring=0.3, irregular=0.3))
  cos_high = jnp.where(edge_on, 0.16, 1.0)
  cos_i = d.uniform(cos_low, cos_high)
  g["inclination"] = jnp.arccos(jnp.clip(cos_i, 0.0, 1.0))
  g["thickness"] = jnp.clip(d.normal(jnp.where(late, 0.16, 0.22), 0.04), 0.07, 0.4)
  sin2 = 1.0 - cos_i**2
  g["disc_axis_ratio"] = jnp.sqrt(cos_i**2 + g["thickness"] ** 2 * sin2)
  # Discy isophotes as a disc comes edge-on: an exponential along the plane and across it has shape 1.
  steep = jnp.clip((g["inclination"] - math.radians(68)) / math.radians(17), 0.0, 1.0)
  g["disc_shape"] = 2.0 - 0.75 * steep * steep * (3 - 2 * steep)

  # Bulge and disc
  fraction = jnp.clip(d.lognormal(_by_kind(kind, 0.3, lenticular=0.42, spiral=0.14, edge_on=0.2, irregular=0.02,
                                           ring=0.25), 0.38), 0.0, 0.85)
  bulgeless = (_is(kind, SPIRAL, EDGE_ON) & d.chance(0.22)) | _is(kind, IRREGULAR)
  fraction = jnp.where(bulgeless, 0.25 * fraction * d.uniform(), fraction)
  g["bulge_fraction"] = jnp.where(has_disc, fraction, 1.0)
  g["bulge_index"] = jnp.where(has_disc, jnp.clip(d.lognormal(jnp.where(late, 1.8, 3.0), 0.17), 0.7, 6.0),
                               jnp.clip(d.lognormal(4.2, 0.12), 1.8, 5.8))
  elliptical_q = 1.0 - 0.62 * jnp.sqrt(d.uniform()) * d.uniform(0.1, 1.0) ** 0.8
  bulge_flattening = d.uniform(0.6, 0.95)
  g["bulge_axis_ratio"] = jnp.where(has_disc, jnp.sqrt(cos_i**2 + bulge_flattening**2 * sin2), elliptical_q)
  boxy = edge_on & d.chance(0.18)
  g["bulge_boxy"] = boxy * 1.0
  g["bulge_shape"] = jnp.where(boxy, d.uniform(3.0, 4.2), 2.0)
  g["bulge_axis_ratio"] = jnp.where(boxy, d.uniform(0.5, 0.65), g["bulge_axis_ratio"])
  # The scale length that makes half of the light fall within the half-light radius, to a few per cent.
  b = g["bulge_fraction"]
  scale = g["half_light_radius"] / (1.678 * (1.0 - 0.55 * b)) / jnp.maximum(g["disc_axis_ratio"], 0.25) ** 0.35
  g["scale_length"] = scale
  in_disc = jnp.clip(d.lognormal(0.22, 0.2), 0.06, 1.0) * scale * (0.5 + b)
  g["bulge_radius"] = jnp.where(has_disc, in_disc, g["half_light_radius"])

  # Colours: a red and a blue sequence, reddened by redshift
  z = g["redshift"]
  old = d.normal(0.81, 0.04) + 0.6 * z
  young = jnp.where(late, d.normal(_by_kind(kind, 0.45, irregular=0.3), 0.1), d.normal(0.67, 0.06)) + 0.5 * z
  g["bulge_g_r"], g["disc_g_r"] = old + 0.0 * z, young
  g["bulge_r_i"], g["disc_r_i"] = 0.36 + 0.45 * (old - 0.81), 0.27 + 0.35 * (young - 0.5) + d.normal(0.0, 0.025)
  g["arm_bluer"] = jnp.where(late, d.uniform(0.05, 0.3), 0.0)

  # Spiral arms
  spiral = _is(kind, SPIRAL) | (_is(kind, DISTURBED, MERGER, RING) & late & d.chance(0.5))
  g["arm_number"] = jnp.stack([1, 2, 3, 4, 5])[d.choice([0.05, 0.68, 0.14, 0.07, 0.06])] * 1.0
  pitch = jnp.clip(d.normal(18.5, 7.0), 6.0, 42.0)
  g["pitch"] = jnp.deg2rad(pitch)
  g["arm_strength"] = jnp.where(spiral, d.uniform(0.15, 1.0), 0.0)
  g["arm_sharpness"] = d.uniform(0.8, 3.5)
  g["arm_phase"] = d.uniform(0, 2 * math.pi)
  g["arm_hand"] = jnp.where(d.chance(0.5), 1.0, -1.0)
  g["arm_inner"] = d.uniform(0.25, 0.9) * scale
  g["flocculence"] = jnp.where(spiral, d.power(0.02, 0.8, -0.4), 0.0)
  g["floc_number"] = jnp.floor(d.uniform(3.0, 8.0, 3))
  g["floc_phase"] = d.uniform(0, 2 * math.pi, 3)
  g["floc_pitch"] = jnp.deg2rad(d.uniform(12.0, 40.0, 3))
  g["lopsided"] = jnp.clip(jnp.abs(d.normal(0.0, _by_kind(kind, 0.08, irregular=0.45, disturbed=0.35, merger=0.2,
                                                          elliptical=0.02))), 0.0, 0.8)
  g["lopsided_phase"] = d.uniform(0, 2 * math.pi)

  # Bar and ring
  barred = has_disc & ~_is(kind, EDGE_ON, IRREGULAR) & d.chance(jnp.where(late, 0.4, 0.15))
  g["bar_fraction"] = jnp.where(barred, d.uniform(0.1, 0.42), 0.0)
  g["bar_length"] = jnp.clip(d.lognormal(1.35, 0.12), 0.6, 2.4) * scale
  g["bar_width"] = g["bar_length"] * d.uniform(0.18, 0.36)
  g["bar_angle"] = d.uniform(0, math.pi)
  g["arm_inner"] = jnp.where(barred, jnp.maximum(g["arm_inner"], 0.8 * g["bar_length"]), g["arm_inner"])
  ringed = _is(kind, RING) | (_is(kind, SPIRAL, LENTICULAR) & d.chance(0.04))
  g["ring_fraction"] = jnp.where(ringed, d.uniform(0.12, 0.5), 0.0)
  g["ring_radius"] = d.uniform(1.3, 2.6) * scale
  g["ring_width"] = g["ring_radius"] * d.uniform(0.07, 0.2)

  # Dust lane across an edge-on disc
  dusty = _is(kind, EDGE_ON, LENTICULAR) & (g["inclination"] > math.radians(78)) & d.chance(0.3)
  g["dust_depth"] = jnp.where(dusty, d.uniform(0.4, 1.8), 0.0)
  g["dust_width"] = g["thickness"] * scale * d.uniform(0.2, 0.45)
  g["dust_offset"] = g["thickness"] * scale * d.normal(0.0, 0.3)

  # Knots of star formation along the arms, or anywhere in an irregular galaxy
  knotty = late & ~_is(kind, EDGE_ON)
  g["knot_fraction"] = jnp.where(knotty, d.power(0.01, _by_kind(kind, 0.09, irregular=0.4), -0.6), 0.0)
  share = d.uniform(count=KNOTS) ** 3
  g["knot_share"] = share / jnp.sum(share)
  radius = scale * jnp.clip(-jnp.log(d.uniform(count=KNOTS)) - jnp.log(d.uniform(count=KNOTS)), 0.3, 3.6)
  along = jnp.floor(d.uniform(count=KNOTS) * g["arm_number"]) * 2 * math.pi / g["arm_number"]
  on_arm = g["arm_hand"] * (jnp.log(radius / scale) / jnp.tan(g["pitch"]) - g["arm_phase"] / g["arm_number"] + along)
  anywhere = d.uniform(0, 2 * math.pi, KNOTS)
  theta = jnp.where(spiral & (d.uniform(count=KNOTS) < 0.75), on_arm + d.normal(0.0, 0.15, KNOTS), anywhere)
  g["knot_x"], g["knot_y"] = radius * jnp.cos(theta), radius * jnp.sin(theta) * g["disc_axis_ratio"]
  g["knot_size"] = scale * d.uniform(0.05, 0.2, KNOTS)

  # Tidal tails, and a companion that raised them
  merging = _is(kind, MERGER)
  g["tail_strength"] = jnp.where(_is(kind, DISTURBED), d.uniform(0.1, 0.5),
                                 jnp.where(merging & d.chance(0.4), d.uniform(0.03, 0.4), 0.0))
  g["tail_number"] = jnp.where(d.chance(0.5), 1.0, 2.0)
  g["tail_pitch"] = jnp.deg2rad(d.uniform(25.0, 65.0))
  g["tail_phase"] = d.uniform(0, 2 * math.pi)
  g["tail_width"] = d.uniform(0.25, 0.7)
  g["tail_reach"] = g["half_light_radius"] * d.uniform(1.5, 3.2)
  separation = g["half_light_radius"] * d.power(0.5, 3.6, 0.0)
  g["partner_flux"] = jnp.where(merging, flux * d.power(0.12, 1.1, -0.6), 0.0)
  g["partner_separation"] = separation
  partner_angle = d.uniform(0, 2 * math.pi)
  g["partner_x"], g["partner_y"] = separation * jnp.cos(partner_angle), separation * jnp.sin(partner_angle)
  g["partner_radius"] = g["half_light_radius"] * jnp.sqrt(jnp.clip(g["partner_flux"] / flux, 0.05, 1.5)) * d.lognormal(
      0.9, 0.1)
  g["partner_axis_ratio"] = d.uniform(0.25, 1.0)
  g["partner_angle"] = d.uniform(0, math.pi)
  g["partner_index"] = jnp.clip(d.lognormal(1.7, 0.22), 0.8, 4.5)
  g["partner_g_r"] = jnp.where(d.chance(0.65), old, young) + d.normal(0.0, 0.08)

  # A gravitational arc
  lens = _is(kind, LENS)
  g["arc_flux"] = jnp.where(lens, flux * d.uniform(0.03, 0.15), 0.0)
  g["arc_radius"] = g["half_light_radius"] * d.uniform(1.0, 2.2)
  g["arc_angle"] = d.uniform(0, 2 * math.pi)
  g["arc_extent"] = d.uniform(3.0, 14.0)

  g |= frame(d)
  g["petrosian_radius"] = _petrosian_radius(g)
  g |= neighbours(d, CUTOUT_PIXELS * CUTOUT_SCALE * g["petrosian_radius"], g["magnitude"] - 0.5)
  g |= _artifacts(d, kind, g)
  # The deeper a cut-out is enlarged, the more its noise has been averaged on the way.
  averaged = (g["petrosian_radius"] / 6.0) ** 0.35
  g["sky_noise"], g["sky_offset"] = g["sky_noise"] * averaged, g["sky_offset"] * averaged
  g["centre"] = d.normal(1.5, 1.3, 2) * CUTOUT_SCALE * g["petrosian_radius"]
  return g


def _petrosian_radius(g):
  """r90 as SDSS measures it (Blanton et al. 2001, AJ 121, 2358), arcsec, from the growth curve of bulge and disc.

  In circular apertures: the Petrosian radius is where the brightness falls to a fifth of the mean inside; 90 % of the
  light within two of those lies inside r90. Seeing and a partner are taken to widen them.
  """
  r = g["half_light_radius"] * jnp.exp(jnp.linspace(-3.0, 3.0, 72))
  angles = (jnp.arange(8) + 0.5) * (math.pi / 16)
  u, v = r[:, None] * jnp.cos(angles), r[:, None] * jnp.sin(angles)
  soft = 0.1 * g["seeing"]
  bulge = profiles.sersic(profiles.radius(u, v, g["bulge_axis_ratio"], g["bulge_shape"], soft), g["bulge_radius"],
                          g["bulge_index"], g["bulge_axis_ratio"], g["bulge_shape"])
  disc = profiles.exponential(profiles.radius(u, v, g["disc_axis_ratio"], g["disc_shape"], soft), g["scale_length"],
                              g["disc_axis_ratio"], g["disc_shape"])
  brightness = jnp.mean(g["bulge_fraction"] * bulge + (1.0 - g["bulge_fraction"]) * disc, axis=1)
  flux = jnp.cumsum(brightness * r * r) * (2 * math.pi * 6.0 / 71)
  below = brightness * math.pi * r * r < 0.2 * flux
  petrosian = r[jnp.argmax(below)]
  total = jnp.interp(2.0 * petrosian, r, flux)
  r90 = jnp.sqrt(jnp.interp(0.9 * total, flux, r) ** 2 + (0.7 * g["seeing"]) ** 2)
  # A partner's light is in the apertures as well, where the survey did not take the two apart.
  reach = g["partner_separation"] + g["partner_radius"]
  together = jnp.clip(g["partner_flux"] / g["flux"], 0.0, 1.0) * (g["partner_separation"] < 1.3 * r90)
  r90 = r90 + jnp.where(g["partner_flux"] > 0, 0.7 * together * jnp.maximum(reach - r90, 0.0), 0.0)
  return jnp.maximum(0.9 * r90, 2.8)


def _brightest(d, *, area, density, reference, slope, count):
  """The magnitudes of the brightest `count` objects of a Poisson field with counts N(<m) = density 10^(slope Δm)."""
  arrivals = jnp.cumsum(-jnp.log(d.uniform(count=count)))
  return reference + jnp.log10(arrivals / (area * density)) / slope


def neighbours(d: Draws, width, brightest) -> dict[str, jax.Array]:
  """Stars and galaxies that happen to lie in a square of `width` arcsec; no galaxy above magnitude `brightest`."""
  area = width * width / _ARCMIN2
  out = {}
  stars = FIELD_OBJECTS // 2
  crowding = d.lognormal(1.0, 0.25)
  star = _brightest(d, area=area, density=0.6 * crowding, reference=20.0, slope=0.18, count=stars)
  galaxy = _brightest(d, area=area, density=0.55 * d.lognormal(1.0, 0.25), reference=20.5, slope=0.42,
                      count=FIELD_OBJECTS - stars)
  magnitude = jnp.concatenate([jnp.maximum(star, 13.0), jnp.maximum(galaxy, 17.5)])
  out["field_flux"] = 10 ** (0.4 * (22.5 - jnp.minimum(magnitude, 26.0)))
  out["field_x"], out["field_y"] = d.uniform(-0.52, 0.52, FIELD_OBJECTS) * width, d.uniform(-0.52, 0.52,
                                                                                           FIELD_OBJECTS) * width
  star_g_r = jnp.where(d.uniform(count=stars) < 0.5, d.normal(1.4, 0.1, stars), d.normal(0.55, 0.2, stars))
  galaxy_g_r = d.normal(0.95, 0.35, FIELD_OBJECTS - stars)
  out["field_g_r"] = jnp.concatenate([star_g_r, galaxy_g_r])
  red = jnp.maximum(d.normal(0.9, 0.5, stars), 0.35)
  star_r_i = jnp.where(star_g_r > 1.1, red, 0.36 * star_g_r)
  out["field_r_i"] = jnp.concatenate([star_r_i, 0.4 * galaxy_g_r + d.normal(0.02, 0.08, FIELD_OBJECTS - stars)])
  faintness = jnp.clip((21.5 - galaxy) / 4.0, 0.0, 1.0)
  out["field_size"] = jnp.concatenate([jnp.zeros(stars), 0.35 + 0.9 * faintness * d.uniform(0.4, 1.3,
                                                                                           FIELD_OBJECTS - stars)])
  # Larger ones, with a shape of their own
  near = _brightest(d, area=area, density=0.1 * d.lognormal(1.0, 0.3), reference=18.5, slope=0.5, count=COMPANIONS)
  near = jnp.maximum(near, brightest)
  out["companion_flux"] = 10 ** (0.4 * (22.5 - near))
  out["companion_x"], out["companion_y"] = d.uniform(-0.55, 0.55, COMPANIONS) * width, d.uniform(
      -0.55, 0.55, COMPANIONS) * width
  out["companion_radius"] = jnp.clip(10 ** (0.2 * (d.normal(21.0, 0.6, COMPANIONS) - near)) / math.sqrt(2 * math.pi),
                                     0.5, 14.0)
  out["companion_axis_ratio"] = d.uniform(0.25, 1.0, COMPANIONS)
  out["companion_angle"] = d.uniform(0, math.pi, COMPANIONS)
  out["companion_index"] = jnp.clip(d.lognormal(1.6, 0.25, COMPANIONS), 0.8, 4.5)
  out["companion_g_r"] = jnp.where(d.uniform(count=COMPANIONS) < 0.55, d.normal(0.9, 0.08, COMPANIONS),
                                   d.normal(0.55, 0.12, COMPANIONS))
  return out


def _artifacts(d, kind, g):
  """What should not be on the sky: a satellite's trail, a bad column, a bright star in the galaxy's place."""
  bad = _is(kind, ARTIFACT)
  which = d.choice([0.4, 0.4, 0.2])
  out = {"star_flux": jnp.where(bad & (which == 0), g["flux"] * d.power(2.0, 60.0, -1.0 + 1e-3), 0.0)}
  trail = (bad & (which == 1)) | d.chance(0.003)
  out["trail_strength"] = jnp.where(trail, d.uniform(0.3, 3.0), 0.0)
  out["trail_angle"] = d.uniform(0, math.pi)
  out["trail_offset"] = g["half_light_radius"] * d.normal(0.0, jnp.where(bad, 0.5, 4.0))
  out["trail_band"] = jax.nn.one_hot(d.choice([1.0, 1.0, 1.0]), 3)
  out["column_strength"] = jnp.where((bad & (which == 2)) | d.chance(0.001), d.uniform(0.3, 2.0), 0.0)
  out["column_offset"] = g["half_light_radius"] * d.normal(0.0, jnp.where(bad, 0.4, 4.0))
  out["column_band"] = jax.nn.one_hot(d.choice([1.0, 1.0, 1.0]), 3)
  return out


def frame(d: Draws) -> dict[str, jax.Array]:
  """Seeing, sky and registration of the frame that a galaxy lies in."""
  return {
      "seeing": jnp.clip(d.lognormal(1.17, 0.05), 0.9, 2.0),
      "sky_noise": 0.85 * SKY_NOISE * d.lognormal(1.0, 0.06) * d.lognormal(1.0, 0.025, 3),
      "sky_offset": 0.85 * SKY_NOISE * (jnp.array([-0.85, -0.55, -0.6]) + d.normal(0.0, 0.1, 3)
                                                                + d.normal(0.0, 0.08)),
      "band_shift": jnp.clip(d.normal(0.0, 0.085, 6).reshape(3, 2), -0.5, 0.5) * jnp.array([[1.0], [0.0], [1.0]]),
      "tile_quality": d.uniform(82.0, 92.0),
  }
