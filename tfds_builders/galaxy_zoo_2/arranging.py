"""What both configurations do with rows that have found their images: these are checked, and divided into splits."""
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from tfds_builders.contents import Contents, Fault, Faults
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_2.gz2_files import EIGHT_CLASS_TABLES, GZ2Files
from tfds_builders.numbered_images import with_good_image


def arranged(files: GZ2Files, records: Sequence, examples: Callable[[Sequence], Iterator[tuple[int, dict[str, Any]]]],
             *, split_of: Callable[[Any], str], what: str, faults: Faults, unmatched: list[Fault],
             progress: bool) -> Contents:
  """The contents of a data set.

  Args:
    files: the source.
    records: in the order they are to be written; each has `images` and `member`.
    examples: as in `Contents`.
    split_of: the split that a record is in.
    what: a record has beside its image, for the error.
    faults: takes what is wrong with images.
    unmatched: rows and images without their counterpart: left out, and listed.
    progress: show a progress bar.

  Raises:
    DataError: an image that cannot be used; or, whatever `faults` skips, no record is left.
  """
  with tqdm(desc="Checking images", total=len(records), unit=" images", disable=None if progress else True) as bar:
    records = with_good_image(records, faults, bar)
  left_out = [*faults.found, *unmatched]
  if not records:
    raise DataError(f"{files.manual_dir} has no galaxy with both an image and {what}. "
                    + (f"For one, {left_out[0]}." if left_out else "Download the files again."))
  splits = {split: [] for split in EIGHT_CLASS_TABLES}
  for record in records:
    splits[split_of(record)].append(record)
  size = sum(record.member.size for record in records) // len(records)
  return Contents(files.fingerprint(), {split: found for split, found in splits.items() if found}, examples, left_out,
                  size)
