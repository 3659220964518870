"""Mask R-CNN (He et al. 2017) on a feature pyramid: galaxies found, outlined and classified.

It is no entry of models.MODELS: those map an image to one row of outputs, this one finds a number of objects, and its
training goes through it in parts. `create` makes it; a task calls the parts by `model.apply(…, method="…")`:

  pyramid, logits, deltas = encode(images)             features, and the region proposal network's view of the anchors
  boxes, scores, valid = propose(logits, deltas, size) a fixed number of regions, without gradient
  class_logits, deltas = classify(pyramid, boxes)      a class and a finer box for each region
  mask_logits = outline(pyramid, boxes)                a mask of each class for each region

and the model itself, for inference, does them in turn. Classes are 1 to `classes`; 0 is the background. Boxes are
y0, x0, y1, x1 in pixels as in detection/. Coordinates, logits and deltas are float32 whatever `dtype` is. All shapes
are fixed, what is no real row is told by `valid`, and an image's result does not depend on the others in its batch.
"""
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.detection import anchors as anchor_boxes
from galaxy_jax.detection.roi_align import roi_align
from galaxy_jax.models.fpn import BACKBONES, FPN, Trunk, norm_layer
from galaxy_jax.models.layers import LayerNorm
from galaxy_jax.models.regions import best_detections, proposals, sample_corners

#: Pixels a side of the image for a cell of P2 to P6, which the region proposal network sees.
STRIDES = (4, 8, 16, 32, 64)
#: The levels that the heads take features from.
_ROI_STRIDES = STRIDES[:4]


class RPN(nn.Module):
  """The region proposal network's head, the same at each level: objectness and deltas of `count` anchors a cell."""
  width: int
  count: int
  dtype: Any

  @nn.compact
  def __call__(self, pyramid):
    """Levels (B, H, W, C) to logits (B, N) and deltas (B, N, 4), float32, in the order of detection.anchors."""
    conv = nn.Conv(self.width, (3, 3), padding=1, dtype=self.dtype, kernel_init=nn.initializers.normal(0.01),
                   name="conv")
    last = partial(nn.Conv, kernel_size=(1, 1), dtype=jnp.float32, kernel_init=nn.initializers.normal(0.01))
    logits, deltas = last(self.count, name="logits"), last(self.count * 4, name="deltas")
    hidden = [nn.relu(conv(x)) for x in pyramid]
    return (jnp.concatenate([logits(x).reshape(len(x), -1) for x in hidden], axis=1),
            jnp.concatenate([deltas(x).reshape(len(x), -1, 4) for x in hidden], axis=1))


class BoxHidden(nn.Module):
  """What the box head has before its outputs: `convs` 3×3 convolutions, then `dense` fully connected layers."""
  width: int
  convs: int
  conv_width: int
  dense: int
  norm: str | None
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """Features (N, S, S, C) of N regions to (N, width)."""
    for i in range(self.convs):
      x = _normed(self, nn.Conv(self.conv_width, (3, 3), padding=1, use_bias=self.norm is None, dtype=self.dtype,
                                kernel_init=nn.initializers.he_normal(), name=f"conv{i + 1}")(x), f"conv_norm{i + 1}")
    x = x.reshape(len(x), -1)
    for i in range(self.dense):
      x = _normed(self, nn.Dense(self.width, use_bias=self.norm is None, dtype=self.dtype,
                                 kernel_init=nn.initializers.he_uniform(), name=f"dense{i + 1}")(x), f"norm{i + 1}")
    return x


class MaskHidden(nn.Module):
  """What the mask head has before its outputs: `convs` 3×3 convolutions, and one that doubles the size."""
  width: int
  convs: int
  norm: str | None
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """Features (N, S, S, C) of N regions to (N, 2·S, 2·S, width)."""
    for i in range(self.convs):
      x = _normed(self, nn.Conv(self.width, (3, 3), padding=1, use_bias=self.norm is None, dtype=self.dtype,
                                kernel_init=nn.initializers.he_normal(), name=f"conv{i + 1}")(x), f"norm{i + 1}")
    return nn.relu(Doubling(self.width, self.dtype, name="deconv")(x))


