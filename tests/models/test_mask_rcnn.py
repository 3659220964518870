"""Mask R-CNN: its pyramid, its two choices of boxes against plain loops, and results that hang on nothing else."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import models
from galaxy_jax.detection import boxes as box_coding
from galaxy_jax.models import fpn, mask_rcnn, regions, resnet
from galaxy_jax.pretrained.tables import TABLES

TINY = {"backbone": "resnet18", "classes": 2, "width": 8, "stage_sizes": (1, 1, 1, 1), "fpn_width": 8, "rpn_width": 8,
        "box_width": 16, "mask_convs": 1, "scales": (8, 16, 32, 64, 128), "canonical_size": 56.0, "pre_nms": 30,
        "post_nms": 12, "max_detections": 10, "candidates": 20, "min_score": 0.3}
SIZE = (70, 64)


def filled(model, seed=0):
  """Variables of a tiny network, drawn in numpy: to compile `init` takes longer than most tests here."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    kind, x = path[-1].key, rng.normal(size=leaf.shape)
    if kind == "kernel":
      return np.float32(x / np.sqrt(np.prod(leaf.shape[:-1])))
    return np.float32(1 + 0.1 * np.abs(x) if kind in ("scale", "var") else 0.1 * x)
  return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(model.init, jax.random.key(0), images()))


def images(count=3):
  return jax.random.uniform(jax.random.key(1), (count, *SIZE, 3))


@pytest.fixture(scope="module")
def tiny():
  model = mask_rcnn.create(**TINY)
  return model, filled(model), jax.jit(model.apply)


def test_detections_have_their_shapes_and_padding_is_zero(tiny):
  model, variables, detect = tiny
  found = jax.device_get(detect(variables, images()))
  shapes = {"boxes": (3, 10, 4), "scores": (3, 10), "classes": (3, 10), "masks": (3, 10, 28, 28), "valid": (3, 10)}
  assert {name: x.shape for name, x in found.items()} == shapes
  valid = found["valid"]
  assert 0 < valid.sum() < valid.size
  assert all(not np.any(x[~valid]) for x in found.values())
  assert set(found["classes"][valid]) <= {1, 2} and np.all(found["scores"][valid] >= model.min_score)
  assert np.all(np.diff(found["scores"]) <= 0)
  y0, x0, y1, x1 = found["boxes"][valid].T
  assert np.all((y0 >= 0) & (y1 > y0) & (y1 <= SIZE[0]) & (x0 >= 0) & (x1 > x0) & (x1 <= SIZE[1]))
  assert np.all((found["masks"][valid] > 0) & (found["masks"][valid] < 1))


def test_an_image_does_not_see_the_others(tiny):
  _, variables, detect = tiny
  first = jax.device_get(detect(variables, images()))
  others = jax.device_get(detect(variables, images().at[1:].set(0.3)[jnp.array([1, 0, 2])]))
  for name, x in first.items():
    np.testing.assert_allclose(others[name][1], x[0], atol=1e-4)


def test_sky_without_a_galaxy_is_no_detection(tiny):
  _, variables, detect = tiny
  head = variables["params"]["head_classes"] | {"bias": np.float32([20, 0, 0])}
  found = detect({**variables, "params": variables["params"] | {"head_classes": head}}, images())
  assert not any(np.any(x) for x in jax.tree.leaves(found))


