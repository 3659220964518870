"""What the class task learns, out of what a data set has: the classes' names, and how many galaxies are in each."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from galaxy_jax.data.cache import cached
from galaxy_jax.data.sources import Source


def names(builder: tfds.core.DatasetBuilder, label: str) -> tuple[str, ...]:
  """The names of a data set's classes, in the order of their numbers.

  Args:
    builder: a prepared data set.
    label: the feature that holds a galaxy's class.

  Raises:
    ValueError: there is no such feature, or it holds no class.
  """
  if label not in _features(builder):
    raise ValueError(f"{builder.info.full_name} has no classes called {label!r}; it has "
                     f"{' and '.join(_features(builder)) or 'none at all'}. config.data.label names them, "
                     "config.data.builder the data set.")
  return tuple(builder.info.features[label].names)


def _features(builder):
  """The names of a data set's features that hold a class."""
  return [name for name, feature in builder.info.features.items() if isinstance(feature, tfds.features.ClassLabel)]


def check_same(builder: tfds.core.DatasetBuilder, label: str, learnt: Sequence[str]) -> None:
  """Refuses to measure a run on other classes than it learnt; a data set without classes can be predicted.

  Raises:
    ValueError: the data set's classes are others.
  """
  if label in _features(builder):
    if (found := names(builder, label)) != tuple(learnt):
      others = [name for name in _features(builder) if name != label]
      raise ValueError(f"The run learnt the classes {', '.join(learnt)}; those that {builder.info.full_name} calls "
                       f"{label!r} are {', '.join(found)}: it cannot be measured on them."
                       + (f" --label={' or --label='.join(others)} takes others." if others else ""))


def of_split(source: Source, label: str, *, cache_dir: str | Path, key: Any) -> np.ndarray:
  """The classes of all records of a split, (N,); negative where unknown.

  They are kept in a cache, because a record is read with its image.

  Args:
    source: the split.
    label: the feature that holds a galaxy's class.
    cache_dir: where caches lie.
    key: what tells this split from others, as JSON values: `sources.fingerprint`.

  Raises:
    ValueError: the cache cannot be written.
  """
  def write(folder):
    np.save(folder / "classes.npy", np.array([source[index][label] for index in range(len(source))]))
  return np.load(cached(cache_dir, "classes", {"label": label, "key": key}, write) / "classes.npy")


def counts(labels: np.ndarray, classes: int) -> np.ndarray:
  """How many galaxies are in each class.

  Args:
    labels: (N,) their classes; of those of unknown class, negative, none is counted.
    classes: the number of classes.

  Returns:
    (classes,) whole numbers.
  """
  return np.bincount(labels[labels >= 0], minlength=classes)


def repeated_rows(labels: np.ndarray, share: float) -> np.ndarray:
  """Rows in which the galaxies of rare classes come more than once.

  Args:
    labels: (N,) classes, negative where unknown.
    share: a class of n galaxies comes round(share × largest / n) times, at least once, where `largest` is how many the
      most frequent class has; galaxies of unknown class come once.

  Returns:
    (M,) int32 rows in ascending order, M >= N.
  """
  known = np.where(labels >= 0, labels, 0)
  number = np.bincount(labels[labels >= 0], minlength=known.max(initial=0) + 1)
  times = np.maximum(1, np.round(share * number.max() / np.maximum(number, 1))).astype(int)
  return np.repeat(np.arange(len(labels), dtype=np.int32), np.where(labels >= 0, times[known], 1))
