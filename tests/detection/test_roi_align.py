"""ROIAlign against published values, the analytic value on a ramp, and a plain loop in numpy."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from galaxy_jax.detection.roi_align import assign_levels, roi_align

STRIDES = (4, 8, 16)
align = jax.jit(roi_align, static_argnums=(2, 3, 4, 5, 6))


def pyramid(seed, batch=2, channels=3, side=64):
  rng = np.random.default_rng(seed)
  return [rng.normal(size=(batch, side // s, side // s + 1, channels)).astype(np.float32) for s in STRIDES]


def some_boxes(seed, batch=2, number=6, side=64):
  """Of all sizes, some of them reaching far out of the image."""
  rng = np.random.default_rng(seed)
  corner, size = rng.uniform(-0.3 * side, side, (batch, number, 2)), np.exp(rng.uniform(0, 4.5, (batch, number, 2)))
  return np.concatenate([corner, corner + size], axis=-1).astype(np.float32)


def numpy_sample(image, y, x):
  height, width = image.shape[:2]
  if not (-1 <= y <= height and -1 <= x <= width):
    return np.zeros(image.shape[2])
  y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
  row, column = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
  below, right = min(row + 1, height - 1), min(column + 1, width - 1)
  top = image[row, column] + (x - column) * (image[row, right] - image[row, column])
  bottom = image[below, column] + (x - column) * (image[below, right] - image[below, column])
  return top + (y - row) * (bottom - top)


def numpy_roi_align(levels, boxes, size, ratio, canonical_size):
  result = np.zeros((*boxes.shape[:2], size, size, levels[0].shape[-1]))
  for place in np.ndindex(*boxes.shape[:2]):
    box = boxes[place].astype(np.float64)
    extent = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    level = int(np.clip(np.floor(4 + np.log2(extent / canonical_size) + 1e-6), 2, 4)) - 2
    y0, x0, y1, x1 = box / STRIDES[level] - 0.5
    for i, j in np.ndindex(size, size):
      points = [((i + (a + 0.5) / ratio) / size, (j + (b + 0.5) / ratio) / size)
                for a in range(ratio) for b in range(ratio)]
      result[(*place, i, j)] = np.mean([numpy_sample(levels[level][place[0]], y0 + v * (y1 - y0), x0 + u * (x1 - x0))
                                        for v, u in points], axis=0)
  return result


def test_published_values():
  """Those of Detectron2's own test of `aligned=True`."""
  image = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
  expected = [[4.5, 5.0, 5.5, 6.0], [7.0, 7.5, 8.0, 8.5], [9.5, 10.0, 10.5, 11.0], [12.0, 12.5, 13.0, 13.5]]
  np.testing.assert_allclose(align([image], np.float32([[[1, 1, 3, 3]]]), (1,), 4)[0, 0, ..., 0], expected, rtol=1e-6)


@pytest.mark.parametrize("size,ratio,canonical_size", [(3, 2, 56.0), (2, 1, 224.0), (2, 3, 30.0)])
def test_against_plain_numpy(size, ratio, canonical_size):
  levels, boxes = pyramid(0), some_boxes(1)
  result = align(levels, boxes, STRIDES, size, ratio, canonical_size)
  np.testing.assert_allclose(result, numpy_roi_align(levels, boxes, size, ratio, canonical_size), atol=2e-5)


def test_a_ramp_gives_its_value_at_the_centre_of_each_bin():
  slope = np.array([0.3, -0.7])
  levels = []
  for stride in STRIDES:
    centre = (np.arange(64 // stride) + 0.5) * stride
    levels.append((slope[0] * centre[:, None] + slope[1] * centre + 5)[None, ..., None].astype(np.float32))
  boxes = np.float32([[9, 12, 40, 30], [10.25, 10, 13, 22], [8, 8, 56, 56]])
  result = align(levels, boxes[None], STRIDES, 7, 2, 40.0)[0, ..., 0]
  for box, value in zip(boxes, result, strict=True):
    y, x = (box[i] + (np.arange(7) + 0.5) / 7 * (box[i + 2] - box[i]) for i in (0, 1))
    np.testing.assert_allclose(value, slope[0] * y[:, None] + slope[1] * x + 5, rtol=1e-4, atol=1e-4)


def test_levels():
  side = np.float32([1, 27.9, 28, 55.9, 56, 112, 900, 0])
  boxes = np.stack([side * 0, side * 0, side, side], axis=-1)
  np.testing.assert_array_equal(assign_levels(boxes, (4, 8, 16), canonical_size=56.0), [0, 0, 1, 1, 2, 2, 2, 0])
  with pytest.raises(ValueError, match="powers of two"):
    assign_levels(boxes, (4, 16))
  with pytest.raises(ValueError, match="for each was expected"):
    roi_align(pyramid(0), some_boxes(0), (4, 8), 2)


def test_gradients():
  levels, boxes = [jnp.asarray(x) for x in pyramid(2, batch=1, side=32)], some_boxes(3, batch=1, side=32)
  check_grads(lambda *x: roi_align(x, boxes, STRIDES, 2, 2, 40.0), tuple(levels), 1, modes=["rev"], eps=1e-2,
              atol=1e-2, rtol=1e-2)
  at_boxes = jax.grad(lambda b: jnp.sum(roi_align(levels, b, STRIDES, 2)))(jnp.asarray(boxes))
  assert not at_boxes.any()


def test_narrow_numbers_and_empty_boxes():
  levels = [jnp.asarray(x, jnp.bfloat16) for x in pyramid(4)]
  empty = np.float32([[[0, 0, 0, 0], [70, 70, 60, 60], [1e6, 1e6, 1e6, 1e6]]] * 2)
  run = jax.jit(jax.value_and_grad(lambda x, b: jnp.sum(roi_align(x, b, STRIDES, 2).astype(jnp.float32))))
  for boxes in (empty, some_boxes(5)):
    value, gradients = run(levels, boxes)
    assert np.isfinite(value) and all(np.isfinite(g).all() and g.dtype == jnp.bfloat16 for g in gradients)
  wide = align([x.astype(jnp.float32) for x in levels], some_boxes(5), STRIDES, 2)
  narrow = align(levels, some_boxes(5), STRIDES, 2)
  assert narrow.dtype == jnp.bfloat16
  np.testing.assert_allclose(narrow.astype(jnp.float32), wide, rtol=1e-2, atol=1e-6)


def test_boxes_do_not_depend_on_their_neighbours():
  levels, boxes = pyramid(6), some_boxes(7)
  whole = align(levels, boxes, STRIDES, 2)
  turned = align([x[::-1] for x in levels], boxes[::-1, ::-1], STRIDES, 2)
  np.testing.assert_array_equal(whole, np.asarray(turned)[::-1, ::-1])
  np.testing.assert_array_equal(whole[:1, 2:3], align([x[:1] for x in levels], boxes[:1, 2:3], STRIDES, 2))
