"""A trained run as one small folder, to be shipped or given away: what is needed to predict, and nothing else.

  python -m galaxy_jax.packed --workdir=runs/gz2 --output=my_model

The folder can be used wherever a run's workdir can: to predict, to evaluate, and to start another run from
(`--config.init_from=my_model`). Weights are rounded to 16 bits.
"""
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from flax import traverse_util

from galaxy_jax import calibration, evaluation, shipped, workdirs
from galaxy_jax.command import run_command
from galaxy_jax.files import write_json, write_whole
from galaxy_jax.parallel import Parallel

#: What else of a run goes along, where it is there.
_ALONG = (calibration.FILE, "metrics.json")


def pack(workdir: str | Path, folder: Path, checkpoint: str | int | None = None) -> None:
  """Writes a run's model into a new folder.

  Args:
    workdir: the run's; or what was packed before, or comes with the package.
    folder: must not be there yet; the one that it is in must.
    checkpoint: 'latest', 'best' or a step; None: the one that the run was evaluated at, and calibrated.

  Raises:
    ValueError: the folder is there.
    FileNotFoundError: the run has no such checkpoint, or the folder would be in one that is not there.
  """
  workdir, folder = shipped.folder(workdir), Path(folder)
  if folder.exists():
    raise ValueError(f"--output is {folder}, which is there already. Choose another name.")
  config = workdirs.read_config(workdir)
  parallel = Parallel("jit")
  trained = evaluation.restore(config, workdir, parallel, config.eval.checkpoint if checkpoint is None else checkpoint)
  fresh = folder.with_name(f".{folder.name}.tmp")
  shutil.rmtree(fresh, ignore_errors=True)
  fresh.mkdir()
  for name in _ALONG:
    if (workdir / name).exists():
      shutil.copyfile(workdir / name, fresh / name)
  # Where things lay on the machine that it was trained on is nobody's business elsewhere.
  config.data.update({"manual_dir": "", "data_dir": "", "cache_dir": ""})
  config.model.pretrained = "" if Path(config.model.pretrained).is_absolute() else config.model.pretrained
  config.init_from = config.init_from if shipped.is_shipped(config.init_from) else ""
  write_json(fresh / "config.json", json.loads(config.to_json()))
  write_json(fresh / "data.json", {"train": json.loads((workdir / "data.json").read_text())["train"]})
  write_parameters(fresh / evaluation.PACKED, parallel.fetch(trained.variables))
  write_json(fresh / "packed.json", {"step": trained.step, "seconds": trained.seconds})
  fresh.rename(folder)


def write_parameters(path: Path, variables: Any) -> None:
  """Writes variables as evaluation.read_packed reads them: parameters in 16 bits, running moments in 32."""
  flat = traverse_util.flatten_dict(variables, sep="/")
  arrays = {name: np.asarray(value, np.float16 if name.startswith("params/") else np.float32)
            for name, value in flat.items()}

  def save(fresh):
    with open(fresh, "wb") as file:
      np.savez_compressed(file, **arrays)
  write_whole(path, save)


FLAGS = flags.FLAGS


def main(_) -> int:
  """Packs a run."""
  pack(FLAGS.workdir, Path(FLAGS.output), FLAGS.checkpoint)
  size = sum(file.stat().st_size for file in Path(FLAGS.output).iterdir())
  print(f"{FLAGS.output}: {size / 1e6:.1f} MB")
  return 0


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main, or the name of a model that comes with the package.",
                      required=True)
  flags.DEFINE_string("output", None, "The new folder.", required=True)
  flags.DEFINE_string("checkpoint", None, "latest, best or a step; without one, as the run was evaluated.")
  sys.exit(run_command(main))
