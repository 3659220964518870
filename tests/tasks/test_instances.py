"""The task of instances: what its loss depends on and what not, turned masks, places, views and scores."""
import instances as small
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax import augment, models
from galaxy_jax.detection import bit_planes, masks
from galaxy_jax.tasks import instance_scores, instance_views, instances

KEYS = jax.random.split(jax.random.key(1), 4)
FOUR = (2, 0, 1, 3)


@pytest.fixture(scope="module")
def learning():
  """The task, variables, and from a batch to the loss's sums and gradient."""
  task = small.task()

  @jax.jit
  def graded(params, batch):
    def objective(params):
      sums, _ = task.loss({"params": params}, task.augment(KEYS, batch), KEYS)
      return sums["loss"][0], sums
    gradient, sums = jax.grad(objective, has_aux=True)(params)
    return sums, gradient
  params = small.variables(task)["params"]
  return task, params, lambda batch: jax.device_get(graded(params, batch))


def only(batch, *rows):
  return batch | {"mask": jnp.isin(jnp.arange(len(batch["mask"])), jnp.array(rows)).astype(jnp.float32)}


def test_the_loss_is_the_sum_of_its_parts_over_images(learning):
  batch = small.batch(FOUR)
  sums, gradient = learning[2](batch)
  assert all(np.all(np.isfinite(x)) and np.any(x) for x in jax.tree.leaves(gradient))
  assert all(sums[name][1] == 4 for name in ("loss", *instances.PARTS))
  np.testing.assert_allclose(sums["loss"][0], sum(sums[name][0] for name in instances.PARTS), rtol=1e-5)
  alone = [learning[2](only(batch, row)) for row in range(4)]
  for name, (total, count) in sums.items():
    np.testing.assert_allclose(total, sum(part[name][0] for part, _ in alone), rtol=1e-5)
    assert count == sum(part[name][1] for part, _ in alone)
  together = jax.tree.map(lambda *parts: sum(parts), *[part for _, part in alone])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max()), together, gradient)


def test_padding_passes_no_gradient(learning):
  batch = small.batch(FOUR)
  others = {name: x.at[1:3].set(small.batch(FOUR, seed=5)[name][1:3]) for name, x in batch.items()}
  (sums, gradient), (same, again) = (learning[2](only(b, 0, 3)) for b in (batch, others))
  jax.tree.map(np.testing.assert_array_equal, (sums, gradient), (same, again))
  sums, gradient = learning[2](only(batch))
  assert not any(np.any(x) for x in jax.tree.leaves((sums, gradient)))


def test_an_image_without_objects_teaches_what_is_background(learning):
  batch = small.batch(FOUR)
  nothing = only(batch, 1) | {"valid": batch["valid"].at[1].set(False)}
  sums, gradient = learning[2](nothing)
  for name in instances.PARTS:
    assert (sums[name][0] > 0) == (name in ("objectness_loss", "class_loss")), name
  assert sums["out_of_view"] == (0, 0)
  assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(gradient))
  for name, leaves in gradient.items():
    taught = any(np.any(x) for x in jax.tree.leaves(leaves))
    assert taught == (name not in ("roi_mask", "head_masks", "head_deltas")), name


def test_masks_turn_with_their_image():
  task = small.task(geometry={"rotation": 360.0, "zoom": 1.3, "shift": 0.2, "flip": True})
  batch = small.batch((1,) * 4)
  turned = jax.jit(task.augment)(KEYS, batch)
  matrices = augment.affine_matrices(KEYS, crop=64, size=64, rotation=360.0, zoom=1.3, shift=0.2, flip=True)
  before = np.asarray(bit_planes.unpack(batch["masks"], small.SLOTS))
  for row in range(4):
    there, after = before[row, 0], np.asarray(turned["masks"][row, 0])
    # Each pixel of the turned mask lies in the mask, and inside it the blob is bright.
    y, x = np.nonzero(there)
    places = np.asarray(augment.transform_points(matrices[row], jnp.array(np.stack([x, y], -1), jnp.float32),
                                                 input_shape=(64, 64), size=64))
    inside = np.all((places > 2) & (places < 61), axis=-1)
    if inside.all():
      ny, nx = np.nonzero(after)
      np.testing.assert_allclose([nx.mean(), ny.mean()], places.mean(0), atol=0.7)
    if after.any():
      image = np.asarray(turned["image"][row]).sum(-1)
      assert image[after].mean() > 2 * image[~np.asarray(turned["masks"][row]).any(0)].mean()
      np.testing.assert_array_equal(turned["boxes"][row, 0], masks.mask_boxes(after))


