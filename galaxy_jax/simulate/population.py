"""Which galaxies there are: the true parameters of one, drawn in parts from published distributions.

Lengths are arcsec, angles radians, fluxes nanomaggies (22.5 mag is 1), colours magnitudes, positions relative to the
galaxy's centre along its major axis (x) and across it (y). A galaxy is a flat dict of scalars and short vectors, so
that vmap makes a population of it; each function below says what it adds.

Where the distributions come from; numbers without a source were fitted, with those of the instrument and of the
volunteers, to the statistics of real images and to the votes of the sample's first 635 galaxies (docs/simulator.md):
  magnitudes, sizes: the main sample of Galaxy Zoo 2 is r < 17 with r90 > 3″ (Willett et al. 2013, MNRAS 435, 2835);
    number counts of slope 0.5 to 0.6 (Yasuda et al. 2001, AJ 122, 1104); a normal scatter of the mean surface
    brightness inside the half-light radius, by type (Shen et al. 2003, MNRAS 343, 978; Blanton et al. 2003, ApJ 594,
    186).
  redshifts: about those of the survey's main sample (Strauss et al. 2002, AJ 124, 1810), growing with magnitude.
  colours: bimodal (Strateva et al. 2001, AJ 122, 1861), redder bulges (Fukugita et al. 1995, PASP 107, 945).
  bulges and discs: flux fractions and Sérsic indices (Gadotti 2009, MNRAS 393, 1531; Simard et al. 2011, ApJS 196, 11);
    discs' thickness and ellipticals' axis ratios (Padilla & Strauss 2008, MNRAS 388, 1321).
  arms: pitch angles mostly of 10° to 30° (Seigar & James 1998, MNRAS 299, 685; Hart et al. 2017, MNRAS 472, 2263), two
    arms the most frequent (Hart et al. 2016, MNRAS 461, 3663), flocculence (Elmegreen & Elmegreen 1987, ApJ 314, 3).
  bars: a third of spirals, half-lengths about 1.3 scale lengths (Masters et al. 2011, MNRAS 411, 2026; Gadotti 2011,
    MNRAS 415, 3308).
"""
import math

import jax
import jax.numpy as jnp

from galaxy_jax.simulate import profiles
from galaxy_jax.simulate.draws import Draws
from galaxy_jax.simulate.instrument import CUTOUT_PIXELS, CUTOUT_SCALE
from galaxy_jax.simulate.neighbourhood import around, artifacts, frame
from tfds_builders.class_lists import SIMULATED_KINDS

(ELLIPTICAL, LENTICULAR, SPIRAL, EDGE_ON, IRREGULAR, DISTURBED, MERGER, RING, LENS,
 ARTIFACT) = range(len(SIMULATED_KINDS))

#: Populations by name: the weight of each kind. `natural`: shares meant to be like Galaxy Zoo 2's. `balanced`:
#: more edge-on discs and mergers, as in the labelled sample, whose mean votes its weights reproduce.
MIXES = {
    "natural": (0.2, 0.28, 0.26, 0.08, 0.095, 0.025, 0.03, 0.02, 0.002, 0.005),
    "balanced": (0.26, 0.12, 0.18, 0.24, 0.02, 0.01, 0.17, 0.008, 0.004, 0.003),
}

KNOTS = 20
#: A measured r90 falls short of a noiseless profile's: galaxies are larger in the images than 0.02 r90 a pixel says.
MEASURED_R90 = 0.86
#: r90 of the smallest cut-outs, arcsec.
SMALLEST_R90 = 2.8


