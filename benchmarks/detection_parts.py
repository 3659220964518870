"""Measures the parts of detection: milliseconds for one image of 256 and of 512 pixels, each as one compiled call.

  python benchmarks/detection_parts.py

Prints a table. ROIAlign is timed beside `matrices`, the form that multiplies every level by matrices of weights, kept
here so that the choice in `galaxy_jax.detection.roi_align` can be measured again on other hardware or another jax.
"""
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.detection import boxes as box_functions
from galaxy_jax.detection import masks, nms, roi_align, targets
from galaxy_jax.detection.anchors import anchors

STRIDES, SCALES, RATIOS = (4, 8, 16, 32, 64), ((8,), (16,), (32,), (64,), (128,)), (0.5, 1.0, 2.0)
CHANNELS, OBJECTS, PROPOSALS, REGIONS, DETECTIONS = 256, 16, 1000, 256, 100
CANONICAL = 112.0


def milliseconds(function, *arguments, repeats=5):
  run = jax.jit(function)
  jax.block_until_ready(run(*arguments))
  times = []
  for _ in range(repeats):
    begin = time.perf_counter()
    jax.block_until_ready(run(*arguments))
    times.append(1000 * (time.perf_counter() - begin))
  return statistics.median(times)


def random_boxes(rng, number, side):
  corner, logarithm = rng.uniform(0, 0.8 * side, (number, 2)), rng.uniform(np.log(8), np.log(0.8 * side), (number, 2))
  size = np.exp(logarithm)
  return jnp.asarray(np.concatenate([corner, np.minimum(corner + size, side)], axis=1), jnp.float32)


def matrices(pyramid, boxes, strides, output_size, ratio=2, canonical_size=CANONICAL):
  """ROIAlign as two products a level, of every box with the whole level."""
  level = roi_align.assign_levels(boxes, strides, canonical_size=canonical_size)
  total = 0.0
  for number, (features, stride) in enumerate(zip(pyramid, strides, strict=True)):
    def weights(low, high, length):
      step = (jnp.arange(output_size * ratio) + 0.5) / (output_size * ratio)
      position = low[..., None] / stride + (high - low)[..., None] / stride * step - 0.5
      inside = (position >= -1) & (position <= length)
      cells = jnp.clip(position, 0, length - 1)[..., None] - jnp.arange(length)
      each = jnp.where(inside[..., None], jnp.maximum(1 - jnp.abs(cells), 0), 0)
      return each.reshape(*low.shape, output_size, ratio, length).mean(-2)
    rows = weights(boxes[..., 0], boxes[..., 2], features.shape[1]) * (level == number)[..., None, None]
    columns = weights(boxes[..., 1], boxes[..., 3], features.shape[2])
    total += jnp.einsum("briwc,brjw->brijc", jnp.einsum("brih,bhwc->briwc", rows, features), columns)
  return total


def parts(side):
  """Yields (name, milliseconds)."""
  rng, key = np.random.default_rng(0), jax.random.key(0)
  all_anchors = np.concatenate(anchors((side, side), STRIDES, SCALES, RATIOS))
  truth, valid = random_boxes(rng, OBJECTS, side), jnp.arange(OBJECTS) < OBJECTS // 2
  nothing, classes = jnp.zeros(OBJECTS, bool), jnp.zeros(OBJECTS, jnp.int32)
  deltas = jnp.asarray(rng.normal(scale=0.2, size=all_anchors.shape), jnp.float32)
  scores = jnp.asarray(rng.normal(size=len(all_anchors)), jnp.float32)
  proposals, every = random_boxes(rng, PROPOSALS, side), jnp.ones(PROPOSALS, bool)

  def propose(scores, deltas):
    indices, chosen = nms.top_k(scores, jnp.ones(len(scores), bool), PROPOSALS)
    boxes = box_functions.clip(box_functions.decode(deltas[indices], jnp.asarray(all_anchors)[indices]), side, side)
    return boxes, nms.nms(boxes, scores[indices], chosen, 0.7)

  yield f"targets of {len(all_anchors)} anchors", milliseconds(
      lambda k, b: targets.rpn_targets(k, all_anchors, b, valid, nothing), key, truth)
  yield f"best {PROPOSALS}, decoded, suppressed", milliseconds(propose, scores, deltas)
  yield f"suppression of {PROPOSALS} at 0.3", milliseconds(lambda b, s: nms.nms(b, s, every, 0.3), proposals,
                                                           scores[:PROPOSALS])
  yield f"targets of {PROPOSALS} proposals", milliseconds(
      lambda k, p: targets.roi_targets(k, p, every, truth, classes, valid, nothing), key, proposals)

  pyramid = [jnp.asarray(rng.normal(size=(1, side // s, side // s, CHANNELS)), jnp.float32) for s in STRIDES[:4]]
  regions = random_boxes(rng, REGIONS, side)[None]
  for name, align in (("gathered", functools.partial(roi_align.roi_align, canonical_size=CANONICAL)),
                      ("matrices", matrices)):
    for number, size in ((REGIONS, 7), (REGIONS // 4, 14)):
      features = lambda levels, b, align=align, size=size: align(levels, b, STRIDES[:4], size)
      arguments = pyramid, regions[:, :number]
      # Given from outside, as by the layers that follow: computed of the features it would be part of the same pass.
      gradient = jnp.asarray(rng.normal(size=(1, number, size, size, CHANNELS)), jnp.float32)

      def both(levels, b, gradient, features=features):
        value, backward = jax.vjp(lambda x: features(x, b), levels)
        return value, backward(gradient)

      yield f"ROIAlign {number} × {size}², {name}", milliseconds(features, *arguments)
      yield f"ROIAlign {number} × {size}², {name}, and gradient", milliseconds(both, *arguments, gradient)

  instances = jnp.asarray(rng.uniform(size=(OBJECTS, side, side)) > 0.5)
  of = jnp.asarray(rng.integers(0, OBJECTS, 42), jnp.int32)
  yield "mask targets of 42 regions", milliseconds(targets.mask_targets, instances, of, proposals[:42])
  squares = jnp.asarray(rng.uniform(size=(DETECTIONS, 28, 28)), jnp.float32)
  yield f"{DETECTIONS} masks pasted", milliseconds(lambda m, b: masks.paste(m, b, side, side), squares,
                                                   proposals[:DETECTIONS])


def main():
  print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}: median milliseconds, {CHANNELS} channels\n")
  small, large = (dict(parts(side)) for side in (256, 512))
  print("| part | 256 px | 512 px |\n|---|---|---|")
  # The number of anchors in a part's name differs between the two.
  for (name, first), (other, second) in zip(small.items(), large.items(), strict=True):
    label = name if name == other else f"{name} and {other.split()[2]}"
    print(f"| {label} | {first:.1f} | {second:.1f} |")


if __name__ == "__main__":
  main()
