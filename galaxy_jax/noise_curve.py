"""How a run bears noise: its figures on a split to whose images Gaussian noise is added, sigma by sigma.

  python -m galaxy_jax.noise_curve --workdir=runs/mask_galaxy --sigmas=0,10,20,40,60,80

The noise is added to the working images, the squares of config.data.size pixels that are cut out of the files, before
the network sees them: counts of 255, rounded, and clipped to 0 … 255. An image's noise is its own, drawn from --seed
and its id, and the same for every sigma but for its strength, so that curves are smooth and runs can be compared.

Of a run that finds instances average precision of boxes and masks at an overlap of 0.5 is drawn, by class and with one
class for all, and how many of the objects found have the right class; of classes the accuracy; of votes the RMSE. Left
in the workdir are noise_curve.csv, with all other figures of the task too, and noise_curve.png. Of instances these are
also the errors of the shape of what was matched (detection.shape_errors), in pixels of the working image, and with
--pixel_scale in arcsec.
"""
import csv
import logging
import math
import sys
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import flags

from galaxy_jax import datasets, evaluation, experiment, shipped, workdirs
from galaxy_jax.command import run_command
from galaxy_jax.data.decode import Decoded
from galaxy_jax.files import check_folder, write_whole
from galaxy_jax.parallel import Parallel

logger = logging.getLogger(__name__)

#: What is drawn of each task: the metric, in words.
DRAWN = {
    "votes": {"rmse": "RMSE of the fractions"},
    "classes": {"accuracy": "accuracy"},
    "instances": {"box_ap50": "AP of boxes, mean of the classes", "mask_ap50": "AP of outlines, mean of the classes",
                  "box_ap50_agnostic": "AP of boxes, any class", "mask_ap50_agnostic": "AP of outlines, any class",
                  "matched_accuracy": "right class, of those found"}}


class Noisy:
  """Images with Gaussian noise, made when they are asked for: an array as far as evaluation.Evaluator looks at one."""

  def __init__(self, images: np.ndarray, ids: Sequence[Any], sigma: float, *, seed: int = 0):
    """Takes the images.

    Args:
      images: (N, S, S, 3) uint8.
      ids: (N,) numbers, texts or bytes; images with the same id have the same noise.
      sigma: of the noise, counts.
      seed: of the noise.
    """
    self._images, self._ids, self._sigma, self._seed = images, ids, sigma, seed

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """(R, S, S, 3) uint8 of the rows (R,)."""
    images = np.asarray(self._images[rows])
    if not self._sigma:
      return images
    result = np.empty_like(images)
    for place, row in enumerate(rows):
      name = self._ids[row]
      name = bytes(name) if isinstance(name, bytes) else str(name).encode()
      noise = np.random.default_rng((self._seed, zlib.crc32(name))).standard_normal(images.shape[1:], np.float32)
      result[place] = np.clip(np.rint(images[place] + np.float32(self._sigma) * noise), 0, 255)
    return result


def curve(evaluator: evaluation.Evaluator, variables: Any, data: Decoded, sigmas: Sequence[float], *,
          seed: int = 0) -> list[dict[str, float]]:
  """The finished metrics of a split, of any task, for each sigma.

  Args:
    evaluator: of the run's task.
    variables: placed by `parallel.replicate`.
    data: the decoded split.
    sigmas: of the noise, counts of 255.
    seed: of the noise.
  """
  found = []
  for sigma in sigmas:
    noisy = data._replace(images=Noisy(data.images, data.labels["galaxy_id"], sigma, seed=seed))
    found.append(evaluator.run(variables, noisy)[1])
    logger.info("Noise of %g counts: done.", sigma)
  return found


def measure(config: ml_collections.ConfigDict, workdir: Path, split: str, sigmas: Sequence[float], *,
            checkpoint: str | int, seed: int = 0, pixel_scale: float | None = None) -> list[dict[str, float]]:
  """A run's metrics on a split for each sigma, see `curve`; with all of the run's test-time views.

  Raises:
    ValueError: no such split or checkpoint, or one without labels.
  """
  builder, parallel = datasets.open_dataset(config), Parallel(config.parallel)
  classes = workdirs.read_classes(workdir)
  if not datasets.has_split(builder, split):
    raise ValueError(f"The data set {builder.info.full_name} has no split {split!r}; it has "
                     f"{', '.join(builder.info.splits)}.")
  datasets.check_same_classes(config, builder, classes)
  task = experiment.make_task(config, axis_name=parallel.axis_name, all_views=True, classes=classes)
  if experiment.finds_instances(config):
    task = task._replace(accumulator=partial(task.accumulator, pixel_scale=pixel_scale))
  datasets.check_labelled(builder, split, datasets.needed(config, task.labels))
  trained = evaluation.restore(config, workdir, parallel, checkpoint)
  evaluator = evaluation.Evaluator(task, parallel, batch_size=config.eval.batch_size)
  data = datasets.open_split(config, builder, split)
  return curve(evaluator, trained.variables, data, sigmas, seed=seed)


