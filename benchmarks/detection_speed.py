"""Images a second of Mask R-CNN in training and inference at 256 and 512 pixels, and the time of each part.

  python benchmarks/detection_speed.py --config=configs/mask_galaxy.py:cpu --batch=4

The config's network and losses, with random parameters, on images of noise with discs to find. `training` is the whole
step, augmentation and optimiser included, `inference` the whole prediction; the parts are calls of their own, of which
those with a gradient are timed forwards and backwards. They do not quite add up to the whole, in which XLA fuses them.
"""
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from galaxy_jax import experiment, models
from galaxy_jax.detection import bit_planes, targets
from galaxy_jax.models import mask_rcnn, regions
from galaxy_jax.train_step import init_state, make_train_step

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", "configs/mask_galaxy.py:cpu", "Whose network and losses are measured.")
flags.DEFINE_integer("batch", 4, "Images a call.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Calls, of which the median is shown.", lower_bound=1)
flags.DEFINE_list("sizes", ["256", "512"], "Pixels of an image's side.")

_CLASSES, _DISCS = ("S", "E"), 6


def milliseconds(function, *arguments) -> float:
  """The median time of a compiled call."""
  run = jax.jit(function)
  jax.block_until_ready(run(*arguments))
  times = []
  for _ in range(FLAGS.repeats):
    start = time.perf_counter()
    jax.block_until_ready(run(*arguments))
    times.append(1000 * (time.perf_counter() - start))
  return statistics.median(times)


def with_gradient(function):
  """The function's sum and its gradient by the first argument."""
  total = lambda first, *rest: sum(jnp.sum(jnp.asarray(leaf, jnp.float32)) for leaf in jax.tree.leaves(
      function(first, *rest)))
  return jax.value_and_grad(total)


