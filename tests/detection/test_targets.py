"""Targets against loops in numpy and by what must not change them: padding, the batch, the rest of the image."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax.detection import targets
from galaxy_jax.detection.anchors import anchors as make_anchors
from galaxy_jax.detection.boxes import decode

ANCHORS = np.concatenate(make_anchors((64, 64), (8, 16), ((12,), (28,)), (0.5, 1.0, 2.0)))


def truth(seed, slots=5, used=3):
  rng = np.random.default_rng(seed)
  corner, size = rng.uniform(0, 40, (slots, 2)), rng.uniform(8, 24, (slots, 2))
  boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
  ignore = np.arange(slots) == used - 1
  return boxes, rng.integers(0, 2, slots), np.arange(slots) < used, ignore


def numpy_iou(a, b):
  height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
  shared = max(height, 0) * max(width, 0)
  size = lambda x: (x[2] - x[0]) * (x[3] - x[1])
  return shared / (size(a) + size(b) - shared), shared / size(a)


def numpy_match(candidates, boxes, valid, ignore, positive, negative, best_too):
  objects, regions = np.flatnonzero(valid & ~ignore), np.flatnonzero(valid & ignore)
  overlap = np.zeros((len(candidates), len(boxes)))
  for i, candidate in enumerate(candidates.astype(np.float64)):
    for j in objects:
      overlap[i, j] = numpy_iou(candidate, boxes[j].astype(np.float64))[0]
  kind = np.full(len(candidates), -1)
  for i, candidate in enumerate(candidates):
    excused = any(numpy_iou(candidate, boxes[j])[1] >= 0.5 for j in regions)
    if overlap[i].max() < negative and not excused:
      kind[i] = 0
    if overlap[i].max() >= positive:
      kind[i] = 1
  for j in objects if best_too else ():
    kind[(overlap[:, j] > overlap[:, j].max() - 1e-6) & (overlap[:, j] > 0)] = 1
  return overlap.argmax(1), kind


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("thresholds", [(0.7, 0.3, True), (0.5, 0.5, False)])
def test_matching_against_numpy(seed, thresholds):
  boxes, _, valid, ignore = truth(seed)
  positive, negative, best_too = thresholds
  matched, kind = jax.jit(partial(targets.match, positive=positive, negative=negative, best_too=best_too))(
      ANCHORS, np.ones(len(ANCHORS), bool), boxes, valid, ignore)
  expected, expected_kind = numpy_match(ANCHORS, boxes, valid, ignore, *thresholds)
  np.testing.assert_array_equal(kind, expected_kind)
  np.testing.assert_array_equal(np.asarray(matched)[expected_kind == 1], expected[expected_kind == 1])
  if best_too:
    assert set(np.flatnonzero(valid & ~ignore)) <= set(np.asarray(matched)[np.asarray(kind) == 1])


def test_all_ties_for_the_best_are_positive():
  """A box in the middle of four anchors of its size is as near to each of them."""
  candidates = np.float32([[0, 0, 8, 8], [0, 8, 8, 16], [8, 0, 16, 8], [8, 8, 16, 16], [40, 40, 48, 48]])
  boxes = np.float32([[4, 4, 12, 12], [100, 100, 110, 110]])
  run = lambda best_too: targets.match(candidates, jnp.ones(5, bool), boxes, jnp.ones(2, bool), jnp.zeros(2, bool),
                                       positive=0.7, negative=0.1, best_too=best_too)[1]
  np.testing.assert_array_equal(run(True), [1, 1, 1, 1, 0])
  np.testing.assert_array_equal(run(False), [-1, -1, -1, -1, 0])


def test_candidates_in_ignored_regions_are_no_background():
  candidates = np.float32([[0, 0, 10, 10], [0, 6, 10, 16], [30, 30, 40, 40]])
  boxes = np.float32([[0, 0, 12, 12], [30, 30, 41, 41]])
  run = lambda ignore: targets.match(candidates, jnp.ones(3, bool), boxes, jnp.ones(2, bool), jnp.array(ignore),
                                     positive=0.5, negative=0.5)[1]
  np.testing.assert_array_equal(run([True, False]), [-1, -1, 1])
  np.testing.assert_array_equal(run([False, False]), [1, 0, 1])
  # Within a region to ignore an object is still one.
  around = np.float32([[0, 0, 60, 60], [30, 30, 41, 41]])
  kind = targets.match(candidates, jnp.ones(3, bool), around, jnp.ones(2, bool), jnp.array([True, False]),
                       positive=0.5, negative=0.5)[1]
  np.testing.assert_array_equal(kind, [-1, -1, 1])


@pytest.mark.parametrize("objects,background,expected", [(90, 100, (16, 48)), (5, 100, (5, 59)), (0, 100, (0, 64)),
                                                         (90, 10, (16, 10)), (3, 0, (3, 0)), (0, 0, (0, 0))])
def test_samples_are_as_many_as_there_should_be(objects, background, expected):
  kind = np.full(200, -1, np.int32)
  kind[:objects], kind[objects:objects + background] = 1, 0
  kind = np.random.default_rng(0).permutation(kind)
  indices, positive, weights = jax.jit(targets.sample, static_argnums=(2, 3))(jax.random.key(0), kind, 64, 0.25)
  chosen = np.asarray(indices)[np.asarray(weights) > 0]
  assert len(set(chosen)) == len(chosen) == sum(expected) and indices.shape == (64,)
  assert (kind[chosen] == 1).sum() == expected[0] == positive.sum() and (kind[chosen] == 0).sum() == expected[1]
  assert positive[:expected[0]].all()


def test_draws_are_fair_and_depend_on_the_key_alone():
  kind = np.tile(np.int32([0, 1]), 20)
  draw = jax.jit(jax.vmap(lambda key: targets.sample(key, kind, 8, 0.5)[0]))
  keys = jax.random.split(jax.random.key(1), 2000)
  counts = np.bincount(np.asarray(draw(keys)).ravel(), minlength=40)
  # Each is drawn with probability 4/20: 400 ± 18.
  assert abs(counts - 400).max() < 5 * 18
  np.testing.assert_array_equal(draw(keys[:3]), np.asarray(draw(keys[2::-1]))[::-1])
  longer = np.concatenate([kind, np.full(24, -1, np.int32)])
  np.testing.assert_array_equal(targets.sample(keys[0], longer, 8, 0.5)[0], draw(keys[:1])[0])


def test_no_more_samples_than_candidates():
  for samples, share in ((64, 0.5), (3, 0.1)):
    indices, _, weights = targets.sample(jax.random.key(0), jnp.array([1, 0, 0]), samples, share)
    assert indices.shape == (samples,) and weights.sum() == (3 if share == 0.5 else 2)


def regions(key, boxes, classes, valid, ignore, proposals, proposals_valid):
  return {"rpn": targets.rpn_targets(key, ANCHORS, boxes, valid, ignore, num_samples=32),
          "roi": targets.roi_targets(key, proposals, proposals_valid, boxes, classes, valid, ignore, num_samples=24)}


def proposals(seed, number=40):
  rng = np.random.default_rng(seed)
  near = np.repeat(truth(seed)[0], number // 5, axis=0) + rng.normal(scale=2, size=(number, 4))
  return near.astype(np.float32), rng.uniform(size=number) > 0.2


def test_targets_lead_back_to_the_objects():
  boxes, classes, valid, ignore = truth(0)
  result = jax.jit(regions)(jax.random.key(0), boxes, classes, valid, ignore, *proposals(0))
  rpn, roi = result["rpn"], result["roi"]
  assert rpn["positive"].sum() >= 2 and rpn["weights"].sum() == 32
  back = np.asarray(decode(rpn["deltas"], ANCHORS[rpn["indices"]]))[rpn["positive"]]
  assert all(np.abs(boxes[valid & ~ignore] - box).max(1).min() < 1e-3 for box in back)
  positive = np.asarray(roi["positive"])
  assert 2 <= positive.sum() <= 7 and (np.asarray(roi["classes"])[~positive] == 0).all()
  matched = np.asarray(roi["matched"])[positive]
  np.testing.assert_array_equal(np.asarray(roi["classes"])[positive], 1 + classes[matched])
  back = decode(roi["deltas"], roi["boxes"], (10.0, 10.0, 5.0, 5.0))[positive]
  np.testing.assert_allclose(back, boxes[matched], atol=1e-3)
  assert not np.asarray(rpn["deltas"])[~np.asarray(rpn["positive"])].any()
  assert not np.asarray(roi["deltas"])[~positive].any()


def test_padding_and_the_rest_of_the_batch_change_nothing():
  run = jax.jit(regions)
  rows = [(*truth(seed), *proposals(seed)) for seed in range(3)]
  keys = jax.random.split(jax.random.key(3), 3)
  alone = [run(key, *row) for key, row in zip(keys, rows, strict=True)]
  together = jax.jit(jax.vmap(regions))(keys, *(np.stack(x) for x in zip(*rows, strict=True)))
  for i, one in enumerate(alone):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=1e-5), together, one)
  boxes, classes, valid, ignore, *rest = rows[0]
  pad = lambda x, value: np.concatenate([x, np.full((4, *x.shape[1:]), value, x.dtype)])
  for filling in (0, 30):
    padded = run(keys[0], pad(boxes, filling), pad(classes, 1), pad(valid, False), pad(ignore, True), *rest)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), padded, alone[0])


@pytest.mark.parametrize("kind", ["empty image", "no area", "all ignored", "no proposals"])
def test_nothing_to_find_gives_finite_targets(kind):
  boxes, classes, valid, ignore = truth(1)
  near, near_valid = proposals(1)
  if kind == "empty image":
    valid = valid & False
  elif kind == "no area":
    boxes[:, 2] = boxes[:, 0]
  elif kind == "all ignored":
    ignore = ignore | True
  else:
    near, near_valid, valid = near * 0, near_valid & False, valid & False
  result = jax.jit(regions)(jax.random.key(0), boxes, classes, valid, ignore, near, near_valid)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(result))
  assert not result["rpn"]["positive"].any() and not result["roi"]["positive"].any()
  assert not result["roi"]["classes"].any()
  assert result["rpn"]["weights"].sum() == 32 and (result["roi"]["weights"].sum() == 0) == (kind == "no proposals")


def test_masks_are_cropped_as_they_are_where_cells_are_pixels():
  masks = np.random.default_rng(0).uniform(size=(3, 40, 50)) > 0.5
  boxes = np.float32([[4, 7, 32, 35], [12, 22, 40, 50], [0, 0, 28, 28]])
  matched = np.int32([2, 0, 2])
  crop = jax.jit(targets.mask_targets, static_argnums=3)
  whole = masks.repeat(2, 1).repeat(2, 2).astype(np.uint8) * 255
  # Each cell's 2×2 points lie on the centres of 2×2 pixels: no interpolation.
  result = np.asarray(crop(whole, matched, boxes * 2, 28))
  expected = [masks[m, y0:y1, x0:x1] for m, (y0, x0, y1, x1) in zip(matched, boxes.astype(int), strict=True)]
  np.testing.assert_array_equal(result, expected)


def test_a_disc_is_cropped_to_a_disc_and_nothing_to_nothing():
  y, x = np.mgrid[:64, :64] + 0.5
  disc = (y - 32) ** 2 + (x - 30) ** 2 < 20 ** 2
  box = np.float32([[12, 10, 52, 50]])
  result = targets.mask_targets(np.stack([disc, disc & False]), jnp.array([0, 1, 0]),
                                jnp.concatenate([box, box, jnp.zeros((1, 4))]))
  v, u = (np.mgrid[:28, :28] + 0.5) / 28 * 40 + np.array([12, 10])[:, None, None]
  assert (np.asarray(result[0]) != ((v - 32) ** 2 + (u - 30) ** 2 < 20 ** 2)).mean() < 0.03
  assert not result[1].any() and np.isfinite(result[2]).all()
