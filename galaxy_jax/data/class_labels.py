"""What the class task learns, out of what a data set has: the classes' names, and how many galaxies are in each."""
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from galaxy_jax.data.sources import Source


def names(builder: tfds.core.DatasetBuilder, label: str) -> tuple[str, ...]:
  """The names of a data set's classes, in the order of their numbers.

  Args:
    builder: a prepared data set.
    label: the feature that holds a galaxy's class.

  Raises:
    ValueError: there is no such feature, or it holds no class.
  """
  features = dict(builder.info.features)
  if not isinstance(features.get(label), tfds.features.ClassLabel):
    others = [name for name, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    raise ValueError(f"{builder.info.full_name} has no classes called {label!r}; it has "
                     f"{' and '.join(others) or 'none at all'}. config.data.label names them, config.data.builder the "
                     "data set.")
  return tuple(features[label].names)


def check_same(builder: tfds.core.DatasetBuilder, label: str, learnt: Sequence[str]) -> None:
  """Refuses to measure a run on other classes than it learnt; a data set without classes can be predicted.

  Raises:
    ValueError: the data set's classes are others.
  """
  if isinstance(dict(builder.info.features).get(label), tfds.features.ClassLabel):
    if (found := names(builder, label)) != tuple(learnt):
      raise ValueError(f"The run learnt the classes {', '.join(learnt)}; those of {builder.info.full_name} are "
                       f"{', '.join(found)}: it cannot be measured on them.")


def counts(source: Source, label: str, classes: int) -> np.ndarray:
  """How many of the records are in each class, (classes,); those of unknown class, negative, in none."""
  labels = np.array([source[index][label] for index in range(len(source))])
  return np.bincount(labels[labels >= 0], minlength=classes)
