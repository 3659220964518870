"""What Galaxy Zoo's volunteers answer about a simulated galaxy.

Each feature of the galaxy has a *visibility* between 0 and 1: how well the seeing resolves its size, times d / (1 + d)
with d its contrast times the signal-to-noise of a patch of that size over what half of the volunteers need, times a
limit on the contrast itself. Faint or small features are missed; with unlimited resolution and signal all that have
enough contrast are seen, so a spiral whose arms differ by a few per cent from its disc is still called smooth. The
probability of each answer of the tree follows from the visibilities; about 40 volunteers then walk the tree, each by
herself.

The numbers here (which significance half of the volunteers see, how telling a feature is, what is answered where there
is nothing to see) were fitted by hand to the votes of the real sample's first 635 galaxies: means, spreads and
correlations of the 37 columns, and how the means change with resolution.

References: Willett et al. 2013, MNRAS 435, 2835 (the tree, the number of votes, how votes depend on resolution);
Bamford et al. 2009, MNRAS 393, 1324 (the bias with brightness and size).
"""
import math

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.simulate import population
from galaxy_jax.simulate.instrument import NATIVE_PIXEL
from tfds_builders.gz2_tree import QUESTIONS

#: How many volunteers a galaxy has in the mean, and more than any has.
VOLUNTEERS, MOST_VOLUNTEERS = 40, 60


def _visible(significance):
  return significance / (1.0 + significance)


def visibilities(g: dict) -> dict[str, jax.Array]:
  """How well each feature is seen, 0 … 1.

  Args:
    g: parameters of a galaxy, from `population.draw`.

  Returns:
    `arms, bar, ring, disc, edge_on, knots, dust, tail, partner, arc, lopsided, star, trail, column`; also `axis_ratio`,
    as it appears through the seeing, and `detail`, how well a third of the half-light radius is seen.
  """
  radius, seeing = g["half_light_radius"], g["seeing"]
  # Signal-to-noise of a native pixel at the mean brightness inside the half-light radius.
  pixel = g["flux"] / (2 * math.pi * radius**2) * NATIVE_PIXEL**2 / g["sky_noise"][1]

  def seen(contrast, length, brightness=1.0, needs=8.0, least=0.05):
    """`length`: arcsec; `brightness` over the mean; `needs`: the significance that half of the volunteers see; `least`:
    the contrast that half of them see in a picture without noise, as eyes and 8 bits have limits of their own.
    """
    resolved = 1.0 / (1.0 + (2.2 * seeing / jnp.maximum(length, 1e-3)) ** 3)
    perceived = contrast**3 / (contrast**3 + least**3)
    return resolved * perceived * _visible(contrast * brightness * pixel * length / NATIVE_PIXEL / needs)

  h, q = g["scale_length"], g["disc_axis_ratio"]
  disc = g["has_disc"] * (1.0 - g["bulge_fraction"])
  # From arm to arm, as seen face-on, times 0.8. The root: many narrow arms are told apart better than each by itself.
  spacing = 0.8 * 2 * math.pi * h * jnp.tan(g["pitch"]) / jnp.sqrt(2.0 * g["arm_number"])
  v = {}
  sharp = g["arm_strength"] * jnp.tanh(0.5 * g["arm_sharpness"])
  v["arms"] = seen(disc * sharp * jnp.clip(q * 1.6, 0.0, 1.0), 2.0 * spacing, 0.5, 0.4, least=0.12)
  v["bar"] = seen(g["has_disc"] * g["bar_fraction"] * 2.0 * jnp.clip(q * 1.5, 0.0, 1.0), 1.3 * g["bar_length"], 1.0,
                  38.0, least=0.12)
  v["ring"] = seen(g["has_disc"] * g["ring_fraction"] * 2.0, 0.5 * g["ring_radius"], 0.5, 6.0, least=0.2)
  v["knots"] = seen(g["knot_fraction"] * 2.0, 0.35 * h, 0.5, 8.0)
  v["disc"] = seen(disc, 0.5 * h, 0.6, 40.0)
  v["dust"] = seen(1.0 - jnp.exp(-g["dust_depth"]), 3.0 * g["dust_width"], 1.0, 10.0)
  v["tail"] = seen(g["tail_strength"], radius, 0.3, 4.0)
  apart = g["partner_separation"] / (g["partner_radius"] + radius)
  v["partner"] = seen(jnp.clip(2.0 * g["partner_flux"] / g["flux"], 0.0, 1.0) * jnp.minimum(1.0, 3.0 * apart),
                      g["partner_separation"], 0.6, 8.0)
  v["arc"] = seen(jnp.clip(6.0 * g["arc_flux"] / g["flux"], 0.0, 1.0), g["arc_radius"], 0.3, 4.0)
  v["lopsided"] = seen(jnp.maximum(g["lopsided"] - 0.15, 0.0) * disc, 0.5 * radius, 0.5, 6.0)
  v["star"] = _visible(g["star_flux"] / g["flux"])
  v["trail"] = seen(g["trail_strength"] * jnp.exp(-0.5 * (g["trail_offset"] / radius) ** 2), 1.5, 1.0, 12.0)
  v["column"] = seen(g["column_strength"] * jnp.exp(-0.5 * (g["column_offset"] / radius) ** 2), 1.5, 1.0, 12.0)
  v["detail"] = seen(1.0, radius / 3.0, 1.0, 30.0)

  b = g["bulge_fraction"]
  true_ratio = jnp.where(g["has_disc"] > 0, jnp.sqrt((1 - b) * q**2 + b * g["bulge_axis_ratio"] ** 2),
                         g["bulge_axis_ratio"])
  blur = (0.42 * seeing) ** 2
  v["axis_ratio"] = jnp.sqrt((true_ratio**2 * radius**2 + blur) / (radius**2 + blur))
  # Of an edge-on disc, that it is thin is what shows.
  v["edge_on"] = g["has_disc"] * jax.nn.sigmoid((0.36 - q) / 0.045) * seen(1.0, h, 1.0, 110.0)
  return v


