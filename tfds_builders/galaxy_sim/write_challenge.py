"""Writes simulated galaxies as the zips of the Galaxy Zoo challenge, to try on what the challenge's files are for.

  python -m tfds_builders.galaxy_sim.write_challenge --output=FOLDER
  python -m tfds_builders galaxy_zoo_challenge --manual_dir=FOLDER --data_dir=…

The galaxies are those of `galaxy_sim/challenge`. The zips say in their comments that they are simulated.
"""
import argparse
import csv
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfds_builders.errors import DataError, exit_status
from tfds_builders.galaxy_sim.galaxy_sim_dataset_builder import FIRST_ID, Builder
from tfds_builders.galaxy_sim.rendering import Recipe, records
from tfds_builders.galaxy_zoo_challenge.kaggle_files import SOLUTIONS, TEST_IMAGES, TRAINING_IMAGES
from tfds_builders.galaxy_zoo_challenge.validation import ID_COLUMN
from tfds_builders.gz2_tree import COLUMNS

_COMMENT = b"Simulated galaxies with simulated votes; not the files of the Galaxy Zoo challenge."


def write_challenge(output, *, training: int, test: int, recipe: Recipe, progress: bool = False) -> None:
  """Writes the three zips.

  They are made in a hidden folder beside their places and moved there when all are whole, the solutions last. What ends
  it before leaves no zip; what ends it between the moves leaves whole zips of images without solutions, which
  `galaxy_zoo_challenge` does not build from.

  Args:
    output: the folder, made if needed.
    training: number of galaxies with votes.
    test: number of galaxies without; 0 leaves that zip out.
    recipe: what is rendered.
    progress: show a progress bar.

  Raises:
    DataError: one of the zips is there already, or jax is not installed.
  """
  output = Path(output).expanduser()
  for part in (TRAINING_IMAGES, SOLUTIONS, TEST_IMAGES):
    if (output / f"{part}.zip").exists():
      raise DataError(f"{output / part}.zip is there already. Remove it, or name another folder: --output=….")
  output.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=output, prefix=".write_challenge_") as fresh:
    with tqdm(desc="Rendering", total=training + test, unit=" images", disable=None if progress else True) as bar:
      votes = _write_images(Path(fresh), TRAINING_IMAGES, range(FIRST_ID, FIRST_ID + training), recipe, bar)
      with _zip(Path(fresh), SOLUTIONS, zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{SOLUTIONS}.csv", _table(votes))
      if test:
        _write_images(Path(fresh), TEST_IMAGES, range(FIRST_ID + training, FIRST_ID + training + test), recipe, bar)
    for part in (TEST_IMAGES, TRAINING_IMAGES, SOLUTIONS):
      if (path := Path(fresh, f"{part}.zip")).exists():
        os.replace(path, output / path.name)


def _zip(folder, part, method):
  archive = zipfile.ZipFile(folder / f"{part}.zip", "w", method)
  archive.comment = _COMMENT
  return archive


def _write_images(folder, part, ids, recipe, bar) -> dict[int, np.ndarray]:
  """Writes a zip of images; returns galaxy id -> vote fractions."""
  votes = {}
  with _zip(folder, part, zipfile.ZIP_STORED) as archive:
    for record in records(recipe, ids):
      archive.writestr(f"{part}/{record['galaxy_id']}.jpg", record["image"])
      votes[record["galaxy_id"]] = record["vote_fractions"]
      bar.update()
  return votes


def _table(votes: dict[int, np.ndarray]) -> str:
  """The CSV file: numbers as the challenge has them, plain decimals of at most nine digits, a bare 0 or 1."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow([ID_COLUMN, *COLUMNS])
  # The shortest decimals that give the same float32.
  writer.writerows([galaxy_id, *(np.format_float_positional(value, trim="-") for value in row)]
                   for galaxy_id, row in votes.items())
  return text.getvalue()


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status: 0, or 1 after an error has been printed."""
  challenge = Builder.builder_configs["challenge"]
  parser = argparse.ArgumentParser(prog="python -m tfds_builders.galaxy_sim.write_challenge",
                                   description="Writes simulated galaxies as the zips of the Galaxy Zoo challenge.",
                                   formatter_class=argparse.ArgumentDefaultsHelpFormatter)
  parser.add_argument("--output", required=True, help="folder for the zips")
  parser.add_argument("--training", type=int, default=challenge.splits["train"] + challenge.splits["validation"],
                      help="number of galaxies with votes, at least 10")
  parser.add_argument("--test", type=int, default=challenge.splits["test"], help="number of galaxies without")
  options = parser.parse_args(arguments)
  if options.training < 10 or options.test < 0:
    parser.error("--training must be at least 10, and --test at least 0")
  return exit_status(
      lambda: write_challenge(options.output, training=options.training, test=options.test, recipe=challenge.recipe,
                              progress=True), "Not all of the zips were written.")


if __name__ == "__main__":
  sys.exit(main())
