"""A config's data: the data set it names, its splits as they are learnt, and what is in them."""
import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from galaxy_jax.data import class_labels, decode, instance_labels, sources, vote_labels
from galaxy_jax.detection import bit_planes
from galaxy_jax.experiment import finds_instances, is_simulated
from galaxy_jax.tasks import classes as class_tasks
from galaxy_jax.tasks import votes
from tfds_builders.prepare import prepare

logger = logging.getLogger(__name__)


def open_dataset(config: ml_collections.ConfigDict):
  """The config's data set, built on first use: a TFDS builder.

  Raises:
    ValueError: real galaxies are asked for, or files given, and the data set is simulated; or as `prepare`.
  """
  d = config.data
  if d.source == "real" and is_simulated(d.builder):
    raise ValueError(f"config.data.source is 'real', but config.data.builder is {d.builder!r}, whose galaxies are "
                     "simulated.")
  if d.manual_dir and is_simulated(d.builder):
    raise ValueError(f"The files in {d.manual_dir} are not those of the data set {d.builder}, which is simulated. Name "
                     "the data set that is made of them too: config.data.builder, or --builder of galaxy_jax.evaluate.")
  with _first_host_first(f"data set {d.builder}"):
    return prepare(d.builder, manual_dir=d.manual_dir or None, data_dir=d.data_dir or None, skip_bad=d.skip_bad,
                   progress=jax.process_index() == 0)


def open_split(config: ml_collections.ConfigDict, builder, split: str) -> decode.Decoded:
  """A split's decoded pixels, from the cache where they are there already, and its labels as they are learnt."""
  d = config.data
  source, key = sources.split_source(builder, split), sources.fingerprint(builder, split)
  if finds_instances(config):
    source = _instances(config, builder, source)
    key |= {"instances": [instance_labels.READER, d.max_instances, *d.ignore_classes]}
  with _first_host_first(f"pixels of {split}"):
    data = decode.decoded(source, crop=d.crop or None, size=d.size, workers=d.workers or None,
                          progress=jax.process_index() == 0, cache_dir=_cache_dir(config, builder), key=key)
  if finds_instances(config):
    instance_labels.describe(data.labels, split)
    return data
  return data._replace(labels=vote_labels.of_split(data.labels, split, **_votes_learned(config)))


def _cache_dir(config, builder):
  """Where what is slow to make out of a data set is kept."""
  return config.data.cache_dir or Path(builder.data_dir) / "decoded"


def open_source(config: ml_collections.ConfigDict, builder, split: str) -> sources.Source:
  """A split's records with the labels as they are learnt: what `open_split` decodes, one by one."""
  if finds_instances(config):
    return _instances(config, builder, sources.split_source(builder, split))
  return vote_labels.Learned(sources.split_source(builder, split), **_votes_learned(config))


def _instances(config, builder, source):
  d = config.data
  return instance_labels.Learned(source, builder, slots=d.max_instances, ignored=tuple(d.ignore_classes),
                                 crop=d.crop or None, size=d.size)


def _votes_learned(config):
  return {"target": config.data.target, "counts": config.loss.name == votes.ON_COUNTS,
          "volunteers": config.loss.volunteers}


@contextlib.contextmanager
def _first_host_first(what: str) -> Iterator[None]:
  """Lets the other hosts in after the first is through: on a shared file system they find its work done."""
  several = jax.process_count() > 1
  if several and jax.process_index() > 0:
    multihost_utils.sync_global_devices(what)
  yield
  if several and jax.process_index() == 0:
    multihost_utils.sync_global_devices(what)


def class_names(config: ml_collections.ConfigDict, builder) -> tuple[str, ...] | None:
  """The names of the classes that the config's task learns from a data set; None where it learns none.

  Raises:
    ValueError: the data set has no such classes.
  """
  if finds_instances(config):
    return instance_labels.names(builder, tuple(config.data.ignore_classes))
  return class_labels.names(builder, config.data.label) if config.task == "classes" else None


