"""TFDS's own test of the builder, on a few small images; they are rendered, so there is no `dummy_data`."""
from unittest import mock

import pytest

pytest.importorskip("tensorflow", reason="TFDS's test case needs TensorFlow: pip install 'galaxy_jax[test]'")
pytest.importorskip("dill", reason="TFDS's test case needs dill: pip install 'galaxy_jax[test]'")

import tensorflow_datasets as tfds

from tfds_builders.galaxy_sim import galaxy_sim_dataset_builder
from tfds_builders.galaxy_sim.galaxy_sim_dataset_builder import Builder


class GalaxySimTest(tfds.testing.DatasetBuilderTestCase):
  """The builder is registered, its tags are valid, and tf.data reads the splits it writes."""
  DATASET_CLASS = Builder
  SPLITS = {"train": 3, "validation": 2}
  BUILDER_CONFIG_NAMES_TO_TEST = ["demo", "scenes"]
  EXAMPLE_DIR = galaxy_sim_dataset_builder.__file__.rpartition("/")[0]

  def setUp(self):
    for name in self.BUILDER_CONFIG_NAMES_TO_TEST:
      config = Builder.builder_configs[name]
      small = config.recipe._replace(size=64, rendered=64 if name == "scenes" else 32)
      for attribute, value in (("recipe", small), ("splits", self.SPLITS)):
        patch = mock.patch.object(config, attribute, value)
        patch.start()
        self.addCleanup(patch.stop)
    super().setUp()


if __name__ == "__main__":
  tfds.testing.test_main()
