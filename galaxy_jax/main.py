"""Trains, evaluates and reports one experiment.

  python -m galaxy_jax.main --config=configs/gz2.py --workdir=runs/gz2

The workdir ends with the config, metrics, checkpoints, predictions and report.html. Interrupted, by Ctrl-C, SIGTERM or
anything harsher, the same command goes on from the last checkpoint. Without real galaxies the run takes simulated ones.
"""
import contextlib
import logging
import shlex
import sys
from pathlib import Path

import jax
from absl import flags
from ml_collections import config_flags

from galaxy_jax import evaluate, experiment
from galaxy_jax.command import packaged_config, run_command
from galaxy_jax.files import claimed
from galaxy_jax.train import train

FLAGS = flags.FLAGS
logger = logging.getLogger(__name__)

config_flags.DEFINE_config_file("config", None, "The experiment: a file, with :argument for a variant of it. Any key "
                                "can be set, --config.train.epochs=20 for instance.")
flags.DEFINE_string("workdir", None, "Where the run leaves what it makes.")
flags.DEFINE_bool("distributed", False, "One of several hosts running this same command (TPU pod, SLURM, GKE).")
flags.mark_flags_as_required(["config", "workdir"])


def main(_) -> int:
  """Runs the experiment; returns the exit status, 128 + the signal's number where one stopped it."""
  if FLAGS.distributed and not jax.distributed.is_initialized():
    raise ValueError("Write --distributed just so: it is read before all other flags.")
  config, missing = experiment.with_data(FLAGS.config, config_flags.get_override_values(FLAGS["config"]))
  config, workdir = experiment.resolve(config), Path(FLAGS.workdir)
  logger.info("%s%s on %s: training in %s.", config.name, f", variant {config.variant}" if config.variant else "",
              experiment.hardware(), workdir)
  if missing:
    logger.info("There are no real galaxies yet, so these are simulated. For the real ones: %s", missing)
  with claimed(workdir, "--workdir") if jax.process_index() == 0 else contextlib.nullcontext():
    outcome = train(config, workdir)
    if not outcome.finished:
      logger.info("Stopped at step %d in %s; the same command goes on from there.", outcome.step, outcome.workdir)
      return 128 + outcome.signal
    evaluate.finish_run(config, workdir, shlex.join(["python", "-m", "galaxy_jax.main", *sys.argv[1:]]))
  if missing:
    logger.info("The galaxies were simulated. Choose another --workdir for the real ones: %s", missing)
  return 0


def _prepare(argv: list[str]) -> list[str]:
  # Before the config is read, because it may ask jax for the hardware, and jax must be told of the other hosts first.
  if "--distributed" in argv:
    jax.distributed.initialize()
  return [packaged_config(argument) for argument in argv]


if __name__ == "__main__":
  sys.exit(run_command(main, _prepare))