@pytest.mark.parametrize(("y", "gone", "ignored"), [(2, True, False), (16, False, True), (32, False, False)])
def test_what_leaves_the_view_is_gone_and_what_hardly_stays_is_ignored(y, gone, ignored):
  """The view is the central half: rows 16 to 48 of the working image."""
  task = small.task(view=0.5, geometry={})
  slots = np.zeros((small.SLOTS, 64, 64), bool)
  slots[0] = small.ellipse(y - 3, 32, 6, 6) if y == 16 else small.ellipse(y, 32, 6, 6)
  valid = np.arange(small.SLOTS) == 0
  batch = {"image": np.zeros((1, 64, 64, 3), np.uint8), "masks": bit_planes.pack(slots)[None], "valid": valid[None],
           "ignore": np.zeros((1, small.SLOTS), bool), "classes": np.zeros((1, small.SLOTS), np.int32),
           "mask": np.ones(1, np.float32)}
  seen = jax.device_get(task.augment(KEYS[:1], jax.tree.map(jnp.asarray, batch)))
  assert (not seen["valid"][0, 0], bool(seen["ignore"][0, 0] & seen["valid"][0, 0])) == (gone, ignored)
  assert seen["gone"][0].sum() == gone and not seen["valid"][0, 1:].any()


def test_what_is_found_lies_in_the_working_image():
  """The same pixels twice as large, and within a border that the view leaves out."""
  batch = small.batch((2, 1))
  variables = small.variables(small.task())
  plain = jax.device_get(jax.jit(small.task().predict)(variables, batch))
  large = jnp.repeat(jnp.repeat(batch["image"], 2, axis=1), 2, axis=2)
  twice = jax.device_get(jax.jit(small.task(working_size=128).predict)(variables, batch | {"image": large}))
  framed = jnp.pad(batch["image"], ((0, 0), (32, 32), (32, 32), (0, 0)))
  inner = jax.device_get(jax.jit(small.task(working_size=128, view=0.5).predict)(variables, batch | {"image": framed}))
  valid = plain["valid"]
  assert valid.any() and set(plain["classes"][valid]) <= {0, 1}
  for found, boxes in ((twice, 2 * plain["boxes"]), (inner, plain["boxes"] + 32)):
    np.testing.assert_array_equal(found["valid"], valid)
    np.testing.assert_allclose(found["boxes"][valid], boxes[valid], atol=1e-2)
    np.testing.assert_allclose(found["masks"], plain["masks"], atol=1e-3)
    assert not found["boxes"][~valid].any()


def test_views_turn_boxes_and_masks_with_the_image():
  rng = np.random.default_rng(0)
  image = np.zeros((1, 20, 20, 1), np.float32)
  image[0, 3:9, 12:17] = rng.uniform(1, 2, (6, 5, 1))
  seen = instance_views.views(4, True)
  assert len(set(seen)) == 8 and seen[0] == (0, False)
  for view in seen:
    turned = instance_views.turn(image, view, (1, 2))
    box = instance_views.turn_boxes(jnp.array([3.0, 12, 9, 17]), view, 20)
    np.testing.assert_array_equal(box, masks.mask_boxes(turned[0, ..., 0]))
    np.testing.assert_array_equal(instance_views.turn_back(turned, view, (1, 2)), image)


