"""Published weights, timm's and Zoobot's, as our parameters.

`files.py` brings a safetensors file, `tables.py` says which of its tensors each of our parameters is, and this puts
them there. Every tensor must have its place: what is missing, left over or of another shape is named in an error. The
exceptions are stated in the log: the head, where it predicts something else; the stem, where it sees another number of
colours; outputs that only the published training had.
"""
import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from galaxy_jax.pretrained import files
from galaxy_jax.pretrained.files import is_path
from galaxy_jax.pretrained.tables import TABLES, Table

__all__ = ["PREFIXES", "check", "fill", "is_path", "load", "normalisation"]

logger = logging.getLogger(__name__)

#: What a wrapping module puts before all names of the network it holds: Zoobot's, Lightning's, DataParallel's.
PREFIXES = ("", "encoder.", "model.", "module.", "backbone.", "model.encoder.", "encoder.model.", "module.encoder.")


def normalisation(source: str, model: str) -> str:
  """How images were normalised for published weights, a name in augment.NORMALISATIONS.

  Zoobot's saw pixels in [0, 1] as they are (galaxy-datasets, whose views are scaled and not normalised); others what
  timm gives its family.

  Args:
    source: see `load`; a file whose name does not say Zoobot is taken for timm's.
    model: its name in models.MODELS.
  """
  return "none" if "zoobot" in Path(source).name.lower() else TABLES[model].normalise


def load(source: str, model: str, variables: Any) -> Any:
  """The variables of a model with published weights in their place.

  Args:
    source: a .safetensors file, or a name on the Hugging Face hub.
    model: its name in models.MODELS.
    variables: the model's variables, first ones; what has no published value, such as another head, stays.

  Returns:
    The same tree, of float32 numpy arrays.

  Raises:
    FileNotFoundError: there is no such file, or the hub cannot be reached or does not have it.
    ValueError: no weights are published for this model; the file is pickled, damaged, or another network's.
  """
  check(source, model)
  path = files.find(source)
  return fill(variables, files.read(path), TABLES[model], f"The file {path} in config.model.pretrained", model)


def check(source: str, model: str) -> None:
  """Refuses what can be refused without looking whether the weights are there: a run that has begun needs them no more.

  Raises:
    ValueError: no weights are published for this model; `source` is no safetensors file and no name on the hub.
  """
  if model not in TABLES:
    raise ValueError(f"config.model.pretrained is {source!r}, but there are no published weights of {model!r}; there "
                     f"are of {', '.join(sorted(TABLES))}.")
  files.check(source)


def fill(variables: Any, tensors: dict[str, np.ndarray], table: Table, what: str, model: str) -> Any:
  """Puts published tensors in the place of the variables that `table` gives them.

  Args:
    variables: the model's variables.
    tensors: by published name, perhaps all behind one of PREFIXES.
    table: the family's.
    what: whose tensors they are, for messages.
    model: the network's name, for messages.

  Returns:
    The same tree with the tensors in it, float32 numpy arrays in our layout; the head, where the file has none of its
    shape, as it was.

  Raises:
    ValueError: a tensor is missing, left over or of another shape; the message names them all. Or the head is to stay,
      and `variables` has but its shape.
  """
  ours = {tuple(str(key.key) for key in path[1:]): leaf
          for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}
  names = {path: table.published(path) for path in ours}
  tensors, notes = _unwrapped(tensors, set(names.values()), table)
  kept = _heads_kept(ours, names, tensors, table)
  if kept:
    notes.append(f"{', '.join(sorted(kept))} stays as it was, since the file has none of this shape")
  unused, filled, missing, misshaped = set(tensors), {}, [], []
  for path, leaf in ours.items():
    name, shape = names[path], tuple(leaf.shape)
    if path[0] in kept:
      if isinstance(leaf, jax.ShapeDtypeStruct):
        raise ValueError(f"{what} has no {'.'.join(path)} of shape {shape} for the model {model!r}, and there is no "
                         "first value to keep: initialised variables are expected, not their shapes.")
      unused.discard(name)
      filled[path] = np.asarray(leaf)
    elif name not in tensors:
      missing.append(name or f"the published name of {'.'.join(path)}")
    else:
      unused.discard(name)
      tensor = _in_our_layout(tensors[name], shape)
      if "/".join(path[:-1]) == table.stem and path[-1] == "kernel":
        tensor, note = _with_colours(tensor, shape)
        notes += note
      if tensor.shape != shape:
        found, expected = (tuple(map(int, s)) for s in (tensors[name].shape, _published_shape(shape)))
        misshaped.append(f"{name} is {found}, expected {expected}")
      filled[path] = tensor
  wrong = [f"{reason}: {', '.join(sorted(found))}" for reason, found in (
      ("missing", missing), ("not part of the network", unused), ("of another shape", misshaped)) if found]
  if wrong:
    raise ValueError(f"{what} does not fit the model {model!r}: {'; '.join(wrong)}. Choose the config.model.name and "
                     "config.model.options that the weights were made for.")
  logger.info("%s: %d of %d arrays of %s are published%s.", what, sum(path[0] not in kept for path in ours), len(ours),
              model, "; ".join(["", *notes]))
  return jax.tree_util.tree_map_with_path(lambda path, _: filled[tuple(str(key.key) for key in path[1:])], variables)


