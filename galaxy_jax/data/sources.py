"""Records by index out of a prepared TFDS dataset: a source gives `len(source)` and `source[i]`, nothing else.

The datasets are ArrayRecord files, read by index without TensorFlow; images stay the published bytes, which
`decode` turns into pixels.
"""
from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow_datasets as tfds

from tfds_builders.prepare import source_record


class Source(Protocol):
  """Records by index."""

  def __len__(self) -> int:
    """The number of records."""

  def __getitem__(self, index: int) -> Mapping[str, Any]:
    """Record `index`: `image` as encoded bytes, beside its labels."""


def split_source(builder: tfds.core.DatasetBuilder, split: str) -> Source:
  """The records of a split.

  Args:
    builder: a prepared dataset in ArrayRecord files.
    split: TFDS's notation: "train", "train[:635]", "train[90%:]", "train[635:]+validation".

  Returns:
    The source: images, and masks that are images, as the stored bytes; the other features as numbers and numpy arrays;
    `galaxy_id` in every record of a data set whose galaxies have an id of any name.

  Raises:
    ValueError: the dataset is not prepared, or not as ArrayRecord files; the split does not exist, is not in the
      notation, or holds no record.
  """
  name, splits = builder.info.full_name, builder.info.splits
  without_version = name.rpartition("/")[0]
  if not splits:
    raise ValueError(f"{name} is not prepared: nothing was found in {builder.data_path}. "
                     f"Build it with: python -m tfds_builders {without_version} --data_dir=…")
  if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
    raise ValueError(f"{builder.data_path} is a build in {builder.info.file_format.value} files; array_record ones are "
                     f"expected. Build it again with: python -m tfds_builders {without_version} "
                     "--file_format=array_record --data_dir=…")
  stored = {name: tfds.decode.SkipDecoding() for name, feature in builder.info.features.items()
            if isinstance(feature, tfds.features.Image)}
  try:
    if splits[split].num_examples < 1:
      raise ValueError("it holds none")
    source = builder.as_data_source(split=split, decoders=stored)
    len(source)  # A slice that ends before it begins, in a sum of some, is only noticed here.
  except (ValueError, NotImplementedError) as error:
    known = ", ".join(f"{name} ({info.num_examples} records)" for name, info in splits.items())
    reason = str(error).splitlines()[-1].rstrip(".")
    raise ValueError(f"{name} has no records for the split {split!r}: {reason}. Expected a split, or a part or a sum "
                     f'of them, such as "train[:90%]" or "train[100:]+validation"; there are {known}.') from error
  named = next((name for name in _IDS if name in builder.info.features), None)
  return source if named in ("galaxy_id", None) else _WithId(source, named)


#: What may name a galaxy where a data set has no `galaxy_id`.
_IDS = ("galaxy_id", "objid", "asset_id", "index", "scene_id")


class _WithId:
  """Records with another of their features as `galaxy_id` too."""

  def __init__(self, source, name):
    self._source, self._name = source, name

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    record = self._source[index]
    return record | {"galaxy_id": record[self._name]}


class Rows:
  """The records of another source at these rows, which may come more than once."""

  def __init__(self, source: Source, rows):
    self._source, self._rows = source, rows

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    return self._source[int(self._rows[index])]


def fingerprint(builder: tfds.core.DatasetBuilder, split: str) -> dict[str, Any]:
  """What a split was read from, as plain JSON values: equal for equal data, to be kept with caches and checkpoints.

  Args:
    builder: a prepared dataset.
    split: TFDS's notation.

  Returns:
    dataset (name/configuration/version), split, records, first_id and last_id (of `galaxy_id`, None without one),
    bytes (of all records, by split), source (what the build says of its source files, `prepare.source_record`).

  Raises:
    ValueError: as `split_source`.
  """
  source = split_source(builder, split)
  first, last = (_plain(source[i].get("galaxy_id")) for i in (0, len(source) - 1))
  return {
      "dataset": builder.info.full_name,
      "split": split,
      "records": len(source),
      "first_id": first,
      "last_id": last,
      "bytes": {name: int(info.num_bytes) for name, info in builder.info.splits.items()},
      "source": source_record(builder),
  }


def _plain(identity) -> int | str | None:
  """A galaxy's id as a JSON value."""
  if identity is None:
    return None
  return identity.decode() if isinstance(identity, bytes) else int(identity)
