"""A trained model ready to answer: what predicting, serving, exporting and notebooks share.

  from galaxy_jax import predictor
  model = predictor.load("runs/gz2")
  answers = model.answers(np.stack([model.decode(data) for data in files]))
"""
import hashlib
import logging
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pyarrow as pa

from galaxy_jax import calibration, evaluation, experiment, outputs, shipped, temperature, uncertainty, workdirs
from galaxy_jax.data import decode
from galaxy_jax.parallel import Parallel
from tfds_builders.gz2_tree import COLUMNS

logger = logging.getLogger(__name__)

#: The model that the package brings along.
SHIPPED = shipped.DEFAULT
#: Images that a device call may take, beside a whole batch: a single one does not pay for many.
_FEW = (1, 8)


class Answers(NamedTuple):
  """What a model says of N galaxies.

  Attributes:
    fractions: (N, K) float32, of the answers of the decision tree or of the classes.
    lower, upper: (N, 37), between which uncertainty.SHOWN of the volunteers' own fractions lie; None where that was not
      measured.
    novelty: (N,): how unlike the galaxies that the model knows an image is; 1 is reached by one in a hundred galaxies.
      None where that was not measured.
    features: (N, D) float32, what the answers are made from.
  """
  fractions: np.ndarray
  lower: np.ndarray | None
  upper: np.ndarray | None
  novelty: np.ndarray | None
  features: np.ndarray