class Doubling(nn.Module):
  """A transposed convolution of 2×2 with stride 2: each cell becomes four, each by its own matrix.

  No two of its products overlap, so that it is one multiplication; kernel[k, l] gives cell (2·i + k, 2·j + l).
  """
  width: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    init = nn.initializers.variance_scaling(2.0, "fan_in", "normal", batch_axis=(0, 1))
    kernel = self.param("kernel", init, (2, 2, x.shape[-1], self.width))
    bias = self.param("bias", nn.initializers.zeros, (self.width,))
    y = jnp.einsum("nijc,klcd->nikjld", x.astype(self.dtype), kernel.astype(self.dtype))
    n, h, w, _ = x.shape
    return y.reshape(n, 2 * h, 2 * w, self.width) + bias.astype(self.dtype)


def _normed(module, x, name):
  # Regions are rows here, so that a norm sees one alone.
  norm = norm_layer(module.norm, axis_name=None, dtype=module.dtype)(name=name) if module.norm else None
  return nn.relu(norm(x, train=False) if norm else x)


class MaskRCNN(nn.Module):
  """The network; its parts are described above.

  Attributes:
    classes: number of classes, without the background.
    trunk: the backbone, see `create`.
    fpn_width: channels of the pyramid.
    fpn_norm: None, 'frozen' or 'group', of the pyramid.
    rpn_width: channels of the region proposal network.
    head_norm: None, 'frozen' or 'group', of the box and mask heads.
    box_convs: 3×3 convolutions of the box head before its dense layers (4 in Wu and He 2018).
    box_dense: its dense layers.
    box_width: their units.
    last_stage: the layer of classes sees the mean of the trunk's last stage over the region, normalised, too: what the
      head of a classifier reads, for a trunk that comes from one.
    mask_convs: 3×3 convolutions of the mask head.
    scales: sizes of anchors at P2 to P6, pixels: a number for each, or several.
    ratios: height over width of anchors.
    rounded_anchors: to whole pixels, as torchvision has them.
    canonical_size: size of a box, the root of its area in pixels, that is looked at in P4; see roi_align.
    pooling: 'align' for ROIAlign, or 'corners' for what matterport's Mask R-CNN does: one sample a bin, the outermost
      ones on the box's edges (TensorFlow's crop_and_resize). Slower; for weights that learnt with it.
    pre_nms: best anchors of a level that go into non-maximum suppression.
    post_nms: regions that are proposed.
    rpn_nms: largest overlap (intersection over union) of two proposed regions of one level.
    max_detections: objects that are found at most, D below.
    candidates: best pairs of a region and a class that go into the last non-maximum suppression.
    detection_nms: largest overlap of two detections of one class.
    min_score: least score of a detection.
    one_class: a region counts for its most probable class alone; else for each above `min_score`.
    across_classes: detections of different classes suppress each other, too: one label for each galaxy.
    remat: recompute the trunk's blocks and the mask head in the backward pass, for memory.
    dtype: of the computation.
  """
  classes: int
  trunk: Trunk
  fpn_width: int = 256
  fpn_norm: str | None = None
  rpn_width: int = 256
  head_norm: str | None = None
  box_convs: int = 0
  box_dense: int = 2
  box_width: int = 1024
  last_stage: bool = False
  mask_convs: int = 4
  scales: Sequence[Any] = (32, 64, 128, 256, 512)
  ratios: Sequence[float] = (0.5, 1.0, 2.0)
  rounded_anchors: bool = True
  canonical_size: float = 224.0
  pooling: str = "align"
  pre_nms: int = 1000
  post_nms: int = 1000
  rpn_nms: float = 0.7
  max_detections: int = 100
  candidates: int = 1000
  detection_nms: float = 0.5
  min_score: float = 0.05
  one_class: bool = False
  across_classes: bool = False
  remat: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    # The stages keep the names that they have in a classifier: published weights and frozen stages go by them.
    nn.share_scope(self, self.trunk)
    self.fpn = FPN(self.fpn_width, self.fpn_norm, self.dtype)
    self.rpn = RPN(self.rpn_width, len(_of_levels(self.scales)[0]) * len(self.ratios), self.dtype)
    mask_hidden = nn.remat(MaskHidden) if self.remat else MaskHidden
    self.roi_box = BoxHidden(self.box_width, self.box_convs, self.fpn_width, self.box_dense, self.head_norm, self.dtype)
    self.roi_mask = mask_hidden(self.fpn_width, self.mask_convs, self.head_norm, self.dtype)
    self.head_stage = LayerNorm() if self.last_stage else None
    normal = nn.initializers.normal
    self.head_classes = nn.Dense(self.classes + 1, kernel_init=normal(0.01))
    self.head_deltas = nn.Dense((self.classes + 1) * 4, kernel_init=normal(0.001))
    self.head_masks = nn.Conv(self.classes + 1, (1, 1), kernel_init=normal(0.01))

  def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
    """Images (B, H, W, 3) to what is found in them.

    Returns:
      boxes: (B, D, 4) float32 y0, x0, y1, x1, pixels, within the image; the best score first.
      scores: (B, D) float32 probabilities.
      classes: (B, D) int32, from 1.
      masks: (B, D, 28, 28) float32 probabilities over each box, of its class.
      valid: (B, D) bool: rows that are detections. The others are 0 throughout.
    """
    size = images.shape[1:3]
    pyramid, logits, deltas = self.encode(images)
    regions, _, valid = self.propose(logits, deltas, size)
    found = self.detect(*self.classify(pyramid, regions), regions, valid, size)
    masks = jax.nn.sigmoid(of_class(self.outline(pyramid, found["boxes"]), found["classes"]))
    return found | {"masks": jnp.where(found["valid"][..., None, None], masks, 0.0)}

  def encode(self, images: jax.Array, *, train: bool = False, mask: jax.Array | None = None):
    """Images (B, H, W, 3) to the pyramid (P2 to P6, each (B, h, w, C)) and the region proposal network's outputs.

    Args:
      images: of any size; normalised as the weights want it.
      train, mask: see layers.BatchNorm; they matter to a trunk with norm 'batch' alone.

    Returns:
      pyramid: list of five; with `last_stage` that comes sixth.
      logits: (B, N) float32 objectness of each of `anchors`.
      deltas: (B, N, 4) float32 from the anchors to their objects, coded with regions.RPN_WEIGHTS.
    """
    stages = self.trunk(images, train=train, mask=mask)
    pyramid = self.fpn(stages)
    # What else the heads see comes after the pyramid's levels.
    return [*pyramid, *(stages[-1:] if self.last_stage else ())], *self.rpn(pyramid)

  def anchors(self, size: Sequence[int]) -> list[np.ndarray]:
    """The anchors of an image of `size` (height, width), level by level, as numpy constants; needs no variables."""
    return anchor_boxes.anchors(size, STRIDES, _of_levels(self.scales), self.ratios, rounded=self.rounded_anchors)

  def propose(self, logits: jax.Array, deltas: jax.Array, size: Sequence[int]):
    """The regions to look at: boxes (B, post_nms, 4), scores (B, post_nms), valid (B, post_nms); see `proposals`."""
    return proposals(logits, deltas, self.anchors(size), size, pre_nms=self.pre_nms, post_nms=self.post_nms,
                     threshold=self.rpn_nms)

  def classify(self, pyramid: Sequence[jax.Array], boxes: jax.Array):
    """Regions (B, R, 4) to class logits (B, R, classes + 1) and deltas (B, R, classes + 1, 4) with BOX_WEIGHTS."""
    x = self.roi_box(self._pooled(pyramid, boxes, 7)).astype(jnp.float32)
    seen = x
    if self.last_stage:
      means = jnp.mean(roi_align(pyramid[len(STRIDES):], boxes, _ROI_STRIDES[-1:], 4).astype(jnp.float32), axis=(2, 3))
      seen = jnp.concatenate([x, self.head_stage(means.reshape(len(x), -1))], axis=1)
    rows = boxes.shape[:2]
    return self.head_classes(seen).reshape(*rows, -1), self.head_deltas(x).reshape(*rows, -1, 4)

  def outline(self, pyramid: Sequence[jax.Array], boxes: jax.Array) -> jax.Array:
    """Regions (B, R, 4) to mask logits (B, R, 28, 28, classes + 1) over each; see `of_class`."""
    x = self.head_masks(self.roi_mask(self._pooled(pyramid, boxes, 14)).astype(jnp.float32))
    return x.reshape(*boxes.shape[:2], *x.shape[1:])

  def detect(self, class_logits, deltas, regions, valid, size) -> dict[str, jax.Array]:
    """What `__call__` returns, masks aside, from the outputs of `classify` for the regions; see `best_detections`."""
    return best_detections(
        class_logits, deltas, regions, valid, size, max_detections=self.max_detections, candidates=self.candidates,
        threshold=self.detection_nms, min_score=self.min_score, one_class=self.one_class,
        across_classes=self.across_classes)

  def _pooled(self, pyramid, boxes, size):
    """Features of all regions, (B · R, size, size, C)."""
    pool = {"align": roi_align, "corners": sample_corners}[self.pooling]
    x = pool(pyramid[:4], boxes, _ROI_STRIDES, size, canonical_size=self.canonical_size)
    return x.reshape(-1, *x.shape[2:])


