"""Boxes: coding and overlap against numpy and by their properties; nothing is NaN for empty ones."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from galaxy_jax.detection import boxes

quick = settings(deadline=None, max_examples=40, derandomize=True)

EMPTY = np.array([[0, 0, 0, 0], [3, 3, 3, 9], [9, 9, 2, 2], [5, 1, 4, 6]], np.float32)
encode, decode, iou = jax.jit(boxes.encode), jax.jit(boxes.decode), jax.jit(boxes.iou)


def random_boxes(seed, number, *, side=100.0):
  rng = np.random.default_rng(seed)
  corner, size = rng.uniform(-0.2 * side, side, (number, 2)), np.exp(rng.uniform(0, np.log(side), (number, 2)))
  return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


@quick
@given(st.integers(0, 2**32 - 1))
def test_decoding_undoes_encoding(seed):
  truth, anchors = random_boxes(seed, 16).reshape(2, 8, 4), random_boxes(seed + 1, 8)
  anchors = np.broadcast_to(anchors, truth.shape)
  far = np.log((truth[..., 2:] - truth[..., :2]) / (anchors[..., 2:] - anchors[..., :2])).max(-1) > 4
  result = decode(encode(truth, anchors), anchors)
  np.testing.assert_allclose(np.where(far[..., None], truth, result), truth, atol=2e-3, rtol=1e-4)


def test_encoding_against_the_formula_and_with_weights():
  truth, anchors = random_boxes(0, 9).astype(np.float64), random_boxes(1, 9).astype(np.float64)
  expected = []
  for (y0, x0, y1, x1), (ay0, ax0, ay1, ax1) in zip(truth, anchors, strict=True):
    h, w = ay1 - ay0, ax1 - ax0
    expected.append([((y0 + y1) / 2 - (ay0 + ay1) / 2) / h, ((x0 + x1) / 2 - (ax0 + ax1) / 2) / w,
                     np.log((y1 - y0) / h), np.log((x1 - x0) / w)])
  weights = (10.0, 9.0, 5.0, 4.0)
  np.testing.assert_allclose(boxes.encode(truth, anchors, weights), np.array(expected) * weights, rtol=2e-4, atol=1e-4)
  back = boxes.decode(boxes.encode(truth, anchors, weights), jnp.asarray(anchors), weights)
  np.testing.assert_allclose(back, truth, atol=2e-3)


def test_decoding_stays_finite_for_wild_predictions():
  anchor = jnp.array([0.0, 0.0, 16.0, 16.0])
  result = boxes.decode(jnp.array([0.0, 0.0, 500.0, 500.0]), anchor)
  np.testing.assert_allclose(result, [-492, -492, 508, 508], rtol=1e-5)
  assert boxes.decode(jnp.zeros(4, jnp.bfloat16), anchor).dtype == jnp.float32


@quick
@given(st.integers(0, 2**32 - 1))
def test_overlap_is_bounded_symmetric_and_one_with_itself(seed):
  a, b = random_boxes(seed, 7), random_boxes(seed + 1, 5)
  overlap = np.asarray(iou(a, b))
  assert overlap.min() >= 0 and overlap.max() <= 1 + 1e-6
  np.testing.assert_array_equal(overlap, np.asarray(iou(b, a)).T)
  np.testing.assert_allclose(np.diag(iou(a, a)), 1, rtol=1e-6)
  flip = lambda x: x[:, [1, 0, 3, 2]]
  np.testing.assert_allclose(iou(flip(a), flip(b)), overlap, rtol=1e-6)


def test_overlap_against_counted_pixels():
  rng = np.random.default_rng(3)
  corners = np.sort(rng.integers(0, 12, (20, 2, 2)), axis=1)
  whole = corners.reshape(20, 4)
  pixels = np.zeros((20, 12, 12), bool)
  for mask, (y0, x0, y1, x1) in zip(pixels, whole, strict=True):
    mask[y0:y1, x0:x1] = True
  shared = (pixels[:, None] & pixels).sum((2, 3))
  either = (pixels[:, None] | pixels).sum((2, 3))
  whole = whole.astype(np.float32)
  size = pixels.sum((1, 2))
  np.testing.assert_array_equal(boxes.area(whole), size)
  np.testing.assert_array_equal(boxes.has_area(whole), size > 0)
  np.testing.assert_allclose(iou(whole, whole), shared / np.maximum(either, 1), rtol=1e-6)
  np.testing.assert_allclose(boxes.intersection_over_area(whole, whole), shared / np.maximum(size, 1)[:, None],
                             rtol=1e-6)


def test_clipping():
  result = boxes.clip(jnp.array([[-3.0, 4, 9, 50], [30, 30, 40, 40]]), 20, 30)
  np.testing.assert_array_equal(result, [[0, 4, 9, 30], [20, 30, 20, 30]])
  assert not boxes.has_area(result)[1]


@pytest.mark.parametrize("function", [
    lambda a, b: boxes.encode(a, b), lambda a, b: boxes.encode(b, a), lambda a, b: boxes.decode(a, b),
    lambda a, b: boxes.decode(b, a), lambda a, b: boxes.iou(a, b), lambda a, b: boxes.iou(b, a),
    lambda a, b: boxes.intersection_over_area(a, b)])
def test_empty_boxes_give_no_nan_in_values_or_gradients(function):
  for other in (random_boxes(0, 4), EMPTY):
    value, gradients = jax.jit(jax.value_and_grad(lambda *x: jnp.sum(function(*x) ** 2), (0, 1)))(
        jnp.array(EMPTY), jnp.array(other))
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
  assert not np.any(boxes.encode(EMPTY, random_boxes(0, 4)))
  assert not np.any(iou(EMPTY, EMPTY))


def test_gradients_of_the_coding_against_differences():
  truth, anchors = jnp.array(random_boxes(5, 4)), jnp.array(random_boxes(6, 4))
  check_grads(boxes.encode, (truth, anchors), 1, modes=["rev"], eps=1e-2, atol=2e-2, rtol=2e-2)
  deltas = jnp.array(np.random.default_rng(0).normal(scale=0.3, size=(4, 4)), jnp.float32)
  check_grads(boxes.decode, (deltas, anchors), 1, modes=["rev"], eps=1e-2, atol=2e-2, rtol=2e-2)