def write(folder: Path, task: str, sigmas: Sequence[float], found: Sequence[dict[str, float]]) -> None:
  """Leaves noise_curve.csv and noise_curve.png in a folder.

  Args:
    folder: that is there.
    task: votes, classes or instances.
    sigmas: (K,) of the noise.
    found: the metrics of each, as `curve` gives them.
  """
  from galaxy_jax.report import noise

  drawn = {name: words for name, words in DRAWN[task].items() if name in found[0]}
  names = [*drawn, *(name for name in found[0] if name not in drawn)]

  def write_csv(fresh):
    with open(fresh, "w", newline="") as file:
      rows = csv.writer(file, lineterminator="\n")
      rows.writerow(["sigma", *names])
      for sigma, metrics in zip(sigmas, found, strict=True):
        rows.writerow([f"{sigma:g}", *("" if math.isnan(metrics[name]) else f"{metrics[name]:.6g}" for name in names)])
  write_whole(folder / "noise_curve.csv", write_csv)
  made = noise.chart(sigmas, {words: [metrics[name] for metrics in found] for name, words in drawn.items()})
  write_whole(folder / "noise_curve.png", lambda fresh: Path(fresh).write_bytes(made.png))


def parse_sigmas(texts: Sequence[str]) -> list[float]:
  """The sigmas of a flag, ascending; raises ValueError."""
  try:
    sigmas = sorted(map(float, texts))
  except ValueError:
    sigmas = []
  if not sigmas or not all(0 <= sigma <= 255 for sigma in sigmas) or len(set(sigmas)) < len(sigmas):
    raise ValueError(f"--sigmas is {','.join(texts)}; different numbers from 0 to 255 were expected, such as "
                     "0,10,20,40,60,80.")
  return sigmas


FLAGS = flags.FLAGS


def main(_) -> int:
  """Measures --workdir; returns the exit status."""
  sigmas = parse_sigmas(FLAGS.sigmas)
  workdir = shipped.folder(FLAGS.workdir)
  if shipped.is_shipped(FLAGS.workdir) and not FLAGS.output:
    raise ValueError(f"{FLAGS.workdir} comes with the package, for all who use it. Say where to write: "
                     "--output=FOLDER.")
  config = workdirs.read_config(workdir)
  if FLAGS.pixel_scale is not None and not experiment.finds_instances(config):
    raise ValueError(f"--pixel_scale is for runs that find instances, but the task of {workdir} is {config.task}.")
  for key in ("builder", "manual_dir", "data_dir"):
    if FLAGS[key].value:
      config.data[key] = FLAGS[key].value
  if FLAGS.batch_size:
    config.eval.batch_size = FLAGS.batch_size
  split, folder = FLAGS.split or config.data.eval, Path(FLAGS.output or workdir).expanduser()
  folder.mkdir(parents=True, exist_ok=True)
  check_folder(folder, "--output")
  found = measure(config, workdir, split, sigmas, checkpoint=FLAGS.checkpoint or config.eval.checkpoint,
                  seed=FLAGS.seed, pixel_scale=FLAGS.pixel_scale)
  for name, words in DRAWN[config.task].items():
    print(f"{words:40s} " + "  ".join(f"{sigma:g}: {metrics[name]:.3f}" for sigma, metrics in zip(
        sigmas, found, strict=True) if name in metrics))
  if jax.process_index() == 0:
    write(folder, config.task, sigmas, found)
    logger.info("The figures of %s are in %s and noise_curve.png.", split, folder / "noise_curve.csv")
  return 0


def _define_flags():
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main, or the name of a model that comes with the package.")
  flags.DEFINE_list("sigmas", ["0", "10", "20", "40", "60", "80"], "Of the noise, counts of 255.")
  flags.DEFINE_string("split", None, "The split; without one, the run's own.")
  flags.DEFINE_string("checkpoint", None, "latest, best or a step; without one, as the run was evaluated.")
  flags.DEFINE_integer("seed", 0, "Of the noise.", lower_bound=0)
  flags.DEFINE_float("pixel_scale", None, "Of instances: arcsec a pixel of the working image, of config.data.size "
                     "pixels a side, where it is the same for all.", lower_bound=1e-6)
  flags.DEFINE_string("output", None, "Another folder to write to than the run's.")
  flags.DEFINE_integer("batch_size", None, "Images a batch instead of the run's.", lower_bound=1)
  flags.DEFINE_string("builder", None, "Another data set instead of the run's own.")
  flags.DEFINE_string("manual_dir", None, "Published files instead of the run's own.")
  flags.DEFINE_string("data_dir", None, "The data set built in this folder instead of the run's own.")
  flags.mark_flags_as_required(["workdir"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