def draw(key: jax.Array, weights, *, faintest: float = 17.0, smallest: float = 1.75,
         largest: float = 40.0) -> dict[str, jax.Array]:
  """One galaxy with all that lies around it on the sky and the frame it was taken in.

  Args:
    key: a typed key.
    weights: of the SIMULATED_KINDS, as in MIXES.
    faintest: magnitude in r.
    smallest, largest: half-light radii, arcsec. Smaller ones are not in the sample: the few in a hundred that come
      out smaller are drawn just above, denser than the relation has them.

  Returns:
    The parameters, float32, of all the functions below, of `neighbourhood`, and: `kind`, an index into
    SIMULATED_KINDS; `has_disc`; `orientation`, of the major axis; `centre` (2,), where the galaxy lies in the image;
    `r90`, as the survey measures it.
  """
  def part(number):
    return Draws(jax.random.fold_in(key, number))

  d = part(0)
  kind = d.choice(weights)
  g = {"kind": kind, "orientation": d.uniform(0, 2 * math.pi)}
  torn = _is(kind, DISTURBED, MERGER)
  has_disc = _is(kind, LENTICULAR, SPIRAL, EDGE_ON, RING, IRREGULAR) | (torn & d.chance(0.6)) | (
      _is(kind, ARTIFACT) & d.chance(0.5))
  late = _is(kind, SPIRAL, IRREGULAR, RING) | (has_disc & ~_is(kind, LENTICULAR, EDGE_ON) & d.chance(0.4)) | (
      _is(kind, EDGE_ON) & d.chance(0.5))
  g["has_disc"] = has_disc * 1.0
  g |= frame(part(1))
  g |= _brightness(part(2), kind, faintest=faintest, smallest=smallest, largest=largest)
  g |= _bulge_and_disc(part(3), kind, late, g)
  r90, stretch = _sizes(g)
  g["scale_length"], g["bulge_radius"] = stretch * g["scale_length"], stretch * g["bulge_radius"]
  g |= _colours(part(4), kind, late, g)
  spiral = _is(kind, SPIRAL) | (torn & late & d.chance(0.5)) | (_is(kind, RING) & d.chance(0.5))
  g |= _arms(part(5), kind, spiral, g)
  g |= _bar_and_ring(part(6), kind, late, g)
  g |= _dust_and_knots(part(7), kind, late, spiral, g)
  g |= _tides(part(8), kind, g)
  # A partner's light is in the apertures as well, where the survey did not take the two apart.
  reach = g["partner_separation"] + g["partner_radius"]
  together = jnp.clip(g["partner_flux"] / g["flux"], 0.0, 1.0) * (g["partner_separation"] < 1.3 * r90)
  r90 = r90 + jnp.where(g["partner_flux"] > 0, 0.7 * together * jnp.maximum(reach - r90, 0.0), 0.0)
  g["r90"] = jnp.maximum(MEASURED_R90 * r90, SMALLEST_R90)
  g |= around(part(9), CUTOUT_PIXELS * CUTOUT_SCALE * g["r90"], g["magnitude"] - 0.5)
  g |= artifacts(part(10), _is(kind, ARTIFACT), g)
  # The deeper a cut-out is enlarged, the more its noise has been averaged on the way; the exponent was fitted.
  averaged = (g["r90"] / 6.0) ** 0.35
  g["sky_noise"], g["sky_offset"] = g["sky_noise"] * averaged, g["sky_offset"] * averaged
  # Published cut-outs lie a pixel and a half down and right of the galaxy's place, give or take as much.
  g["centre"] = d.normal(1.5, 1.3, 2) * CUTOUT_SCALE * g["r90"]
  return g


def _by_kind(kind, default, **values):
  """The value of the galaxy's kind: those named, else the default."""
  table = [values.get(name, default) for name in SIMULATED_KINDS]
  return jnp.stack([jnp.asarray(value, jnp.float32) for value in table])[kind]


def _is(kind, *kinds):
  return jnp.any(jnp.stack([kind == k for k in kinds]), axis=0)


def _brightness(d, kind, *, faintest, smallest, largest):
  """`magnitude` and `flux` in r, of the galaxy without its partner, its ring and its dust; `half_light_radius` of bulge
  and disc in circular apertures; `redshift`, about 0.08 as in the survey's main sample, which only reddens.
  """
  magnitude = jnp.maximum(faintest + jnp.log10(d.uniform(1e-3, 1.0)) / 0.55, 13.0)
  redshift = jnp.clip(d.lognormal(0.075, 0.19) * 10 ** (0.1 * (magnitude - 16.5)), 0.004, 0.25)
  # Mean magnitude per square arcsec inside the half-light radius; brighter galaxies are denser.
  surface = _by_kind(kind, 20.25, elliptical=20.7, lenticular=20.35, spiral=20.85, irregular=21.5, edge_on=20.65,
                     ring=20.95)
  surface = d.normal(surface + 0.25 * (magnitude - 16.4), 0.55)
  radius = 10 ** (0.2 * (surface - magnitude)) / math.sqrt(2 * math.pi)
  radius = jnp.where(radius < smallest, smallest * d.uniform(1.0, 1.27), radius)
  return {"magnitude": magnitude, "flux": 10 ** (0.4 * (22.5 - magnitude)), "redshift": redshift,
          "half_light_radius": jnp.minimum(radius, largest)}


