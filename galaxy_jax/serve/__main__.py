"""The web page of a trained model: drop images of galaxies, read what it says of them.

  python -m galaxy_jax.serve --workdir=runs/gz2

Without a workdir the model that the package brings along answers. --outlines names a run that learnt to find objects
(configs/mask_galaxy.py), which outlines those in the images. The page, and /api/v1/predict for programs, are at
the address that it prints, on this computer alone unless --host says otherwise. Nothing that is sent is stored.
"""
import logging
import signal
import sys
import warnings

import jax
from absl import flags

from galaxy_jax import finder, predictor
from galaxy_jax.command import run_command
from tfds_builders import extras

FLAGS = flags.FLAGS
logger = logging.getLogger(__name__)


def main(_) -> int:
  """Serves until it is interrupted; returns the exit status."""
  for module in ("flask", "waitress"):
    extras.load(module, extra="serve", purpose="The page")
  from galaxy_jax.serve import app, hosts, server
  for name in ("waitress", "waitress.queue"):
    logging.getLogger(name).setLevel(logging.ERROR)
  warnings.filterwarnings("ignore", module="PIL")  # of damaged files; who sent one is told why it is refused
  model = predictor.load(FLAGS.workdir)
  outlines = None if FLAGS.outlines is None else _finder(FLAGS.outlines)
  local = hosts.is_local(FLAGS.host)
  application = app.create_app(model, local=local, finder=outlines)
  listening, address = server.bind(application, FLAGS.host, FLAGS.port)
  if not local:
    logger.warning("Whoever can reach this computer can use the page: --host is %s, and nobody is asked for a "
                   "password.", FLAGS.host)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
  with_outlines = "" if outlines is None else f", with outlines by {outlines.name}"
  print(f"The model {model.name} answers at {address}{with_outlines} (Ctrl-C ends it)", flush=True)
  listening.run()
  application.close()
  return 0


def _finder(workdir):
  """The model of --outlines. All its calls have one size, and a CPU takes as long for images that are none."""
  return finder.load(workdir, batch_size=1 if jax.default_backend() == "cpu" else None)


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "A run's folder, or the name of a model that the package brings along; without "
                      "it that model answers.")
  flags.DEFINE_string("outlines", None, "A run that learnt to find objects: the page and the interface show what it "
                      "finds in the images.")
  flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 is every one of this computer.")
  flags.DEFINE_integer("port", 8000, "Port to listen at; 0 is any that is free.", lower_bound=0, upper_bound=65535)
  sys.exit(run_command(main))