def check_same_classes(config: ml_collections.ConfigDict, builder, learnt: Sequence[str] | None) -> None:
  """Refuses to measure a run on other classes than it learnt; a data set without classes can be predicted.

  Raises:
    ValueError: the data set's classes are others.
  """
  if finds_instances(config):
    instance_labels.check_same(builder, tuple(config.data.ignore_classes), learnt)
  elif learnt is not None:
    class_labels.check_same(builder, config.data.label, learnt)


def needed(config: ml_collections.ConfigDict, labels: Sequence[str]) -> tuple[str, ...]:
  """The features that a data set must have for the labels of the config's task to follow."""
  return ("classes",) if finds_instances(config) else vote_labels.needed(labels, target=config.data.target)


def bytes_of_a_row(config: ml_collections.ConfigDict) -> int:
  """What a galaxy of a decoded split takes on a device: its pixels and, of instances, the masks of its objects."""
  planes = bit_planes.planes(config.data.max_instances) if finds_instances(config) else 0
  return config.data.size**2 * (3 + planes)


def labels_of(config: ml_collections.ConfigDict, builder, split: str) -> np.ndarray:
  """The classes of a split's galaxies, (N,), negative where unknown; read once and kept beside its pixels."""
  return class_labels.of_split(sources.split_source(builder, split), config.data.label,
                               cache_dir=_cache_dir(config, builder), key=sources.fingerprint(builder, split))


def class_counts(config: ml_collections.ConfigDict, builder, classes: Sequence[str] | None) -> np.ndarray | None:
  """How many galaxies of the training split each class has, where the config needs it; None elsewhere. Logs them.

  Raises:
    ValueError: the config needs it and does not train on a split.
  """
  needed = {"loss.class_weights": config.loss.class_weights == "balanced",
            "model.head_bias": config.model.head_bias == "log_frequencies"}
  if config.task != "classes" or classes is None or not any(needed.values()):
    return None
  if config.data.source == "simulated":
    key = next(key for key, is_needed in needed.items() if is_needed)
    raise ValueError(f"config.{key} counts the classes of the training split, but with config.data.source 'simulated' "
                     "there is none: every step draws new galaxies.")
  counts = class_labels.counts(labels_of(config, builder, config.data.train), len(classes))
  weights = class_tasks.balanced_weights(counts) if needed["loss.class_weights"] else np.ones(len(classes))
  logger.info("Classes of %s, with their weights in the loss: %s.", config.data.train, "; ".join(
      f"{name} {count:,} × {weight:.3g}" for name, count, weight in zip(classes, counts, weights, strict=True)))
  return counts


def has_split(builder, split: str) -> bool:
  """Whether the data set has the split: that of a `split[...]` expression or a sum of them."""
  return all(part.split("[")[0].strip() in builder.info.splits for part in split.split("+"))


def check_labelled(builder, split: str, labels: Sequence[str]) -> None:
  """Refuses a split that lacks a label, such as a competition's test split; some of its galaxies may lack theirs.

  Raises:
    ValueError: of one of the labels no galaxy has any, or the data set does not have it at all.
  """
  if absent := [name for name in labels if name not in builder.info.features]:
    raise ValueError(f"{builder.info.full_name} has no {' and no '.join(absent)} to learn from; it has "
                     f"{', '.join(builder.info.features)}. config.task says what is learnt; images without labels "
                     "are predicted by python -m galaxy_jax.evaluate.")
  source = sources.split_source(builder, split)
  for name in labels:
    if all(_is_absent(record[name]) for record in source):
      raise ValueError(f"The split {split!r} of {builder.info.full_name} has no labels, as its {name} is empty: it can "
                       "be predicted (config.data.test), but neither trained nor evaluated on.")


def _is_absent(label) -> bool:
  """Whether a record lacks a label: NaN throughout, or a negative class."""
  label = np.asarray(label)
  return bool(np.all(np.isnan(label)) if label.dtype.kind == "f" else np.all(label < 0))
