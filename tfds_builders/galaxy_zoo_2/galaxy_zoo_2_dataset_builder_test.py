"""TFDS's own test of both configurations, on `dummy_data`: generated images of 16 x 16 pixels and generated votes."""
import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")

import tensorflow_datasets as tfds

from tfds_builders.galaxy_zoo_2 import galaxy_zoo_2_dataset_builder


class VotesTest(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = galaxy_zoo_2_dataset_builder.Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["votes"]
  SPLITS = {"train": 14, "validation": 3, "test": 3}


class Morph8Test(tfds.testing.DatasetBuilderTestCase):
  """The same of the eight classes."""
  DATASET_CLASS = galaxy_zoo_2_dataset_builder.Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["morph8"]
  SPLITS = {"train": 10, "validation": 3, "test": 3}


if __name__ == "__main__":
  tfds.testing.test_main()
