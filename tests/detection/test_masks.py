"""Masks: pasted, encoded and outlined, against numpy, pycocotools, and there and back."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from galaxy_jax.detection import masks
from galaxy_jax.detection.targets import mask_targets
from tfds_builders.masks import ellipse_mask, polygon_mask

quick = settings(deadline=None, max_examples=60, derandomize=True)
some_mask = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
paste = jax.jit(masks.paste, static_argnums=(2, 3, 4))


def numpy_paste(mask, box, height, width):
  result = np.zeros((height, width))
  (y0, x0, y1, x1), size = box, len(mask)
  for y in range(height):
    for x in range(width):
      if y0 < y + 0.5 < y1 and x0 < x + 0.5 < x1:
        v, u = (y + 0.5 - y0) / (y1 - y0) * size - 0.5, (x + 0.5 - x0) / (x1 - x0) * size - 0.5
        v, u = (min(max(t, 0), size - 1) for t in (v, u))
        i, j = int(v), int(u)
        k, m = min(i + 1, size - 1), min(j + 1, size - 1)
        result[y, x] = ((1 - v + i) * ((1 - u + j) * mask[i, j] + (u - j) * mask[i, m])
                        + (v - i) * ((1 - u + j) * mask[k, j] + (u - j) * mask[k, m]))
  return result


def test_pasting_against_plain_numpy_and_the_windows():
  rng = np.random.default_rng(0)
  squares = rng.uniform(size=(7, 6, 6)).astype(np.float32)
  boxes = np.float32([[2, 3, 20, 25], [-8.5, -3, 12, 9], [10.2, 20.7, 50, 60], [5, 5, 5, 9], [9, 9, 2, 2],
                      [40, 40, 60, 60], [0, 0, 24, 32]])
  result = np.asarray(paste(squares, boxes, 24, 32))
  for square, box, pasted in zip(squares, boxes, result, strict=True):
    expected = numpy_paste(square, box, 24, 32)
    certain = abs(expected - 0.5) > 1e-4
    np.testing.assert_array_equal(pasted[certain], (expected >= 0.5)[certain])
    rows, columns, window = masks.paste_window(square, box, 24, 32)
    whole = np.zeros((24, 32), bool)
    whole[rows, columns] = window
    np.testing.assert_array_equal(whole[certain], pasted[certain])
  assert not result[3:6].any() and result[0].any()


def test_a_full_square_fills_its_box():
  full = paste(jnp.ones((1, 28, 28)), jnp.array([[3.0, 4.0, 13.0, 9.0]]), 20, 20)[0]
  assert full.sum() == 50 and full[3:13, 4:9].all()


def test_cropping_then_pasting_gives_the_object_back():
  truth = np.stack([ellipse_mask((30, 28), (22, 9), angle, 64, 64) for angle in (0, 0.5, 1.3)])
  boxes = masks.mask_boxes(truth)
  squares = mask_targets(truth, jnp.arange(3), boxes)
  back = np.asarray(paste(squares.astype(jnp.float32), boxes, 64, 64))
  overlap = (back & truth).sum((1, 2)) / (back | truth).sum((1, 2))
  assert overlap.min() > 0.93


def test_boxes_of_masks():
  rng = np.random.default_rng(1)
  many = (rng.uniform(size=(2, 5, 12, 17)) > 0.97).astype(np.uint8) * 255
  many[0, 0] = 0
  result = np.asarray(jax.jit(masks.mask_boxes)(many))
  for place in np.ndindex(2, 5):
    y, x = np.nonzero(many[place])
    expected = [y.min(), x.min(), y.max() + 1, x.max() + 1] if len(y) else [0] * 4
    np.testing.assert_array_equal(result[place], expected)


@quick
@given(some_mask)
def test_run_lengths_there_and_back_and_as_pycocotools(mask):
  expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
  segmentation = masks.encode_rle(mask)
  assert segmentation == {"size": list(mask.shape), "counts": expected["counts"].decode()}
  np.testing.assert_array_equal(masks.decode_rle(segmentation), mask)


def test_damaged_run_lengths_are_refused():
  with pytest.raises(ValueError, match="do not add up"):
    masks.decode_rle({"size": [3, 3], "counts": [4, 4]})


def filled(mask):
  """The mask with its holes filled: what cannot be reached from outside by steps along rows and columns."""
  outside = np.zeros(np.add(mask.shape, 2), bool)
  outside[[0, -1]] = outside[:, [0, -1]] = True
  free = ~np.pad(mask, 1)
  while True:
    more = outside.copy()
    more[1:] |= outside[:-1]
    more[:-1] |= outside[1:]
    more[:, 1:] |= outside[:, :-1]
    more[:, :-1] |= outside[:, 1:]
    more &= free
    if (more == outside).all():
      return ~outside[1:-1, 1:-1]
    outside = more


@quick
@given(some_mask)
def test_outlines_hold_the_parts_with_their_holes_filled(mask):
  found = masks.outlines(mask)
  drawn = np.zeros(mask.shape, bool)
  for points in found:
    assert len(points) > 2
    drawn |= polygon_mask(points, *mask.shape)
  missing = filled(mask) & ~drawn
  assert not (drawn & ~filled(mask)).any()
  # What is left out are pixels and straight lines: none has a block of 2 × 2.
  assert not (missing[1:, 1:] & missing[1:, :-1] & missing[:-1, 1:] & missing[:-1, :-1]).any()


def test_outlines_of_two_galaxies_largest_first_and_simplified():
  small, large = ellipse_mask((15, 12), (8, 5), 0.4, 90, 120), ellipse_mask((70, 50), (40, 18), 0.6, 90, 120)
  exact = masks.outlines(small | large)
  assert len(exact) == 2
  np.testing.assert_array_equal(polygon_mask(exact[0], 90, 120), large)
  np.testing.assert_array_equal(polygon_mask(exact[1], 90, 120), small)
  simple = masks.outlines(small | large, tolerance=1.0)[0]
  drawn = polygon_mask(simple, 90, 120)
  assert len(simple) < 25 < len(exact[0]) and (drawn & large).sum() / (drawn | large).sum() > 0.95
  assert masks.outlines(np.zeros((5, 5))) == [] and masks.outlines(np.eye(4)[:, :1]) == []
