"""Compares finished runs, of votes or classes, on one page.

  python -m galaxy_jax.report --workdirs=runs/a,runs/b,runs/c --output=compare.html
"""
import logging
import sys
from pathlib import Path

from absl import flags

from galaxy_jax.command import run_command
from galaxy_jax.report import compare

FLAGS = flags.FLAGS
logger = logging.getLogger(__name__)


def main(_) -> int:
  """Writes the comparison; returns the exit status."""
  output = Path(FLAGS.output)
  if output.suffix != ".html" or not output.absolute().parent.is_dir():
    raise ValueError(f"--output is {output}; expected a file NAME.html in a folder that exists.")
  runs = compare.read(FLAGS.workdirs)
  logger.info("The comparison of %d runs is in %s.", len(runs), compare.write(runs, output))
  return 0


if __name__ == "__main__":
  flags.DEFINE_list("workdirs", None, "Folders of finished runs of galaxy_jax.main, two or more.", required=True)
  flags.DEFINE_string("output", "compare.html", "The page to write; its figures come into a folder beside it.")
  sys.exit(run_command(main))
