"""Simulated records: rendered in batches by `galaxy_jax.simulate`, encoded as the survey's images are.

The one module of this package that needs jax, and only when something is rendered. A record depends on the seed and its
own number alone: key `fold_in(key(seed), number)`. So any part of a data set can be made anywhere, in any order.
"""
import functools
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tfds_builders import rle
from tfds_builders.errors import DataError

#: The challenge's JPEGs have the quantisation tables of libjpeg's quality 75, chroma halved both ways and 96 dots per
#: inch, as all 300 of its test images and 5,761 of its training images show.
_JPEG = {"quality": 75, "subsampling": "4:2:0", "dpi": (96, 96)}

#: How many are rendered in one call. A scene holds a mask for each of its objects.
_GALAXIES, _SCENES = 32, 8


class Recipe(NamedTuple):
  """What is rendered.

  Attributes:
    seed: tells data sets apart: no galaxy is in two of them.
    size: side of the images, pixels.
    rendered: side at which a galaxy is rendered, pixels; below `size` it is then scaled up as the survey's own
      cut-outs are, its mask and box with it.
    mix: a population of `simulate.MIXES`; None for scenes.
  """
  seed: int
  size: int
  rendered: int
  mix: str | None


def simulator():
  """The module `galaxy_jax.simulate`.

  Raises:
    DataError: it or jax is not installed.
  """
  try:
    from galaxy_jax import simulate
  except ImportError as error:
    raise DataError(f"Simulated data are rendered by galaxy_jax with jax, which cannot be imported ({error}). Install "
                    "them: pip install galaxy_jax; a finished build is read without.") from None
  return simulate


@functools.cache
def _renderer(simulated, **settings):
  """Compiled `simulate.galaxy` or `scene`: from a key and (B,) uint32 numbers to a batch of what it gives."""
  import jax
  one = functools.partial(simulated, **settings)
  return jax.jit(lambda key, numbers: jax.vmap(lambda number: one(jax.random.fold_in(key, number)))(numbers))


def _rendered(recipe: Recipe, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  """Yields (number, what the simulator gives); a batch is computed while the one before it is taken."""
  simulate = simulator()
  import jax
  if recipe.mix is None:
    render, batch = _renderer(simulate.scene, size=recipe.rendered), _SCENES
  else:
    render, batch = _renderer(simulate.galaxy, size=recipe.rendered, mix=recipe.mix), _GALAXIES
  key = jax.random.key(recipe.seed)
  parts = [np.asarray(numbers[start:start + batch], np.uint32) for start in range(0, len(numbers), batch)]
  # Repeated to a whole batch, so that one program is compiled and gives the same galaxies in every part.
  ahead = (render(key, np.resize(part, batch)) for part in parts)
  following = next(ahead, None)
  for part in parts:
    results, following = following, next(ahead, None)
    results = {name: np.asarray(values) for name, values in results.items()}
    for row, number in enumerate(part):
      yield int(number), {name: values[row] for name, values in results.items()}


def records(recipe: Recipe, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
  """Yields a record for each number, in order.

  Args:
    recipe: what is rendered.
    numbers: 0 to 2³² - 1.

  Returns:
    Of galaxies: `galaxy_id`, `image` (JPEG), `mask` (PNG, 0 and 255), `box`, and the labels as `simulate.galaxy` gives
    them. Of scenes: `scene_id`, `image`, and for each object that is seen `masks` (`rle.encode`), `boxes`, `classes`.

  Raises:
    DataError: jax is not installed.
  """
  encode = functools.partial(_scene if recipe.mix is None else _galaxy, recipe)
  # Pillow lets go of Python's lock while it scales and encodes.
  with ThreadPoolExecutor() as pool:
    waiting = []
    for item in _rendered(recipe, numbers):
      waiting.append(pool.submit(encode, *item))
      if len(waiting) > _GALAXIES:
        yield waiting.pop(0).result()
    for future in waiting:
      yield future.result()


def _galaxy(recipe, galaxy_id, rendered):
  mask = _resized(Image.fromarray(rendered["mask"].astype(np.uint8) * 255), recipe.size, Image.Resampling.NEAREST)
  left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
  labels = {name: rendered[name] for name in ("vote_fractions", "vote_counts", "five_class", "ten_class", "kind")}
  return {"galaxy_id": galaxy_id, "image": jpeg(rendered["image"], recipe.size),
          "mask": _encoded(mask, "PNG"), "box": np.array([top, left, bottom, right], np.float32), **labels}


def _scene(recipe, scene_id, rendered):
  seen = np.flatnonzero(rendered["valid"])
  return {"scene_id": scene_id, "image": jpeg(rendered["image"], recipe.size), "boxes": rendered["boxes"][seen],
          "classes": rendered["classes"][seen], "masks": [rle.encode(rendered["masks"][i]) for i in seen]}


def jpeg(pixels: np.ndarray, size: int) -> bytes:
  """An image (S, S, 3) uint8 as a JPEG file of `size` pixels a side, coded as the challenge's are."""
  return _encoded(_resized(Image.fromarray(pixels), size, Image.Resampling.BICUBIC), "JPEG", **_JPEG)


def _resized(image, size, resampling):
  return image if image.width == size else image.resize((size, size), resampling)


def _encoded(image, file_format, **options):
  file = io.BytesIO()
  image.save(file, file_format, **options)
  return file.getvalue()
