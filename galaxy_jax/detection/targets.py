"""What the two stages of Mask R-CNN learn from one image: which anchors and regions count, and their targets.

Every function is for one image, of fixed shapes, and made for jax.vmap with one key an image. The truth of an image
comes in slots:

  boxes: (N, 4) float32 y0, x0, y1, x1, pixels      classes: (N,) integers from 0
  valid: (N,) bool, the slots in use                ignore: (N,) bool, of these the regions to be left alone

A slot whose box is empty counts as not in use: an object that an augmentation has moved out of the image vanishes.
More objects than slots is the caller's to decide and to count; what he leaves out becomes background, unless he marks
it as `ignore` instead. An image without objects has negative samples alone.
"""
import jax
import jax.numpy as jnp

from galaxy_jax.detection.boxes import encode, has_area, intersection_over_area, iou
from galaxy_jax.detection.roi_align import sample_boxes

#: Overlaps within this share of the best count as equal to it: compilers round the same sum differently.
_TIE = 1e-6


def match(candidates, candidates_valid, boxes, valid, ignore, *, positive: float, negative: float,
          best_too: bool = False, ignore_share: float = 0.5):
  """Tells which candidates are objects, which are background and which are neither.

  As torchvision's Matcher, except that an object which no candidate touches makes none positive.

  Args:
    candidates: (A, 4) anchors or proposals.
    candidates_valid: (A,) bool; others are neither.
    boxes, valid, ignore: the truth, see above.
    positive: intersection over union with an object from which a candidate is one.
    negative: below it with all objects a candidate is background; between the two it is neither.
    best_too: an object's best candidates, all that tie, are positive below `positive`, too.
    ignore_share: a candidate with this share of its area in a region to ignore is not background. Where it is an
      object by the rules above it stays one.

  Returns:
    matched: (A,) int32, the slot that each candidate overlaps most; 0 where none.
    kind: (A,) int32: 1 object, 0 background, -1 neither.
  """
  real = valid.astype(bool) & has_area(boxes)
  ignored = real & ignore.astype(bool)
  objects = real & ~ignored
  usable = candidates_valid.astype(bool) & has_area(candidates)
  overlap = jnp.where(objects & usable[:, None], iou(candidates, boxes), 0.0)
  matched, most = jnp.argmax(overlap, axis=1).astype(jnp.int32), jnp.max(overlap, axis=1)
  excused = jnp.any(ignored & (intersection_over_area(candidates, boxes) >= ignore_share), axis=1)
  is_object = (most >= positive) & (most > 0)
  if best_too:
    best = jnp.max(overlap, axis=0)
    is_object |= jnp.any((overlap >= best * (1 - _TIE)) & (overlap > 0), axis=1)
  kind = jnp.where(is_object, 1, jnp.where((most < negative) & ~excused, 0, -1))
  return matched, jnp.where(usable, kind, -1).astype(jnp.int32)


def sample(key, kind, num_samples: int, positive_share: float):
  """Draws a fixed number of candidates, objects first.

  Args:
    key: a PRNG key. The draw depends on it and on `kind` alone; kinds of -1 appended to the end change nothing.
    kind: (A,) int32, see `match`.
    num_samples: S.
    positive_share: at most so many of them are objects, rounded down. Where there are fewer, background fills up.

  Returns:
    indices: (S,) int32. The objects fill the first slots, so that no more than int(S × positive_share) of them need
      looking at for what only objects have.
    positive: (S,) bool: which are objects.
    weights: (S,) float32: 1 for a sample, 0 where there were too few candidates.
  """
  draws = jax.random.uniform(key, kind.shape)

  def drawn(wanted, number):
    number = min(number, len(kind))
    values, indices = jax.lax.top_k(jnp.where(kind == wanted, draws, -1.0), number)
    return indices, jnp.sum(values >= 0)

  objects, num_objects = drawn(1, int(num_samples * positive_share))
  background, num_background = drawn(0, num_samples)
  slot = jnp.arange(num_samples)
  positive = slot < num_objects
  weights = slot < num_objects + num_background
  rest = background[jnp.clip(slot - num_objects, 0, len(background) - 1)]
  indices = rest if not len(objects) else jnp.where(positive, objects[jnp.minimum(slot, len(objects) - 1)], rest)
  return indices.astype(jnp.int32), positive, weights.astype(jnp.float32)


