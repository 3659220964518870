"""Calibrates a run: what galaxies that it was not trained on say of its answers."""
import functools
import logging
from pathlib import Path

import jax
import ml_collections
import numpy as np

from galaxy_jax import calibration, datasets, novelty, predictor, simulate
from galaxy_jax.calibration import Calibration
from galaxy_jax.evaluation import Result

logger = logging.getLogger(__name__)

#: Galaxies whose features are looked at, at most: of those that a run was trained on, and of those held out.
_KNOWN, _HELD_OUT = 512, 2048


def calibrate(config: ml_collections.ConfigDict, workdir: Path, model: predictor.Predictor, result: Result,
              described: str) -> Calibration:
  """Measures a run on galaxies held out and leaves the calibration in its folder.

  Args:
    config: the run's own.
    workdir: the run's.
    model: the run's, without or with an older calibration.
    result: its predictions of the galaxies held out, beside their labels.
    described: what those galaxies are, in words.

  Returns:
    What was measured.
  """
  labels = result.data.labels
  held_out = model.features(_some(result.data.images, _HELD_OUT))
  familiar = novelty.fit(model.features(known_galaxies(config)), held_out)
  intervals, degrees = None, 1.0
  if config.task == "votes":
    intervals = calibration.of_votes(result.predicted, labels["vote_fractions"])
  else:
    degrees = calibration.of_classes(result.predicted, labels[config.data.label])
  measured = Calibration(intervals, degrees, familiar, {"data": described, "galaxies": len(result.data.images)})
  calibration.write(workdir, measured)
  logger.info("Calibrated on %s: %s; %s.", described,
              "intervals for the votes" if intervals else f"temperature {degrees:.2f}" if config.task == "classes" else
              "too few galaxies with votes for intervals",
              "an image's novelty" if familiar else "no features to tell what is new")
  return measured


def check_held_out(config: ml_collections.ConfigDict, builder, split: str, chosen: np.ndarray) -> None:
  """Refuses a split with galaxies that a run was trained on: their errors say nothing of others'.

  Args:
    config: the run's own.
    builder: the data set of the split.
    split: what is to be calibrated on, and
    chosen: its galaxies' ids.

  Raises:
    ValueError: it shares galaxies with the run's training split.
  """
  if config.data.source == "simulated" or config.data.builder.partition("/")[0] != builder.info.name:
    return
  learnt = datasets.open_split(config, datasets.open_dataset(config), config.data.train).labels["galaxy_id"]
  shared = int(np.isin(chosen, learnt).sum())
  if shared:
    raise ValueError(f"The split {split} and {config.data.train}, which the run was trained on, share {shared} "
                     "galaxies; calibrate on others.")


def known_galaxies(config: ml_collections.ConfigDict) -> np.ndarray:
  """Some of the galaxies that a run was trained on, as it decodes them: (N, size, size, 3) uint8, not augmented."""
  if config.data.source == "simulated":
    one = functools.partial(simulate.galaxy, size=config.data.size, crop=config.data.crop, mix=config.simulator.mix,
                            quality=config.simulator.quality)
    draw = jax.jit(lambda keys: jax.vmap(one)(keys)["image"])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), _KNOWN), _KNOWN)
    return np.concatenate([draw(part) for part in keys.reshape(-1, 32)])
  return _some(datasets.open_split(config, datasets.open_dataset(config), config.data.train).images, _KNOWN)


def _some(images, count):
  """At most `count` of the images, at equal distances."""
  return np.asarray(images[np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))])
