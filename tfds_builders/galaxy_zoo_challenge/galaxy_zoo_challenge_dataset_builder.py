"""The TFDS builder of the Galaxy Zoo challenge: published JPEG bytes, ids and 37 vote fractions, in order of id."""
import csv
import functools
import io
import itertools

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.galaxy_zoo_challenge import kaggle_download
from tfds_builders.galaxy_zoo_challenge.kaggle_files import COMPETITION, KaggleFiles, how_to_get
from tfds_builders.galaxy_zoo_challenge.validation import Contents, Fault, validate
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.prepare import LEFT_OUT_FILE

_SHARD_BYTES = 64 << 20


class Builder(PreparedBuilder):
  """Galaxy Zoo challenge. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = how_to_get("<manual_dir>")

  @classmethod
  def open_source(cls, manual_dir) -> KaggleFiles:
    """The source files below a folder; raises DataError."""
    return KaggleFiles(manual_dir)

  @classmethod
  def validate(cls, source: KaggleFiles, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the source files; raises DataError."""
    return validate(source, skip_bad=skip_bad, progress=progress)

  @classmethod
  def can_fetch(cls) -> bool:
    """Whether there are credentials to download the source files with."""
    return kaggle_download.has_credentials()

  @classmethod
  def fetch(cls, manual_dir, *, progress: bool) -> bool:
    """Downloads the source files where there are credentials; whether there were. Raises DataError."""
    if not cls.can_fetch():
      return False
    kaggle_download.download(manual_dir, progress=progress)
    return True

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "galaxy_id": np.int64,
            "vote_fractions": tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.float32),
        }),
        supervised_keys=("image", "vote_fractions"),
        homepage=f"https://www.kaggle.com/c/{COMPETITION}",
        disable_shuffling=True,
    )

  def _shard_iterators_per_split(self, dl_manager):
    contents = self.contents
    if contents is None:
      contents = validate(KaggleFiles(dl_manager.manual_dir), progress=self.progress)
    self._write_source_record(contents)
    if contents.left_out:
      with (self.data_path / LEFT_OUT_FILE).open("w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Fault._fields)
        writer.writerows(contents.left_out)
    bar = self._bar("Writing", contents)
    return {split: self._shards(records, bar) for split, records in contents.splits.items()}

  def _shards(self, records, bar):
    """A function for each shard that yields (key, example)."""
    size = sum(record.member.size for record in records)
    bounds = np.linspace(0, len(records), 1 + max(1, min(len(records), round(size / _SHARD_BYTES)))).astype(int)
    return [functools.partial(_examples, records[start:stop], bar) for start, stop in itertools.pairwise(bounds)]


def _examples(records, bar):
  """Yields (key, example) of the records' galaxies."""
  for record in records:
    # TFDS takes a file object's bytes as they are; it would re-encode an array, with TensorFlow.
    image = io.BytesIO(record.images.read(record.member))
    yield record.galaxy_id, {"image": image, "galaxy_id": record.galaxy_id, "vote_fractions": record.vote_fractions}
    bar.update()
  if bar.n == bar.total:
    bar.close()
