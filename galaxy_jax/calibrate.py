"""Calibrates a run: what galaxies that it was not trained on say of its answers."""
import functools
import logging
from pathlib import Path

import jax
import ml_collections
import numpy as np

from galaxy_jax import calibration, datasets, novelty, predictor, simulate
from galaxy_jax.calibration import Calibration
from galaxy_jax.data import decode, sources
from galaxy_jax.evaluation import Result

logger = logging.getLogger(__name__)

#: Galaxies whose features are looked at, at most: of those that a run was trained on, and of those held out.
_KNOWN, _HELD_OUT = 512, 2048


def calibrate(config: ml_collections.ConfigDict, workdir: Path, model: predictor.Predictor, known: np.ndarray,
              result: Result, described: str) -> Calibration:
  """Measures a run on galaxies held out and leaves the calibration in its folder.

  Args:
    config: the run's own.
    workdir: the run's.
    model: the run's, at the checkpoint and with the views of `result`.
    known: images that it was trained on, see `known_galaxies`.
    result: its predictions of the galaxies held out, beside their labels.
    described: what those galaxies are, in words.

  Returns:
    What was measured.
  """
  labels, images = result.data.labels, result.data.images
  familiar = novelty.fit(model.features(known), model.features(images[_some(len(images), _HELD_OUT)]))
  intervals, degrees = None, 1.0
  if config.task == "votes":
    intervals = calibration.of_votes(result.predicted, labels["vote_fractions"])
  else:
    degrees = calibration.of_classes(result.predicted, labels[config.data.label])
  measured = Calibration(intervals, degrees, familiar, {
      "data": described, "galaxies": len(images), "step": model.step, "looks": calibration.plain(model.looks)})
  calibration.write(workdir, measured)
  said = {"votes": "intervals for the votes" if intervals else "too few galaxies with votes for intervals",
          "classes": f"temperature {degrees:.2f}"}[config.task]
  logger.info("Calibrated on %s: %s; %s.", described, said,
              "an image's novelty" if familiar else "too few galaxies or features to tell what is new")
  return measured


def check_held_out(config: ml_collections.ConfigDict, workdir: Path, builder, split: str) -> None:
  """Refuses a split with galaxies that a run was trained on: their errors say nothing of others'.

  The run's own training split alone is looked at: not that of a run that it started from, nor other data sets of the
  same galaxies.

  Args:
    config: the run's own.
    workdir: the run's.
    builder: the data set of the split.
    split: what is to be calibrated on, or to choose weights on.

  Raises:
    ValueError: it shares galaxies with the run's training split.
  """
  if config.data.source == "simulated" or config.data.builder.partition("/")[0] != builder.info.name:
    return
  learnt = _ids(datasets.open_dataset(config), config.data.train)
  if shared := len(learnt & _ids(builder, split)):
    raise ValueError(f"The split {split} and {config.data.train}, which the run in {workdir} was trained on, share "
                     f"{shared} galaxies; name others.")


def known_galaxies(config: ml_collections.ConfigDict) -> np.ndarray:
  """Some of the galaxies that a run was trained on, as it decodes them: (N, size, size, 3) uint8, not augmented."""
  d = config.data
  if d.source == "simulated":
    one = functools.partial(simulate.galaxy, size=d.size, crop=d.crop, mix=config.simulator.mix,
                            quality=config.simulator.quality)
    draw = jax.jit(lambda keys: jax.vmap(one)(keys)["image"])
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), _KNOWN), _KNOWN)
    return np.concatenate([draw(part) for part in keys.reshape(-1, 32)])
  # Not through the cache: of a streamed split that would be the whole of it.
  source = sources.split_source(datasets.open_dataset(config), d.train)
  return np.stack([decode.decode_record(source, int(row), crop=d.crop or None, size=d.size)[0]
                   for row in _some(len(source), _KNOWN)])


def _ids(builder, split):
  return {str(record["galaxy_id"]) for record in sources.split_source(builder, split)}


def _some(total, count):
  """At most `count` of so many rows, at equal distances."""
  return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
