"""Network architectures, one family a file.

Every model is a flax module called as `model.apply(variables, images, train=…, mask=…, keys=…)`. It returns
`(outputs, features)`: outputs (B, outputs) float32 without a final nonlinearity, and features, a dict of the named
stages (`stage1`, …, `pooled`), for transfer learning, detection, embeddings and saliency. A new model is a file
and a line in MODELS.

A parameter's name begins with its stage, before any underscore (`stage2_block1`): that whose features have the name, or
what comes before (`stem`) and after (`hidden1`, `last`, `head`). Stages can be frozen and have rates of their own. A
model with batch norm has an attribute `still`, the stages in which its running moments stay.
"""
import re
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from galaxy_jax.models import (
    alexnet,
    convnext,
    dieleman,
    equivariant_convnext,
    equivariant_resnet,
    galaxyid,
    inception,
    mask_rcnn,
    most_frequent,
    resnet,
    vgg,
    vision_transformer,
    xception,
)
from galaxy_jax.models.layers import stage_of

MODELS = {
    "alexnet": alexnet.AlexNet,
    "c1_convnext_pico": equivariant_convnext.C1ConvNeXtPico,
    "c1_resnet18": equivariant_resnet.C1ResNet18,
    "c4_convnext_pico": equivariant_convnext.C4ConvNeXtPico,
    "c4_resnet18": equivariant_resnet.C4ResNet18,
    "convnext_base": convnext.ConvNeXtBase,
    "convnext_nano": convnext.ConvNeXtNano,
    "convnext_pico": convnext.ConvNeXtPico,
    "convnext_small": convnext.ConvNeXtSmall,
    "convnext_tiny": convnext.ConvNeXtTiny,
    "d4_convnext_pico": equivariant_convnext.D4ConvNeXtPico,
    "d4_resnet18": equivariant_resnet.D4ResNet18,
    "dieleman": dieleman.Dieleman,
    "dinov2_base": vision_transformer.DINOv2Base,
    "dinov2_small": vision_transformer.DINOv2Small,
    "galaxyid": galaxyid.GalaxyID,
    "inception_v3": inception.InceptionV3,
    "most_frequent": most_frequent.MostFrequent,
    "resnet18": resnet.ResNet18,
    "resnet26": resnet.ResNet26,
    "resnet50": resnet.ResNet50,
    "resnet101": resnet.ResNet101,
    "vgg16": vgg.VGG16,
    "xception": xception.Xception,
}

#: Networks that find a number of objects in an image: name → constructor from a number of classes.
DETECTORS = {"mask_rcnn": mask_rcnn.create}


def create(name: str, *, still: Sequence[str] = (), **options: Any) -> nn.Module:
  """The model called `name` with its options; `still`: the stages whose batch norms, if any, stay as they are.

  Raises:
    ValueError: no model has this name, or it does not take one of the options.
  """
  if name not in MODELS:
    raise ValueError(f"config.model.name is {name!r}; the models are {', '.join(sorted(MODELS))}.")
  try:
    model = MODELS[name](**options)
  except TypeError as error:
    raise ValueError(f"model {name!r}: {error}. See the attributes in its docstring.") from error
  return model.clone(still=tuple(still)) if still and hasattr(model, "still") else model


def create_detector(name: str, *, classes: int, **options: Any) -> nn.Module:
  """The detector called `name` for a number of classes, with its options.

  Raises:
    ValueError: no detector has this name, or it does not take one of the options.
  """
  if name not in DETECTORS:
    raise ValueError(f"config.model.name is {name!r}; the models that find instances are {', '.join(DETECTORS)}.")
  return DETECTORS[name](classes=classes, **options)


def stages(params: dict) -> list[str]:
  """The stages of a model's parameters from image to output: the stem, numbered ones, what follows, the head."""
  def place(stage):
    letters, number = re.fullmatch(r"(.*?)(\d*)", stage).groups()
    return {"stem": 0, "stage": 1, "head": 3}.get(letters, 2), int(number or 0), letters
  return sorted({stage_of(name) for name in params}, key=place)
