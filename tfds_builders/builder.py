"""What the TFDS builders of this package share.

TFDS's builder for given shards is used rather than the one for a stream of examples: it writes each shard as it is
made, so memory stays small, where the other keeps a split in memory and, past 1 GB, spills it with TensorFlow. It also
gives each shard to a worker where TFDS was given a runner of Apache Beam.
"""
import csv
import itertools
import json

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from tfds_builders.contents import Fault, printable
from tfds_builders.prepare import LEFT_OUT_FILE, SOURCE_FILE

_SHARD_BYTES = 64 << 20


class PreparedBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Base of the builders; the protocol they follow is in `tfds_builders.prepare`."""

  #: The checked contents to write, a `contents.Contents`. None: those of TFDS's manual folder are checked, without
  #: tolerance for faults.
  contents = None
  #: Whether to show a progress bar.
  progress = False

  def can_fetch(self) -> bool:
    """Whether the source files can be downloaded."""
    return False

  def fetch(self, manual_dir, *, progress: bool) -> bool:
    """Downloads the source files where they can be; whether they could."""
    return False

  def _shard_iterators_per_split(self, dl_manager):
    contents = self.contents
    if contents is None:
      # TFDS knows no manual folder of a data set that has no instructions how to fill it.
      manual_dir = dl_manager.manual_dir if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
      contents = self.validate(self.open_source(manual_dir), skip_bad=False, progress=self.progress)
    # Both are written into TFDS's temporary folder: they appear with the finished data set or not at all.
    with (self.data_path / SOURCE_FILE).open("w") as file:
      json.dump({"fingerprint": contents.fingerprint, "left_out": len(contents.left_out)}, file)
    if contents.left_out:
      with (self.data_path / LEFT_OUT_FILE).open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Fault._fields)
        writer.writerows(map(_printable, contents.left_out))
    total = sum(map(len, contents.splits.values()))
    bar = tqdm(desc="Writing", total=total, unit=" images", disable=None if self.progress else True)
    return {split: _shards(contents, records, bar) for split, records in contents.splits.items()}

  def _log_download_bytes(self):
    """Says nothing: TFDS would print sizes it does not know to standard output."""

  def _log_download_done(self):
    """Says nothing: `prepare` does."""


def _printable(fault):
  """A fault's values; bytes of a file's name that are no UTF-8, which could not be written, are spelled out."""
  return [printable(value) if isinstance(value, str) else value for value in fault]


def _shards(contents, records, bar):
  number = max(1, min(len(records), round(len(records) * contents.record_bytes / _SHARD_BYTES)))
  bounds = np.linspace(0, len(records), 1 + number).astype(int)
  return [_Shard(contents.examples, records[start:stop], bar) for start, stop in itertools.pairwise(bounds)]


class _Shard:
  """Called, it yields (key, example) of some records; sent to another process, it leaves the progress bar behind."""

  def __init__(self, examples, records, bar=None):
    self._examples, self._records, self._bar = examples, records, bar

  def __reduce__(self):
    return _Shard, (self._examples, self._records)

  def __call__(self):
    for example in self._examples(self._records):
      yield example
      if self._bar is not None:
        self._bar.update()
        if self._bar.n == self._bar.total:
          self._bar.close()