def test_the_parts_are_the_whole_and_coordinates_stay_float32(tiny):
  model = mask_rcnn.create(**TINY, dtype=jnp.bfloat16, norm="group", head_norm="group", fpn_norm="group", box_convs=1)
  variables = filled(model)
  assert "batch_stats" not in variables
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}

  @jax.jit
  def parts(images):
    call = partial(model.apply, variables)
    pyramid, logits, deltas = call(images, method="encode")
    boxes, scores, valid = model.propose(logits, deltas, SIZE)
    class_logits, box_deltas = call(pyramid, boxes, method="classify")
    found = model.detect(class_logits, box_deltas, boxes, valid, SIZE)
    masks = call(pyramid, found["boxes"], method="outline")
    return pyramid, (logits, deltas, boxes, scores, class_logits, box_deltas, masks), found, call(images)
  pyramid, numbers, found, whole = parts(images(1))
  assert [x.shape for x in pyramid] == [(1, 18, 16, 8), (1, 9, 8, 8), (1, 5, 4, 8), (1, 3, 2, 8), (1, 2, 1, 8)]
  assert {x.dtype for x in pyramid} == {jnp.dtype("bfloat16")} and {x.dtype for x in numbers} == {jnp.dtype("float32")}
  assert sum(len(level) for level in model.anchors(SIZE)) == numbers[0].shape[1]
  np.testing.assert_array_equal(whole["boxes"], found["boxes"])
  chosen = np.take_along_axis(np.asarray(numbers[-1]), np.asarray(found["classes"])[..., None, None, None], -1)[..., 0]
  np.testing.assert_allclose(whole["masks"], np.where(found["valid"][..., None, None], 1 / (1 + np.exp(-chosen)), 0),
                             atol=2e-2)


def test_the_layer_of_classes_sees_the_mean_of_the_last_stage():
  model = mask_rcnn.create(**TINY, last_stage=True)
  variables = filled(model)
  pyramid, _, _ = jax.jit(partial(model.apply, method="encode"))(variables, images())
  last = pyramid[5]
  assert last.shape == (3, 3, 2, 64)  # of stride 32
  boxes = jnp.broadcast_to(jnp.float32([[0, 0, 64, 64], [0, 32, 32, 64]]), (3, 2, 4))
  classify = jax.jit(partial(model.apply, method="classify"))
  logits, deltas = classify(variables, pyramid, boxes)
  blind, same = classify(variables, [*pyramid[:5], jnp.zeros_like(last)], boxes)
  np.testing.assert_array_equal(same, deltas)
  assert np.abs(logits - blind).max() > 0.1
  # Where the stage is the same everywhere, so is its mean over any box.
  cell = np.asarray(last[:, 0, 1])
  kernel = variables["params"]["head_classes"]["kernel"][TINY["box_width"]:]
  normed = (cell - cell.mean(1, keepdims=True)) / np.sqrt(cell.var(1, keepdims=True) + 1e-6)
  more = (normed * variables["params"]["head_stage"]["scale"]) @ kernel
  even = classify(variables, [*pyramid[:5], jnp.broadcast_to(cell[:, None, None], last.shape)], boxes)[0]
  np.testing.assert_allclose(even - blind, np.repeat(more[:, None], 2, axis=1), atol=2e-4)


def test_gradients_are_finite_beside_padding_and_the_same_when_recomputed(tiny):
  model, variables, _ = tiny
  size = jnp.array([[[0.0, 0, 20, 30], [5, 5, 5, 5], [0, 0, 0, 0], [10, 10, 64, 60]]] * 2)

  def loss(model, params):
    call = partial(model.apply, {**variables, "params": params})
    pyramid, logits, deltas = call(images(2), train=True, method="encode")
    outputs = logits, deltas, *call(pyramid, size, method="classify"), call(pyramid, size, method="outline")
    return sum(jnp.mean(jnp.square(x)) for x in outputs)
  plain, again = (jax.jit(jax.grad(partial(loss, m)))(variables["params"])
                  for m in (model, mask_rcnn.create(**TINY, remat=True)))
  assert all(np.all(np.isfinite(x)) and np.any(x) for x in jax.tree.leaves(plain))
  jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), again, plain)


def test_the_stages_are_a_classifiers():
  """Under the same names, so that its weights and frozen stages serve here."""
  model = mask_rcnn.create(**TINY)
  variables = filled(model)
  classifier = resnet.ResNet18(outputs=1, width=8, stage_sizes=(1, 1, 1, 1))
  shapes = jax.eval_shape(lambda: classifier.init(jax.random.key(0), images(), train=False))
  own = {kind: {name: variables[kind].get(name, jax.tree.map(lambda x: np.zeros(x.shape, np.float32), part))
                for name, part in parts.items()} for kind, parts in shapes.items()}
  _, features = jax.jit(partial(classifier.apply, train=False))(own, images(1))
  trunk = jax.jit(partial(model.trunk.apply, train=True))(variables, images(1))
  for stage, x in zip(fpn.STAGES, trunk, strict=True):
    np.testing.assert_allclose(x, features[stage], rtol=1e-4, atol=1e-4)
  assert models.stages(variables["params"]) == ["stem", *fpn.STAGES, "fpn", "roi", "rpn", "head"]
  assert set(TABLES) >= fpn.BACKBONES.keys()


