"""Writes a trained model's network as one file that needs neither this package nor a checkpoint to answer.

  python -m galaxy_jax.export --workdir=runs/gz2 --output=model.zip

The file takes images that are decoded, cut and scaled already, to squares of the model's own size, and gives the vote
fractions or the probabilities alone: in it are the network with its parameters, its test-time views and the calibrated
temperature. Not in it are reading files, cutting and scaling, intervals, novelty and descriptions; these take the
package. The file is compiled for no machine yet: jax finishes it on a CPU, an NVIDIA GPU or a TPU. It answers where jax
and numpy are installed:

  import sys
  sys.path.insert(0, "model.zip")
  import load_model
  predict, about = load_model.load("model.zip")
  fractions = predict(images)  # (B, size, size, 3) uint8, any B of 1 and more -> (B, len(about["columns"])) float32

`about`, meta.json in the file, says to which squares images are to be cut and scaled and what the columns are. Without
--workdir it is the model that the package brings along. --tta=1 leaves of the run's test-time views the upright one. A
file is read by the jax that wrote it and by those of the six months after, at least.
"""
import json
import logging
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from absl import flags
from jax import export as jax_export

from galaxy_jax import predictor, tables
from galaxy_jax.command import run_command
from galaxy_jax.files import write_whole

logger = logging.getLogger(__name__)

#: Where the file can be finished and run.
PLATFORMS = ("cpu", "cuda", "tpu")

#: What the file brings along to be read with.
LOADER = '''"""The model beside this file, for jax alone: predict, about = load("model.zip")."""
import json
import zipfile

import jax
import jax.export


def load(path):
  """(images (B, size, size, 3) uint8 -> (B, len(about["columns"])) float32, about), of the file's own path."""
  with zipfile.ZipFile(path) as file:
    model, about = jax.export.deserialize(bytearray(file.read("model.stablehlo"))), json.loads(file.read("meta.json"))
  return jax.jit(model.call), about
'''


def exported(compiled: Callable, variables, size: int) -> jax_export.Exported:
  """A pure function of variables and images as one of images alone, for any number of them on any of PLATFORMS.

  Args:
    compiled: (variables, images (B, size, size, 3) uint8) → (B, K).
    variables: become constants.
    size: pixels.
  """
  constants = jax.tree.map(np.asarray, jax.device_get(variables))
  # One image at a time, mapped over all: no code of a model then meets a batch whose length is a symbol.
  each = jax.vmap(lambda image: compiled(constants, image[None])[0])
  rows, = jax_export.symbolic_shape("rows")
  images = jax.ShapeDtypeStruct((rows, size, size, 3), np.uint8)
  return jax_export.export(jax.jit(each), platforms=PLATFORMS)(images)


def write(model: predictor.Predictor, path: Path) -> None:
  """Writes a model as `path`, whole or not at all.

  Raises:
    ValueError: the name does not end in .zip, or its folder is not there.
  """
  tables.check_place(path, [".zip"])
  program = exported(model.compiled, model.variables, model.size)
  square = f"a file's central square of {model.crop} pixels, or less where it is smaller, " if model.crop else (
      "a file's largest central square, ")
  about = {
      "model": model.name, "task": model.task, "columns": list(model.columns), "crop": model.crop, "size": model.size,
      "images": f"(rows, {model.size}, {model.size}, 3) uint8, RGB: {square}scaled to that size",
      "trained_on": model.facts.get("trained on", "unknown"), "facts": model.facts, "platforms": list(PLATFORMS),
      "jax": jax.__version__, "calling_convention_version": program.calling_convention_version}
  parts = {"model.stablehlo": bytes(program.serialize()),
           "meta.json": json.dumps(about, indent=2, ensure_ascii=False, default=str).encode(),
           "load_model.py": LOADER.encode()}

  def write_zip(fresh):
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as file:
      for name, content in parts.items():
        file.writestr(zipfile.ZipInfo(name), content)  # with no date: the same model gives the same file

  write_whole(path, write_zip)


FLAGS = flags.FLAGS


def main(_) -> int:
  """Exports one model."""
  output = Path(FLAGS.output).expanduser()
  tables.check_place(output, [".zip"])
  model = predictor.load(FLAGS.workdir, tta=FLAGS.tta)
  write(model, output)
  logger.info("%s answers with %d columns for images of %d pixels; %.1f MB.", output, len(model.columns), model.size,
              output.stat().st_size / 1e6)
  return 0


def _define_flags():
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main, or the name of a model that comes along; without it"
                      " the package's own.")
  flags.DEFINE_string("output", None, "Where to write the model: NAME.zip.")
  flags.DEFINE_integer("tta", None, "Test-time views instead of the run's, as for galaxy_jax.predict.", lower_bound=1)
  flags.mark_flags_as_required(["output"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
