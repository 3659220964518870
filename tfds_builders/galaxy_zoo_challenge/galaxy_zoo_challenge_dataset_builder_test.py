"""TFDS's own test of the builder, on `dummy_data`: 20 labelled and 3 unlabelled images of 16 x 16 generated pixels."""
import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")

import tensorflow_datasets as tfds

from tfds_builders.galaxy_zoo_challenge import galaxy_zoo_challenge_dataset_builder


class VotesTest(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = galaxy_zoo_challenge_dataset_builder.Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["votes"]
  SPLITS = {"train": 18, "validation": 2, "test": 3}


class Morph5Test(tfds.testing.DatasetBuilderTestCase):
  """The same of the five-class subset: 17 of the 20 have a class, and two of the classes as many as five galaxies."""
  DATASET_CLASS = galaxy_zoo_challenge_dataset_builder.Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["morph5"]
  SPLITS = {"train": 15, "test": 2}


if __name__ == "__main__":
  tfds.testing.test_main()
