"""Builds one data set: python -m tfds_builders galaxy_zoo_challenge --manual_dir=… --data_dir=…"""
import argparse
import logging
import sys

from tfds_builders import BUILDERS
from tfds_builders.errors import exit_status
from tfds_builders.prepare import FILE_FORMATS, prepare


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status: 0, or 1 after an error has been printed."""
  parser = argparse.ArgumentParser(prog="python -m tfds_builders", description="Builds one data set.",
                                   formatter_class=argparse.ArgumentDefaultsHelpFormatter)
  parser.add_argument("name", choices=sorted(BUILDERS), help="the data set")
  parser.add_argument("--manual_dir", help="folder with the source files (simulated data have none); without it, "
                      "DATA_DIR/downloads/manual")
  parser.add_argument("--data_dir",
                      help="where to put the data set; without it, $TFDS_DATA_DIR or ~/tensorflow_datasets")
  parser.add_argument("--file_format", choices=FILE_FORMATS, default="array_record",
                      help="tfrecord is what tfds.load reads, and needs TensorFlow")
  parser.add_argument("--skip_bad", action="store_true", help="leave faulty galaxies out, and list them in a file")
  parser.add_argument("--overwrite", action="store_true", help="replace a finished build")
  options = vars(parser.parse_args(arguments))

  logging.basicConfig(level=logging.WARNING, format="%(message)s")
  logging.getLogger("tfds_builders").setLevel(logging.INFO)
  return exit_status(lambda: prepare(options.pop("name"), **options), "Nothing was built.")


if __name__ == "__main__":
  sys.exit(main())
