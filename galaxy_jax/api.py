"""For notebooks and scripts: `galaxy_jax.load(workdir_or_name).predict(images)`."""
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_jax import inputs, predictor
from tfds_builders.images import ImageError, encode_png

#: Images that are decoded before the device sees them.
_AT_ONCE = 512


class Model:
  """A trained model; from `load`.

  Attributes:
    predictor: what it answers by, see predictor.Predictor: its name, columns, facts, calibration.
  """

  def __init__(self, trained: predictor.Predictor):
    self.predictor = trained

  def __repr__(self):
    facts = ", ".join(f"{key} {value}" for key, value in self.predictor.facts.items())
    return f"<galaxy_jax model {self.predictor.name}: {self.predictor.task}; {facts}>"

  def predict(self, images: Any, *, path_column: str | None = None) -> Any:
    """What the model says of images.

    Args:
      images: an array (H, W, 3) or (N, H, W, 3) uint8; a path, or a list of paths, bytes or arrays; or a table of
        astropy, pandas or pyarrow with a column of paths.
      path_column: that column; None: one of inputs.PATH_COLUMNS.

    Returns:
      A row an image, in order, with the columns of predictor.Predictor.table: a pyarrow.Table, or where a table was
      given one of its kind, its own columns first.

    Raises:
      ValueError: an image that cannot be read (the first such is named), or a table without paths.
    """
    table = _as_arrow(images)
    if table is None:
      return pa.table(self._columns(_one_by_one(images)))
    column = _column_of_paths(table.column_names, path_column)
    answers = self._columns(table[column].to_pylist())
    twice = answers.keys() & set(table.column_names)
    if twice:
      raise ValueError(f"The table has columns of what is to be predicted: {', '.join(sorted(twice))}. Rename them.")
    whole = pa.table({name: table[name] for name in table.column_names} | answers)
    return _like(images, whole)

  def features(self, images: Any) -> np.ndarray:
    """(N, D) float32: what the model's answers are made from; `images` as for `predict`, no tables."""
    return np.concatenate([self.predictor.features(pixels) for pixels in self._batches(_one_by_one(images))])

  def _columns(self, images):
    parts = [self.predictor.table(self.predictor.answers(pixels)) for pixels in self._batches(images)]
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}

  def _batches(self, images):
    """Decoded images (N, size, size, 3), some at a time; an empty batch of none."""
    size = self.predictor.size
    for start in range(0, max(len(images), 1), _AT_ONCE):
      some = [self._pixels(image, start + number) for number, image in enumerate(images[start:start + _AT_ONCE])]
      yield np.stack(some) if some else np.zeros((0, size, size, 3), np.uint8)

  def _pixels(self, image, number):
    try:
      if isinstance(image, np.ndarray):
        return self.predictor.decode(encode_png(_checked(image)))
      name = "" if isinstance(image, bytes) else str(image)
      data = image if isinstance(image, bytes) else inputs.read_file(image)
      return inputs.pixels_of(data, name, self.predictor)
    except ImageError as error:
      called = f" ({image})" if isinstance(image, str | Path) else ""
      raise ValueError(f"Image {number}{called} {error}.") from error


def load(source: str | Path | None = None, checkpoint: str | int | None = None) -> Model:
  """A trained model: of a run's workdir, or one that comes with the package by its name, or None for the default one.

  Args:
    source: see above.
    checkpoint: 'latest', 'best' or a step; None: the one that the run itself was evaluated at.

  Raises:
    FileNotFoundError: there is no such run, or no such checkpoint.
    ValueError: the run finds instances.
  """
  return Model(predictor.load(source, checkpoint))


def _checked(image):
  if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
    raise ImageError(f"is an array {image.shape} of {image.dtype}; (H, W, 3) uint8 was expected")
  return np.ascontiguousarray(image)


def _one_by_one(images) -> Sequence[Any]:
  """The images as a sequence: of one its only member."""
  if isinstance(images, np.ndarray):
    return images[None] if images.ndim == 3 else images
  if isinstance(images, str | bytes | Path):
    return [images]
  if isinstance(images, Iterable):
    return list(images)
  raise ValueError(f"Images are an array, paths, bytes or a table; got {type(images).__name__}.")


def _column_of_paths(names, given):
  lowered = {name.lower(): name for name in reversed(names)}
  known = [lowered[name] for name in inputs.PATH_COLUMNS if name in lowered] if given is None else []
  found = given if given in names else next(iter(known), None)
  if found is None:
    raise ValueError(f"The table has no column {given!r}." if given else "The table has no column of paths: none is "
                     f"called {', '.join(inputs.PATH_COLUMNS)}. Say which it is: path_column=….")
  return found


def _as_arrow(images) -> pa.Table | None:
  """A table's columns of one value a row, None of what is no table."""
  if isinstance(images, pa.Table):
    return images
  kind = type(images).__module__.partition(".")[0]
  if kind == "pandas" and hasattr(images, "columns"):
    return pa.Table.from_pandas(images, preserve_index=False)
  if kind == "astropy" and hasattr(images, "colnames"):
    flat = [name for name in images.colnames if images[name].ndim == 1]
    return pa.table({name: [value.item() if hasattr(value, "item") else value for value in
                            np.ma.filled(np.asarray(images[name]).astype(object), None)] for name in flat})
  return None


def _like(given, table):
  """The table as one of the kind that was given."""
  kind = type(given).__module__.partition(".")[0]
  if kind == "pandas":
    result = table.to_pandas()
    result.index = given.index
    return result
  if kind == "astropy":
    result = given.copy()
    for name in table.column_names:
      if name not in given.colnames:
        values = table[name]
        result[name] = values.to_pylist() if pa.types.is_string(values.type) else values.to_numpy()
    return result
  return table
