"""Galaxies found, outlined and classified by Mask R-CNN: mask_galaxy (Farias et al. 2020, A&C 33, 100420).

  python -m galaxy_jax.main --config=configs/mask_galaxy.py --config.data.manual_dir=FOLDER --workdir=runs/mask_galaxy

FOLDER: see tfds_builders/mask_galaxy. Spirals (S) and ellipticals (E) count; U is neither object nor background. Needs
galaxy_jax[masks]. Without files it learns from simulated fields.

`gpu` has the seed's settings: ResNet-101 on 256 pixels, anchors of 8 to 128, proposals thinned at an overlap of 0.9,
128 regions of which a third are objects, detections thinned at 0.3, turns by 90°, flips, brightness, Nesterov (plain
momentum there) with decay 1e-4 and clip 5. Ours: ROIAlign, synchronised batch norm, one cosine cycle, detections of all
scores from 0.05 (0.4 there), one class each. `cpu`: a small network on the trunk of the package's model. `fields`: the
same for survey fields, learnt from simulated ones. Other beginnings, published weights in stages: docs/outlines.md.

Expected: published mAP, VOC's at an overlap of 0.5 averaged per image (our mask_voc_ap50), 0.93. Here, `cpu` on 610
images of a real sample with an S or E outlined by SEP, against 105 others, seed 0: COCO's AP50 of boxes and of outlines
0.936, 0.986 with one class for all; VOC's 0.962. `gpu` was not measured; the command would show it.
"""
import ml_collections

from galaxy_jax.configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  c = base.get_config()
  c.name, c.task, c.variant = "mask_galaxy", "instances", base.choose(variant, ("cpu", "gpu", "fields"))
  c.data.builder, c.data.test, c.data.size = "mask_galaxy", "", 256
  c.data.ignore_classes, c.data.max_instances = ("unknown",), 24
  c.augment.size, c.augment.view, c.augment.zoom, c.augment.shift = 256, 1.0, 1.0, 0.0
  c.augment.rotation_step, c.augment.brightness = 90.0, 0.1
  c.model.name, c.loss.name = "mask_rcnn", "mask_rcnn"
  c.model.options = {
      "backbone": "resnet101", "norm": "batch", "scales": (8, 16, 32, 64, 128), "canonical_size": 112.0,
      "rpn_nms": 0.9, "detection_nms": 0.3, "min_score": 0.05, "across_classes": True, "max_detections": 20}
  o = c.optimizer
  o.name, o.learning_rate, o.weight_decay, o.clip, o.warmup = "nesterov", 5e-3, 1e-4, 5.0, 0.05
  c.train.batch_size, c.train.epochs, c.train.eval_every = 8, 60.0, 0.05
  c.eval.rotations, c.eval.flips, c.eval.batch_size = 1, False, 8
  if c.variant != "gpu":
    c.init_from = "simulated-gz2"
    c.model.options.update({
        "backbone": "resnet18", "width": 32, "norm": "frozen", "last_stage": True, "fpn_width": 64, "rpn_width": 64,
        "box_width": 128, "mask_convs": 2, "pre_nms": 200, "post_nms": 100, "rpn_nms": 0.7, "candidates": 100})
    o.name, o.learning_rate, o.weight_decay, o.clip = "adamw", 1e-3, 0.05, 1.0
  # Simulated fields, of whose classes "other" has no counterpart: before the run, or where there are no files.
  fields = {"builder": "galaxy_sim/scenes", "test": "", "ignore_classes": ("other",), "crop": 256}
  if c.variant == "cpu":
    c.data.size, c.augment.size, c.model.options.canonical_size = 96, 96, 48.0
    c.detection.anchors.num_samples = 64
    c.detection.regions.num_samples, c.detection.regions.positive_share = 24, 0.25
    c.train.epochs, c.train.eval_every = 15.0, 0.1
    c.eval.rotations, c.eval.flips = 4, True
  if c.variant == "fields":
    c.data.update(fields | {"ignore_classes": (), "max_instances": 32})
    c.model.options.update({"canonical_size": 56.0, "detection_nms": 0.5, "max_detections": 40})
    c.detection.anchors.num_samples, c.detection.regions.num_samples = 128, 48
    c.optimizer.frozen = ("stem", "stage1")
    c.train.epochs, c.train.eval_every = 4.0, 0.25
  else:
    c.simulated.data = fields
    c.pretrain.data = fields | {"source": "auto", "manual_dir": ""}
  return c