@pytest.mark.parametrize(("norm", "remat"), [("frozen", False), ("batch", False), ("batch", True)])
def test_moments_of_frozen_norms_stay_and_others_leave_padding_out(norm, remat):
  trunk = fpn.Trunk((1,), width=2, norm=norm, remat=remat)
  shapes = jax.eval_shape(trunk.init, jax.random.key(0), images())
  variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
  step = jax.jit(partial(trunk.apply, variables, train=True, mask=jnp.array([1.0, 1, 0]), mutable=["batch_stats"]))
  features, updated = step(images())
  changed, again = step(images().at[2].set(0.1))
  np.testing.assert_allclose(changed[0][:2], features[0][:2], atol=1e-5)
  jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), again, updated)
  if norm == "frozen":
    assert not updated or all(np.all(np.asarray(x) == 0.5) for x in jax.tree.leaves(updated))
  else:
    assert not any(np.all(np.asarray(x) == 0.5) for x in jax.tree.leaves(updated))


@pytest.mark.parametrize("side", [64, 70, 97])
def test_the_pyramid_takes_the_nearest_cell_above(side):
  """As PyTorch's nearest interpolation to the size of the level below: cell ⌊i · old / new⌋."""
  new = -(-side // 4)
  old = -(-new // 2)
  x = np.random.default_rng(0).normal(size=(1, old, old, 2)).astype(np.float32)
  nearest = np.arange(new) * old // new
  np.testing.assert_array_equal(fpn._doubled(x, (new, new)), x[:, nearest][:, :, nearest])
  with pytest.raises(ValueError, match=rf"{new + 2}×{new} cells lies below one of {old}×{old}"):
    fpn._doubled(x, (new + 2, new))


def greedy(boxes, scores, valid, threshold):
  kept, overlap = [], np.asarray(box_coding.iou(boxes, boxes))
  for i in np.argsort(-scores, kind="stable"):
    if valid[i] and all(overlap[i, j] <= threshold for j in kept):
      kept.append(i)
  return kept


def test_proposals_are_the_best_of_each_level_after_greedy_suppression():
  rng = np.random.default_rng(0)
  model = mask_rcnn.create(**TINY)
  anchors = model.anchors((48, 48))
  number = sum(map(len, anchors))
  logits = np.float32(rng.normal(size=(2, number)))
  deltas = np.float32(rng.normal(0, 0.3, (2, number, 4)))
  deltas[0, 7] = np.nan
  logits[0, 7] = 9
  boxes, scores, valid = jax.device_get(jax.jit(partial(model.propose, size=(48, 48)))(logits, deltas))
  for row in range(2):
    expected, start = [], 0
    for level in anchors:
      part = slice(start, start + len(level))
      start += len(level)
      own = np.asarray(box_coding.clip(box_coding.decode(deltas[row, part], level), 48, 48))
      best = np.argsort(-logits[row, part])[:model.pre_nms]
      usable = np.all(own[best, 2:] - own[best, :2] >= 1e-2, axis=-1)
      expected += [(logits[row, part][best[i]], own[best[i]])
                   for i in greedy(own[best], logits[row, part][best], usable, model.rpn_nms)]
    expected = sorted(expected, key=lambda pair: -pair[0])[:model.post_nms]
    assert valid[row].all() and len(expected) == model.post_nms
    np.testing.assert_allclose(boxes[row], [box for _, box in expected], atol=1e-4)
    np.testing.assert_allclose(scores[row], [1 / (1 + np.exp(-score)) for score, _ in expected], rtol=1e-5)


@pytest.mark.parametrize(("one_class", "across_classes"), [(False, False), (True, False), (False, True)])
def test_detections_are_those_of_a_plain_loop(one_class, across_classes):
  rng = np.random.default_rng(1)
  corner = rng.uniform(0, 40, (1, 15, 2))
  boxes = np.float32(np.concatenate([corner, corner + rng.uniform(5, 30, (1, 15, 2))], -1))
  logits = np.float32(rng.normal(0, 2, (1, 15, 3)))
  deltas = np.float32(rng.normal(0, 0.5, (1, 15, 3, 4)))
  valid = np.arange(15)[None] < 12
  found = jax.device_get(jax.jit(partial(
      regions.best_detections, size=(64, 64), max_detections=30, candidates=30, threshold=0.3, min_score=0.1,
      one_class=one_class, across_classes=across_classes))(logits, deltas, boxes, valid))
  probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
  moved = np.asarray(box_coding.clip(box_coding.decode(deltas[0], boxes[0][:, None], (10, 10, 5, 5)), 64, 64))
  expected = []
  for group in [(1, 2)] if across_classes else [(1,), (2,)]:
    rows = [(i, c) for i in range(12) for c in group if probabilities[i, c] >= 0.1
            and (not one_class or probabilities[i].argmax() == c)]
    own, scores = (np.array([x[i, c] for i, c in rows]) for x in (moved, probabilities))
    expected += [(scores[k], rows[k][1], own[k]) for k in greedy(own, scores, np.ones(len(rows), bool), 0.3)]
  expected.sort(key=lambda row: -row[0])
  assert found["valid"][0].sum() == len(expected) > 3
  for name, place in (("scores", 0), ("classes", 1), ("boxes", 2)):
    np.testing.assert_allclose(found[name][0][:len(expected)], [row[place] for row in expected], rtol=1e-4, atol=1e-4)


def test_corners_are_sampled_as_crop_and_resize_does():
  """TensorFlow's formula, in a plain loop: sample i of n lies at y0·(H - 1) + i·(y1 - y0)·(H - 1) / (n - 1)."""
  rng = np.random.default_rng(2)
  side, strides = 64, (4, 8, 16, 32)
  pyramid = [np.float32(rng.normal(size=(1, side // s, side // s, 2))) for s in strides]
  corner = rng.uniform(0, 30, (8, 2))
  boxes = np.float32(np.concatenate([corner, corner + np.exp(rng.uniform(1.5, 3.5, (8, 2)))], -1))
  found = np.asarray(jax.jit(partial(regions.sample_corners, strides=strides, output_size=3,
                                     canonical_size=20 / 2**0.5))(pyramid, boxes[None]))
  for box, mine in zip(boxes, found[0], strict=True):
    extent = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    level = int(np.clip(4 + np.round(np.log2(extent / 20)), 2, 5)) - 2
    image, last = pyramid[level][0], side // strides[level] - 1
    y0, x0, y1, x1 = (box - [0, 0, 1, 1]) / (side - 1)
    for i, j in np.ndindex(3, 3):
      y, x = (low * last + k * (high - low) * last / 2 for low, high, k in ((y0, y1, i), (x0, x1, j)))
      row, column = int(y), int(x)
      below, right = min(row + 1, last), min(column + 1, last)
      top = image[row, column] * (1 - x + column) + image[row, right] * (x - column)
      bottom = image[below, column] * (1 - x + column) + image[below, right] * (x - column)
      np.testing.assert_allclose(mine[i, j], top * (1 - y + row) + bottom * (y - row), atol=1e-4)


@pytest.mark.parametrize(("options", "message"), [
    ({"backbone": "vgg16"}, "is 'vgg16'; expected one of resnet101, resnet18"),
    ({"caffe": True}, "bottlenecks, which resnet18 does not have\\."),
    ({"norm": "layer"}, "norm is 'layer'; expected 'frozen', 'group' or 'batch'"),
    ({"head_norm": "batch"}, "head_norm is 'batch'; expected 'frozen', 'group' or None"),
    ({"pooling": "max"}, "pooling is 'max'"),
    ({"scales": (8, 16)}, r"scales of anchors are \(8, 16\); expected one for each of the 5 levels"),
    ({"rois": 3}, "unexpected keyword argument 'rois'. See the attributes"),
])
def test_what_it_cannot_be_made_of_is_named(options, message):
  with pytest.raises(ValueError, match=message):
    mask_rcnn.create(**TINY | options)
