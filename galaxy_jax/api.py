"""For notebooks and scripts: `galaxy_jax.load(workdir_or_name).predict(images)`."""
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_jax import columns, inputs, pictures, predict, predictor, tables
from tfds_builders.images import ImageError, encode_png

#: Images that are decoded before the device sees them.
_AT_ONCE = 512
#: What may become of an image that cannot be used.
ON_ERROR = ("raise", "null")
_ERROR = "error"
#: Libraries that have tables, and what these call the names of their columns.
_TABLES = {"pyarrow": "column_names", "pandas": "columns", "astropy": "colnames"}


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

  def predict(self, images: Any, *, path_column: str | None = None, planes: Sequence[int] = (),
              on_error: str = "raise") -> Any:
    """What the model says of images.

    Args:
      images: an array (H, W, 3) or (N, H, W, 3) uint8; a path, or a list of paths, bytes or arrays; or a table of
        astropy, pandas or pyarrow with a column of paths. Paths are relative to the working directory, or to the zip
        that they lead into, ARCHIVE.zip/MEMBER.
      path_column: that column; None: one of columns.PATHS.
      planes: of FITS cubes: the planes, from 0, that are red, green and blue; or one, to be seen in grey.
      on_error: of an image that cannot be used: "raise", or "null", by which its answers are null (NaN where a kind of
        table has no other null) and a last column `error` says why; it is null, or empty, of the other images.

    Returns:
      A row an image, in order, with the columns of predictor.Predictor.table: a pyarrow.Table, or where a table was
      given one of its kind, its own columns first; one of these that has the name of one of ours, in large or small
      letters, gets the suffix `_input`.

    Raises:
      ValueError: an image that cannot be used (the first such is named), a table without paths, or a wrong option.
    """
    pictures.check_planes(planes)
    if on_error not in ON_ERROR:
      raise ValueError(f"on_error is {on_error!r}; expected {' or '.join(map(repr, ON_ERROR))}.")
    kind = _kind_of_table(images)
    if kind is None:
      return pa.table(self._answers(_one_by_one(images), planes, on_error))
    names = [str(name) for name in getattr(images, _TABLES[kind])]
    paths = _values(kind, images[columns.of_paths("The table", names, path_column, "path_column=…")])
    return _JOINED[kind](images, names, self._answers(paths, planes, on_error))

  def features(self, images: Any, *, planes: Sequence[int] = ()) -> np.ndarray:
    """(N, D) float32: what the model's answers are made from; arguments as for `predict`, no tables."""
    pictures.check_planes(planes)
    return np.concatenate([self.predictor.features(pixels)
                           for pixels, _ in self._batches(_one_by_one(images), planes, "raise")])

  def _answers(self, images, planes, on_error):
    """The columns of answers, a row an image."""
    parts, all_reasons = [], []
    for pixels, reasons in self._batches(images, planes, on_error):
      said = self.predictor.table(self.predictor.answers(pixels))
      if any(reasons):
        rows = iter(range(len(pixels)))
        taken = pa.array([None if reason else next(rows) for reason in reasons], pa.int64())
        said = {name: values.take(taken) for name, values in said.items()}
      parts.append(said)
      all_reasons += reasons
    said = {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
    return said | ({_ERROR: pa.array(all_reasons, pa.string())} if on_error == "null" else {})

  def _batches(self, images, planes, on_error):
    """Some images at a time: (M, size, size, 3) of those that can be used, and of each why not, or None."""
    size = self.predictor.size
    for start in range(0, max(len(images), 1), _AT_ONCE):
      pixels, reasons = [], []
      for number, image in enumerate(images[start:start + _AT_ONCE], start):
        try:
          pixels.append(self._pixels(image, planes))
          reasons.append(None)
        except ImageError as error:
          if on_error == "raise":
            called = f" ({image})" if isinstance(image, str | Path) and str(image) else ""
            raise ValueError(f"Image {number}{called} {error}.") from error
          reasons.append(str(error))
      yield np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8), reasons

  def _pixels(self, image, planes):
    if isinstance(image, np.ndarray):
      return self.predictor.decode(encode_png(_checked(image)))
    if image is None or image == "":
      raise ImageError("has no path")
    if isinstance(image, bytes):
      return pictures.pixels_of(image, "", self.predictor, planes)
    if not isinstance(image, str | Path):
      raise ImageError(f"is of type {type(image).__name__}; a path, bytes or an array was expected")
    return pictures.pixels_of(inputs.read_file(image), str(image), self.predictor, planes)


def load(source: str | Path | None = None, checkpoint: str | int | None = None, tta: int | None = None) -> Model:
  """A trained model: of a run's workdir, or one that comes with the package by its name, or None for the default one.

  Args:
    source: see above.
    checkpoint: 'latest', 'best' or a step; None: the one that the run itself was evaluated at.
    tta: test-time views instead of the run's: 1 upright; 2 with its mirror image; 8 four rotations, each mirrored; an
      odd number that many rotations.

  Raises:
    FileNotFoundError: there is no such run, or no such checkpoint.
    ValueError: the run finds instances.
  """
  return Model(predictor.load(source, checkpoint, tta=tta))


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


def _kind_of_table(images):
  """The library whose table it is; None of what is no table."""
  kind = type(images).__module__.partition(".")[0]
  return kind if kind in _TABLES and hasattr(images, _TABLES[kind]) else None


def _values(kind, column):
  """A table's column as a list, with None where there is nothing."""
  if kind == "pyarrow":
    return column.to_pylist()
  if kind == "pandas":
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
  texts = [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value  # of FITS they are bytes
           for value in column.tolist()]
  return [None if missing else text for text, missing in zip(texts, np.ma.getmaskarray(column), strict=True)]


def _with_pyarrow(given, names, answers):
  renamed = predict.own_names(names, list(answers))
  return pa.table({renamed[name]: given[name] for name in names} | answers)


def _with_pandas(given, names, answers):
  import pandas
  renamed = predict.own_names(names, list(answers))
  own = given.rename(columns={name: new for name, new in renamed.items() if name != new})
  return pandas.concat([own, pa.table(answers).to_pandas().set_axis(given.index)], axis=1)


def _with_astropy(given, names, answers):
  renamed = predict.own_names(names, list(answers))
  result = given.copy()
  for name in reversed(names):  # one may get the name that a later one gives up
    if renamed[name] != name:
      result.rename_column(name, renamed[name])
  for name, values in answers.items():
    result[name] = tables.for_astropy(values, name)
  return result


_JOINED = {"pyarrow": _with_pyarrow, "pandas": _with_pandas, "astropy": _with_astropy}