class Predictor:
  """A trained model on this host's devices; from `load`.

  Attributes:
    name: of the model, for what it makes.
    task: 'votes' or 'classes'.
    columns: the names of its outputs: the 37 answers of the decision tree, or the classes.
    crop: side of the central square of a file's image that it sees, in pixels; None: the largest there is.
    size: pixels that this becomes.
    batch_size: images a device call takes, at most.
    step: of training, at which the model was taken.
    views: how many test-time views an answer is the mean of, and
    looks: which: (rotations, flips, zooms).
    variables: first argument of `compiled`, on the devices.
    compiled: (variables, images (B, size, size, 3) uint8) → (B, K) float32, a pure function for any B.
    facts: how the model came to be, as short texts and numbers.
    calibration: what galaxies held out said of its answers.
  """

  def __init__(self, name: str, config: ml_collections.ConfigDict, classes: tuple[str, ...] | None, variables: Any,
               measured: calibration.Calibration, facts: dict[str, Any]):
    """As `of_run` puts it together; `config` and `classes` are the run's, `variables` on the host.

    A calibration with another checkpoint or other views than these is left out.
    """
    self.name, self.task, self.facts, self.step = name, config.task, facts, facts["step"]
    self._config, self._classes, self._measured = config, classes, measured
    self.looks = (config.eval.rotations, config.eval.flips, tuple(config.eval.zooms))
    other = measured.differences(self.step, self.looks)
    self.calibration = calibration.Calibration() if other else measured
    self.columns = COLUMNS if classes is None else classes
    self.crop, self.size = config.data.crop or None, config.data.size
    self.views = experiment.views(config)
    self._parallel = _here()
    self.batch_size = -(-config.eval.batch_size // self._parallel.device_count) * self._parallel.device_count
    self.variables = self._parallel.replicate(variables)
    task = experiment.make_task(config, axis_name=None, all_views=True, classes=classes)
    describe = partial(_tempered, task.describe, self.calibration.temperature)
    self.compiled = lambda variables, images: describe(variables, images)[0]
    self._step = self._parallel.compile(lambda variables, images, *, axis_name: describe(variables, images))

  def with_views(self, rotations: int, flips: bool, zooms: tuple[float, ...] = (1.0,)) -> "Predictor":
    """The same model whose answers are means over other test-time views."""
    return self._with(rotations=rotations, flips=flips, zooms=zooms)

  def with_batch_size(self, batch_size: int) -> "Predictor":
    """The same model with another number of images a device call."""
    return self._with(batch_size=batch_size)

  def _with(self, **changes):
    config = self._config.copy_and_resolve_references()
    config.eval.update(changes)
    return Predictor(self.name, config, self._classes, self.variables, self._measured, self.facts)

  def decode(self, data: bytes) -> np.ndarray:
    """The bytes of a JPEG or PNG file as the model takes them, (size, size, 3) uint8.

    Raises:
      tfds_builders.images.ImageError: they are no usable image.
    """
    return decode.decode_image(data, crop=self.crop, size=self.size)

  def answers(self, pixels: np.ndarray) -> Answers:
    """What the model says of decoded images (N, size, size, 3) uint8; N may be any number.

    Raises:
      ValueError: another shape or type.
    """
    fractions, features = self._run(pixels)
    intervals, familiar = self.calibration.intervals, self.calibration.familiar
    bounds = intervals.bounds(fractions, uncertainty.SHOWN) if intervals else (None, None)
    return Answers(fractions, *bounds, familiar.novelty(features) if familiar else None, features)

  def predict(self, pixels: np.ndarray) -> np.ndarray:
    """(N, K) float32: the vote fractions, or the classes' probabilities, of decoded images (N, size, size, 3) uint8."""
    return self._run(pixels)[0]

  def features(self, pixels: np.ndarray) -> np.ndarray:
    """(N, D) float32: what the answers are made from, the mean over the test-time views."""
    return self._run(pixels)[1]

  def table(self, answers: Answers) -> dict[str, pa.Array]:
    """The columns of a table of answers, a row a galaxy.

    Of votes the 37 fractions, the ends of their intervals (NAME_low, NAME_high) where there are any, a description in
    words and a GZ2-like class; of classes each one's probability and the most probable one; of both the novelty where
    that was measured.
    """
    if self.task == "votes":
      columns = outputs.fraction_columns(answers.fractions)
      if answers.lower is not None:
        lower = outputs.fraction_columns(answers.lower, after="_low")
        upper = outputs.fraction_columns(answers.upper, after="_high")
        for ends in zip(lower.items(), upper.items(), strict=True):
          columns.update(ends)
      columns |= outputs.word_columns(answers.fractions)
    else:
      columns = outputs.class_columns(answers.fractions, self.columns)
    if answers.novelty is not None:
      columns["novelty"] = pa.array(answers.novelty)
    return columns

  def _call_size(self, rows):
    """The images of the device call for so many: few sizes, as each is compiled by itself."""
    devices = self._parallel.device_count
    sizes = [-(-few // devices) * devices for few in _FEW]
    return next((size for size in sizes if rows <= size < self.batch_size), self.batch_size)

  def _run(self, pixels):
    """(outputs (N, K), features (N, D)) of decoded images, by batches the last of which is filled up."""
    pixels = np.asarray(pixels)
    wanted = (self.size, self.size, 3)
    if pixels.shape[1:] != wanted or pixels.dtype != np.uint8:
      raise ValueError(f"Decoded images of the model {self.name} are (N, {', '.join(map(str, wanted))}) uint8; got "
                       f"{pixels.shape} {pixels.dtype}. Its `decode` makes them from files.")
    parts = []
    for start in range(0, max(len(pixels), 1), self.batch_size):
      part = pixels[start:start + self.batch_size]
      missing = self._call_size(len(part)) - len(part)
      full = np.concatenate([part, np.zeros((missing, *wanted), np.uint8)]) if missing else part
      result = self._parallel.fetch(self._step(self.variables, self._parallel.split_rows(full)))
      parts.append([values[:len(part)] for values in result])
    return tuple(np.concatenate(values) for values in zip(*parts, strict=True))


def _tempered(describe, degrees, variables, images):
  """The outputs, at the temperature that galaxies held out asked for, and the features, float32 both."""
  said, features = (values.astype(jnp.float32) for values in describe(variables, images))
  if degrees != 1.0:
    said = jax.nn.softmax(jnp.log(jnp.maximum(said, temperature.LEAST)) / degrees, axis=-1)
  return said, features


def load(source: str | Path | None = None, checkpoint: str | int | None = None, *, tta: int | None = None,
         batch_size: int | None = None) -> Predictor:
  """A trained model.

  Args:
    source: a workdir, the name of a model that comes with the package, or None for SHIPPED.
    checkpoint: 'latest', 'best' or a step; None: the one that the run itself was evaluated at.
    tta: test-time views: rotations, each flipped as well where the number is even; None: the run's own.
    batch_size: images a device call; None: the run's own.

  Raises:
    FileNotFoundError: there is no such run, or no such checkpoint.
    ValueError: the run finds instances, for which there are galaxy_jax.find and galaxy_jax.evaluate.
  """
  folder = shipped.folder(source)
  config = workdirs.read_config(folder)
  if experiment.finds_instances(config):
    raise ValueError(f"The run in {folder} finds objects in images and says nothing of an image as a whole; python -m "
                     "galaxy_jax.find --workdir makes a catalogue of them, galaxy_jax.evaluate judges it.")
  trained = evaluation.restore(config, folder, _here(),
                               config.eval.checkpoint if checkpoint is None else checkpoint)
  if tta:
    config.eval.update({"rotations": tta if tta % 2 else tta // 2, "flips": tta % 2 == 0, "zooms": (1.0,)})
  config.eval.batch_size = batch_size or config.eval.batch_size
  return of_run(config, folder, trained._replace(variables=_here().fetch(trained.variables)), calibration.read(folder))


def of_run(config: ml_collections.ConfigDict, folder: Path, trained: evaluation.Trained,
           measured: calibration.Calibration | None = None) -> Predictor:
  """A run's model that is at hand already, on the host; without a calibration its answers are as they come."""
  measured = measured or calibration.Calibration()
  name = shipped.name_of(folder) or f"{config.name} ({folder.name})"
  facts = {"model": config.model.name, "parameters": trained.parameters, "step": trained.step,
           **{key.replace("_", " "): value for key, value in experiment.galaxy_origins(config).items()},
           "calibrated on": measured.origin.get("data", "nothing")}
  model = Predictor(name, config, workdirs.read_classes(folder), trained.variables, measured, facts)
  if other := measured.differences(model.step, model.looks):
    logger.info("Without intervals and novelty: those of %s were measured with %s.", name, " and ".join(other))
  return model


def fingerprint(*values: Any) -> str:
  """What tells trees of arrays, a model's variables for instance, from any others."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(values):
    leaf = np.asarray(leaf)
    digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()


def _here():
  """This host's devices: hosts do not answer together."""
  return Parallel("jit", jax.local_devices())
