"""The configuration `votes`: images joined with Hart et al.'s table, split by the objid."""
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfds_builders.archives import Member
from tfds_builders.contents import Contents, Fault, Faults
from tfds_builders.galaxy_zoo_2.arranging import arranged
from tfds_builders.galaxy_zoo_2.gz2_files import MAPPING, VOTES, GZ2Files
from tfds_builders.galaxy_zoo_2.hart16 import Galaxy, read_votes, split_of
from tfds_builders.galaxy_zoo_2.mapping import Mapping, read_mapping
from tfds_builders.numbered_images import Images, by_number, stored

_log = logging.getLogger("tfds_builders")


class Record(NamedTuple):
  """One galaxy to be written: its numbers, its image and its row of the table."""
  objid: int
  asset_id: int
  images: Images
  member: Member
  galaxy: Galaxy


def validate(files: GZ2Files, *, skip_bad: bool, progress: bool) -> Contents:
  """Checks the mapping, the table of votes and the images.

  A galaxy without an image, and an image without a galaxy, are no faults: the published files have thousands. They are
  left out, counted and listed.

  Args:
    files: the source; must stay open as long as the contents are used.
    skip_bad: leave faulty galaxies out instead of raising an error.
    progress: show a progress bar.

  Raises:
    DataError: naming file, row and remedy. Also, whatever `skip_bad`, where a table's columns are wrong or no good
      galaxy is found.
  """
  faults = Faults(skip_bad)
  with files.table(MAPPING) as table:
    mapping = read_mapping(table, faults)
  with files.table(VOTES) as table:
    galaxies, faulty = read_votes(table, faults)
  images = files.images()
  by_asset, twice = by_number(images, faults)
  records, unmatched = _join(galaxies, mapping, images, by_asset, mapping.faulty | faulty | twice, table.label, faults)
  return arranged(files, records, examples, split_of=lambda record: split_of(record.objid), what="votes", faults=faults,
                  unmatched=unmatched, progress=progress)


def _join(galaxies: dict[int, Galaxy], mapping: Mapping, images: Images, by_asset: dict[int, Member], faulty: set[int],
          label: str, faults: Faults) -> tuple[list[Record], list[Fault]]:
  """The galaxies that have an image, in ascending order of objid; and what is without its counterpart.

  Numbers in `faulty` are listed as faults already, and not again for what follows from them.
  """
  records, without_image = [], []
  used = set()
  for objid, galaxy in sorted(galaxies.items()):
    try:
      asset_id = mapping.asset_id(objid, galaxy.sample)
    except ValueError as error:
      faults.add(Fault(label, galaxy.row, objid, str(error)))
      continue
    used.add(asset_id)
    if asset_id in by_asset:
      records.append(Record(objid, asset_id, images, by_asset[asset_id], galaxy))
    elif asset_id is not None and asset_id not in faulty:
      without_image.append(Fault(label, galaxy.row, objid, f"names galaxy {objid}, but there is no image "
                                 f"{asset_id}.jpg in {images.label}"))
    elif asset_id is None and objid not in faulty:
      sample = "" if galaxy.sample is None else f" of sample {galaxy.sample!r}"
      without_image.append(Fault(label, galaxy.row, objid, f"names galaxy {objid}{sample}, which has no image in the "
                                 "mapping"))
  without_votes = []
  for asset_id, member in sorted(by_asset.items()):
    objid = mapping.by_asset.get(asset_id)
    if asset_id not in used and not {objid, asset_id} & faulty:
      without_votes.append(Fault(images.name(member), None, asset_id, "has no row in the mapping" if objid is None
                                 else f"is of galaxy {objid}, which has no row for it in {label}"))
  if without_image or without_votes:
    _log.warning("%s: galaxies without an image, left out: %d; images without a galaxy there: %d.",
                 label, len(without_image), len(without_votes))
  return records, without_image + without_votes


def examples(records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of the records' galaxies."""
  for record in records:
    galaxy = record.galaxy
    yield record.objid, {
        "image": stored(record),
        "objid": record.objid,
        "asset_id": record.asset_id,
        "sample": galaxy.sample or "",
        "ra": np.float64(galaxy.ra),
        "dec": np.float64(galaxy.dec),
        "gz2_class": galaxy.gz2_class,
        "total_classifications": galaxy.total_classifications,
        "total_votes": galaxy.total_votes,
        **galaxy.arrays(),
        "vote_fractions": galaxy.vote_fractions(),
    }
