"""Builders of TensorFlow Datasets (TFDS) for galaxy images: one folder a data set, in TFDS's own folder form.

Importable alone and light: neither jax, TensorFlow nor TFDS itself is imported before a builder is asked for.

  python -m tfds_builders galaxy_zoo_challenge --manual_dir=… --data_dir=…     builds one from the command line
  tfds_builders.prepare.prepare("galaxy_zoo_challenge", manual_dir=…)          does so from Python

A new data set is one more folder and one more line in `BUILDERS` for each of its configurations. What its class
`Builder` offers beside TFDS's own methods is written in `tfds_builders.prepare`.
"""
import importlib

_GALAXY10 = "tfds_builders.galaxy10.galaxy10_dataset_builder"
_CHALLENGE = "tfds_builders.galaxy_zoo_challenge.galaxy_zoo_challenge_dataset_builder"
_GALAXY_ZOO_2 = "tfds_builders.galaxy_zoo_2.galaxy_zoo_2_dataset_builder"
_MASK_GALAXY = "tfds_builders.mask_galaxy.mask_galaxy_dataset_builder"
_OWN_IMAGES = "tfds_builders.own_images.own_images_dataset_builder"
_SIMULATED = "tfds_builders.galaxy_sim.galaxy_sim_dataset_builder"

#: Name/configuration of a data set -> the module that holds its class `Builder`, imported when first used. The first
#: configuration of a name is what the name alone means.
BUILDERS = {
    "galaxy10/decals": _GALAXY10,
    "galaxy10/decals_seed004": _GALAXY10,
    "galaxy10/sdss": _GALAXY10,
    "galaxy_zoo_2/votes": _GALAXY_ZOO_2,
    "galaxy_zoo_2/morph8": _GALAXY_ZOO_2,
    "galaxy_zoo_challenge/votes": _CHALLENGE,
    "galaxy_zoo_challenge/morph5": _CHALLENGE,
    "galaxy_sim/demo": _SIMULATED,
    "galaxy_sim/challenge": _SIMULATED,
    "galaxy_sim/scenes": _SIMULATED,
    "mask_galaxy/instances": _MASK_GALAXY,
    "own_images/survey": _OWN_IMAGES,
}


def full_name(name: str) -> str:
  """The key of `BUILDERS` that a name means: itself, or, where it names no configuration, the first one's.

  Raises:
    DataError: there is no builder of that name.
  """
  for key in BUILDERS:
    if name in (key, key.partition("/")[0]):
      return key
  from tfds_builders.errors import DataError
  raise DataError(f"There is no data set builder {name!r}; there are: {', '.join(BUILDERS)}.")


def builder_class(name: str):
  """The TFDS builder class of a data set; one class serves all its configurations.

  Args:
    name: one of `BUILDERS`, or its part before the slash.

  Raises:
    DataError: there is no builder of that name.
  """
  return importlib.import_module(BUILDERS[full_name(name)]).Builder