def _bulge_and_disc(d, kind, late, g):
  """`inclination`, `thickness`, `scale_length`, `disc_axis_ratio`, `disc_shape` (of isophotes, see `profiles`);
  `bulge_fraction` of the flux, `bulge_index` of Sérsic, `bulge_radius, bulge_axis_ratio, bulge_shape, bulge_boxy`.

  The two lengths are in the right proportion; `_sizes` says by what to stretch both.
  """
  has_disc, edge_on = g["has_disc"] > 0, _is(kind, EDGE_ON)
  lowest = jnp.where(edge_on, 0.0, _by_kind(kind, 0.12, lenticular=0.25, spiral=0.28, ring=0.3, irregular=0.3))
  cos_i = d.uniform(lowest, jnp.where(edge_on, 0.16, 1.0))
  sin2 = 1.0 - cos_i**2
  inclination = jnp.arccos(jnp.clip(cos_i, 0.0, 1.0))
  thickness = jnp.clip(d.normal(jnp.where(late, 0.16, 0.22), 0.04), 0.07, 0.4)
  disc_axis_ratio = jnp.sqrt(cos_i**2 + thickness**2 * sin2)
  # Discy isophotes as a disc comes edge-on: an exponential along the plane and across it has shape 1.
  steep = jnp.clip((inclination - math.radians(68)) / math.radians(17), 0.0, 1.0)
  disc_shape = 2.0 - 0.75 * steep * steep * (3 - 2 * steep)

  fraction = jnp.clip(d.lognormal(_by_kind(kind, 0.3, lenticular=0.38, spiral=0.14, edge_on=0.2, irregular=0.02,
                                           ring=0.25), 0.45), 0.0, 0.65)
  bulgeless = (_is(kind, SPIRAL, EDGE_ON) & d.chance(0.3)) | _is(kind, IRREGULAR)
  fraction = jnp.where(bulgeless, 0.25 * fraction * d.uniform(), fraction)
  fraction = jnp.where(has_disc, fraction, 1.0)
  index = jnp.where(has_disc, jnp.clip(d.lognormal(jnp.where(late, 1.8, 3.0), 0.17), 0.7, 6.0),
                    jnp.clip(d.lognormal(4.2, 0.12), 1.8, 5.8))
  elliptical = 1.0 - 0.68 * jnp.sqrt(d.uniform()) * d.uniform(0.1, 1.0) ** 0.8
  bulge_axis_ratio = jnp.where(has_disc, jnp.sqrt(cos_i**2 + d.uniform(0.6, 0.95) ** 2 * sin2), elliptical)
  boxy = edge_on & d.chance(0.18)
  scale = g["half_light_radius"] / 1.678
  in_disc = jnp.clip(d.lognormal(0.185, 0.2), 0.05, 1.0) * scale * (0.5 + fraction)
  return {"inclination": inclination, "thickness": thickness, "scale_length": scale, "disc_shape": disc_shape,
          "disc_axis_ratio": disc_axis_ratio, "bulge_fraction": fraction, "bulge_index": index,
          "bulge_radius": jnp.where(has_disc, in_disc, g["half_light_radius"]), "bulge_boxy": boxy * 1.0,
          "bulge_axis_ratio": jnp.where(boxy, d.uniform(0.5, 0.65), bulge_axis_ratio),
          "bulge_shape": jnp.where(boxy, d.uniform(3.0, 4.2), 2.0)}


def _sizes(g):
  """r90 of bulge and disc, arcsec, once their lengths are stretched by the second result.

  Stretched so, half of the light is inside `half_light_radius`. r90 is SDSS's (Blanton et al. 2001, AJ 121, 2358): in
  circular apertures, the Petrosian radius is where the brightness falls to a fifth of the mean inside, and 90 % of the
  light within two of those lies inside r90. The seeing widens it.
  """
  r = g["half_light_radius"] * jnp.exp(jnp.linspace(-7.5, 3.5, 128))
  angles = (jnp.arange(8) + 0.5) * (math.pi / 16)
  u, v = r[:, None] * jnp.cos(angles), r[:, None] * jnp.sin(angles)
  bulge = profiles.sersic(profiles.radius(u, v, g["bulge_axis_ratio"], g["bulge_shape"]), g["bulge_radius"],
                          g["bulge_index"], g["bulge_axis_ratio"], g["bulge_shape"])
  disc = profiles.exponential(profiles.radius(u, v, g["disc_axis_ratio"], g["disc_shape"]), g["scale_length"],
                              g["disc_axis_ratio"], g["disc_shape"])
  brightness = jnp.mean(g["bulge_fraction"] * bulge + (1.0 - g["bulge_fraction"]) * disc, axis=1)
  step = 11.0 / 127
  # The trapezoidal rule in log r; what lies inside the first radius is next to nothing.
  rings = brightness * r * r * (2 * math.pi * step)
  flux = jnp.cumsum(rings) - 0.5 * rings
  half = jnp.interp(0.5, flux, r)
  falls = jnp.log(jnp.maximum(flux, 1e-9)) - jnp.log(5 * math.pi * brightness * r * r + 1e-12)
  # A bulge in a much larger disc has several such radii: the survey takes the largest.
  petrosian = jnp.interp(0.0, jax.lax.cummin(falls, reverse=True), r)
  r90 = jnp.interp(0.9 * jnp.interp(2.0 * petrosian, r, flux), flux, r)
  stretch = g["half_light_radius"] / half
  return jnp.sqrt((stretch * r90) ** 2 + (0.7 * g["seeing"]) ** 2), stretch


