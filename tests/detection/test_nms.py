"""Non-maximum suppression against a greedy loop in numpy, with ties, duplicates and rows of padding."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_jax.detection import nms

quick = settings(deadline=None, max_examples=40, derandomize=True)

suppress = jax.jit(nms.nms)


def numpy_iou(a, b):
  height = min(a[2], b[2]) - max(a[0], b[0])
  width = min(a[3], b[3]) - max(a[1], b[1])
  if height <= 0 or width <= 0:
    return np.float32(0)
  shared = height * width
  return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def greedy(boxes, scores, valid, threshold, groups=None):
  keep = np.zeros(len(boxes), bool)
  for i in np.argsort(-scores, kind="stable"):
    rivals = [j for j in np.flatnonzero(keep) if groups is None or groups[j] == groups[i]]
    keep[i] = valid[i] and all(numpy_iou(boxes[i], boxes[j]) <= threshold for j in rivals)
  return keep


def case(seed, number=48):
  """Boxes on a coarse grid of places, scores of few values: duplicates, ties, chains of overlaps, empty boxes."""
  rng = np.random.default_rng(seed)
  corner = rng.integers(0, rng.integers(8, 40), (number, 2))
  size = rng.integers(4, 24, (number, 2)) * (rng.uniform(size=(number, 1)) > 0.05)
  boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
  scores = (rng.integers(0, rng.choice([3, 1000]), number) / 7).astype(np.float32)
  return boxes, scores, rng.uniform(size=number) > 0.2, rng.integers(0, 3, number)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_greedy(threshold, seed):
  boxes, scores, valid, groups = case(seed)
  np.testing.assert_array_equal(suppress(boxes, scores, valid, threshold), greedy(boxes, scores, valid, threshold))
  np.testing.assert_array_equal(suppress(boxes, scores, valid, threshold, groups),
                                greedy(boxes, scores, valid, threshold, groups))


def test_a_long_chain_is_followed_to_its_end():
  """Each box overlaps the next alone, best first: every other one stays."""
  start = np.arange(40) * 5.0
  boxes = np.stack([start * 0, start, start * 0 + 10, start + 10], axis=1).astype(np.float32)
  keep = suppress(boxes, -np.arange(40, dtype=np.float32), np.ones(40, bool), 0.3)
  np.testing.assert_array_equal(keep, np.arange(40) % 2 == 0)


def test_padding_and_the_rest_of_a_batch_change_nothing():
  boxes, scores, valid, _ = case(1)
  alone = suppress(boxes, scores, valid, 0.4)
  rubbish = np.random.default_rng(0).uniform(0, 40, (16, 4)).astype(np.float32)
  padded = suppress(np.concatenate([rubbish, boxes]), np.concatenate([np.full(16, 99, np.float32), scores]),
                    np.concatenate([np.zeros(16, bool), valid]), 0.4)
  np.testing.assert_array_equal(padded[16:], alone)
  assert not padded[:16].any()
  cases = [case(seed)[:3] for seed in range(4)]
  batch = jax.jit(jax.vmap(lambda *row: nms.nms(*row, 0.4)))(*(np.stack(x) for x in zip(*cases, strict=True)))
  for row, one in zip(batch, cases, strict=True):
    np.testing.assert_array_equal(row, suppress(*one, 0.4))


def test_nan_is_never_kept_and_nothing_valid_is_nothing():
  boxes = np.tile(np.float32([0, 0, 9, 9]), (3, 1))
  np.testing.assert_array_equal(suppress(boxes, np.float32([np.nan, 1, 2]), np.ones(3, bool), 0.5),
                                [False, False, True])
  assert not suppress(boxes, np.ones(3, np.float32), np.zeros(3, bool), 0.5).any()


def test_top_k_takes_the_best_valid_rows_in_order():
  scores = jnp.array([0.5, 0.9, 0.5, np.nan, -np.inf, 0.7])
  indices, chosen = nms.top_k(scores, jnp.array([1, 0, 1, 1, 1, 1], bool), 8)
  np.testing.assert_array_equal(indices[:4], [5, 0, 2, 4])
  np.testing.assert_array_equal(chosen, [True] * 4 + [False] * 4)
  assert indices.shape == (8,) and indices.min() >= 0 and indices.max() < 6
  rows = nms.take(jnp.arange(12.0).reshape(6, 2) + 1, indices, chosen)
  np.testing.assert_array_equal(rows, [[11, 12], [1, 2], [5, 6], [9, 10]] + [[0, 0]] * 4)
  assert [x.shape for x in nms.top_k(scores, jnp.ones(6, bool), 2)] == [(2,), (2,)]
