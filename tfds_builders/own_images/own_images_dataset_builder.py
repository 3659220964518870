"""The TFDS builder of a user's own survey. Its features are what the settings and the table say."""
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.contents import Contents
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.own_images.survey import Survey, how_to_get
from tfds_builders.own_images.validation import validate


class Builder(PreparedBuilder):
  """A user's own survey. See README.md beside this file for the settings, features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = how_to_get("<manual_dir>")
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name="survey", description="Your own images and table, as a file own_images.toml describes them.")]

  #: `info` with the source's features.
  _known = None

  def open_source(self, manual_dir) -> Survey:
    """The survey in a folder, or that of a settings file; raises DataError."""
    return Survey(manual_dir)

  def validate(self, source: Survey, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the survey; raises DataError."""
    contents, names, made = validate(source, skip_bad=skip_bad, progress=progress)
    return contents._replace(features=_features(contents, source.settings, names, made))

  @property
  def info(self) -> tfds.core.DatasetInfo:
    """What is known of the data set. TFDS makes it with the builder; here the source, read later, says the features."""
    return self._known or super().info

  def _info(self) -> tfds.core.DatasetInfo:
    # Of a finished data set TFDS reads the features from its folder.
    features = None if self.contents is None else tfds.features.FeaturesDict(self.contents.features)
    return self.dataset_info_from_configs(features=features, disable_shuffling=True)

  def _download_and_prepare(self, dl_manager, download_config=None):
    if self.contents is None:
      self.contents = self.validate(self.open_source(dl_manager.manual_dir), skip_bad=False, progress=self.progress)
    known = self._info()
    known.set_file_format(self.info.file_format)
    self._known = known
    super()._download_and_prepare(dl_manager, download_config)


def _features(contents, settings, class_names, made):
  """TFDS features of the survey's records."""
  example = next(records[0] for records in contents.splits.values())
  # No format: JPEG and PNG files may be mixed, and both are stored as they are.
  features = {"image": tfds.features.Image(shape=(None, None, 3)),
              "galaxy_id": np.int64 if isinstance(example.galaxy_id, int) else tfds.features.Text()}
  for name in ("vote_fractions", "vote_counts"):
    if name in example.values:
      features[name] = tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.float32)
  if "label" in example.values:
    features["label"] = tfds.features.ClassLabel(names=class_names)
  # As bytes: TFDS keeps other floating-point numbers in 32 bits, which is 0.05 arcsec of a coordinate.
  exact = tfds.features.Tensor(shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES)
  features |= dict.fromkeys(settings.keep, exact) | dict.fromkeys(settings.keep_integer, np.int64)
  features |= {name: tfds.features.Text() for name in settings.keep_text}
  return features | ({"nan_pixels": np.int64} if made else {})
