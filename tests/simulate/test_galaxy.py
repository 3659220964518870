"""Simulated galaxies as a whole: what a key means, and what must not change with how a galaxy lies or is seen."""
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from galaxy_jax import decision_tree, simulate
from galaxy_jax.simulate import cutout, instrument, light, population
from tfds_builders.gz2_tree import QUESTIONS

SIZE = 32


def keys(count, seed=0):
  return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(count))


@functools.cache
def drawn(count=400, mix="natural", seed=0):
  draw = jax.jit(jax.vmap(lambda key: population.draw(key, population.MIXES[mix])))
  return jax.tree.map(np.asarray, draw(keys(count, seed)))


make = jax.jit(jax.vmap(functools.partial(simulate.galaxy, size=SIZE)))


@functools.cache
def seen():
  return jax.tree.map(np.asarray, make(keys(24)))


@functools.cache
def near():
  """Votes and outlines of the same galaxies, half of the view at as many pixels."""
  def one(key):
    galaxy = simulate.galaxy(key, size=SIZE, crop=212)
    return {name: galaxy[name] for name in ("vote_counts", "mask")}
  return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys(24)))


def test_shapes_and_types():
  batch = seen()
  assert batch["image"].shape == (24, SIZE, SIZE, 3) and batch["image"].dtype == np.uint8
  assert batch["vote_counts"].shape == (24, 37) and batch["vote_counts"].dtype == np.int32
  assert batch["mask"].shape == (24, SIZE, SIZE) and batch["mask"].dtype == bool
  assert batch["vote_fractions"].dtype == np.float32
  assert set(batch["kind"]) <= set(range(len(simulate.KINDS)))


def test_votes_go_down_the_tree():
  counts = seen()["vote_counts"]
  asked = counts[:, :3].sum(1)
  assert ((asked >= 25) & (asked <= 55)).all()
  for question in QUESTIONS:
    parent = asked if question.parent is None else counts[:, question.parent]
    np.testing.assert_array_equal(counts[:, question.columns].sum(1), parent)
  np.testing.assert_allclose(seen()["vote_fractions"], counts / asked[:, None], rtol=1e-6)


def test_votes_scatter_about_the_expected_fractions_as_those_of_so_many_volunteers():
  batch = seen()
  expected, asked = batch["expected_fractions"], batch["vote_counts"][:, :3].sum(1, keepdims=True)
  for question in QUESTIONS:
    parent = 1.0 if question.parent is None else expected[:, question.parent]
    np.testing.assert_allclose(expected[:, question.columns].sum(1), parent, rtol=1e-5)
  pulls = (batch["vote_fractions"] - expected) / np.sqrt(expected * (1 - expected) / asked)
  pulls = pulls[(expected > 0.05) & (expected < 0.95)]
  assert len(pulls) > 200
  assert abs(pulls.mean()) < 0.2
  assert 0.85 < pulls.std() < 1.15


def test_a_galaxy_does_not_depend_on_its_neighbours_in_the_batch_or_on_the_view():
  batch, turned = seen(), jax.tree.map(np.asarray, make(jnp.roll(keys(24), 7)))
  for name in ("image", "vote_counts", "mask"):
    np.testing.assert_array_equal(np.roll(batch[name], 7, axis=0), turned[name])
  np.testing.assert_array_equal(batch["vote_counts"], near()["vote_counts"])


def test_box_bounds_the_mask():
  for mask, box in zip(seen()["mask"], seen()["box"], strict=True):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    expected = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1] if len(rows) else [0, 0, 0, 0]
    np.testing.assert_array_equal(box, expected)


def galaxy_light(g, size=96, pitch=0.5):
  x, y = light.grid(size, pitch)
  return light.target(g, x, y, pitch)


def test_a_rotated_galaxy_renders_as_the_rotated_image():
  """Noise aside: by 90° to rounding, by 30° as scipy turns the image that the seeing leaves."""
  @jax.jit
  def render(g):
    return instrument.see(galaxy_light(g), 0.5, jnp.full(3, 1.5), jnp.zeros((3, 2)))[1]

  population_of = drawn()
  for row in range(0, 40, 4):
    g = {name: value[row] for name, value in population_of.items()} | {"centre": np.zeros(2, np.float32)}
    image = np.asarray(render(g))
    for degrees in (90, 30):
      # Rows go down: an angle from x towards y turns the image clockwise as it is shown.
      turned = np.asarray(render(g | {"orientation": np.float32(g["orientation"] + np.deg2rad(degrees))}))
      if degrees == 90:
        np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-3 * image.max())
      else:
        expected = ndimage.rotate(image, -degrees, reshape=False, order=3)
        inner = np.hypot(*(np.mgrid[:96, :96] - 47.5)) < 40
        assert np.corrcoef(turned[inner], expected[inner])[0, 1] > 0.995


