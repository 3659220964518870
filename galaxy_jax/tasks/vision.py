"""How the tasks on whole images see them: a network behind augmentation in training and behind fixed views after it."""
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import augment as augmentation
from galaxy_jax import saliency


class Vision(NamedTuple):
  """A network with the way images come to it.

  Attributes:
    init: key → variables.
    augment: (keys, batch) → batch, with the images as the network takes them.
    train: (variables, batch, keys) → (logits, the new collections other than `params`), of an augmented batch.
    average: (variables, images, layer) → the means over the test-time views of `layer(logits)`, (B, ...), and of the
      features that the head is put on, (B, D).
    explain: (variables, images, classes) → (what the network sees of each working image, upright and in colour,
      (B, size, size, 3) in [0, 1]; maps of where each class is seen in it, and their stage, see saliency.grad_cam).
  """
  init: Callable
  augment: Callable
  train: Callable
  average: Callable
  explain: Callable


class Look(NamedTuple):
  """How a network looks at working images.

  Attributes:
    crop: side of the square of the working image that it sees at zoom 1, in pixels of that.
    upright: (2, 3), the matrix of the plain view.
    matrices: keys → (B, 2, 3), drawn in training.
    colour: (keys, images) → images with other colours, in training.
    taken: images as the network takes them, from colour ones in [0, 1].
    channels: of those images.
  """
  crop: float
  upright: np.ndarray
  matrices: Callable
  colour: Callable
  taken: Callable
  channels: int


def look(*, size: int, view: float, working_size: int, greyscale: bool, geometry: dict, colour: dict,
         normalise: str = "none") -> Look:
  """What arguments of the same name of `make` say.

  Raises:
    ValueError: an unknown normalisation, or ways to turn images that make no sense.
  """
  if normalise not in augmentation.NORMALISATIONS:
    raise ValueError(f"config.augment.normalise is {normalise!r}; expected "
                     f"{', '.join(augmentation.NORMALISATIONS)}.")
  crop = view * working_size
  matrices = partial(augmentation.affine_matrices, crop=crop, size=size, **geometry)
  jax.eval_shape(lambda: matrices(jax.random.split(jax.random.key(0), 1)))
  upright, = augmentation.view_matrices(crop=crop, size=size)
  grey = augmentation.greyscale if greyscale else lambda images: images
  return Look(crop, upright, matrices, partial(augmentation.colour, **colour),
              lambda images: augmentation.NORMALISATIONS[normalise](grey(images)), 1 if greyscale else 3)


def make(network, *, size: int, rotations: int, flips: bool, zooms: Sequence[float], **seen) -> Vision:
  """Puts a network behind its views.

  Args:
    network: a model of galaxy_jax.models.
    size: pixels the network sees.
    rotations: test-time rotations, by equal parts of a turn, 1 for none.
    flips: whether each is mirrored too.
    zooms: and seen at each of these zooms.
    **seen: view: share of the working image's width that it sees; working_size: pixels of the working images;
      greyscale: one channel instead of three; geometry: how images are turned in training, see
      augment.affine_matrices; colour: how their colours change, see augment.colour; normalise: what becomes of the
      pixels last, a name in augment.NORMALISATIONS.

  Raises:
    ValueError: as `look`.
  """
  crop, upright, draw, coloured, taken, channels = look(size=size, **seen)
  views = augmentation.view_matrices(crop=crop, size=size, rotations=[360 * i / rotations for i in range(rotations)],
                                     flips=(False, True) if flips else (False,), zooms=zooms)

  def apply(variables, images):
    return network.apply(variables, images, train=False)

  def init(key):
    images = jnp.zeros((1, size, size, channels))
    return jax.jit(partial(network.init, train=False))(key, images)

  def augment(keys, batch):
    return batch | {"image": taken(coloured(keys, augmentation.warp(batch["image"], draw(keys), size)))}

  def train(variables, batch, keys):
    (logits, _), collections = network.apply(variables, batch["image"], train=True, mask=batch["mask"], keys=keys,
                                             mutable=[name for name in variables if name != "params"])
    return logits, collections

  def average(variables, images, layer):
    # Views are folded into the batch: a loop around convolutions is slow on CPU.
    turned = jnp.stack([augmentation.warp(images, matrix, size) for matrix in views], axis=1)
    logits, features = apply(variables, taken(turned.reshape(-1, *turned.shape[2:])))
    return tuple(jnp.mean(values.reshape(len(images), len(views), *values.shape[1:]), axis=1)
                 for values in (layer(logits), features["pooled"]))

  def explain(variables, images, classes):
    seen = augmentation.warp(images, upright, size)
    return seen, *saliency.grad_cam(apply, variables, taken(seen), classes)

  return Vision(init, augment, train, average, explain)
