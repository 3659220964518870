"""A galaxy's light on the sky before the telescope: its parts, each with its colour, and what lies around it."""
import jax
import jax.numpy as jnp

from galaxy_jax.simulate import profiles

#: What dust takes from g, r, i, in units of r (Cardelli, Clayton & Mathis 1989, ApJ 345, 245; R_V = 3.1).
_EXTINCTION = (1.38, 1.0, 0.76)
#: Half-widths of a lensed arc and of a satellite's trail, arcsec.
_ARC_WIDTH, _TRAIL_WIDTH = 0.35, 0.5


def bands(flux, g_r, r_i):
  """Fluxes in g, r, i, stacked first, from that in r and two colours."""
  return jnp.stack([flux * 10 ** (-0.4 * g_r), flux, flux * 10 ** (0.4 * r_i)])


def grid(size: int, pitch) -> tuple[jax.Array, jax.Array]:
  """Coordinates of pixel centres from the middle, arcsec: x (1, size) along columns, y (size, 1) down the rows."""
  axis = (jnp.arange(size) - (size - 1) / 2.0) * pitch
  return axis[None, :], axis[:, None]


def _paint(image, colour):
  """A brightness map (M, M) in the colour (3,)."""
  return colour[:, None, None] * image[None]


def target(g: dict, x, y, pitch) -> jax.Array:
  """The galaxy itself, its partner in a merger included.

  Args:
    g: parameters, from `population.draw`.
    x, y: sky coordinates, (1, M) and (M, 1), arcsec, from `grid`.
    pitch: arcsec per pixel.

  Returns:
    (3, M, M) nanomaggies per square arcsec in g, r, i.
  """
  u, v = profiles.rotate(*jnp.broadcast_arrays(x - g["centre"][0], y - g["centre"][1]), g["orientation"])
  light = _bulge_and_disc(g, u, v, pitch) + _tail_and_arc(g, u, v)
  light += _paint(_partner(g, u, v, profiles.SOFT * pitch), _partner_colour(g))
  return light + _points_of(g, x, y, pitch)


def _bulge(g, u, v, soft):
  r = profiles.radius(u, v, g["bulge_axis_ratio"], g["bulge_shape"], soft)
  return profiles.sersic(r, g["bulge_radius"], g["bulge_index"], g["bulge_axis_ratio"], g["bulge_shape"])


def _partner(g, u, v, soft):
  s, t = profiles.rotate(u - g["partner_x"], v - g["partner_y"], g["partner_angle"])
  r = profiles.radius(s, t, g["partner_axis_ratio"], soft=soft)
  return profiles.sersic(r, g["partner_radius"], g["partner_index"], g["partner_axis_ratio"])


def _bulge_colour(g):
  return bands(g["flux"] * g["bulge_fraction"], g["bulge_g_r"], g["bulge_r_i"])


def _partner_colour(g):
  return bands(g["partner_flux"], g["partner_g_r"], profiles.r_i(g["partner_g_r"]))


def _points_of(g, x, y, pitch):
  """What is smaller than a pixel, or may be: knots of star formation, and the cusps of bulge and partner."""
  size = x.shape[1]
  turn = g["orientation"]
  partner_x, partner_y = profiles.rotate(g["partner_x"], g["partner_y"], -turn)
  at_x, at_y = g["centre"][0] + jnp.stack([0.0, partner_x]), g["centre"][1] + jnp.stack([0.0, partner_y])

  def bulge(u, v, soft):
    return _bulge(g, *profiles.rotate(u, v, turn), soft)

  def partner(u, v, soft):
    return _partner(g | {"partner_x": 0.0, "partner_y": 0.0}, *profiles.rotate(u, v, turn), soft)

  cusps = jnp.stack([profiles.cusp_flux(bulge, at_x[0], at_y[0], pitch, size),
                     profiles.cusp_flux(partner, at_x[1], at_y[1], pitch, size)])
  knots = g["flux"] * (1.0 - g["bulge_fraction"]) * g["knot_fraction"] * g["knot_share"]
  # Clusters and HII regions: blue, brightest in r where Hα falls.
  colour = bands(knots, g["disc_g_r"] - g["arm_bluer"] - 0.2, g["disc_r_i"] - g["arm_bluer"] - 0.1)
  knot_x, knot_y = profiles.rotate(g["knot_x"], g["knot_y"], -turn)
  flux = jnp.concatenate([jnp.stack([_bulge_colour(g), _partner_colour(g)], axis=1) * cusps, colour], axis=1)
  return profiles.points(x[0], y[:, 0], jnp.concatenate([at_x, g["centre"][0] + knot_x]),
                         jnp.concatenate([at_y, g["centre"][1] + knot_y]), flux,
                         jnp.concatenate([jnp.zeros(2), g["knot_size"]]))


