"""The configuration `morph8`: eight classes with their published split.

Source: the tables of soliao/Galaxy-Zoo-Classification, arXiv 2110.01024; `galaxyID` there is the asset_id, and of the
four labels the first is the one with eight classes.
"""
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tfds_builders.archives import Member
from tfds_builders.class_lists import EIGHT_CLASSES
from tfds_builders.contents import Contents, Fault, Faults
from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.galaxy_zoo_2.arranging import arranged
from tfds_builders.galaxy_zoo_2.gz2_files import EIGHT_CLASS_TABLES, MAPPING, GZ2Files
from tfds_builders.galaxy_zoo_2.mapping import read_mapping
from tfds_builders.numbered_images import Images, by_number, stored

_COLUMNS = ("galaxyID", "label1")

_log = logging.getLogger("tfds_builders")


class Label(NamedTuple):
  """A row of a table: where it is, and the class, a place in EIGHT_CLASSES."""
  table: str
  row: int
  split: str
  label: int


class Record(NamedTuple):
  """One galaxy to be written: its numbers, its class and its image."""
  asset_id: int
  objid: int
  label: int
  images: Images
  member: Member


def validate(files: GZ2Files, *, skip_bad: bool, progress: bool) -> Contents:
  """Checks the three tables, the mapping where there is one, and the images.

  A row without an image, and an image without a row, are no faults; they are left out, counted and listed.

  Args:
    files: the source; must stay open as long as the contents are used.
    skip_bad: leave faulty galaxies out instead of raising an error.
    progress: show a progress bar.

  Raises:
    DataError: naming file, row and remedy. Also, whatever `skip_bad`, where a table's columns are wrong or no good
      galaxy is found.
  """
  faults = Faults(skip_bad)
  objids = {}
  if files.has(MAPPING):
    with files.table(MAPPING) as table:
      objids = read_mapping(table, faults).by_asset
  labels, faulty = {}, set()
  for split, name in EIGHT_CLASS_TABLES.items():
    with files.table(name) as table:
      read_labels(table, split, labels, faulty, faults)
  images = files.images()
  by_asset, twice = by_number(images, faults)
  unmatched = [Fault(label.table, label.row, asset_id, f"names galaxy {asset_id}, but there is no image {asset_id}.jpg "
                     f"in {images.label}")
               for asset_id, label in labels.items() if asset_id not in by_asset and asset_id not in twice]
  unlabelled = [Fault(images.name(member), None, asset_id, "has no row in the tables of eight classes")
                for asset_id, member in sorted(by_asset.items()) if asset_id not in labels and asset_id not in faulty]
  if unmatched or unlabelled:
    _log.warning("Tables of eight classes: galaxies without an image, left out: %d; images without a row there: %d.",
                 len(unmatched), len(unlabelled))
  records = [Record(asset_id, objids.get(asset_id, -1), label.label, images, by_asset[asset_id])
             for asset_id, label in sorted(labels.items()) if asset_id in by_asset]
  return arranged(files, records, examples, split_of=lambda record: labels[record.asset_id].split, what="a class",
                  faults=faults, unmatched=unmatched + unlabelled, progress=progress)


def read_labels(table: CsvTable, split: str, labels: dict[int, Label], faulty: set[int], faults: Faults) -> None:
  """Reads one of the tables.

  Args:
    table: the CSV file.
    split: the split that its galaxies are in.
    labels: asset_id -> label; takes the good rows. It has those of the tables read before: a galaxy in two tables is a
      fault, and in neither split.
    faulty: takes the asset_ids of faulty rows.
    faults: takes what is wrong with single rows.

  Raises:
    DataError: not a CSV file with the table's columns.
  """
  columns = table.columns(_COLUMNS)
  for row_number, row in table.rows():
    asset_id = None
    try:
      table.check_length(row)
      asset_id, text = whole_number(row[columns[0]], _COLUMNS[0]), row[columns[1]]
      if asset_id in faulty:
        raise ValueError(f"repeats galaxy {asset_id}, another row of which is faulty")
      if asset_id in labels:
        raise ValueError(f"repeats galaxy {asset_id} of {labels[asset_id].table}, row {labels[asset_id].row}")
      label = whole_number(text, _COLUMNS[1])
      if label >= len(EIGHT_CLASSES):
        raise ValueError(f"has {text.strip()[:40]!r} in column {_COLUMNS[1]}; a class from 0 to "
                         f"{len(EIGHT_CLASSES) - 1} was expected")
      labels[asset_id] = Label(table.label, row_number, split, label)
    except ValueError as error:
      faults.add(Fault(table.label, row_number, asset_id, str(error)))
      if asset_id is not None:
        faulty.add(asset_id)
        labels.pop(asset_id, None)


def examples(records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of the records' galaxies."""
  for record in records:
    yield record.asset_id, {"image": stored(record), "asset_id": record.asset_id,
                            "objid": record.objid, "label": record.label}