def _colours(d, kind, late, g):
  """`bulge_g_r, bulge_r_i, disc_g_r, disc_r_i`, and `arm_bluer`, the arms' g - r below the disc's.

  A red and a blue sequence, both reddened by redshift.
  """
  z = g["redshift"]
  old = d.normal(0.775, 0.07) + 0.6 * z
  young = jnp.where(late, d.normal(_by_kind(kind, 0.455, irregular=0.3), 0.11), d.normal(0.64, 0.06)) + 0.5 * z
  return {"bulge_g_r": old, "bulge_r_i": profiles.r_i(old), "disc_g_r": young,
          "disc_r_i": 0.27 + 0.35 * (young - 0.5) + d.normal(0.0, 0.025),
          "arm_bluer": jnp.where(late, d.uniform(0.03, 0.26), 0.0)}


def _arms(d, kind, spiral, g):
  """`arm_number`, `pitch`, `arm_strength` (share of the disc's light, 0 … 1), `arm_sharpness` (κ of a von Mises
  profile), `arm_phase`, `arm_hand`, `arm_inner` (radius where they begin); `flocculence` and the three waves that make
  it, `floc_number, floc_phase, floc_pitch`; `lopsided` and its `lopsided_phase`.
  """
  return {"arm_number": 1.0 + d.choice([0.05, 0.68, 0.14, 0.07, 0.06]),
          "pitch": jnp.deg2rad(jnp.clip(d.normal(18.5, 7.0), 6.0, 42.0)),
          "arm_strength": jnp.where(spiral, d.uniform(0.06, 0.85), 0.0), "arm_sharpness": d.uniform(0.8, 3.5),
          "arm_phase": d.uniform(0, 2 * math.pi), "arm_hand": jnp.where(d.chance(0.5), 1.0, -1.0),
          "arm_inner": d.uniform(0.25, 0.9) * g["scale_length"],
          "flocculence": jnp.where(spiral, d.power(0.02, 0.8, -0.4), 0.0),
          "floc_number": jnp.floor(d.uniform(3.0, 8.0, 3)), "floc_phase": d.uniform(0, 2 * math.pi, 3),
          "floc_pitch": jnp.deg2rad(d.uniform(12.0, 40.0, 3)),
          "lopsided": jnp.minimum(jnp.abs(d.normal(0.0, _by_kind(kind, 0.18, elliptical=0.03, irregular=0.5,
                                                                 disturbed=0.45, merger=0.25))), 0.8),
          "lopsided_phase": d.uniform(0, 2 * math.pi)}


def _bar_and_ring(d, kind, late, g):
  """`bar_fraction` of the disc's light, `bar_length` and `bar_width` (halves), `bar_angle` from the major axis in the
  disc's plane; `ring_fraction`, `ring_radius`, `ring_width`; `arm_inner`, not inside the bar.
  """
  scale = g["scale_length"]
  barred = (g["has_disc"] > 0) & ~_is(kind, EDGE_ON, IRREGULAR) & d.chance(jnp.where(late, 0.4, 0.15))
  length = jnp.clip(d.lognormal(1.35, 0.12), 0.6, 2.4) * scale
  ringed = _is(kind, RING) | (_is(kind, SPIRAL, LENTICULAR) & d.chance(0.04))
  radius = d.uniform(1.3, 2.6) * scale
  return {"bar_fraction": jnp.where(barred, d.uniform(0.08, 0.32), 0.0), "bar_length": length,
          "bar_width": length * d.uniform(0.18, 0.36), "bar_angle": d.uniform(0, math.pi),
          "arm_inner": jnp.where(barred, jnp.maximum(g["arm_inner"], 0.8 * length), g["arm_inner"]),
          "ring_fraction": jnp.where(ringed, d.uniform(0.12, 0.45), 0.0), "ring_radius": radius,
          "ring_width": radius * d.uniform(0.07, 0.2)}


