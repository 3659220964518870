"""The TFDS builder of Galaxy Zoo 2: published JPEG bytes with the volunteers' answers, or one of eight classes."""
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.class_lists import EIGHT_CLASSES
from tfds_builders.contents import Contents
from tfds_builders.galaxy_zoo_2 import morph8, votes
from tfds_builders.galaxy_zoo_2.gz2_files import EIGHT_CLASS_TABLES, MAPPING, VOTES, GZ2Files, how_to_get
from tfds_builders.galaxy_zoo_2.hart16 import SUFFIXES, WHOLE
from tfds_builders.gz2_tree import COLUMNS


class Builder(PreparedBuilder):
  """Galaxy Zoo 2. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = how_to_get("<manual_dir>")
  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name="votes", description="What volunteers answered: counts, fractions, debiased "
                              "fractions (Hart et al. 2016)."),
      tfds.core.BuilderConfig(name="morph8", description="Eight classes with their published split "
                              "(arXiv 2110.01024)."),
  ]

  def open_source(self, manual_dir) -> GZ2Files:
    """The source files below a folder; raises DataError."""
    if self._eight_classes:
      return GZ2Files(manual_dir, tuple(EIGHT_CLASS_TABLES.values()), optional=(MAPPING,))
    return GZ2Files(manual_dir, (MAPPING, VOTES))

  def validate(self, source: GZ2Files, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the source files; raises DataError."""
    return (morph8 if self._eight_classes else votes).validate(source, skip_bad=skip_bad, progress=progress)

  @property
  def _eight_classes(self) -> bool:
    return self.builder_config.name == "morph8"

  def _info(self) -> tfds.core.DatasetInfo:
    def answers(dtype):
      return tfds.features.Tensor(shape=(len(COLUMNS),), dtype=dtype)

    # As bytes: TFDS's records have no other numbers than float32 and int64.
    degrees = tfds.features.Tensor(shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES)
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
        "objid": np.int64,
        "asset_id": np.int64,
    }
    if self._eight_classes:
      features["label"] = tfds.features.ClassLabel(names=EIGHT_CLASSES)
    else:
      features |= {
          "sample": tfds.features.Text(),
          "ra": degrees,
          "dec": degrees,
          "gz2_class": tfds.features.Text(),
          "total_classifications": np.int64,
          "total_votes": np.int64,
          **{suffix: answers(np.int32 if suffix in WHOLE else np.float32) for suffix in SUFFIXES},
          "vote_fractions": answers(np.float32),
      }
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features),
        supervised_keys=("image", "label" if self._eight_classes else "vote_fractions"),
        homepage="https://data.galaxyzoo.org",
        disable_shuffling=True,
    )
