"""Weights of matterport's Mask R-CNN for Keras (HDF5) as the parameters of models/mask_rcnn.py, by a table.

The network differs from torchvision's, and OPTIONS are what makes ours the same: strides in the first 1×1 of a stage,
512 channels in the region proposal network, batch norm in the heads, features by crop_and_resize. What else differs
becomes part of the parameters here: the convolutions' biases before a norm go into its mean, Keras's larger epsilon
into its variance, the two logits of an anchor become their difference, the deviations by which deltas are multiplied
(0.1, 0.1, 0.2, 0.2) go into the proposals' deltas (BOX_WEIGHTS have those of the boxes), and the anchors of a cell,
whose ratios are width over height there, are turned round: `ratios` must be as good with each one inverted.

What stays different: matterport subtracts one from the far edges of boxes before it decodes them; and its proposals are
the best 6000 anchors of all levels together, thinned across levels; ours are the best of each level, thinned there.
"""
import logging
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from galaxy_jax.models.regions import BOX_WEIGHTS

logger = logging.getLogger(__name__)

#: Options of mask_rcnn.create with which the network is the published one of the mask_galaxy paper (Farias et al. 2020)
#: on images of 256 pixels; `classes` is that of the file.
OPTIONS = {
    "backbone": "resnet101", "norm": "frozen", "caffe": True, "rpn_width": 512, "head_norm": "frozen",
    "scales": (8, 16, 32, 64, 128), "ratios": (0.5, 1.0, 2.0), "rounded_anchors": False,
    "canonical_size": 224 / 2**0.5, "pooling": "corners", "one_class": True, "rpn_nms": 0.9,
    "detection_nms": 0.3, "min_score": 0.4, "last_stage": False,
}
#: What Keras's batch norm adds to a variance, and what layers.BatchNorm does.
_THEIR_EPSILON, _EPSILON = 1e-3, 1e-5
#: Our modules that depend on what is predicted.
_HEADS = ("head_classes", "head_deltas", "head_masks")
_LEAVES = {"kernel": "kernel", "bias": "bias", "scale": "gamma", "mean": "moving_mean", "var": "moving_variance"}
_LETTERS = "abc"
#: Pattern of our module's path → their layer, in which <1> is the pattern's first group.
_RULES = {
    "stem": "conv1",
    "stem_norm": "bn_conv1",
    r"stage(\d)_block(\d+)/(Conv|BatchNorm)_(\d)": None,
    r"stage(\d)_block(\d+)/(projection)(_norm)?": None,
    "fpn/lateral5": "fpn_c5p5",
    r"fpn/lateral(\d)": r"fpn_c\1p\1",
    r"fpn/output(\d)": r"fpn_p\1",
    "rpn/conv": "rpn_conv_shared",
    "rpn/logits": "rpn_class_raw",
    "rpn/deltas": "rpn_bbox_pred",
    r"roi_box/dense(\d)": r"mrcnn_class_conv\1",
    r"roi_box/norm(\d)": r"mrcnn_class_bn\1",
    r"roi_mask/conv(\d)": r"mrcnn_mask_conv\1",
    r"roi_mask/norm(\d)": r"mrcnn_mask_bn\1",
    "roi_mask/deconv": "mrcnn_mask_deconv",
    "head_classes": "mrcnn_class_logits",
    "head_deltas": "mrcnn_bbox_fc",
    "head_masks": "mrcnn_mask",
}


def layer(module: str) -> str | None:
  """The Keras layer of one of our modules, its path joined by slashes; None where there is none."""
  for pattern, name in _RULES.items():
    if match := re.fullmatch(pattern, module):
      return match.expand(name) if name else _block_layer(*match.groups())
  return None


def _block_layer(stage, block, kind, number):
  """Blocks are counted in letters, stages from 2: res4w_branch2c and its norm bn4w_branch2c."""
  branch = "1" if kind == "projection" else f"2{_LETTERS[int(number)]}"
  is_norm = kind == "BatchNorm" or (kind == "projection" and number)
  return f"{'bn' if is_norm else 'res'}{int(stage) + 1}{chr(ord('a') + int(block) - 1)}_branch{branch}"


def _leaf(name, ours):
  """What one of our leaves is called in their layer."""
  return "beta" if ours == "bias" and (name.startswith("bn") or "_bn" in name) else _LEAVES[ours]


def _conv_of(norm):
  """The layer before a norm, whose bias the norm takes."""
  if norm.startswith("mrcnn"):
    return norm.replace("_bn", "_conv")
  return "conv1" if norm == "bn_conv1" else "res" + norm.removeprefix("bn")


def read(path: Path) -> dict[str, np.ndarray]:
  """The arrays of a Keras file of weights or of a whole model by `layer/leaf`, float32.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: h5py is not installed; the file is damaged or none; an array holds NaN or infinity.
  """
  try:
    import h5py
  except ImportError as error:
    raise ValueError(f"{path} is an HDF5 file; to read it, pip install 'galaxy_jax[galaxy10]'.") from error
  if not path.is_file():
    raise FileNotFoundError(f"config.model.pretrained is {path}, and there is no such file.")
  arrays = {}

  def visit(name, item):
    if isinstance(item, h5py.Dataset):
      arrays["/".join(name.split("/")[-2:]).removesuffix(":0")] = np.asarray(item, np.float32)
  try:
    with h5py.File(path, "r", locking=False) as file:
      file.get("model_weights", file).visititems(visit)
  except (OSError, RuntimeError, TypeError, ValueError, KeyError) as error:
    raise ValueError(f"{path} cannot be read as HDF5: {error}. It is damaged, cut short or something else; download it "
                     "again.") from error
  if bad := [name for name, x in arrays.items() if not np.all(np.isfinite(x))]:
    raise ValueError(f"{path} holds NaN or infinity in {', '.join(bad)}; download it again.")
  return arrays


