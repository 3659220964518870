"""Instances: the galaxies of an image, each with a class, a box and an outline, by Mask R-CNN (He et al. 2017)."""
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import augment as augmentation
from galaxy_jax import losses, metrics
from galaxy_jax.detection import bit_planes, targets
from galaxy_jax.detection.masks import mask_boxes
from galaxy_jax.models import mask_rcnn, regions
from galaxy_jax.tasks import instance_views, vision
from galaxy_jax.tasks.instance_scores import InstanceScores
from galaxy_jax.tasks.task import Task

#: The one loss there is: the sum of five, see `make`.
LOSS = "mask_rcnn"
#: The parts of the loss, in the order of their weights.
PARTS = ("objectness_loss", "proposal_loss", "class_loss", "box_loss", "mask_loss")
#: Sides of images are multiples of the trunk's stride, so that its cells and those of finer levels end together.
MULTIPLE = 32

# What a row's key is folded with for each draw; 0 and 1 are augmentation's.
_ANCHORS, _REGIONS = 2, 3
#: Share of an object's pixels below which what is left of it in a view counts neither as object nor as background.
LEAST_SEEN = 0.3
_MASK_CELLS = 28


def make(*, model: Callable, names: Sequence[str], slots: int, loss: str, label_smoothing: float,
         anchor_samples: Mapping[str, Any], region_samples: Mapping[str, Any], loss_weights: Sequence[float],
         size: int, working_size: int, rotations: int, flips: bool, zooms: Sequence[float], **seen) -> Task:
  """The task of finding galaxies.

  The outputs are what was found in each working image, the best first, D slots: `boxes` (B, D, 4) y0, x0, y1, x1 in
  its pixels, `scores` (B, D), `classes` (B, D) from 0, `masks` (B, D, 28, 28) probabilities over the boxes, and `valid`
  (B, D). They are compared with all objects of the working image: what the view cuts off is missed.

  The loss of an image is the weighted sum of its own five, each a mean over what the image has: the objectness of
  sampled anchors (cross-entropy); the box deltas of the positive ones, by the number of all samples (smooth L1, as
  torchvision has it); the class of sampled regions (cross-entropy); the box deltas of the positive ones likewise; and
  the masks of those (cross-entropy over 28×28 cells). What an image has none of costs it nothing. The loss is the mean
  over images, so that an image weighs the same whatever is beside it and wherever it is computed.

  Images are turned with their masks, and boxes are taken from the masks after it. An object that leaves the view is
  gone, and one of which less than three tenths is left there is ignored. Beyond the border the last pixels go on; a
  mirrored image would have galaxies that nobody has outlined. `out_of_view` is the share that are gone.

  Args:
    model: makes the network, models.mask_rcnn, for a number of classes.
    names: of the classes.
    slots: objects that a batch has room for in an image.
    loss: LOSS.
    label_smoothing: of the class of regions, see losses.softmax_cross_entropy.
    anchor_samples: options of targets.rpn_targets.
    region_samples: options of targets.roi_targets.
    loss_weights: of PARTS.
    size: pixels the network sees.
    working_size: pixels of the working images.
    rotations, flips, zooms: of the test-time views, see instance_views; rotations are turns by 90°, the zoom is 1.
    **seen: how the network sees the images, see vision.look.

  Raises:
    ValueError: a size that is no multiple of 32, other views, another loss, weights that are not five.
  """
  if size % MULTIPLE:
    raise ValueError(f"config.augment.size is {size}; of instances a multiple of {MULTIPLE} is expected, "
                     f"{max(MULTIPLE, round(size / MULTIPLE) * MULTIPLE)} for instance.")
  if loss != LOSS:
    raise ValueError(f"config.loss.name is {loss!r}; of instances, {LOSS!r} is expected.")
  if rotations not in instance_views.ROTATIONS or tuple(zooms) != (1.0,):
    raise ValueError(f"config.eval.rotations is {rotations} and config.eval.zooms {tuple(zooms)}; of instances 1, 2 "
                     "or 4 rotations, by 90°, and (1.0,) are expected.")
  if len(loss_weights) != len(PARTS):
    raise ValueError(f"config.detection.loss_weights are {tuple(loss_weights)}; expected {len(PARTS)}, of "
                     f"{', '.join(PARTS)}.")
  look = vision.look(size=size, working_size=working_size, **seen)
  network = model(len(names))
  views = instance_views.views(rotations, flips)
  anchors = np.concatenate(network.anchors((size, size)))
  anchor_targets = partial(targets.rpn_targets, anchors=anchors, box_weights=regions.RPN_WEIGHTS, **anchor_samples)
  region_targets = partial(targets.roi_targets, box_weights=regions.BOX_WEIGHTS, **region_samples)
  # These alone can be objects, see targets.sample.
  positives = max(1, int(region_samples["num_samples"] * region_samples["positive_share"]))

  def init(key):
    # Its parts, without the choices between them: they have no parameters.
    def parts(network, images):
      pyramid, logits, deltas = network.encode(images)
      boxes = jnp.zeros((1, 1, 4))
      return logits, deltas, network.classify(pyramid, boxes), network.outline(pyramid, boxes)
    images = jnp.zeros((1, size, size, look.channels))
    return jax.jit(partial(network.init, method=parts))(key, images)

  def augment(keys, batch):
    matrices = look.matrices(keys)
    images = look.colour(keys, augmentation.warp(batch["image"], matrices, size, border="edge"))
    masks = bit_planes.unpack(augmentation.warp_masks(batch["masks"], matrices, size), slots)
    before = _areas(bit_planes.unpack(batch["masks"], slots))
    after = _areas(masks) * jnp.abs(jnp.linalg.det(matrices[:, :, :2]))[:, None]
    there = batch["valid"] & (after > 0)
    return batch | {"image": look.taken(images), "masks": masks & there[:, :, None, None], "boxes": mask_boxes(masks),
                    "valid": there, "ignore": batch["ignore"] | (after < LEAST_SEEN * before),
                    "gone": batch["valid"] & ~there}

  def loss_sums(variables, batch, keys):
    apply = partial(network.apply, variables)
    (pyramid, logits, deltas), collections = apply(
        batch["image"], train=True, mask=batch["mask"], method="encode",
        mutable=[name for name in variables if name != "params"])
    proposed, _, usable = network.propose(logits, deltas, (size, size))
    keys = [jax.vmap(partial(jax.random.fold_in, data=number))(keys) for number in (_ANCHORS, _REGIONS)]
    boxes, classes, valid, ignore = (batch[name] for name in ("boxes", "classes", "valid", "ignore"))
    first = jax.vmap(lambda key, *true: anchor_targets(key, boxes=true[0], valid=true[1], ignore=true[2]))(
        keys[0], boxes, valid, ignore)
    second = jax.vmap(region_targets)(keys[1], proposed, usable, boxes, classes, valid, ignore)
    parts = [*_first_stage(logits, deltas, first),
             *_second_stage(*apply(pyramid, second["boxes"], method="classify"), second, label_smoothing),
             _of_masks(apply(pyramid, second["boxes"][:, :positives], method="outline"), batch["masks"], second)]
    total = sum(weight * part for weight, part in zip(loss_weights, parts, strict=True))
    return {"loss": losses.masked_sum(total, batch["mask"]),
            **{name: losses.masked_sum(part, batch["mask"]) for name, part in zip(PARTS, parts, strict=True)},
            "out_of_view": losses.masked_sum(batch["gone"], batch["mask"], valid | batch["gone"])}, collections

  def predict(variables, batch):
    images = look.taken(augmentation.warp(batch["image"], look.upright, size, border="edge"))
    apply = partial(network.apply, variables)
    found = apply(images)
    if len(views) > 1:
      found = instance_views.averaged(apply, images, found, views)
    # From the view's pixels to the working image's, both counted from the middle.
    boxes = (found["boxes"] - size / 2) * (look.crop / size) + working_size / 2
    there = found["valid"]
    return found | {"boxes": jnp.where(there[..., None], boxes, 0.0),
                    "classes": jnp.where(there, found["classes"] - 1, 0)}

  def instance_metrics(outputs, batch):
    return {"detections": losses.masked_sum(jnp.sum(outputs["valid"], axis=1), batch["mask"])}

  absent = {"masks": np.zeros((working_size, working_size, bit_planes.planes(slots)), np.uint8),
            "classes": np.zeros(slots, np.int32), "valid": np.zeros(slots, bool), "ignore": np.zeros(slots, bool)}
  return Task(init=init, augment=augment, loss=loss_sums, predict=predict, metrics=instance_metrics,
              finish=metrics.finish, absent=absent, score="error", accumulator=partial(InstanceScores, tuple(names)))