def _unwrapped(tensors, wanted, table):
  """The network's own tensors by their plain names, and notes on what else was there."""
  tensors = {name: x for name, x in tensors.items() if not name.endswith("num_batches_tracked")}
  prefix = max(PREFIXES, key=lambda p: sum(p + str(name) in tensors for name in wanted))
  notes, inside = [], {}
  for name, tensor in tensors.items():
    if prefix and name.startswith(prefix):
      inside[name.removeprefix(prefix)] = tensor
    elif not prefix or not name.startswith("head."):  # what a wrapper predicts with is no part of the network
      inside[name] = tensor
  if len(inside) < len(tensors):
    notes.append("the wrapper's head is left out")
  for beginning in table.left_out:
    if extra := {name for name in inside if name.startswith(beginning)}:
      notes.append(f"{beginning}* is left out")
      inside = {name: x for name, x in inside.items() if name not in extra}
  return inside, notes


def _heads_kept(ours, names, tensors, table):
  """Our modules of the head for which the file has nothing, or kernels of another shape; drops its tensors of those.

  Tensors of the published head that our network does not have at all are dropped, too.
  """
  kept = set()
  for module, published in table.head.items():
    path = (module, "kernel")
    theirs = [name for name in tensors if name.rpartition(".")[0] == published]
    fits = path in ours and names[path] in tensors and (
        _in_our_layout(tensors[names[path]], tuple(ours[path].shape)).shape == tuple(ours[path].shape))
    if path not in ours or not theirs or (names[path] in tensors and not fits):
      kept |= {module} & {path[0] for path in ours}
      for name in theirs:
        del tensors[name]
  return kept


def _in_our_layout(tensor, shape):
  """A tensor of PyTorch's layout (outputs, inputs, rows, columns) in ours; a 1×1 convolution may be a dense layer."""
  if tensor.ndim == 4:
    tensor = tensor.transpose(2, 3, 1, 0)
    return tensor[0, 0] if len(shape) == 2 and tensor.shape[:2] == (1, 1) else tensor
  return tensor.T if tensor.ndim == 2 else tensor


def _published_shape(shape):
  """The layout of PyTorch for an array of ours."""
  order = {2: (1, 0), 4: (3, 2, 0, 1)}.get(len(shape), range(len(shape)))
  return tuple(shape[axis] for axis in order)


def _with_colours(kernel, shape):
  """The first convolution for another number of colours, so that a grey image gives what it gave; and a note."""
  if len(shape) == 4 and kernel.ndim == 4 and kernel.shape[2] != shape[2]:
    if shape[2] == 1:
      return kernel.sum(2, keepdims=True), ["the stem takes grey images: its kernels are summed over the colours"]
    if kernel.shape[2] == 1:
      return np.repeat(kernel, shape[2], 2) / np.float32(shape[2]), [
          "the stem was made for grey images: it takes the mean of the colours"]
  return kernel, []
