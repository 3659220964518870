"""TFDS's own test of the builder, on `dummy_data`: four and two images of 32 x 32 generated pixels."""
import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")

import tensorflow_datasets as tfds

from tfds_builders.mask_galaxy import mask_galaxy_dataset_builder


class MaskGalaxyTest(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = mask_galaxy_dataset_builder.Builder
  SPLITS = {"train": 4, "validation": 2}


if __name__ == "__main__":
  tfds.testing.test_main()
