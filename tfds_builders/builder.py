"""What the TFDS builders of this package share.

TFDS's builder for given shards is used rather than the one for a stream of examples: it writes each shard as it is
made, so memory stays small, where the other keeps a split in memory and, past 1 GB, spills it with TensorFlow.
"""
import json

import tensorflow_datasets as tfds
from tqdm import tqdm

from tfds_builders.prepare import SOURCE_FILE


class PreparedBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Base of the builders; the protocol they follow is in `tfds_builders.prepare`."""

  #: Checked contents to write, with `fingerprint`, `splits` (name -> what is to be written, with a length) and
  #: `left_out`. None: those of TFDS's manual folder are checked, without tolerance for faults.
  contents = None
  #: Whether to show a progress bar.
  progress = False

  def _write_source_record(self, contents):
    # Written into TFDS's temporary folder: it appears with the finished data set or not at all.
    with (self.data_path / SOURCE_FILE).open("w") as file:
      json.dump({"fingerprint": contents.fingerprint, "left_out": len(contents.left_out)}, file)

  def _bar(self, what, contents):
    """The progress bar over all records."""
    total = sum(map(len, contents.splits.values()))
    return tqdm(desc=what, total=total, unit=" images", disable=None if self.progress else True)

  def _log_download_bytes(self):
    """Says nothing: TFDS would print sizes it does not know to standard output."""

  def _log_download_done(self):
    """Says nothing: `prepare` does."""