def _dust_and_knots(d, kind, late, spiral, g):
  """The lane across an edge-on disc: `dust_depth` in r, `dust_width`, `dust_offset`. Knots of star formation along
  arms, or anywhere in an irregular galaxy: `knot_fraction` of the disc's light and (KNOTS,) `knot_share, knot_x,
  knot_y, knot_size`.
  """
  scale = g["scale_length"]
  dusty = _is(kind, EDGE_ON) & d.chance(0.3)
  share = d.uniform(count=KNOTS) ** 3
  radius = scale * jnp.clip(-jnp.log(d.uniform(count=KNOTS)) - jnp.log(d.uniform(count=KNOTS)), 0.3, 3.6)
  arm = jnp.floor(d.uniform(count=KNOTS) * g["arm_number"]) * 2 * math.pi / g["arm_number"]
  on_arm = g["arm_hand"] * (jnp.log(radius / scale) / jnp.tan(g["pitch"]) - g["arm_phase"] / g["arm_number"] + arm)
  anywhere = d.uniform(0, 2 * math.pi, KNOTS)
  theta = jnp.where(spiral & (d.uniform(count=KNOTS) < 0.75), on_arm + d.normal(0.0, 0.15, KNOTS), anywhere)
  fraction = d.power(0.01, _by_kind(kind, 0.09, irregular=0.4), -0.6)
  return {"dust_depth": jnp.where(dusty, d.uniform(0.4, 1.8), 0.0),
          "dust_width": g["thickness"] * scale * d.uniform(0.2, 0.45),
          "dust_offset": g["thickness"] * scale * d.normal(0.0, 0.3),
          "knot_fraction": jnp.where(late & ~_is(kind, EDGE_ON), fraction, 0.0), "knot_share": share / jnp.sum(share),
          "knot_x": radius * jnp.cos(theta), "knot_y": radius * jnp.sin(theta) * g["disc_axis_ratio"],
          "knot_size": scale * d.uniform(0.05, 0.2, KNOTS)}


def _tides(d, kind, g):
  """Tidal tails: `tail_strength, tail_number, tail_pitch, tail_phase, tail_width, tail_reach`. The partner of a merger:
  `partner_flux, partner_separation, partner_x, partner_y, partner_radius, partner_axis_ratio, partner_angle,
  partner_index, partner_g_r`. The image of a lensed galaxy: `arc_flux`, `arc_radius`, `arc_angle`, `arc_sharpness`.
  """
  merging, size, flux = _is(kind, MERGER), g["half_light_radius"], g["flux"]
  tail = jnp.where(_is(kind, DISTURBED), d.uniform(0.1, 0.5),
                   jnp.where(merging & d.chance(0.4), d.uniform(0.03, 0.4), 0.0))
  partner = jnp.where(merging, flux * d.power(0.12, 1.1, -0.6), 0.0)
  separation, angle = size * d.uniform(0.5, 3.6), d.uniform(0, 2 * math.pi)
  return {"tail_strength": tail, "tail_number": jnp.where(d.chance(0.5), 1.0, 2.0),
          "tail_pitch": jnp.deg2rad(d.uniform(25.0, 65.0)), "tail_phase": d.uniform(0, 2 * math.pi),
          "tail_width": d.uniform(0.25, 0.7), "tail_reach": size * d.uniform(1.5, 3.2), "partner_flux": partner,
          "partner_separation": separation, "partner_x": separation * jnp.cos(angle),
          "partner_y": separation * jnp.sin(angle),
          "partner_radius": size * jnp.sqrt(jnp.clip(partner / flux, 0.05, 1.5)) * d.lognormal(0.9, 0.1),
          "partner_axis_ratio": d.uniform(0.25, 1.0), "partner_angle": d.uniform(0, math.pi),
          "partner_index": jnp.clip(d.lognormal(1.7, 0.22), 0.8, 4.5),
          "partner_g_r": jnp.where(d.chance(0.65), g["bulge_g_r"], g["disc_g_r"]) + d.normal(0.0, 0.08),
          "arc_flux": jnp.where(_is(kind, LENS), flux * d.uniform(0.03, 0.15), 0.0),
          "arc_radius": size * d.uniform(1.0, 2.2), "arc_angle": d.uniform(0, 2 * math.pi),
          "arc_sharpness": d.uniform(3.0, 14.0)}