def test_flux_is_conserved_by_inclination_seeing_and_the_grid():
  """The same galaxy, from face-on to edge-on, on pixels from a quarter of the seeing to all of it.

  On coarse pixels a bar or disc thinner than one that lies along the rows may be off; over all directions it is not.
  """
  g = {name: value[0] for name, value in drawn().items()}
  still = {"has_disc": 1.0, "bulge_fraction": 0.3, "bulge_index": 3.0, "bulge_radius": 0.4, "bulge_shape": 2.0,
           "scale_length": 2.5, "dust_depth": 0.0, "lopsided": 0.0, "bar_fraction": 0.1, "ring_fraction": 0.1,
           "ring_radius": 4.0, "ring_width": 1.2, "knot_fraction": 0.1, "arm_strength": 0.8, "arm_inner": 1.0,
           "flocculence": 0.1, "tail_strength": 0.0, "partner_flux": 0.0, "arc_flux": 0.0, "flux": 100.0,
           "disc_g_r": 0.0, "disc_r_i": 0.0, "knot_size": np.full_like(g["knot_size"], 0.05)}
  g = g | {name: np.asarray(value, np.float32) for name, value in still.items()}
  for pitch, size, tolerance in ((0.3, 240, 0.03), (0.8, 90, 0.06), (1.2, 60, 0.09)):
    render = jax.jit(functools.partial(galaxy_light, size=size, pitch=pitch))
    for axis_ratio, shape in ((1.0, 2.0), (0.6, 2.0), (0.2, 1.25)):
      tilted = g | {"disc_axis_ratio": np.float32(axis_ratio), "disc_shape": np.float32(shape),
                    "bulge_axis_ratio": np.float32(0.5 + 0.5 * axis_ratio)}
      if axis_ratio < 0.5:  # as the population has them: an edge-on disc shows neither bar nor arms
        tilted |= {name: np.float32(0.0) for name in ("bar_fraction", "ring_fraction", "arm_strength")}
      totals = []
      for turn in range(6):
        place = {"centre": np.asarray([0.05, -0.08], np.float32) * turn, "orientation": np.float32(0.1 + 0.5 * turn)}
        sky = render(tilted | place)
        totals.append(float(sky[1].sum()) * pitch**2)
      assert np.mean(totals) == pytest.approx(100.0, rel=tolerance)
      np.testing.assert_allclose(totals, 100.0, rtol=0.06 if pitch < 0.5 else 0.2)
    blurred = instrument.see(sky, pitch, jnp.full(3, 1.3), jnp.zeros((3, 2)))
    np.testing.assert_allclose(blurred.sum((1, 2)), sky.sum((1, 2)), rtol=1e-4)


