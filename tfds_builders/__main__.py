"""Builds one data set: python -m tfds_builders galaxy_zoo_challenge --manual_dir=… --data_dir=…"""
import argparse
import logging
import os
import sys

from tfds_builders import BUILDERS, builder_class
from tfds_builders.errors import exit_status
from tfds_builders.prepare import FILE_FORMATS, prepare
from tfds_builders.preview import check_path, write_preview


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status: 0, or 1 after an error has been printed."""
  parser = argparse.ArgumentParser(prog="python -m tfds_builders", description="Builds one data set.",
                                   formatter_class=argparse.ArgumentDefaultsHelpFormatter)
  parser.add_argument("name", nargs="?", help="the data set, NAME or NAME/CONFIGURATION; NAME alone is its first "
                      "configuration")
  parser.add_argument("--list", action="store_true", help="list the data sets, and build nothing")
  parser.add_argument("--manual_dir", help="folder with the source files (simulated data have none); without it, "
                      "DATA_DIR/downloads/manual")
  parser.add_argument("--data_dir",
                      help="where to put the data set; without it, $TFDS_DATA_DIR or ~/tensorflow_datasets")
  parser.add_argument("--file_format", choices=FILE_FORMATS, default="array_record",
                      help="tfrecord is what tfds.load reads, and needs TensorFlow")
  parser.add_argument("--skip_bad", action="store_true", help="leave faulty galaxies out, and list them in a file")
  parser.add_argument("--overwrite", action="store_true", help="replace a finished build")
  parser.add_argument("--preview", metavar="SHEET.PNG", help="write a sheet of the images with their labels")
  parser.add_argument("--beam_options", metavar="NAME=VALUE,…", help="have Apache Beam write the shards, with its "
                      "pipeline options: runner=FlinkRunner,flink_master=…")
  options = vars(parser.parse_args(arguments))

  logging.basicConfig(level=logging.WARNING, format="%(message)s")
  logging.getLogger("tfds_builders").setLevel(logging.INFO)
  name, preview = options.pop("name"), options.pop("preview")
  if options.pop("list"):
    return exit_status(_list, "")
  if name is None:
    parser.error("name a data set; --list says which there are")
  if preview and options["file_format"] != "array_record":
    parser.error("a --preview is made of array_record files only")

  def build():
    if preview:
      check_path(preview)
    builder = prepare(name, **options)
    if preview:
      write_preview(builder, preview)
  return exit_status(build, "Nothing was built.")


def _list() -> None:
  """Prints each data set with what its builder says of it."""
  width = max(map(len, BUILDERS))
  for name in BUILDERS:
    configs = {config.name: config for config in builder_class(name).BUILDER_CONFIGS}
    print(f"{name:<{width}}  {configs[name.partition('/')[2]].description}")


if __name__ == "__main__":
  status = main()
  if status == 130:
    # A renderer that was interrupted may still compute in threads of its own, which Python's exit would pull away.
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)
