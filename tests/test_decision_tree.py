"""The decision tree against hand-computed vectors, loops over the questions, and the catalogue's own strings."""
import csv
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import decision_tree
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS

# The public first row of the challenge's training_solutions_rev1.csv, GalaxyID 100008.
GALAXY_100008 = np.array([
    0.383147, 0.616853, 0, 0, 0.616853, 0.038452149, 0.578400851, 0.418397819, 0.198455181, 0, 0.104752126,
    0.512100874, 0, 0.054453, 0.945547, 0.201462524, 0.181684476, 0, 0, 0.027226500, 0, 0.027226500, 0, 0, 0, 0, 0, 0,
    0.279952491, 0.138445328, 0, 0, 0.092885981, 0, 0, 0, 0.325511838])


def random_logits(shape=(5,), scale=3.0):
  return scale * jax.random.normal(jax.random.key(0), (*shape, 37))


def votes(**leading):
  """A cumulative vector in which the named questions' answers have all the votes, or the given share of them."""
  conditional = np.zeros(37)
  for question in QUESTIONS:
    share = leading.get(question.name, 0)
    share = share if isinstance(share, tuple) else tuple(float(i == share) for i in range(len(question.answers)))
    conditional[question.columns] = share
  return np.asarray(decision_tree.cumulative(conditional))


def test_first_row_of_the_challenge():
  conditional = np.asarray(decision_tree.conditional(GALAXY_100008))
  by_name = dict(zip(COLUMNS, conditional, strict=True))
  np.testing.assert_allclose(by_name["Class1.1"], 0.383147, rtol=1e-6)
  np.testing.assert_allclose(by_name["Class2.2"], 1.0, rtol=1e-6)
  np.testing.assert_allclose(by_name["Class3.1"], 0.038452149 / 0.616853, rtol=1e-6)
  np.testing.assert_allclose(by_name["Class4.1"], 0.418397819 / 0.616853, rtol=1e-6)
  np.testing.assert_allclose(by_name["Class7.1"], 0.201462524 / 0.383147, rtol=1e-6)
  np.testing.assert_allclose(by_name["Class10.1"], 0.279952491 / 0.418397819, rtol=1e-6)
  np.testing.assert_allclose([by_name[f"Class9.{a}"] for a in (1, 2, 3)], 0.0)
  np.testing.assert_allclose(decision_tree.cumulative(conditional), GALAXY_100008, atol=1e-6)


def test_cumulative_multiplies_the_whole_way_down():
  conditional = np.random.default_rng(0).uniform(size=(4, 37)).astype(np.float32)
  expected = conditional.copy()
  for question in QUESTIONS:  # parents come before their children
    if question.parent is not None:
      expected[:, question.columns] *= expected[:, question.parent, None]
  np.testing.assert_allclose(jax.jit(decision_tree.cumulative)(conditional), expected, rtol=1e-6)


def test_layout_by_question_and_back():
  values = np.arange(37.0)
  padded = np.asarray(decision_tree.by_question(values, fill=-1.0))
  for row, question in zip(padded, QUESTIONS, strict=True):
    answers = len(question.answers)
    np.testing.assert_array_equal(row[:answers], values[question.columns])
    np.testing.assert_array_equal(row[answers:], -1.0)
  np.testing.assert_array_equal(decision_tree.from_questions(jnp.asarray(padded)), values)


@pytest.mark.parametrize("name", ["tree", "dieleman", "dirichlet"])
def test_every_question_sums_to_its_parent(name):
  logits = random_logits((200,), scale=10.0)
  if name == "dieleman":
    # A question whose rectified logits are all zero has no sum to speak of.
    logits = jnp.abs(logits)
  fractions = np.asarray(jax.jit(decision_tree.OUTPUT_LAYERS[name])(logits))
  assert fractions.min() >= 0 and fractions.max() <= 1 + 1e-6
  for question in QUESTIONS:
    parent = 1.0 if question.parent is None else fractions[:, question.parent]
    np.testing.assert_allclose(fractions[:, question.columns].sum(-1), parent, atol=1e-6)


def test_tree_fractions_against_a_loop():
  logits = np.asarray(random_logits((3, 4)), np.float64)
  expected = np.zeros_like(logits)
  for question in QUESTIONS:
    exponentials = np.exp(logits[..., question.columns])
    parent = 1.0 if question.parent is None else expected[..., question.parent, None]
    expected[..., question.columns] = parent * exponentials / exponentials.sum(-1, keepdims=True)
  np.testing.assert_allclose(decision_tree.tree_fractions(logits), expected, atol=1e-6)


def test_tree_fractions_survive_large_logits():
  fractions = decision_tree.tree_fractions(jnp.where(jnp.arange(37) % 2, 1e4, -1e4))
  np.testing.assert_allclose(fractions[:3], [0, 1, 0])
  assert np.all(np.isfinite(fractions))


def test_dieleman_fractions_in_the_published_order():
  logits = np.asarray(random_logits((6,)), np.float64)
  expected = np.maximum(logits, 0)
  for question in QUESTIONS:
    expected[:, question.columns] /= expected[:, question.columns].sum(-1, keepdims=True) + 1e-12
  for columns, scale in (((3, 5), 1), ((5, 13), 4), ((15, 18), 0), ((18, 25), 13), ((25, 28), 3), ((28, 37), 7)):
    expected[:, slice(*columns)] *= expected[:, scale, None]
  np.testing.assert_allclose(decision_tree.dieleman_fractions(logits), expected, atol=1e-6)


