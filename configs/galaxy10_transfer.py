"""Galaxy10 by networks that learnt ImageNet's classes: which of them, and how much of it learns on, is the argument.

  python -m galaxy_jax.main --config=configs/galaxy10_transfer.py:resnet50 --workdir=runs/galaxy10_resnet50
  python -m galaxy_jax.main --config=configs/galaxy10_transfer.py:vgg16,frozen --workdir=runs/galaxy10_vgg16

Networks: vgg16 (with a new, small head), inception_v3, xception, resnet50, convnext (tiny). After a comma:
  frozen  the head alone learns, on features that stay as published (at 1e-3)
  partly  so does the last stage
  full    all of it
  decay   all of it, at 0.7 of the rate for each stage further from the head; the default
Other stages: "--config.optimizer.frozen=('stem','stage1')"; an unknown one is answered with the network's own. Another
decay: --config.optimizer.layer_decay=0.5. Weights at hand: --config.model.pretrained=FILE.safetensors.

Galaxy10_DECals.h5 (2.7 GB) is downloaded, or taken from --config.data.manual_dir=FOLDER; 90 % of each class are trained
on, the other 10 % tested on. Needs galaxy_jax[galaxy10,pretrained].

Expected: published accuracies about 0.90 (ResNet-101, Inception-v4); 0.811 for the study whose split this is; 0.955 by
an equivariant network and 0.949 by Astroformer. They were not measured here: the commands above would show it.
"""
import ml_collections

from galaxy_jax.configs import base

#: Network → model, weights on the hub, pixels, how they are normalised, and the stages before the head.
NETWORKS = {
    "vgg16": ("vgg16", "timm/vgg16.tv_in1k", 224, "imagenet", "stage1 stage2 stage3 stage4 stage5"),
    "inception_v3": ("inception_v3", "timm/inception_v3.tv_in1k", 299, "symmetric",
                     "stage1 stage2 stage3 stage4 stage5"),
    "xception": ("xception", "timm/legacy_xception.tf_in1k", 299, "symmetric", "stage1 stage2 stage3 stage4 stage5"),
    "resnet50": ("resnet50", "timm/resnet50.a1_in1k", 224, "imagenet", "stem stage1 stage2 stage3 stage4"),
    "convnext": ("convnext_tiny", "timm/convnext_tiny.fb_in22k_ft_in1k", 224, "imagenet",
                 "stem stage1 stage2 stage3 stage4 last"),
}
WAYS = ("frozen", "partly", "full", "decay")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment with a network and a way, "vgg16,frozen" for instance."""
  c = base.get_config()
  network, _, way = variant.partition(",")
  network, way = base.choose(network or "resnet50", tuple(NETWORKS)), base.choose(way or "decay", WAYS)
  c.name, c.task, c.variant = f"Galaxy10 {network}, {way}", "classes", f"{network},{way}"
  c.data.builder, c.data.eval, c.data.test = "galaxy10/decals_seed004", "test", ""
  c.model.name, c.model.pretrained, size, c.augment.normalise, stages = NETWORKS[network]
  c.model.options = {"dropout": 0.3, **({"hidden": 256} if network == "vgg16" else {})}
  c.data.size, c.augment.size, c.augment.view, c.augment.zoom = 256, size, min(1.0, size / 256), 1.2
  c.loss.name, c.loss.label_smoothing = "cross_entropy", 0.1
  stages = tuple(stages.split())
  kept = 1 if network != "convnext" else 2  # ConvNeXt's last norm is of its last stage
  c.optimizer.frozen = {"frozen": stages, "partly": stages[:-kept]}.get(way, ())
  c.optimizer.learning_rate = 1e-3 if way == "frozen" else 1e-4
  c.optimizer.layer_decay = 0.7 if way == "decay" else 1.0
  c.train.batch_size, c.train.epochs, c.simulated.data.label = 64, 30.0, "ten_class"
  return c
