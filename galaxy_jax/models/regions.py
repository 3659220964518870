"""From scores to regions: the boxes that the two stages of a detector choose, and features of boxes by the corners.

Pure functions on arrays with fixed shapes. Boxes are y0, x0, y1, x1 in pixels, as in detection/.
"""
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.detection import boxes as box_coding
from galaxy_jax.detection import nms
from galaxy_jax.detection.roi_align import assign_levels, roi_align

#: Factors of dy, dx, dh, dw, see boxes.encode: of the region proposal network's deltas, and of the box head's.
RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
#: Boxes with a side of less are dropped, pixels.
_SMALLEST = 1e-2


def proposals(logits: jax.Array, deltas: jax.Array, anchors: Sequence[np.ndarray], size: Sequence[int], *,
              pre_nms: int, post_nms: int, threshold: float):
  """The best boxes of the region proposal network, after non-maximum suppression at each level by itself.

  Args:
    logits: (B, N) objectness.
    deltas: (B, N, 4) of the anchors, with RPN_WEIGHTS.
    anchors: (n, 4) of each level, N in all.
    size: (height, width) of the image, which the boxes are cut to.
    pre_nms: anchors of a level that are looked at.
    post_nms: boxes that come out, P.
    threshold: largest overlap of two of them at one level.

  Returns:
    boxes (B, P, 4), scores (B, P) in [0, 1], valid (B, P), the best first; zeros where not valid. No gradient passes.
  """
  logits, deltas = jax.lax.stop_gradient((logits, deltas))
  ends = np.cumsum([len(level) for level in anchors])

  def of_image(logits, deltas):
    levels = []
    for level, end in zip(anchors, ends, strict=True):
      part = slice(end - len(level), end)
      best, chosen = nms.top_k(logits[part], jnp.ones(len(level), bool), min(pre_nms, len(level)))
      boxes = box_coding.decode(deltas[part][best], jnp.asarray(level)[best], RPN_WEIGHTS)
      boxes = box_coding.clip(boxes, *size)
      scores = logits[part][best]
      levels.append((boxes, scores, nms.nms(boxes, scores, chosen & _large_enough(boxes), threshold)))
    boxes, scores, valid = (jnp.concatenate(x) for x in zip(*levels, strict=True))
    best, chosen = nms.top_k(scores, valid, post_nms)
    return nms.take(boxes, best, chosen), nms.take(jax.nn.sigmoid(scores), best, chosen), chosen
  return jax.vmap(of_image)(logits, deltas)


def best_detections(class_logits: jax.Array, deltas: jax.Array, regions: jax.Array, valid: jax.Array,
                    size: Sequence[int], *, max_detections: int, candidates: int, threshold: float, min_score: float,
                    one_class: bool, across_classes: bool) -> dict[str, jax.Array]:
  """The detections among classified regions: those above `min_score`, after non-maximum suppression.

  Args:
    class_logits: (B, R, K + 1), the background first.
    deltas: (B, R, K + 1, 4) from the regions, with BOX_WEIGHTS.
    regions: (B, R, 4).
    valid: (B, R) bool.
    size: (height, width) of the image, which the boxes are cut to.
    max_detections, candidates, min_score, one_class, across_classes: see mask_rcnn.MaskRCNN.
    threshold: MaskRCNN's `detection_nms`.

  Returns:
    boxes (B, D, 4), scores (B, D), classes (B, D) and valid (B, D), as MaskRCNN has them.
  """
  def of_image(class_logits, deltas, regions, valid):
    probabilities = jax.nn.softmax(class_logits.astype(jnp.float32))
    boxes = box_coding.clip(box_coding.decode(deltas[:, 1:], regions[:, None], BOX_WEIGHTS), *size)
    scores = probabilities[:, 1:]
    classes = jnp.broadcast_to(jnp.arange(1, scores.shape[1] + 1), scores.shape)
    usable = valid[:, None] & (scores >= min_score) & _large_enough(boxes)
    if one_class:
      usable &= jnp.argmax(probabilities, axis=1)[:, None] == classes
    flat = boxes.reshape(-1, 4), scores.reshape(-1), classes.reshape(-1)
    best, chosen = nms.top_k(flat[1], usable.reshape(-1), min(candidates, flat[1].size))
    boxes, scores, classes = (nms.take(x, best, chosen) for x in flat)
    keep = nms.nms(boxes, scores, chosen, threshold, groups=None if across_classes else classes)
    best, chosen = nms.top_k(scores, keep, max_detections)
    boxes, scores, classes = (nms.take(x, best, chosen) for x in (boxes, scores, classes))
    return {"boxes": boxes, "scores": scores, "classes": classes, "valid": chosen}
  return jax.vmap(of_image)(class_logits, deltas, regions, valid)


def _large_enough(boxes):
  return jnp.all(boxes[..., 2:] - boxes[..., :2] >= _SMALLEST, axis=-1)


def sample_corners(pyramid: Sequence[jax.Array], boxes: jax.Array, strides: Sequence[int], output_size: int, *,
                   canonical_size: float) -> jax.Array:
  """Features of boxes as matterport's Mask R-CNN takes them, by TensorFlow's crop_and_resize.

  A box's edges are the centres of its outermost samples, one a bin, on a map whose first and last cell lie on the
  image's first and last pixel. Arguments and result are those of roi_align. With the size that P4 is for counted from
  the middle between levels, 224 / √2 is matterport's 224.
  """
  level = assign_levels(boxes, strides, canonical_size=canonical_size)
  pooled = None
  for i, (x, stride) in enumerate(zip(pyramid, strides, strict=True)):
    # In ROIAlign a bin's only sample is its middle: the box that puts the samples there is half a bin larger all round.
    cells = np.float32([x.shape[1] - 1, x.shape[2] - 1])
    pixels = cells * stride + stride - 1
    low, high = boxes[..., :2] * (cells / pixels), (boxes[..., 2:] - 1) * (cells / pixels)
    half = (high - low) / (output_size - 1) / 2
    moved = jnp.concatenate([low - half + 0.5, high + half + 0.5], axis=-1) * stride
    of_level = roi_align([x], moved, [stride], output_size, sampling_ratio=1)
    here = (level == i)[..., None, None, None]
    pooled = of_level if pooled is None else jnp.where(here, of_level, pooled)
  return pooled
