"""The TFDS builder of simulated galaxies and scenes. What a record is made of is in `rendering`."""
import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.builder import PreparedBuilder
from tfds_builders.class_lists import FIVE_CLASSES, SCENE_CLASSES, SIMULATED_KINDS, TEN_CLASSES
from tfds_builders.contents import Contents
from tfds_builders.galaxy_sim.rendering import Recipe, records, simulator
from tfds_builders.gz2_tree import COLUMNS

#: Six digits, as the challenge's ids have.
FIRST_ID = 100_000


@dataclasses.dataclass
class GalaxySimConfig(tfds.core.BuilderConfig):
  """One of the data sets.

  Attributes:
    recipe: what is rendered.
    splits: name -> number of records; the ids run on through them in this order. The labels of `test` are withheld.
  """
  recipe: Recipe | None = None
  splits: dict[str, int] = dataclasses.field(default_factory=dict)


class Simulation:
  """The source of a configuration: the simulator itself. A context manager, as sources of files are."""

  def __init__(self, config: GalaxySimConfig):
    self.config = config

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def fingerprint(self) -> str:
    """64 hexadecimal digits; raises DataError where the simulator cannot be imported."""
    made_of = (str(simulator().VERSION), tuple(self.config.recipe), FIRST_ID, sorted(self.config.splits.items()))
    return hashlib.sha256(repr(made_of).encode()).hexdigest()

  def contents(self) -> Contents:
    """What is to be written."""
    splits, first = {}, FIRST_ID
    for name, count in self.config.splits.items():
      splits[name] = range(first, first + count)
      first += count
    withheld = splits.get("test", ())
    return Contents(self.fingerprint(), splits, functools.partial(_examples, self.config.recipe, withheld))


class Builder(PreparedBuilder):
  """Simulated galaxies. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("2.0.0")  # The simulator's, so that a new one is not met with an old one's galaxies.
  RELEASE_NOTES = {"1.0.0": "First galaxies.",
                   "2.0.0": "Empty skies as the survey's, pixels that are full, and scenes that cut galaxies off; "
                            "`demo` is rendered at 192 pixels."}
  BUILDER_CONFIGS = [
      GalaxySimConfig(
          name="demo", description="2,272 galaxies, smooth ones, discs face-on and edge-on and mergers in about equal "
          "numbers, made in a minute.",
          recipe=Recipe(seed=20131220, size=424, rendered=192, mix="balanced"),
          splits={"train": 2000, "validation": 222, "test": 50}),
      GalaxySimConfig(
          name="challenge", description="As many galaxies as the Galaxy Zoo challenge has, in Galaxy Zoo 2's mix.",
          recipe=Recipe(seed=20140404, size=424, rendered=424, mix="natural"),
          splits={"train": 55_421, "validation": 6_157, "test": 79_975}),
      GalaxySimConfig(
          name="scenes", description="Fields of overlapping galaxies and stars, with masks, boxes and classes.",
          recipe=Recipe(seed=20170101, size=512, rendered=512, mix=None),
          splits={"train": 2000, "validation": 200}),
  ]

  def open_source(self, manual_dir) -> Simulation:
    """The simulator; there are no source files, wherever the manual folder is."""
    return Simulation(self.builder_config)

  def validate(self, source: Simulation, *, skip_bad: bool, progress: bool) -> Contents:
    """What is to be written: nothing in it can be bad."""
    return source.contents()

  def _info(self) -> tfds.core.DatasetInfo:
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
    if self.builder_config.recipe.mix is None:
      features = {
          "image": image,
          "scene_id": np.int64,
          "boxes": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
          "classes": tfds.features.Sequence(tfds.features.ClassLabel(names=SCENE_CLASSES)),
          "masks": tfds.features.Sequence(tfds.features.Text()),
      }
    else:
      features = {
          "image": image,
          "galaxy_id": np.int64,
          "vote_fractions": tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.float32),
          "vote_counts": tfds.features.Tensor(shape=(len(COLUMNS),), dtype=np.int32),
          "five_class": tfds.features.ClassLabel(names=FIVE_CLASSES),
          "ten_class": tfds.features.ClassLabel(names=TEN_CLASSES),
          "kind": tfds.features.ClassLabel(names=SIMULATED_KINDS),
          "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
          "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
      }
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features),
        supervised_keys=("image", "vote_fractions") if "vote_fractions" in features else None,
        disable_shuffling=True,
    )


def _examples(recipe, withheld, ids) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of records by their ids; those of `withheld` without their labels."""
  for key, record in zip(ids, records(recipe, ids), strict=True):
    if key in withheld:
      record |= {"vote_fractions": np.full(len(COLUMNS), np.nan, np.float32),
                 "vote_counts": np.zeros(len(COLUMNS), np.int32), "five_class": -1, "ten_class": -1}
    yield key, record