def made_up(count: int, side: int, slots: int) -> dict[str, jax.Array]:
  """A batch of images with discs: image, bit planes of masks, classes, valid, ignore, and what the step wants."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:side, :side]
  images = rng.integers(0, 30, (count, side, side, 3), np.uint8)
  masks = np.zeros((count, slots, side, side), bool)
  for row in range(count):
    for disc in range(_DISCS):
      (cy, cx), radius = rng.uniform(0.1, 0.9, 2) * side, rng.uniform(0.04, 0.15) * side
      masks[row, disc] = np.hypot(y - cy, x - cx) < radius
      images[row][masks[row, disc]] += np.uint8(120)
  there = np.broadcast_to(np.arange(slots) < _DISCS, (count, slots))
  return {"image": jnp.asarray(images), "masks": jnp.asarray(np.stack([bit_planes.pack(m) for m in masks])),
          "classes": jnp.asarray(rng.integers(0, 2, (count, slots)), jnp.int32), "valid": jnp.asarray(there),
          "ignore": jnp.zeros((count, slots), bool), "mask": jnp.ones(count), "place": jnp.arange(count)}


def measure(config, side: int) -> dict[str, float]:
  """Milliseconds of a call, by name."""
  config.data.size = config.augment.size = side
  config = experiment.resolve(config)
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=_CLASSES)
  optimizer, _ = experiment.make_optimizer(config, steps=1000)
  batch = made_up(FLAGS.batch, side, config.data.max_instances)
  state = init_state(task, optimizer, seed=0, ema=config.train.ema)
  step = make_train_step(task, optimizer, seed=0, ema=config.train.ema, frozen=tuple(config.optimizer.frozen))
  variables = {"params": state.params, **state.collections}
  result = {"training": milliseconds(step, state, batch), "inference": milliseconds(task.predict, variables, batch)}

  options = {key: tuple(value) if isinstance(value, list) else value for key, value in config.model.options.items()}
  network = models.create_detector(config.model.name, classes=len(_CLASSES), dtype=jnp.dtype(config.model.dtype),
                                   axis_name=None, **options)
  call = lambda name: lambda variables, *arguments: network.apply(variables, *arguments, method=name)
  keys = jax.random.split(jax.random.key(0), FLAGS.batch)
  seen = jax.jit(task.augment)(keys, batch)
  pyramid, logits, deltas = jax.jit(call("encode"))(variables, seen["image"])
  propose = lambda logits, deltas: network.propose(logits, deltas, (side, side))
  proposed, _, usable = jax.jit(propose)(logits, deltas)
  anchors = np.concatenate(network.anchors((side, side)))
  given = [seen[name] for name in ("boxes", "classes", "valid", "ignore")]
  of_anchors = lambda keys, boxes, classes, valid, ignore: jax.vmap(
      lambda key, *true: targets.rpn_targets(key, anchors, *true, box_weights=regions.RPN_WEIGHTS,
                                             **config.detection.anchors))(keys, boxes, valid, ignore)
  of_regions = jax.vmap(lambda *row: targets.roi_targets(*row, box_weights=regions.BOX_WEIGHTS,
                                                         **config.detection.regions))
  drawn = jax.jit(of_regions)(keys, proposed, usable, *given)
  positives = drawn["boxes"][:, :max(1, int(config.detection.regions.num_samples
                                            * config.detection.regions.positive_share))]
  mask_targets = jax.vmap(targets.mask_targets)
  class_logits, box_deltas = jax.jit(call("classify"))(variables, pyramid, proposed)
  detect = lambda *arguments: network.detect(*arguments, (side, side))
  found = jax.jit(detect)(class_logits, box_deltas, proposed, usable)
  own = lambda variables, pyramid, boxes, classes: mask_rcnn.of_class(
      call("outline")(variables, pyramid, boxes), classes)
  heads = lambda name: with_gradient(lambda both, boxes: call(name)(*both, boxes))
  result |= {
      "augmentation, masks too": milliseconds(task.augment, keys, batch),
      "trunk, pyramid, proposals' head, and gradient": milliseconds(with_gradient(call("encode")), variables,
                                                                     seen["image"]),
      "proposals": milliseconds(propose, logits, deltas),
      "targets of anchors": milliseconds(of_anchors, keys, *given),
      "targets of regions": milliseconds(of_regions, keys, proposed, usable, *given),
      "box head of the regions drawn, and gradient": milliseconds(heads("classify"), (variables, pyramid),
                                                                  drawn["boxes"]),
      "mask head of the objects drawn, and gradient": milliseconds(heads("outline"), (variables, pyramid), positives),
      "targets of masks": milliseconds(mask_targets, seen["masks"], drawn["matched"][:, :positives.shape[1]],
                                       positives),
      "trunk, pyramid, proposals' head": milliseconds(call("encode"), variables, seen["image"]),
      "box head of all proposals": milliseconds(call("classify"), variables, pyramid, proposed),
      "detections": milliseconds(detect, class_logits, box_deltas, proposed, usable),
      "mask head of the detections": milliseconds(own, variables, pyramid, found["boxes"], found["classes"])}
  return result


def main(_):
  sizes = list(map(int, FLAGS.sizes))
  print(f"{FLAGS.config.name}:{FLAGS.config.variant}, {experiment.hardware()}, jax {jax.__version__}, batch "
        f"{FLAGS.batch}: milliseconds an image")
  columns = [measure(FLAGS.config.copy_and_resolve_references(), side) for side in sizes]
  print(f"| part | {' | '.join(f'{side} px' for side in sizes)} |\n|{'---|' * (len(sizes) + 1)}")
  for name in columns[0]:
    each = [column[name] / FLAGS.batch for column in columns]
    rate = [f" ({1000 / value:.1f} images/s)" if name in ("training", "inference") else "" for value in each]
    print(f"| {name} | {' | '.join(f'{value:.1f}{more}' for value, more in zip(each, rate, strict=True))} |")


if __name__ == "__main__":
  app.run(main)
