"""Classes against the published rules written out plainly."""
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.simulate import labels
from tfds_builders.galaxy_zoo_challenge import morph5


def random_fractions(count=4000):
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 3, (count, 37)).astype(np.float32)
  return np.asarray(decision_tree.tree_fractions(logits))


def zhu(c):
  """The if/elif of the authors' workflow; c by column, from 0."""
  if c[0] >= 0.469 and c[15] >= 0.50:
    return 0
  if c[0] >= 0.469 and c[16] >= 0.50:
    return 1
  if c[0] >= 0.469 and c[17] >= 0.50:
    return 2
  if c[1] >= 0.430 and c[3] >= 0.602:
    return 3
  if c[1] >= 0.430 and c[4] >= 0.715 and c[7] >= 0.619:
    return 4
  return -1


def test_five_classes_follow_the_published_rules():
  fractions = random_fractions()
  expected = [zhu(row) for row in fractions]
  assert set(expected) == {-1, 0, 1, 2, 3, 4}
  np.testing.assert_array_equal(labels.five_class(fractions), expected)
  np.testing.assert_array_equal(morph5.five_class(fractions), expected)


def test_ten_classes_name_what_the_votes_say():
  def votes(**conditional):
    """Conditional fractions where named, equal shares elsewhere, multiplied down the tree."""
    values = np.asarray(decision_tree.conditional(decision_tree.tree_fractions(np.zeros(37, np.float32)))).copy()
    columns = {"smooth": (0, 3), "features": (1, 3), "edge_on": (3, 2), "face_on": (4, 2), "bar": (5, 2),
               "no_bar": (6, 2), "spiral": (7, 2), "odd": (13, 2), "not_odd": (14, 2), "round": (15, 3),
               "between": (16, 3), "cigar": (17, 3), "disturbed": (20, 7), "merger": (23, 7), "bulge": (25, 3),
               "no_bulge": (27, 3), "tight": (28, 3), "loose": (30, 3)}
    from galaxy_jax.decision_tree import QUESTION_OF
    for name, value in conditional.items():
      column, answers = columns[name]
      question = QUESTION_OF == QUESTION_OF[column]
      values[question] = (1 - value) / (answers - 1)
      values[column] = value
    return np.asarray(decision_tree.cumulative(values))

  cases = [({"odd": 0.9, "disturbed": 0.8}, 0), ({"odd": 0.9, "merger": 0.8}, 1),
           ({"smooth": 0.9, "not_odd": 0.9, "round": 0.9}, 2), ({"smooth": 0.9, "not_odd": 0.9, "between": 0.9}, 3),
           ({"smooth": 0.9, "not_odd": 0.9, "cigar": 0.9}, 4),
           ({"features": 0.9, "not_odd": 0.9, "face_on": 0.9, "spiral": 0.9, "bar": 0.8}, 5),
           ({"features": 0.9, "not_odd": 0.9, "face_on": 0.9, "spiral": 0.9, "no_bar": 0.8, "tight": 0.8}, 6),
           ({"features": 0.9, "not_odd": 0.9, "face_on": 0.9, "spiral": 0.9, "no_bar": 0.8, "loose": 0.8}, 7),
           ({"features": 0.9, "not_odd": 0.9, "edge_on": 0.9, "no_bulge": 0.8}, 8),
           ({"features": 0.9, "not_odd": 0.9, "edge_on": 0.9, "bulge": 0.8}, 9),
           ({"features": 0.5, "not_odd": 0.9}, -1)]
  np.testing.assert_array_equal(labels.ten_class(np.stack([votes(**case) for case, _ in cases])),
                                [expected for _, expected in cases])


def test_boxes_of_masks():
  masks = np.zeros((3, 6, 8), bool)
  masks[0, 2:4, 3:7] = True
  masks[1, 0, 0] = masks[1, 5, 7] = True
  np.testing.assert_array_equal(labels.bounding_box(masks), [[2, 3, 4, 7], [0, 0, 6, 8], [0, 0, 0, 0]])