def test_views_average_what_each_says():
  """One view after the other, by images that are turned before they come."""
  batch = small.batch((2, 1))
  one, all_of_them = small.task(), small.task(rotations=2, flips=True)
  variables = small.variables(one)
  found = jax.device_get(jax.jit(all_of_them.predict)(variables, batch))
  upright = jax.device_get(jax.jit(one.predict)(variables, batch))
  network = models.create_detector("mask_rcnn", classes=2, **small.NETWORK)

  @jax.jit
  def seen(images, boxes):
    pyramid, _, _ = network.apply(variables, images, method="encode")
    return (jax.nn.softmax(network.apply(variables, pyramid, boxes, method="classify")[0]),
            jax.nn.sigmoid(network.apply(variables, pyramid, boxes, method="outline")))
  images, boxes = np.asarray(batch["image"]) / np.float32(255), found["boxes"]
  y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)
  views = [(images, boxes, lambda m: m),
           (images[:, :, ::-1], np.stack([y0, 64 - x1, y1, 64 - x0], -1), lambda m: m[:, :, :, ::-1]),
           (images[:, ::-1, ::-1], np.stack([64 - y1, 64 - x1, 64 - y0, 64 - x0], -1), lambda m: m[:, :, ::-1, ::-1]),
           (images[:, ::-1], np.stack([64 - y1, x0, 64 - y0, x1], -1), lambda m: m[:, :, ::-1])]
  parts = [(p, back(np.asarray(m))) for (p, m), back in ((seen(i, b), back) for i, b, back in views)]
  probabilities = np.mean([p for p, _ in parts], axis=0)[..., 1:]
  outlines = np.mean([m for _, m in parts], axis=0)[..., 1:]
  valid = found["valid"]
  assert valid.sum() == upright["valid"].sum() > 3 and np.all(np.diff(found["scores"]) <= 0)
  np.testing.assert_allclose(found["scores"][valid], probabilities.max(-1)[valid], atol=1e-4)
  np.testing.assert_array_equal(found["classes"][valid], probabilities.argmax(-1)[valid])
  chosen = np.take_along_axis(outlines, found["classes"][..., None, None, None], -1)[..., 0]
  np.testing.assert_allclose(found["masks"][valid], chosen[valid], atol=1e-3)
  order = lambda rows: np.sort(rows.reshape(-1, 4), axis=0)
  np.testing.assert_allclose(order(found["boxes"]), order(upright["boxes"]), atol=1e-4)


def perfect(batch):
  """Outputs that are the truth: masks of 28×28 cells, read at their middles."""
  rows, slots = batch["valid"].shape
  outputs = {"boxes": np.zeros((rows, slots, 4), np.float32), "scores": np.ones((rows, slots), np.float32),
             "classes": batch["classes"], "masks": np.zeros((rows, slots, 28, 28), np.float32),
             "valid": batch["valid"] & ~batch["ignore"]}
  whole = bit_planes.unpack(batch["masks"], slots)
  for row, slot in zip(*np.nonzero(outputs["valid"]), strict=True):
    y0, x0, y1, x1 = outputs["boxes"][row, slot] = masks.mask_boxes(whole[row, slot])
    cell = (np.arange(28) + 0.5) / 28
    y, x = (y0 + cell * (y1 - y0)).astype(int), (x0 + cell * (x1 - x0)).astype(int)
    outputs["masks"][row, slot] = whole[row, slot][np.ix_(y, x)]
  return outputs


def test_the_truth_scores_one_and_padding_is_not_looked_at():
  batch = jax.device_get(small.batch(FOUR))
  outputs = perfect(batch)
  scores = instance_scores.InstanceScores(("round", "long"))
  scores.update(outputs, batch)
  padded = jax.tree.map(lambda x: x.copy(), outputs)
  padded["boxes"] += 20
  scores.update(padded, batch | {"mask": np.zeros(4, np.float32)})
  result = scores.result()
  assert len(scores.precision) == 4
  for name in ("box_ap", "box_ap50", "box_ap50_agnostic", "mask_ap50", "mask_ap50_agnostic", "box_voc_ap50"):
    assert result[name] == pytest.approx(1), name
  assert result["mask_ap75"] == pytest.approx(1) and result["error"] == pytest.approx(0)
  wrong = instance_scores.InstanceScores(("round", "long"))
  wrong.update(outputs | {"classes": 1 - outputs["classes"]}, batch)
  assert wrong.result()["box_ap50"] == 0 and wrong.result()["box_ap50_agnostic"] == pytest.approx(1)


@pytest.mark.parametrize(("changes", "message"), [
    ({"size": 90}, r"config\.augment\.size is 90; of instances a multiple of 32 is expected, 96 for instance"),
    ({"loss": "squared_error"}, r"config\.loss\.name is 'squared_error'; of instances, 'mask_rcnn'"),
    ({"rotations": 8}, r"config\.eval\.rotations is 8 and .*; of instances 1, 2 or 4 rotations"),
    ({"loss_weights": (1.0, 2.0)}, r"config\.detection\.loss_weights are \(1\.0, 2\.0\); expected 5"),
    ({"normalise": "zscore"}, r"config\.augment\.normalise is 'zscore'"),
])
def test_settings_that_make_no_sense_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    small.task(**changes)