def rpn_targets(key, anchors, boxes, valid, ignore, *, num_samples: int = 256, positive_share: float = 0.5,
                positive: float = 0.7, negative: float = 0.3, ignore_share: float = 0.5,
                box_weights=(1.0, 1.0, 1.0, 1.0)) -> dict:
  """What the region proposal network learns (Ren et al. 2015): an object or not, and its box.

  Args:
    key: a PRNG key.
    anchors: (A, 4), those of all levels.
    boxes, valid, ignore: the truth, see above.
    num_samples: S, anchors drawn.
    positive_share, positive, negative, ignore_share: see `sample` and `match`.
    box_weights: see `boxes.encode`.

  Returns:
    indices: (S,) int32, the anchors drawn.
    positive: (S,) bool.
    weights: (S,) float32, 0 for slots that nothing was drawn for.
    deltas: (S, 4) float32, the object relative to the anchor; zeros where not positive.
  """
  matched, kind = match(anchors, jnp.ones(len(anchors), bool), boxes, valid, ignore, positive=positive,
                        negative=negative, best_too=True, ignore_share=ignore_share)
  indices, is_object, weights = sample(key, kind, num_samples, positive_share)
  deltas = encode(jnp.asarray(boxes)[matched[indices]], jnp.asarray(anchors)[indices], box_weights)
  return {"indices": indices, "positive": is_object, "weights": weights,
          "deltas": jnp.where(is_object[:, None], deltas, 0.0)}


def roi_targets(key, proposals, proposals_valid, boxes, classes, valid, ignore, *, num_samples: int = 128,
                positive_share: float = 0.33, positive: float = 0.5, negative: float = 0.5, ignore_share: float = 0.5,
                box_weights=(10.0, 10.0, 5.0, 5.0)) -> dict:
  """Which regions the second stage learns from, and what; the objects' own boxes are among the candidates.

  Args:
    key: a PRNG key.
    proposals: (P, 4) y0, x0, y1, x1, pixels. They pass no gradient.
    proposals_valid: (P,) bool.
    boxes, classes, valid, ignore: the truth, see above.
    num_samples: S, regions drawn.
    positive_share, positive, negative, ignore_share: see `sample` and `match`.
    box_weights: see `boxes.encode`.

  Returns:
    boxes: (S, 4) float32, the regions; zeros where the weight is 0.
    classes: (S,) int32: 0 background, else 1 + the object's class.
    matched: (S,) int32, the object's slot.
    positive: (S,) bool; the first int(S × positive_share) slots alone can be.
    weights: (S,) float32, 0 for slots that nothing was drawn for.
    deltas: (S, 4) float32, the object relative to the region; zeros where not positive.
  """
  candidates = jax.lax.stop_gradient(jnp.concatenate([proposals, boxes]).astype(jnp.float32))
  usable = jnp.concatenate([proposals_valid.astype(bool), valid.astype(bool) & ~ignore.astype(bool)])
  matched, kind = match(candidates, usable, boxes, valid, ignore, positive=positive, negative=negative,
                        ignore_share=ignore_share)
  indices, is_object, weights = sample(key, kind, num_samples, positive_share)
  regions = jnp.where(weights[:, None] > 0, candidates[indices], 0.0)
  matched = matched[indices]
  return {"boxes": regions, "classes": jnp.where(is_object, 1 + jnp.asarray(classes)[matched], 0).astype(jnp.int32),
          "matched": matched, "positive": is_object, "weights": weights,
          "deltas": jnp.where(is_object[:, None], encode(jnp.asarray(boxes)[matched], regions, box_weights), 0.0)}


def mask_targets(masks, matched, boxes, size: int = 28):
  """The part of each region's own object that lies in the region, as the mask head is to predict it.

  Args:
    masks: (N, H, W), bool or integers with 0 outside the object.
    matched: (R,) int32, the object's slot.
    boxes: (R, 4) y0, x0, y1, x1, pixels of the masks. What lies outside the image is not of the object.
    size: S, cells a side.

  Returns:
    (R, S, S) bool: cells of which at least half is of the object, sampled at 2×2 points. Of an empty box, or an
    object without a mask, something finite that means nothing: such rows have no weight.
  """
  number, height, width = masks.shape
  flat = (jnp.asarray(masks) != 0).reshape(number * height * width, 1)
  boxes = jax.lax.stop_gradient(boxes.astype(jnp.float32))
  alike = lambda value: jnp.full(len(boxes), value, jnp.int32)
  inside = sample_boxes(flat, boxes, matched * (height * width), alike(height), alike(width), size, 2)
  # Four points of weight 1/4 each may add up to a little less than their half.
  return inside[..., 0] >= 0.5 - 1e-5