def _bulge_and_disc(g, u, v, pitch):
  soft, h = profiles.SOFT * pitch, g["scale_length"]
  # A disc thinner than its pixels is sampled as one of a third of a pixel, with the same light.
  q = jnp.sqrt(g["disc_axis_ratio"] ** 2 + (0.35 * pitch / h) ** 2)
  light = _paint(_bulge(g, u, v, soft), _bulge_colour(g))
  smooth = profiles.exponential(profiles.radius(u, v, q, g["disc_shape"], soft), h, q, g["disc_shape"])
  face = v / q
  r = jnp.sqrt(u * u + face * face + soft * soft)
  theta = jnp.arctan2(face, u)
  arms, weight = _arms(g, r, theta)
  uneven = 1.0 + g["lopsided"] * jnp.cos(theta - g["lopsided_phase"]) * jnp.tanh(r / h)
  disc_flux = g["flux"] * (1.0 - g["bulge_fraction"])
  plain = disc_flux * jnp.maximum(1.0 - g["bar_fraction"] - g["ring_fraction"] - g["knot_fraction"], 0.0)
  disc = smooth * uneven
  # Arms take light from the disc and give it back brighter and bluer.
  light += _paint(disc * (1.0 - weight), bands(plain, g["disc_g_r"], g["disc_r_i"]))
  young = bands(1.0, g["disc_g_r"] - g["arm_bluer"], g["disc_r_i"] - 0.5 * g["arm_bluer"])
  ring = profiles.ring(r, g["ring_radius"], g["ring_width"], q)
  light += _paint(plain * disc * weight * arms + disc_flux * g["ring_fraction"] * ring, young)
  bu, bv = profiles.rotate(u, face, g["bar_angle"])
  bar = profiles.bar(bu, bv, g["bar_length"], g["bar_width"], q)
  light += _paint(bar, bands(disc_flux * g["bar_fraction"], g["bulge_g_r"] - 0.08, g["bulge_r_i"] - 0.03))
  depth = g["dust_depth"] * jnp.exp(-jnp.abs(u) / (1.5 * h)) * jnp.exp(
      -0.5 * ((v - g["dust_offset"]) / g["dust_width"]) ** 2)
  return light * jnp.exp(-jnp.asarray(_EXTINCTION)[:, None, None] * depth[None])


def _arms(g, r, theta):
  """How bright the arms are over the mean at each place, and the share of the disc's light that they hold."""
  log_r = jnp.log(r / g["scale_length"])
  theta = theta * g["arm_hand"]
  phase = g["arm_number"] * (theta - log_r / jnp.tan(g["pitch"])) + g["arm_phase"]
  arms = profiles.arm_pattern(phase, g["arm_sharpness"])
  ripple = sum(jnp.cos(g["floc_number"][k] * (theta - log_r / jnp.tan(g["floc_pitch"][k])) + g["floc_phase"][k])
               for k in range(g["floc_number"].shape[0]))
  # The mean of exp(F cos ψ) is I0(F), about exp(F² / 4) for the small F here.
  arms *= jnp.exp(g["flocculence"] * ripple - 0.75 * g["flocculence"] ** 2)
  inside = jax.nn.sigmoid((r - g["arm_inner"]) / (0.2 * g["arm_inner"] + 0.05))
  return arms, g["arm_strength"] * inside


