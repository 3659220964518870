"""Writes the list of splits of a published file into this folder, from where the builder takes it from then on.

  python -m tfds_builders.galaxy10.publish_splits Galaxy10_DECals.h5

The list is what the rule in `splits` gives for the file's classes. With it the splits can be used without the file, and
the builder's splits can no longer change unseen.
"""
import argparse
import sys
from pathlib import Path

from tfds_builders.contents import Faults
from tfds_builders.errors import DataError, exit_status
from tfds_builders.galaxy10.galaxy10_dataset_builder import Builder, split_list_path
from tfds_builders.galaxy10.hdf5_file import RELEASES, Galaxy10File
from tfds_builders.galaxy10.splits import SPLITS, stratified, write_list


def publish_splits(file, *, output=None) -> Path:
  """Writes the list of splits of one of the two published files.

  Args:
    file: its path.
    output: the folder to write to. None: the builder's.

  Returns:
    The path of the list, NAME_splits.csv.

  Raises:
    DataError: the file is neither of the two, to the bit.
  """
  for config in Builder.builder_configs.values():
    release = RELEASES[config.release]
    if Path(file).name == release.file_name:
      break
  else:
    raise DataError(f"{file} is none of the published files: {', '.join(r.file_name for r in RELEASES.values())}.")
  source = Builder(config=config.name).open_source(file)
  if not source.is_published:
    raise DataError(f"{file} is not the published {release.file_name}: it has the SHA-256 {source.sha256}. A list is "
                    "only published of that one.")
  with Galaxy10File(source.path, release) as opened:
    labels = opened.labels(Faults(skip_bad=False))
  path = split_list_path(release) if output is None else Path(output, split_list_path(release).name)
  splits = stratified(labels, release.name)
  write_list(path, [(row, int(label), SPLITS[split])
                    for row, (label, split) in enumerate(zip(labels, splits, strict=True))])
  return path


def main(arguments: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status: 0, or 1 after an error has been printed."""
  parser = argparse.ArgumentParser(prog="python -m tfds_builders.galaxy10.publish_splits",
                                   description="Writes the list of splits of a published Galaxy10 file.")
  parser.add_argument("file", help="the published file, under its own name")
  parser.add_argument("--output", help="folder to write to; without it, the builder's own")
  options = parser.parse_args(arguments)
  return exit_status(lambda: print(f"Wrote {publish_splits(options.file, output=options.output)}."),
                     "No list was written.")


if __name__ == "__main__":
  sys.exit(main())
