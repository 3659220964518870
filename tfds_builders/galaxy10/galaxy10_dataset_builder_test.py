"""TFDS's own test of the builder, on `dummy_data`: files of generated steps of colour, 10 of DECaLS and 10 of SDSS."""
import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")
pytest.importorskip("h5py", reason="Galaxy10's files need h5py: pip install 'galaxy_jax[galaxy10]'")

import tensorflow_datasets as tfds

from tfds_builders.galaxy10 import galaxy10_dataset_builder


class Galaxy10Test(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = galaxy10_dataset_builder.Builder
  SPLITS = {"train": 6, "validation": 2, "test": 2}
  BUILDER_CONFIG_NAMES_TO_TEST = ["decals", "sdss"]


if __name__ == "__main__":
  tfds.testing.test_main()
