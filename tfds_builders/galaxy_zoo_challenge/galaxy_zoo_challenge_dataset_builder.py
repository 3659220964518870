"""The TFDS builder of the Galaxy Zoo challenge: published JPEG bytes, ids and 37 vote fractions, in order of id."""
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.class_lists import FIVE_CLASSES
from tfds_builders.contents import Contents
from tfds_builders.galaxy_zoo_challenge import kaggle_download
from tfds_builders.galaxy_zoo_challenge.kaggle_files import COMPETITION, KaggleFiles, how_to_get
from tfds_builders.galaxy_zoo_challenge.validation import validate
from tfds_builders.gz2_tree import COLUMNS


class Builder(PreparedBuilder):
  """Galaxy Zoo challenge. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = how_to_get("<manual_dir>")
  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name="votes", description="All galaxies, with 37 vote fractions."),
      tfds.core.BuilderConfig(name="morph5", description="The five-class subset of Zhu et al. 2019."),
  ]

  def open_source(self, manual_dir) -> KaggleFiles:
    """The source files below a folder; raises DataError."""
    return KaggleFiles(manual_dir)

  def validate(self, source: KaggleFiles, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the source files; raises DataError."""
    return validate(source, five_classes=self._five_classes, skip_bad=skip_bad, progress=progress)

  def can_fetch(self) -> bool:
    """Whether there are credentials to download the source files with."""
    return kaggle_download.has_credentials()

  def fetch(self, manual_dir, *, progress: bool) -> bool:
    """Downloads the source files where there are credentials; whether there were. Raises DataError."""
    if not self.can_fetch():
      return False
    kaggle_download.download(manual_dir, progress=progress)
    return True

  @property
  def _five_classes(self) -> bool:
    return self.builder_config.name == "morph5"

  def _info(self) -> tfds.core.DatasetInfo:
    label = {"label": tfds.features.ClassLabel(names=FIVE_CLASSES)} if self._five_classes else {}
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "galaxy_id": np.int64,
            "vote_fractions": tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.float32),
            **label,
        }),
        supervised_keys=("image", "label" if self._five_classes else "vote_fractions"),
        homepage=f"https://www.kaggle.com/c/{COMPETITION}",
        disable_shuffling=True,
    )
