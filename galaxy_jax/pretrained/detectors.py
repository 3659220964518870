"""Published weights as the parameters of models/mask_rcnn.py: torchvision's, matterport's, or a classifier's stages.

Images. torchvision's networks saw pixels in [0, 1] minus the mean and divided by the deviation of ImageNet
(augment.NORMALISATIONS 'imagenet'), the shorter side scaled to 800. matterport's saw pixels in [0, 255] minus
augment.MATTERPORT, not divided. A classifier's: see pretrained.normalisation. Whoever calls the network does that.
"""
import logging
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from galaxy_jax import pretrained
from galaxy_jax.models.fpn import STAGES
from galaxy_jax.models.layers import stage_of
from galaxy_jax.pretrained import files, matterport
from galaxy_jax.pretrained.tables import TABLES, Table

logger = logging.getLogger(__name__)

#: What HDF5 files, the form of matterport's, are called.
_HDF5 = (".h5", ".hdf5", ".keras")
#: What layers.BatchNorm adds to a variance.
_EPSILON = 1e-5

#: torchvision's `maskrcnn_resnet*_fpn`.
TORCHVISION = Table(
    rules={
        **{ours: f"backbone.body.{theirs}" for ours, theirs in TABLES["resnet50"].rules.items()},
        **{f"fpn/{ours}{level}": f"backbone.fpn.{theirs}.{level - 2}.0"
           for level in (2, 3, 4, 5) for ours, theirs in (("lateral", "inner_blocks"), ("output", "layer_blocks"))},
        "rpn/conv": "rpn.head.conv.0.0",
        "rpn/logits": "rpn.head.cls_logits",
        "rpn/deltas": "rpn.head.bbox_pred",
        "roi_box/dense1": "roi_heads.box_head.fc6",
        "roi_box/dense2": "roi_heads.box_head.fc7",
        r"roi_mask/conv(\d)": "roi_heads.mask_head.<1-1>.0",
        "roi_mask/deconv": "roi_heads.mask_predictor.conv5_mask",
    },
    head={
        "head_classes": "roi_heads.box_predictor.cls_score",
        "head_deltas": "roi_heads.box_predictor.bbox_pred",
        "head_masks": "roi_heads.mask_predictor.mask_fcn_logits",
    })

#: Names of the published file, whose convolutions had no norm to share a module with.
_RENAMED = {r"((?:inner|layer)_blocks\.\d)\.(weight|bias)$": r"\1.0.\2",
            r"(rpn\.head\.conv)\.(weight|bias)$": r"\1.0.0.\2"}
#: Options of mask_rcnn.create with which the network is torchvision's; `classes` is 90 for COCO.
TORCHVISION_OPTIONS = {"backbone": "resnet50", "norm": "frozen", "last_stage": False}


def check(source: str) -> None:
  """Refuses what cannot be weights, whether it is there or not; see files.check.

  Raises:
    ValueError: it is no .safetensors file, no HDF5 file and no name on the hub.
  """
  if Path(source).suffix not in _HDF5:
    files.check(source)


def find(source: str) -> Path:
  """The file that `config.model.pretrained` names; see files.find.

  Raises:
    As files.find.
  """
  if Path(source).suffix not in _HDF5:
    return files.find(source)
  path = Path(source).expanduser()
  if not path.is_file():
    raise FileNotFoundError(f"config.model.pretrained is {source}, and there is no such file.")
  return path


def is_path(source: str) -> bool:
  """Whether `source` means a file or a folder, and not a name on the hub."""
  return Path(source).suffix in _HDF5 or files.is_path(source)


def normalisation(source: str, backbone: str) -> str:
  """How images were normalised for these weights, a name in augment.NORMALISATIONS; torchvision's as a classifier's."""
  return "matterport" if Path(source).suffix in _HDF5 else pretrained.normalisation(source, backbone)