def _ordered(position, thresholds, sharpness):
  """Probabilities of ordered answers: those of a logistic scatter of `position` between the thresholds."""
  below = [jax.nn.sigmoid((t - position) * sharpness) for t in thresholds]
  edges = [0.0, *below, 1.0]
  return [edges[k + 1] - edges[k] for k in range(len(edges) - 1)]


def answer_probabilities(key: jax.Array, g: dict) -> jax.Array:
  """The probability of each answer among those asked: (37,) conditional, each question's sum 1.

  Args:
    key: for what makes this crowd differ from the next: a normal shift of each answer's log odds.
    g: parameters, from `population.draw`.
  """
  v = visibilities(g)
  whim = 0.35 * jax.random.normal(key, (decision_tree.NUM_ANSWERS,))

  def any_seen(*parts):
    """That at least one of the features is seen: the weights say how telling each is."""
    unseen = 1.0
    for weight, visibility in parts:
      unseen = unseen * (1.0 - weight * visibility)
    return 1.0 - unseen

  q = v["axis_ratio"]
  featured = any_seen((0.97, v["arms"]), (0.6, v["bar"]), (0.85, v["ring"]), (0.6, v["knots"]), (0.08, v["disc"]),
                    (0.8, v["edge_on"]), (0.75, v["dust"]), (0.35, v["tail"]), (0.12, v["partner"]), (0.2, v["arc"]),
                    (0.5, v["lopsided"]))
  bad = any_seen((0.9, v["star"]), (0.75, v["trail"]), (0.75, v["column"]))
  p_features = 0.05 + 0.91 * featured
  artifact = 0.012 + 0.02 * (1.0 - v["detail"]) + 0.9 * bad
  smooth = [(1 - p_features) * (1 - artifact), p_features * (1 - artifact), artifact]

  seen_edge_on = jax.nn.sigmoid((0.345 - jnp.where(g["has_disc"] > 0, jnp.minimum(q, g["disc_axis_ratio"] + 0.04), q))
                                / 0.045)
  edge_on = 0.015 + 0.965 * seen_edge_on
  bar = 0.06 + 0.89 * v["bar"]
  spiral = 0.11 + 0.87 * v["arms"]

  bulge = jnp.log(g["bulge_fraction"] + 0.25 * g["bar_fraction"] + 1e-3)
  prominence = _ordered(bulge, [math.log(0.018), math.log(0.22), math.log(1.1)], 2.4)

  odd_parts = {"ring": 0.75 * v["ring"], "lens": 0.8 * v["arc"], "disturbed": 0.55 * v["tail"] + 0.3 * v["lopsided"],
               "irregular": jnp.where(g["kind"] == population.IRREGULAR, 0.6, 0.25) * any_seen((1.0, v["lopsided"]),
                                                                                           (0.5, v["knots"])),
               "merger": 0.85 * v["partner"] + 0.2 * v["tail"], "dust": 0.6 * v["dust"]}
  odd_seen = any_seen(*((1.0, jnp.clip(part, 0.0, 0.95)) for part in odd_parts.values()))
  odd = 0.07 + 0.88 * odd_seen
  base = {"ring": 0.03, "lens": 0.02, "disturbed": 0.03, "irregular": 0.03, "other": 0.09, "merger": 0.05,
          "dust": 0.006}
  odd_feature = [odd_parts.get(name, 0.12 * (1 - odd_seen)) + base[name] for name in base]

  rounded = _ordered(-q, [-0.8, -0.52], 20.0)
  boxy = g["bulge_boxy"] * v["detail"]
  has_bulge = jax.nn.sigmoid((jnp.log(g["bulge_fraction"] + 1e-3) - math.log(0.035)) * 1.6) * (0.4 + 0.6 * v["detail"]
                                                                                            ) + 0.25 * (1 - v["detail"])
  bulge_shape = [has_bulge * (0.9 - 0.75 * boxy), has_bulge * (0.1 + 0.75 * boxy), 1.0 - has_bulge]
  winding = _ordered(jnp.rad2deg(g["pitch"]), [15.0, 25.0], 0.15 + 0.3 * v["arms"])
  clear = v["arms"] * (1.0 - 0.7 * jnp.clip(g["flocculence"] / 0.8, 0.0, 1.0) * (1.0 - 0.5 * v["detail"]))
  number = jnp.arange(1, 6)
  guess = jnp.exp(-1.9 * jnp.abs(number - g["arm_number"])) + jnp.array([0.1, 0.45, 0.15, 0.05, 0.06]) * (1.0 - clear)
  guess = guess / jnp.sum(guess) * (0.5 + 0.47 * clear)
  arms_number = [*guess, 1.0 - jnp.sum(guess)]

  p = jnp.stack([jnp.asarray(x, jnp.float32) for x in (
      *smooth, edge_on, 1 - edge_on, bar, 1 - bar, spiral, 1 - spiral, *prominence, odd, 1 - odd, *rounded,
      *odd_feature, *bulge_shape, *winding, *arms_number)])
  logits = jnp.log(jnp.maximum(p, 1e-4)) + whim
  return decision_tree.from_questions(jax.nn.softmax(decision_tree.by_question(logits, fill=-jnp.inf), axis=-1))


def vote(key: jax.Array, probabilities) -> jax.Array:
  """Sends about VOLUNTEERS volunteers down the tree: (37,) int32 counts."""
  for_number, for_answers = jax.random.split(key)
  spread = 0.08 * VOLUNTEERS * jnp.clip(jax.random.normal(for_number), -3.0, 3.0)
  present = jnp.arange(MOST_VOLUNTEERS) < jnp.round(VOLUNTEERS + spread)
  edges = jnp.cumsum(decision_tree.by_question(probabilities), axis=-1)
  u = jax.random.uniform(for_answers, (MOST_VOLUNTEERS, decision_tree.NUM_QUESTIONS))
  size = np.array([len(question.answers) for question in QUESTIONS])
  slot = jnp.minimum(jnp.sum(u[..., None] >= edges, axis=-1), size - 1)
  chosen = decision_tree.from_questions(jax.nn.one_hot(slot, decision_tree.MAX_ANSWERS))
  # An answer counts if the one that led to its question was given, and so on up the tree.
  given = decision_tree.cumulative(chosen) * present[:, None]
  return jnp.sum(given, axis=0).astype(jnp.int32)