def test_half_of_the_light_is_inside_the_half_light_radius():
  """Measured in circular apertures on rendered galaxies that have nothing but bulge and disc."""
  parameters = drawn()
  plain = np.flatnonzero((parameters["tail_strength"] + parameters["partner_flux"] + parameters["arc_flux"]
                          + parameters["dust_depth"] + parameters["bar_fraction"] + parameters["ring_fraction"]
                          + parameters["lopsided"] // 0.1 == 0) & (parameters["half_light_radius"] < 4))[:12]
  render = jax.jit(functools.partial(galaxy_light, size=256, pitch=0.25))
  radius = np.hypot(*(np.mgrid[:256, :256] - 127.5)) * 0.25
  for row in plain:
    g = {name: value[row] for name, value in parameters.items()} | {"centre": np.zeros(2, np.float32)}
    light_in = np.asarray(render(g))[1] * 0.25**2
    share = light_in[radius < g["half_light_radius"]].sum() / g["flux"]
    assert share == pytest.approx(0.5, abs=0.07)


def test_neighbours_are_spread_evenly_over_the_square():
  parameters = drawn()
  width = 424 * 0.02 * parameters["r90"][:, None]
  x, y = parameters["field_x"] / width, parameters["field_y"] / width
  corner = np.mean((np.abs(x) > 0.4) & (np.abs(y) > 0.4) & (np.abs(x) < 0.5) & (np.abs(y) < 0.5))
  middle = np.mean((np.abs(x) < 0.1) & (np.abs(y) < 0.1))
  assert corner == pytest.approx(middle, rel=0.2)


def test_counts_of_neighbours_follow_their_power_law():
  from galaxy_jax.simulate import neighbourhood
  from galaxy_jax.simulate.draws import Draws

  def magnitudes(key):
    return neighbourhood._brightest(Draws(key), area=4.0, density=2.0, reference=20.0, slope=0.4, count=40)
  drawn_magnitudes = np.asarray(jax.vmap(magnitudes)(keys(2000)))
  for limit in (18.5, 19.5, 20.2):
    expected = 4.0 * 2.0 * 10 ** (0.4 * (limit - 20.0))
    assert np.mean(np.sum(drawn_magnitudes < limit, axis=1)) == pytest.approx(expected, rel=0.05)


def test_votes_at_infinite_resolution_and_signal_name_the_true_morphology():
  """The leading answers, with what blurs and hides the galaxy taken away; what has little contrast is left out."""
  from galaxy_jax.simulate import volunteers
  g = drawn(3000, "balanced") | {"seeing": np.full(3000, 1e-4, np.float32),
                                 "sky_noise": np.full((3000, 3), 1e-9, np.float32)}
  votes = np.asarray(jax.jit(jax.vmap(volunteers.answer_probabilities))(keys(3000, 1), g))
  lead = np.asarray(decision_tree.leading_answers(votes))
  kind = np.array([simulate.KINDS[k] for k in g["kind"]])
  name = {question.name: i for i, question in enumerate(QUESTIONS)}

  def share(rows, question, answer):
    assert rows.sum() >= 10, (question, answer)
    answers = QUESTIONS[name[question]].answers
    return np.mean(lead[rows, name[question]] == answers.index(answer))

  assert share(kind == "elliptical", "smooth_or_features", "smooth") > 0.97
  # Arms of less contrast an eye does not make out, however good the picture.
  contrast = (1.0 - g["bulge_fraction"]) * g["arm_strength"] * np.tanh(0.5 * g["arm_sharpness"])
  spiral = (kind == "spiral") & (g["disc_axis_ratio"] > 0.45) & (contrast > 0.2)
  assert share(spiral, "smooth_or_features", "features_or_disk") > 0.99
  assert share(spiral, "edgeon", "no") > 0.97
  assert share(spiral, "spiral", "spiral") > 0.97
  for number, answer in ((1, "1"), (2, "2"), (3, "3"), (4, "4")):
    assert share(spiral & (g["arm_number"] == number), "arms_number", answer) > 0.8
  thin = (kind == "edge_on") & (g["disc_axis_ratio"] < 0.25)
  assert share(thin, "smooth_or_features", "features_or_disk") > 0.97
  assert share(thin, "edgeon", "yes") > 0.97
  assert share(thin & (g["bulge_boxy"] > 0) & (g["bulge_fraction"] > 0.15), "bulge_shape", "boxy") > 0.9
  assert share(thin & (g["bulge_boxy"] == 0) & (g["bulge_fraction"] > 0.2), "bulge_shape", "rounded") > 0.9
  assert share(thin & (g["bulge_fraction"] < 0.02), "bulge_shape", "no_bulge") > 0.8
  barred = g["has_disc"].astype(bool) & (g["bar_fraction"] > 0.1) & (g["disc_axis_ratio"] > 0.5)
  assert share(barred & (kind != "merger"), "bar", "bar") > 0.97
  assert share(spiral & (g["bar_fraction"] == 0), "bar", "no_bar") > 0.97
  round_ones = (kind == "elliptical") & (g["bulge_axis_ratio"] > 0.88)
  assert share(round_ones, "rounded", "completely_round") > 0.9
  assert share((kind == "elliptical") & (g["bulge_axis_ratio"] > 0.58) & (g["bulge_axis_ratio"] < 0.75), "rounded",
               "in_between") > 0.9
  assert share(kind == "merger", "odd", "yes") > 0.95
  assert share(kind == "merger", "odd_feature", "merger") > 0.8
  assert share(kind == "ring", "odd_feature", "ring") > 0.6
  for number, answer in ((12.0, "tight"), (20.0, "medium"), (30.0, "loose")):
    wound = spiral & (np.abs(np.rad2deg(g["pitch"]) - number) < 2.0)
    assert share(wound, "arms_winding", answer) > 0.9
  assert share((g["dust_depth"] > 0) & (lead[:, name["odd"]] == 0), "odd_feature", "dust_lane") > 0.9


def test_what_is_rare_is_named_too_where_nothing_hides_it():
  from galaxy_jax.simulate import volunteers
  weights = np.array([name in ("disturbed", "lens", "artifact") for name in simulate.KINDS], np.float32)
  g = jax.jit(jax.vmap(lambda key: population.draw(key, weights)))(keys(600, 2))
  g |= {"seeing": jnp.full(600, 1e-4), "sky_noise": jnp.full((600, 3), 1e-9)}
  votes = np.asarray(jax.jit(jax.vmap(volunteers.answer_probabilities))(keys(600, 3), g))
  lead, kind = np.asarray(decision_tree.leading_answers(votes)), np.asarray(g["kind"])
  name = {question.name: i for i, question in enumerate(QUESTIONS)}
  for rare, question, answer, least in (("artifact", "smooth_or_features", "star_or_artifact", 0.9),
                                        ("disturbed", "odd", "yes", 0.85), ("lens", "odd", "yes", 0.97),
                                        ("lens", "odd_feature", "lens_or_arc", 0.9)):
    rows = kind == simulate.KINDS.index(rare)
    found = np.mean(lead[rows, name[question]] == QUESTIONS[name[question]].answers.index(answer))
    assert found > least, (rare, question, found)


def test_bad_columns_trails_and_displaced_bands_show_where_they_are():
  plain = jax.tree.map(lambda value: value[3], drawn(24)) | {
      "column_strength": 0.0, "trail_strength": 0.0, "band_shift": np.zeros((3, 2)), "r90": 6.0, "centre": np.zeros(2)}

  @jax.jit
  def seen_with(g):
    own, others, pitch = cutout.parts(g, size=64, crop=64)
    return cutout.photograph(jax.random.key(1), g, own + others, pitch, size=64, crop=64, quality=0)

  def differs(**changes):
    changed, same = seen_with(plain | changes), seen_with(plain)
    return np.abs(np.asarray(changed, float) - np.asarray(same, float))

  column = differs(column_strength=2.0, column_offset=3.0, column_band=np.array([0.0, 0.0, 1.0]))
  by_column = column[..., 0].mean(0)  # i is red
  pixels = 64 * 3.0 / cutout.view_width(plain, 64)
  assert abs(by_column.argmax() - (31.5 + pixels)) < 3
  assert by_column.max() > 20 > 5 * np.delete(by_column, range(by_column.argmax() - 6, by_column.argmax() + 7)).mean()

  trail = differs(trail_strength=5.0, trail_angle=0.0, trail_offset=0.0, trail_band=np.array([0.0, 1.0, 0.0]))
  by_row = trail[..., 1].mean(1)  # r is green
  assert abs(by_row.argmax() - 31.5) < 3
  assert by_row.max() > 20 > 5 * np.delete(by_row, range(by_row.argmax() - 12, by_row.argmax() + 13)).mean()

  def middle(image, channel):
    weight = np.asarray(image, float)[..., channel]
    return (weight * np.arange(64)).sum() / weight.sum()

  shifted = seen_with(plain | {"band_shift": np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])})
  moved = [middle(shifted, channel) - middle(seen_with(plain), channel) for channel in range(3)]
  assert moved[0] > 0.5 > moved[2]  # where the stretch clips, what one channel gains another loses