def load(path: Path, variables: Any) -> Any:
  """The variables of a Mask R-CNN, made with OPTIONS, with a Keras file's in their place.

  Args:
    path: an HDF5 file of Keras with matterport's layer names, such as the seed's `galaxia_all_1.h5`.
    variables: the model's variables, first ones; the last layers of the heads stay where the file's are for another
      number of classes, and the log says so.

  Returns:
    The same tree, of float32 numpy arrays.

  Raises:
    FileNotFoundError, ValueError: as `read`.
    ValueError: an array is missing, left over or of another shape; the message names them all.
  """
  arrays = read(path)
  ours = {tuple(str(key.key) for key in where[1:]): leaf
          for where, leaf in jax.tree_util.tree_leaves_with_path(variables)}
  expected, unknown = {}, []
  for where, leaf in ours.items():
    name = layer("/".join(where[:-1]))
    if name is None:
      unknown.append(".".join(where))
      continue
    expected[f"{name}/{_leaf(name, where[-1])}"] = _their_shape(where, tuple(leaf.shape), arrays)
    if where[-1] == "mean":
      expected[f"{_conv_of(name)}/bias"] = tuple(leaf.shape)
  kept = {head for head in _HEADS if head in {where[0] for where in ours} and _is_of_other_classes(
      layer(head), expected, arrays)}
  of_kept = lambda name: name.split("/")[0] in {layer(head) for head in kept}
  misshaped = [f"{name} is {arrays[name].shape}, expected {shape}" for name, shape in expected.items()
               if name in arrays and arrays[name].shape != shape and not of_kept(name)]
  wrong = [f"{reason}: {', '.join(sorted(found))}" for reason, found in (
      ("missing", [*(expected.keys() - arrays.keys()), *(f"the published name of {name}" for name in unknown)]),
      ("not part of the network", arrays.keys() - expected.keys()), ("of another shape", misshaped)) if found]
  if wrong:
    raise ValueError(f"The file {path} in config.model.pretrained does not fit this Mask R-CNN: {'; '.join(wrong)}. "
                     "Make the model with the options in pretrained.matterport.OPTIONS.")
  logger.info("%s: %d arrays of Keras%s.", path, len(arrays), f"; {', '.join(sorted(kept))} stays as it was, since the "
              "file has it for another number of classes" if kept else "")

  def filled(where, leaf):
    where = tuple(str(key.key) for key in where[1:])
    return np.asarray(leaf) if where[0] in kept else _converted(where, tuple(leaf.shape), arrays)
  return jax.tree_util.tree_map_with_path(filled, variables)


def _is_of_other_classes(name, expected, arrays):
  """Whether the file has this layer, for an input of the same width, with another number of outputs."""
  shapes = expected[f"{name}/kernel"], getattr(arrays.get(f"{name}/kernel"), "shape", ())
  return shapes[0] != shapes[1] and shapes[0][:-1] == shapes[1][:-1]


def _their_shape(where, shape, arrays):
  """The shape that one of our arrays has in their file."""
  module, leaf = "/".join(where[:-1]), where[-1]
  if module == "rpn/logits":
    return (*shape[:-1], 2 * shape[-1])
  if leaf == "kernel" and module == "roi_mask/deconv":
    return (*shape[:2], shape[3], shape[2])
  if leaf == "kernel" and module.startswith("roi_box/dense"):
    # A convolution as large as what it sees; how large, our matrix does not say.
    found = getattr(arrays.get(f"{layer(module)}/kernel"), "shape", ())
    side = found[0] if len(found) == 4 and found[0] == found[1] and shape[0] % found[0] ** 2 == 0 else 1
    return (side, side, shape[0] // side**2, shape[1])
  return shape


def _converted(where, shape, arrays):
  """One of our arrays from those of the file, whose shapes are right."""
  module, leaf = "/".join(where[:-1]), where[-1]
  name = layer(module)
  x = arrays[f"{name}/{_leaf(name, leaf)}"]
  if leaf == "mean":
    return x - arrays[f"{_conv_of(name)}/bias"]
  if leaf == "var":
    return x + np.float32(_THEIR_EPSILON - _EPSILON)
  if module == "rpn/logits":
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    return (pairs[..., 1] - pairs[..., 0])[..., ::-1].copy()
  if module == "rpn/deltas":
    deltas = x.reshape(*x.shape[:-1], -1, 4)[..., ::-1, :] / np.float32(BOX_WEIGHTS)
    return deltas.reshape(x.shape)
  if leaf == "kernel" and module == "roi_mask/deconv":
    return x.swapaxes(2, 3)
  return x.reshape(shape)