def _first_stage(logits, deltas, target):
  """The losses of objectness and of proposals, (B,) each, from the outputs for all anchors and what was drawn."""
  logits = jnp.take_along_axis(logits, target["indices"], axis=1)
  deltas = jnp.take_along_axis(deltas, target["indices"][..., None], axis=1)
  objectness = losses.binary_cross_entropy(logits, target["positive"].astype(jnp.float32))
  return _mean(objectness, target["weights"]), _box_loss(deltas, target)


def _second_stage(class_logits, deltas, target, label_smoothing):
  """The losses of classes and of boxes, (B,) each, from the outputs for the regions that were drawn."""
  classes = losses.softmax_cross_entropy(class_logits, target["classes"], label_smoothing=label_smoothing)
  own = jnp.take_along_axis(deltas, target["classes"][..., None, None], axis=2)[:, :, 0]
  return _mean(classes, target["weights"]), _box_loss(own, target)


def _of_masks(logits, masks, target):
  """The loss of masks, (B,), from the logits for the first regions, those that can be objects."""
  number = logits.shape[1]
  target = {name: values[:, :number] for name, values in target.items()}
  wanted = jax.vmap(partial(targets.mask_targets, size=_MASK_CELLS))(masks, target["matched"], target["boxes"])
  each = losses.binary_cross_entropy(mask_rcnn.of_class(logits, target["classes"]), wanted.astype(jnp.float32))
  return _mean(jnp.mean(each, axis=(2, 3)), target["positive"])


def _box_loss(deltas, target):
  # By the number of all samples: an image with one positive then counts no more than one with many.
  each = jnp.sum(losses.smooth_l1(deltas, target["deltas"]), axis=-1) * target["positive"]
  return jnp.sum(each, axis=1) / jnp.maximum(jnp.sum(target["weights"], axis=1), 1)


def _mean(values, weights):
  """Each image's mean of (B, S) under weights (B, S); 0 where they are all 0."""
  weights = weights.astype(jnp.float32)
  return jnp.sum(values * weights, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), 1)


def _areas(masks):
  return jnp.sum(masks, axis=(2, 3), dtype=jnp.float32)