def test_bad_settings_are_named():
  with pytest.raises(ValueError, match="mix is 'wild'; expected one of natural, balanced"):
    simulate.galaxy(jax.random.key(0), size=32, mix="wild")
  for size in (7, 64.5, "64", 1_000_000):
    with pytest.raises(ValueError, match=f"a size of 8 to 8192, .* got size {size!r}"):
      simulate.galaxy(jax.random.key(0), size=size)
  with pytest.raises(ValueError, match="crop of 0 to 424"):
    simulate.galaxy(jax.random.key(0), size=32, crop=500)


REFERENCE = Path(__file__).with_name("reference.npz")


def test_a_key_means_the_same_galaxy_on_every_jax():
  """Against images and votes stored by one version of jax; made anew whenever simulate.VERSION is raised."""
  reference = np.load(REFERENCE)
  assert str(reference["version"]) == simulate.VERSION, "python tests/simulate/make_reference.py"
  view = json.loads(str(reference["view"]))
  batch = jax.tree.map(np.asarray, jax.jit(jax.vmap(functools.partial(simulate.galaxy, **view)))(keys(24)))
  # Most are seen on the detector's own pixels there, and so through its tiles.
  pitch = cutout.view_width({"r90": drawn(24)["r90"]}, view["crop"]) / view["size"]
  assert (pitch < instrument.NATIVE_PIXEL).mean() > 0.5
  difference = np.abs(batch["image"].astype(int) - reference["images"].astype(int))
  assert difference.max() <= 1
  same = (batch["vote_counts"] == reference["counts"]).all(1)
  assert same.all()


def test_views_show_what_they_say():
  """The central 212 of 424 pixels, at as many pixels, show the galaxy twice as large."""
  quarter = SIZE // 4
  inner = seen()["mask"][:, quarter:-quarter, quarter:-quarter]
  shrunk = near()["mask"].reshape(24, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4)) >= 0.5
  assert inner.any((1, 2)).mean() > 0.9 and np.mean(inner == shrunk) > 0.95
  assert cutout.view_width({"r90": 5.0}, 0) == pytest.approx(42.4)