def load(source: str, backbone: str, variables: Any, *, epsilon: float = 0.0) -> Any:
  """The variables of a Mask R-CNN with published weights in their place.

  What the file is, its names tell: torchvision's Mask R-CNN as .safetensors, matterport's as HDF5, or a classifier of
  the backbone's name, timm's or Zoobot's, whose stages become the trunk's while all else stays as it is. Of a network
  for other classes the last layers of the heads stay as they are, and the log says so.

  Args:
    source: a .safetensors or HDF5 file, or a name on the Hugging Face hub.
    backbone: its name in fpn.BACKBONES.
    variables: the model's variables, first ones.
    epsilon: what torchvision's frozen batch norms added to their variances: 0 in the published COCO weights, 1e-5
      where it was made without them.

  Returns:
    The same tree, of float32 numpy arrays.

  Raises:
    FileNotFoundError: there is no such file, or the hub cannot be reached or does not have it.
    ValueError: the file is pickled, damaged, or another network's; every tensor that does not fit is named. Or the
      trunk has no batch norm.
  """
  check(source)
  if not variables.get("batch_stats"):
    raise ValueError(f"The weights {source} were published with batch norms, which this network does not have: choose "
                     "norm='frozen'.")
  path = find(source)
  if path.suffix in _HDF5:
    return matterport.load(path, variables)
  tensors, what = files.read(path), f"The file {path} in config.model.pretrained"
  if any("rpn.head." in name for name in tensors):
    return pretrained.fill(variables, torchvision_tensors(tensors, epsilon), TORCHVISION, what, "mask_rcnn")
  return fill_trunk(variables, tensors, backbone, what)


def fill_trunk(variables: Any, tensors: dict[str, np.ndarray], backbone: str, what: str) -> Any:
  """The variables with a published classifier's stem and stages in their place; see pretrained.fill."""
  in_trunk = lambda name: stage_of(name) in ("stem", *STAGES)
  trunk = {kind: {name: part for name, part in parts.items() if in_trunk(name)} for kind, parts in variables.items()}
  filled = pretrained.fill(trunk, tensors, TABLES[backbone], what, backbone)
  logger.info("%s: a classifier's; the pyramid and the heads of the detector stay as they were.", what)
  return {kind: jax.tree.map(np.asarray, dict(parts)) | filled[kind] for kind, parts in variables.items()}


def torchvision_tensors(tensors: dict[str, np.ndarray], epsilon: float = 0.0) -> dict[str, np.ndarray]:
  """torchvision's tensors with y before x, regions flattened rows first, and the epsilon of ours.

  Args:
    tensors: by name, those of releases before 0.13 included, which the published file still has.
    epsilon: see `load`.

  Returns:
    By the names of TORCHVISION, in PyTorch's layout. What has an unexpected shape is left for `fill` to name.
  """
  result = {}
  for name, x in tensors.items():
    name = _today(name)
    module, _, leaf = name.rpartition(".")
    if leaf == "running_var":
      x = x + np.float32(epsilon - _EPSILON)
    elif module.endswith("bbox_pred") and len(x) % 4 == 0:
      x = x.reshape(-1, 4, *x.shape[1:])[:, [1, 0, 3, 2]].reshape(x.shape)
    elif module.endswith("conv5_mask") and x.ndim == 4:
      x = x.swapaxes(0, 1)
    elif module.endswith("box_head.fc6") and x.ndim == 2:
      x = _rows_first(x, tensors)
    result[name] = x
  return result


def _today(name):
  """A name of the published file as torchvision calls it since 0.13."""
  for pattern, today in _RENAMED.items():
    name = re.sub(pattern, today, name)
  name, fcn, rest = name.partition("mask_head.mask_fcn")
  return f"{name}mask_head.{int(rest[0]) - 1}.0{rest[1:]}" if fcn else name


def _rows_first(kernel, tensors):
  """The first dense layer's kernel (outputs, channels · rows · columns) with the channels last."""
  width = next((len(x) for name, x in tensors.items() if name.endswith("roi_heads.mask_predictor.conv5_mask.weight")),
               0)
  side = round((kernel.shape[1] / width) ** 0.5) if width else 0
  if not side or width * side**2 != kernel.shape[1]:
    return kernel
  return kernel.reshape(-1, width, side, side).transpose(0, 2, 3, 1).reshape(kernel.shape)