@pytest.mark.parametrize("name", list(decision_tree.OUTPUT_LAYERS))
def test_output_layers_under_vmap_and_gradients(name):
  layer = decision_tree.OUTPUT_LAYERS[name]
  logits = random_logits((3, 2))
  np.testing.assert_allclose(jax.jit(jax.vmap(jax.vmap(layer)))(logits), jax.jit(layer)(logits), rtol=1e-6)
  gradient = jax.jit(jax.vmap(jax.grad(lambda z: jnp.sum(jnp.square(layer(z) - 0.3)))))
  assert np.all(np.isfinite(gradient(jnp.stack([logits[0, 0], jnp.zeros(37), jnp.full(37, -5.0)]))))


def test_conditional_of_zero_parents():
  nothing = jnp.zeros(37)
  np.testing.assert_array_equal(decision_tree.conditional(nothing), 0.0)
  gradient = jax.jit(jax.jacobian(decision_tree.conditional))(nothing)
  assert np.all(np.isfinite(gradient))


def test_concentrations_lie_between_1_and_101():
  np.testing.assert_allclose(decision_tree.dirichlet_concentrations(jnp.array([-50.0, 0.0, 50.0])), [1, 51, 101])


def test_dirichlet_fractions_are_the_mean_of_samples():
  concentrations = np.random.default_rng(0).uniform(1, 20, 37)
  fractions = np.asarray(decision_tree.dirichlet_fractions(concentrations))
  samples = np.zeros((20000, 37))
  for question in QUESTIONS:
    drawn = np.random.default_rng(question.start).dirichlet(concentrations[question.columns], len(samples))
    samples[:, question.columns] = drawn * (1 if question.parent is None else samples[:, question.parent, None])
  np.testing.assert_allclose(fractions, samples.mean(0), atol=0.005)


def test_asked_and_leading_answers():
  asked = np.asarray(decision_tree.asked(GALAXY_100008))
  # Featured by 0.62, of whom all said not edge-on; spiral only by 0.42, smooth by 0.38, odd by 0.05.
  np.testing.assert_array_equal(np.flatnonzero(asked) + 1, [1, 2, 3, 4, 5, 6])
  leading = np.asarray(decision_tree.leading_answers(GALAXY_100008))
  np.testing.assert_array_equal(leading, [1, 1, 1, 0, 2, 1, 0, 1, 0, 0, 5])


def test_wrong_shapes_and_values_are_named():
  with pytest.raises(ValueError, match="37 answers"):
    decision_tree.cumulative(jnp.zeros((2, 36)))
  with pytest.raises(ValueError, match="one vote vector"):
    decision_tree.sentence(np.zeros((2, 37)))
  bad = GALAXY_100008.copy()
  bad[3] = np.nan
  with pytest.raises(ValueError, match=r"Class2\.1 is nan"):
    decision_tree.gz2_class(bad)


@pytest.mark.parametrize("vector, words, gz2_class", [
    (GALAXY_100008, "spiral, tight arms, no bar, obvious bulge", "Sb?t"),
    (votes(smooth_or_features=1, edgeon=1, bar=1, arms_number=1, bulge_prominence=1, odd=1),
     "spiral, two tight arms, no bar, just noticeable bulge", "Sc2t"),
    (votes(smooth_or_features=1, edgeon=1, arms_number=0, arms_winding=2, bulge_prominence=0, odd=0, odd_feature=3),
     "spiral, one loose arm, bar, no bulge; odd: irregular", "SBd1l(i)"),
    (votes(smooth_or_features=1, edgeon=1, arms_number=(.1, .3, .2, .2, .1, .1), arms_winding=1, bar=1, odd=1,
           bulge_prominence=3), "spiral, perhaps two medium-wound arms, no bar, dominant bulge", "Sa2m"),
    (votes(smooth_or_features=1, edgeon=1, spiral=1, bar=1, bulge_prominence=2, odd=1),
     "disk without spiral arms, no bar, obvious bulge", "Sb"),
    (votes(smooth_or_features=1, edgeon=0, bulge_shape=1, odd=1), "edge-on disk, boxy bulge", "Seb"),
    (votes(smooth_or_features=1, edgeon=0, bulge_shape=2, odd=0, odd_feature=6),
     "edge-on disk, no bulge; odd: dust lane", "Sen(u)"),
    (votes(odd=1), "smooth, completely round", "Er"),
    (votes(rounded=2, odd=0, odd_feature=5), "smooth, cigar-shaped; odd: merger", "Ec(m)"),
    (votes(smooth_or_features=(.4, .35, .25), rounded=1, odd=1),
     "perhaps smooth, in between round and cigar-shaped", "Ei"),
    (votes(rounded=(0, 0, 0), odd=1), "smooth", "Er"),
    (votes(smooth_or_features=2, odd=1), "star or artifact", "A"),
    (np.zeros(37), "no votes", "Er"),
])
def test_words_and_class_strings(vector, words, gz2_class):
  assert decision_tree.sentence(vector) == words
  assert decision_tree.gz2_class(vector) == gz2_class


def test_class_strings_against_the_catalogue():
  samples = os.environ.get("GALAXY_JAX_SAMPLES")
  table = pathlib.Path(samples or ".") / "gz2_sample" / "gz2_hart16.csv"
  if not samples or not table.is_file():
    pytest.skip("GALAXY_JAX_SAMPLES is unset or has no gz2_sample/gz2_hart16.csv")
  with table.open(newline="") as file:
    rows = list(csv.DictReader(file))
  columns = [name for name in rows[0] if name.endswith("_debiased")]
  assert len(columns) == 37
  complete = [row for row in rows if all(row[name] for name in columns)]
  assert len(complete) >= len(rows) - 1
  for row in complete:
    debiased = np.array([float(row[name]) for name in columns])
    assert decision_tree.gz2_class(debiased) == row["gz2_class"], row["dr7objid"]
