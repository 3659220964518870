"""Which image is whose: `gz2_filename_mapping.csv`, with an object's id, its sample and the image's number."""
from typing import NamedTuple

from tfds_builders.contents import Fault, Faults
from tfds_builders.csv_tables import CsvTable, whole_number

_COLUMNS = ("objid", "sample", "asset_id")


class Mapping(NamedTuple):
  """The rows of the table.

  Attributes:
    by_object: objid -> {sample: asset_id}. In the published table 30,339 objects of Stripe 82 are in two samples, each
      with an image of its own.
    by_asset: asset_id -> objid.
    faulty: the objids and asset_ids of faulty rows, which are in neither of the two.
  """
  by_object: dict[int, dict[str, int]]
  by_asset: dict[int, int]
  faulty: set[int]

  def asset_id(self, objid: int, sample: str | None) -> int | None:
    """The number of an object's image in a sample, None where the table has none: another sample's is another image.

    Args:
      objid: the object.
      sample: the sample, or None where that is not known; the object's only image is then taken.

    Raises:
      ValueError: with the reason, where the sample is not known and there are several images.
    """
    assets = self.by_object.get(objid, {})
    if sample is None and len(assets) > 1:
      raise ValueError(f"names galaxy {objid} without its sample, and there are images of the samples "
                       f"{' and '.join(map(repr, sorted(assets)))}")
    return next(iter(assets.values()), None) if sample is None else assets.get(sample)


def read_mapping(table: CsvTable, faults: Faults) -> Mapping:
  """Reads the table.

  Args:
    table: the CSV file.
    faults: takes what is wrong with single rows.

  Raises:
    DataError: not a CSV file with the table's columns.
  """
  columns = table.columns(_COLUMNS)
  mapping = Mapping({}, {}, set())
  samples, twice = {}, set()
  for row_number, row in table.rows():
    objid = asset_id = None
    try:
      objid = whole_number("".join(row[columns[0]:columns[0] + 1]), _COLUMNS[0])
      table.check_length(row)
      sample, asset_id = row[columns[1]].strip(), whole_number(row[columns[2]], _COLUMNS[2])
      if asset_id in mapping.by_asset:
        twice.add(asset_id)
        raise ValueError(f"repeats asset_id {asset_id}, which galaxy {mapping.by_asset[asset_id]} has already")
      assets = mapping.by_object.setdefault(objid, {})
      if sample in assets:
        twice.add(assets[sample])
        raise ValueError(f"repeats galaxy {objid} of sample {sample!r}, which has asset_id {assets[sample]} already")
      assets[sample] = asset_id
      mapping.by_asset[asset_id], samples[asset_id] = objid, sample
    except ValueError as error:
      faults.add(Fault(table.label, row_number, asset_id, str(error)))
      mapping.faulty.update(number for number in (objid, asset_id) if number is not None)
  # Of two rows for one image, or two images for one galaxy, nobody knows which is right: neither is used.
  for asset_id in twice:
    objid = mapping.by_asset.pop(asset_id)
    del mapping.by_object[objid][samples[asset_id]]
    mapping.faulty.update((objid, asset_id))
  return mapping
