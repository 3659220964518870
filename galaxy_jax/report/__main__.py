"""Compares finished runs on one page; those that learn different things stand apart.

  python -m galaxy_jax.report --workdirs=runs/a,runs/b,runs/c --output=compare.html
"""
import json
import logging
import sys
from pathlib import Path

from absl import flags

from galaxy_jax import workdirs
from galaxy_jax.command import run_command
from galaxy_jax.logbook import read_history
from galaxy_jax.report import compare

FLAGS = flags.FLAGS
logger = logging.getLogger(__name__)

#: What a finished run has left in its folder.
_FILES = ("config.json", "data.json", "metrics.csv", "facts.json", "metrics.json")


def read(folders: list[str]) -> list[compare.Finished]:
  """The runs in these folders.

  Raises:
    FileNotFoundError: a folder holds no finished run.
    ValueError: less than two folders, or one twice.
  """
  paths = [Path(folder) for folder in folders]
  if len({path.resolve() for path in paths}) < max(2, len(paths)):
    raise ValueError(f"--workdirs is {','.join(folders)}; two or more different folders are expected.")
  for path in paths:
    if missing := [name for name in _FILES if not (path / name).is_file()]:
      raise FileNotFoundError(f"{path} holds no finished run: {missing[0]} is missing. A run of galaxy_jax.main leaves "
                              "it when it has trained and evaluated; the same command goes on with an unfinished one.")
  result = []
  for number, path in enumerate(paths, 1):
    label = path.resolve().name
    if sum(other.resolve().name == label for other in paths) > 1:
      label = f"{number} {label}"
    facts, metrics = (json.loads((path / name).read_text()) for name in ("facts.json", "metrics.json"))
    result.append(compare.Finished(label, workdirs.settings(workdirs.read_config(path)), metrics, facts,
                                   read_history(path / "metrics.csv"), workdirs.read_classes(path)))
  return result


def main(_) -> int:
  """Writes the comparison; returns the exit status."""
  output = Path(FLAGS.output)
  if output.suffix != ".html" or not output.absolute().parent.is_dir():
    raise ValueError(f"--output is {output}; expected a file NAME.html in a folder that exists.")
  runs = read(FLAGS.workdirs)
  logger.info("The comparison of %d runs is in %s.", len(runs), compare.write(runs, output))
  return 0


if __name__ == "__main__":
  flags.DEFINE_list("workdirs", None, "Folders of finished runs of galaxy_jax.main, two or more.", required=True)
  flags.DEFINE_string("output", "compare.html", "The page to write; its figures come into a folder beside it.")
  sys.exit(run_command(main))
