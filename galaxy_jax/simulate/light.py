"""A galaxy's light on the sky before the telescope: its parts, each with its colour, and what lies around it."""
import jax
import jax.numpy as jnp

from galaxy_jax.simulate import profiles

#: How much more dust takes from g and less from i than from r (Cardelli, Clayton & Mathis 1989).
_EXTINCTION = (1.36, 1.0, 0.74)


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
    x, y: sky coordinates on a grid that broadcasts to (M, M), arcsec.
    pitch: arcsec per pixel, to soften what is sharper.

  Returns:
    (3, M, M) nanomaggies per square arcsec in g, r, i.
  """
  x, y = jnp.broadcast_arrays(x - g["centre"][0], y - g["centre"][1])
  u, v = profiles.rotate(x, y, g["orientation"])
  total = _bulge_and_disc(g, u, v, pitch) + _tail_and_arc(g, u, v)
  return total + _partner(g, u, v, pitch)


def _bulge_and_disc(g, u, v, pitch):
  soft, q, h = 0.3 * pitch, g["disc_axis_ratio"], g["scale_length"]
  flux, b = g["flux"], g["bulge_fraction"]
  r = profiles.radius(u, v, g["bulge_axis_ratio"], g["bulge_shape"], soft)
  bulge = profiles.sersic(r, g["bulge_radius"], g["bulge_index"], g["bulge_axis_ratio"], g["bulge_shape"])
  light = _paint(bulge, bands(flux * b, g["bulge_g_r"], g["bulge_r_i"]))

  smooth = profiles.exponential(profiles.radius(u, v, q, g["disc_shape"], soft), h, q, g["disc_shape"])
  face = v / q
  r = jnp.sqrt(u * u + face * face + soft * soft)
  theta = jnp.arctan2(face, u)
  arms, weight = _arms(g, r, theta)
  uneven = 1.0 + g["lopsided"] * jnp.cos(theta - g["lopsided_phase"]) * jnp.tanh(r / h)
  disc_flux = flux * (1.0 - b)
  plain = disc_flux * (1.0 - g["bar_fraction"] - g["ring_fraction"] - g["knot_fraction"])
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
  across = jnp.exp(-0.5 * ((r - g["arc_radius"]) / 0.35) ** 2)
  along = jnp.exp(g["arc_extent"] * (jnp.cos(theta - g["arc_angle"]) - 1.0)) + 0.25 * jnp.exp(
      2 * g["arc_extent"] * (-jnp.cos(theta - g["arc_angle"]) - 1.0))
  arc = across * along * g["arc_flux"] / (g["arc_radius"] * 0.35 * 6.3 / jnp.sqrt(g["arc_extent"]))
  return light + _paint(arc, bands(1.0, 0.25, 0.1))


def _partner(g, u, v, pitch):
  s, t = profiles.rotate(u - g["partner_x"], v - g["partner_y"], g["partner_angle"])
  r = profiles.radius(s, t, g["partner_axis_ratio"], soft=0.3 * pitch)
  image = profiles.sersic(r, g["partner_radius"], g["partner_index"], g["partner_axis_ratio"])
  return _paint(image, bands(g["partner_flux"], g["partner_g_r"], 0.22 + 0.45 * (g["partner_g_r"] - 0.5)))


def knots(g: dict, x, y) -> jax.Array:
  """Clusters and HII regions of the disc: blue, brightest in r where Hα falls; (3, M, M) as `target`."""
  at_x, at_y = profiles.rotate(g["knot_x"], g["knot_y"], -g["orientation"])
  flux = g["flux"] * (1.0 - g["bulge_fraction"]) * g["knot_fraction"] * g["knot_share"]
  colour = bands(flux, g["disc_g_r"] - g["arm_bluer"] - 0.2, g["disc_r_i"] - g["arm_bluer"] - 0.1)
  return profiles.points(x[0], y[:, 0], at_x + g["centre"][0], at_y + g["centre"][1], colour, g["knot_size"])


def surroundings(g: dict, x, y, pitch) -> jax.Array:
  """Stars, other galaxies, trails and bad columns; (3, M, M) as `target`."""
  field = bands(g["field_flux"], g["field_g_r"], g["field_r_i"])
  star = bands(g["star_flux"], 0.7, 0.25)[:, None]
  at_x, at_y = profiles.rotate(jnp.append(g["field_x"], 0.3), jnp.append(g["field_y"], 0.3), -g["orientation"])
  # A Gaussian narrower than half a pixel would lose light between the pixels' centres.
  sizes = jnp.sqrt(jnp.append(g["field_size"], 0.0) ** 2 + (0.5 * pitch) ** 2)
  light = profiles.points(x[0], y[:, 0], at_x, at_y, jnp.concatenate([field, star], axis=1), sizes)
  u, v = profiles.rotate(*jnp.broadcast_arrays(x, y), g["orientation"])
  for k in range(g["companion_flux"].shape[0]):
    s, t = profiles.rotate(u - g["companion_x"][k], v - g["companion_y"][k], g["companion_angle"][k])
    r = profiles.radius(s, t, g["companion_axis_ratio"][k], soft=0.3 * pitch)
    image = profiles.sersic(r, g["companion_radius"][k], g["companion_index"][k], g["companion_axis_ratio"][k])
    g_r = g["companion_g_r"][k]
    light += _paint(image, bands(g["companion_flux"][k], g_r, 0.22 + 0.45 * (g_r - 0.5)))
  _, across = profiles.rotate(u, v, g["trail_angle"])
  trail = jnp.exp(-0.5 * ((across - g["trail_offset"]) / (0.4 + 0.5 * pitch)) ** 2)
  return light + _paint(trail, g["trail_strength"] * g["trail_band"])
