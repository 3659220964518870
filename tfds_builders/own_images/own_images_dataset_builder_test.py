"""TFDS's own test of the builder, on `dummy_data`: ten generated images of 16 x 16 pixels in four formats."""
import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")
pytest.importorskip("astropy", reason="one image is a FITS file: pip install 'galaxy_jax[survey]'")

import tensorflow_datasets as tfds

from tfds_builders.own_images import own_images_dataset_builder


class OwnImagesTest(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = own_images_dataset_builder.Builder
  SPLITS = {"train": 4, "test": 6}


if __name__ == "__main__":
  tfds.testing.test_main()
