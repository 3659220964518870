"""The TFDS builder of galaxies with outlines and classes, from files of the VGG Image Annotator or COCO."""
import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.class_lists import MASK_CLASSES
from tfds_builders.contents import Contents
from tfds_builders.mask_galaxy.annotation_files import AnnotationFiles, how_to_get
from tfds_builders.mask_galaxy.validation import validate


class Builder(PreparedBuilder):
  """Galaxies with outlines. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = how_to_get("<manual_dir>")
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(
      name="instances", description="Images with an outline, box and class for each galaxy, spiral or elliptical.")]

  def open_source(self, manual_dir) -> AnnotationFiles:
    """The source files below a folder; raises DataError."""
    return AnnotationFiles(manual_dir)

  def validate(self, source: AnnotationFiles, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the source files; raises DataError."""
    return validate(source, skip_bad=skip_bad, progress=progress)

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": tfds.features.Text(),
            "objid": np.int64,
            "boxes": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
            "classes": tfds.features.Sequence(tfds.features.ClassLabel(names=MASK_CLASSES)),
            "ignore": tfds.features.Tensor(shape=(None,), dtype=np.bool_),
            "polygons": tfds.features.Sequence(tfds.features.Text()),
        }),
        homepage="https://github.com/hfarias/mask_galaxy",
        disable_shuffling=True,
    )