def _tail_and_arc(g, u, v):
  """Tidal tails, winding out from the galaxy, and the arc of a lensed one behind it."""
  r = jnp.sqrt(u * u + v * v) + 1e-3
  theta = jnp.arctan2(v, u)
  start = 0.8 * g["half_light_radius"]
  phase = g["tail_number"] * (theta - jnp.log(r / start) / jnp.tan(g["tail_pitch"]) - g["tail_phase"])
  shape = jnp.exp((jnp.cos(phase) - 1.0) / (g["tail_number"] * g["tail_width"]) ** 2)
  shape *= jnp.exp(-r / g["tail_reach"]) * jax.nn.sigmoid((r - start) / (0.25 * start))
  shape *= jax.nn.sigmoid((2.2 * g["tail_reach"] - r) / (0.2 * g["tail_reach"]))
  # Scaled by what a disc of that reach would have: the share in the tail is the strength, to a factor of about 2.
  tail = shape * g["flux"] * g["tail_strength"] / (2.0 * jnp.pi * g["tail_reach"] ** 2) * 2.0
  light = _paint(tail, bands(1.0, g["disc_g_r"] - 0.05, g["disc_r_i"]))
  across = jnp.exp(-0.5 * ((r - g["arc_radius"]) / _ARC_WIDTH) ** 2)
  sharpness = g["arc_sharpness"]
  along = jnp.exp(sharpness * (jnp.cos(theta - g["arc_angle"]) - 1.0)) + 0.25 * jnp.exp(
      2 * sharpness * (-jnp.cos(theta - g["arc_angle"]) - 1.0))
  arc = across * along * g["arc_flux"] / (2.0 * jnp.pi * g["arc_radius"] * _ARC_WIDTH / jnp.sqrt(sharpness))
  return light + _paint(arc, bands(1.0, 0.25, 0.1))


def surroundings(g: dict, x, y, pitch) -> jax.Array:
  """Stars, other galaxies and trails; (3, M, M) as `target`. They do not turn with the galaxy."""
  size, soft = x.shape[1], profiles.SOFT * pitch
  light, cusps = 0.0, []
  for k in range(g["companion_flux"].shape[0]):
    def image(u, v, soft, k=k):
      s, t = profiles.rotate(u, v, g["companion_angle"][k])
      r = profiles.radius(s, t, g["companion_axis_ratio"][k], soft=soft)
      return profiles.sersic(r, g["companion_radius"][k], g["companion_index"][k], g["companion_axis_ratio"][k])

    at_x, at_y, g_r = g["companion_x"][k], g["companion_y"][k], g["companion_g_r"][k]
    colour = bands(g["companion_flux"][k], g_r, profiles.r_i(g_r))
    light += _paint(image(*jnp.broadcast_arrays(x - at_x, y - at_y), soft), colour)
    cusps.append(colour * profiles.cusp_flux(image, at_x, at_y, pitch, size))
  # A star in the galaxy's place lies a little off its centre.
  star = bands(g["star_flux"], 0.7, 0.25)[:, None]
  field = bands(g["field_flux"], g["field_g_r"], g["field_r_i"])
  light += profiles.points(
      x[0], y[:, 0], jnp.concatenate([g["field_x"], jnp.full(1, 0.3), g["companion_x"]]),
      jnp.concatenate([g["field_y"], jnp.full(1, 0.3), g["companion_y"]]),
      jnp.concatenate([field, star, jnp.stack(cusps, axis=1)], axis=1),
      jnp.concatenate([g["field_size"], jnp.zeros(1 + len(cusps))]))
  _, across = profiles.rotate(*jnp.broadcast_arrays(x, y), g["trail_angle"])
  width = jnp.sqrt(_TRAIL_WIDTH**2 + (0.5 * pitch) ** 2)
  trail = jnp.exp(-0.5 * ((across - g["trail_offset"]) / width) ** 2) * _TRAIL_WIDTH / width
  return light + _paint(trail, g["trail_strength"] * g["trail_band"])
