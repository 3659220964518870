"""A trained model that finds galaxies, ready to look at images of its working size; `fields` has those of any size.

  from galaxy_jax import fields, finder
  found = fields.find(finder.load("runs/mask_galaxy"), pixels)
"""
import math
from pathlib import Path

import jax
import numpy as np

from galaxy_jax import evaluation, experiment, shipped, workdirs
from galaxy_jax.parallel import Parallel

#: Numbers of test-time views, and their rotations; where there are more views these are mirrored too.
VIEWS = {1: 1, 2: 1, 4: 2, 8: 4}


class Finder:
  """A run's model on this host's devices; from `load`.

  Attributes:
    name: of the model, for what it makes.
    classes: what it calls the objects that it finds.
    size: side of the images that it takes, pixels.
    seen: side of their central part in which it finds anything, pixels; of the parity of `size`.
    scale: what a pixel of its own data set's images became to it, where it cut squares of one size out of them; else 1.
    batch_size: images of a device call; all have as many, so that what is found does not depend on it.
  """

  def __init__(self, name, config, classes, variables, parallel):
    """As `load` puts it together; `variables` placed by `parallel`."""
    self.name, self.classes, self.size = name, classes, config.data.size
    self.seen = self.size - 2 * math.ceil((1 - min(1.0, config.augment.view)) * self.size / 2 - 1e-6)
    self.scale = self.size / config.data.crop if config.data.crop else 1.0
    self._parallel, self._variables = parallel, variables
    self.batch_size = -(-config.eval.batch_size // parallel.device_count) * parallel.device_count
    task = experiment.make_task(config, axis_name=None, all_views=True, classes=classes)
    self._step = parallel.compile(lambda variables, images, *, axis_name: task.predict(variables, {"image": images}))

  def find(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """What is in images (N, size, size, 3) uint8, N at most `batch_size`: the outputs of tasks.instances.make.

    Raises:
      ValueError: another shape, type or number.
    """
    wanted = (self.size, self.size, 3)
    if images.shape[1:] != wanted or images.dtype != np.uint8 or len(images) > self.batch_size:
      raise ValueError(f"The model {self.name} takes up to {self.batch_size} images (N, "
                       f"{', '.join(map(str, wanted))}) uint8; got {images.shape} {images.dtype}. fields.find makes "
                       "them of any image.")
    missing = self.batch_size - len(images)
    full = np.concatenate([images, np.zeros((missing, *wanted), np.uint8)]) if missing else images
    outputs = self._parallel.fetch(self._step(self._variables, self._parallel.split_rows(full)))
    return {name: values[:len(images)] for name, values in outputs.items()}


def load(workdir: str | Path, checkpoint: str | int | None = None, *, tta: int | None = None,
         batch_size: int | None = None) -> Finder:
  """The model of a run that learnt to find objects.

  Args:
    workdir: of a run of galaxy_jax.main, or a folder that galaxy_jax.packed made of one.
    checkpoint: 'latest', 'best' or a step; None: the one that the run itself was evaluated at.
    tta: test-time views, of VIEWS; None: the run's own.
    batch_size: images of a device call; None: the run's own.

  Raises:
    FileNotFoundError: there is no such run, or no such checkpoint.
    ValueError: the run says something of whole images, or there are no such views.
  """
  if tta is not None and tta not in VIEWS:
    raise ValueError(f"--tta is {tta}; expected 1, 2, 4 or 8.")
  folder = shipped.folder(workdir)
  config = workdirs.read_config(folder)
  if not experiment.finds_instances(config):
    raise ValueError(f"The run in {folder} finds no objects: it learnt {config.task} of whole images, which python -m "
                     "galaxy_jax.predict --workdir gives.")
  if tta:
    config.eval.update({"rotations": VIEWS[tta], "flips": tta > VIEWS[tta], "zooms": (1.0,)})
  config.eval.batch_size = batch_size or config.eval.batch_size
  parallel = Parallel("jit", jax.local_devices())
  trained = evaluation.restore(config, folder, parallel, config.eval.checkpoint if checkpoint is None else checkpoint)
  name = shipped.name_of(folder) or f"{config.name} ({folder.resolve().name})"
  return Finder(name, config, workdirs.read_classes(folder), trained.variables, parallel)
