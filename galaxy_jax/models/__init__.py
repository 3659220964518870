"""Network architectures, one family a file.

Every model is a flax module called as `model.apply(variables, images, train=…, mask=…, keys=…)`. It returns
`(outputs, features)`: outputs (B, outputs) float32 without a final nonlinearity, and features, a dict of the named
stages (`stage1`, …, `pooled`), for transfer learning, detection, embeddings and saliency. A new model is a file
and a line in MODELS.
"""
from typing import Any

import flax.linen as nn

from galaxy_jax.models import alexnet, galaxyid, resnet

MODELS = {
    "alexnet": alexnet.AlexNet,
    "galaxyid": galaxyid.GalaxyID,
    "resnet18": resnet.ResNet18,
    "resnet26": resnet.ResNet26,
    "resnet50": resnet.ResNet50,
    "resnet101": resnet.ResNet101,
}


def create(name: str, **options: Any) -> nn.Module:
  """The model called `name` with its options.

  Raises:
    ValueError: no model has this name, or it does not take one of the options.
  """
  if name not in MODELS:
    raise ValueError(f"config.model.name is {name!r}; the models are {', '.join(sorted(MODELS))}.")
  try:
    return MODELS[name](**options)
  except TypeError as error:
    raise ValueError(f"model {name!r}: {error}. See the attributes in its docstring.") from error