#: The backbone where none is named.
BACKBONE = "resnet50"


def create(backbone: str = BACKBONE, *, classes: int, width: int = 64, stage_sizes: Sequence[int] | None = None,
           norm: str = "frozen", caffe: bool = False, remat: bool = False, dtype: Any = jnp.float32,
           axis_name: str | None = None, still: Sequence[str] = (), **options: Any) -> MaskRCNN:
  """Mask R-CNN on a residual network.

  Args:
    backbone: a name in fpn.BACKBONES.
    classes: number of classes, without the background.
    width: filters of the backbone's first stage.
    stage_sizes: its blocks, if not those of its name.
    norm: its normalisation: 'frozen' (batch norm whose running moments stay; for published weights), 'batch', 'group'.
    caffe: see fpn.Trunk.
    remat, dtype: see MaskRCNN.
    axis_name: the pmapped axis, for norm 'batch'.
    still: stages whose batch norms stay as they are, for norm 'batch'.
    **options: further attributes of MaskRCNN.

  Raises:
    ValueError: an unknown backbone, option or value, `caffe` without bottlenecks, or anchors that are not one row of
      sizes for each of five levels.
  """
  if backbone not in BACKBONES:
    raise ValueError(f"The backbone of Mask R-CNN is {backbone!r}; expected one of {', '.join(sorted(BACKBONES))}.")
  for name, value in (("norm", norm), ("fpn_norm", options.get("fpn_norm")), ("head_norm", options.get("head_norm"))):
    if value not in ("frozen", "group", "batch" if name == "norm" else None):
      raise ValueError(f"{name} is {value!r}; expected 'frozen', 'group' or {'batch' if name == 'norm' else None!r}.")
  if options.get("pooling", "align") not in ("align", "corners"):
    raise ValueError(f"pooling is {options['pooling']!r}; expected 'align' or 'corners'.")
  made = BACKBONES[backbone].keywords
  if caffe and not made.get("bottleneck", False):
    raise ValueError(f"caffe=True puts strides into the first convolutions of bottlenecks, which {backbone} does not "
                     "have.")
  trunk = Trunk(tuple(stage_sizes or made["stage_sizes"]), made.get("bottleneck", False), width, norm, caffe, remat,
                dtype, axis_name, tuple(still))
  try:
    model = MaskRCNN(classes=classes, trunk=trunk, remat=remat, dtype=dtype, **options)
  except TypeError as error:
    raise ValueError(f"Mask R-CNN: {error}. See the attributes in its docstring.") from error
  rows = _of_levels(model.scales)
  if len(rows) != len(STRIDES) or len({len(row) for row in rows}) != 1:
    raise ValueError(f"scales of anchors are {model.scales!r}; expected one for each of the {len(STRIDES)} levels P2 "
                     "to P6, or as many for each.")
  return model


def _of_levels(scales):
  return [tuple(np.atleast_1d(scale).tolist()) for scale in scales]


def of_class(mask_logits: jax.Array, classes: jax.Array) -> jax.Array:
  """Of mask logits (..., h, w, classes + 1) those of the given classes (...): (..., h, w)."""
  return jnp.take_along_axis(mask_logits, classes[..., None, None, None], axis=-1)[..., 0]
