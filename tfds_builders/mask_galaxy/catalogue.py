"""Classes from a table of Galaxy Zoo, for galaxies whose annotation has none.

Galaxy Zoo 2's tables have the columns `dr7objid` and `gz2_class`; Galaxy Zoo 1's have `OBJID` and a 1 in one of
`SPIRAL`, `ELLIPTICAL` and `UNCERTAIN`.

Sources: https://data.galaxyzoo.org ; Lintott et al. 2011 (MNRAS 410, 166), table 2; Hart et al. 2016 (MNRAS 461, 3663).
"""
from collections.abc import Callable, Container

from tfds_builders.contents import Fault, Faults
from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.errors import DataError
from tfds_builders.mask_galaxy.classes import ELLIPTICAL, SPIRAL, UNKNOWN, class_number

#: In this order; a table of SDSS's later releases has its own ids beside those of release 7, which name the images.
_ID_COLUMNS = ("dr7objid", "objid")
_CLASS_COLUMNS = ("gz2_class", "gz2class", "simple_label", "simplelabel", "class", "label")
_FLAG_COLUMNS = {"spiral": SPIRAL, "elliptical": ELLIPTICAL, "uncertain": UNKNOWN}


def read_catalogue(table: CsvTable, wanted: Container[int], faults: Faults) -> dict[int, int]:
  """Reads the classes of some galaxies.

  Args:
    table: the CSV file.
    wanted: their object ids.
    faults: takes what is wrong with single rows.

  Returns:
    object id -> number of the class in MASK_CLASSES, of those that the table has.

  Raises:
    DataError: no CSV file, or one without the columns.
  """
  lower = [name.lower() for name in table.header]
  names = {column: table.header[lower.index(column)]
           for column in (*_ID_COLUMNS, *_CLASS_COLUMNS, *_FLAG_COLUMNS) if column in lower}
  id_name = next((names[column] for column in _ID_COLUMNS if column in names), None)
  class_name = next((names[column] for column in _CLASS_COLUMNS if column in names), None)
  flags = [column for column in _FLAG_COLUMNS if column in names]
  if id_name is None or (class_name is None and len(flags) < len(_FLAG_COLUMNS)):
    raise DataError(f"{table.label}, row 1: the header has no column for object ids ({', '.join(_ID_COLUMNS)}) or none "
                    f"for classes ({', '.join(_CLASS_COLUMNS)}; or {', '.join(_FLAG_COLUMNS)}). Rename them, or take "
                    "the file out of the folder.")
  id_column = table.columns([id_name])[0]
  if class_name is not None:
    class_column = table.columns([class_name])[0]
    read = lambda row: class_number(row[class_column])
  else:
    read = _flagged(dict(zip(table.columns([names[flag] for flag in flags]), flags, strict=True)))

  classes, rows = {}, {}
  for line, row in table.rows():
    objid = None
    try:
      table.check_length(row)
      objid = whole_number(row[id_column], id_name)
      if objid not in wanted:
        continue
      if objid in rows:
        raise ValueError(f"repeats galaxy {objid} of row {rows[objid]}")
      rows[objid] = line
      classes[objid] = read(row)
    except ValueError as error:
      faults.add(Fault(table.label, line, objid, str(error)))
      # Of two rows for one galaxy nobody knows which is right: neither is used.
      classes.pop(objid, None)
  return classes


def _flagged(columns: dict[int, str]) -> Callable[[list[str]], int]:
  """Reads a row's class from columns (index -> name) of which one is 1."""
  def read(row: list[str]) -> int:
    chosen = [name for column, name in columns.items() if row[column].strip() == "1"]
    if len(chosen) != 1:
      raise ValueError(f"has a 1 in {len(chosen)} of the columns {', '.join(columns.values())}; in one was expected")
    return _FLAG_COLUMNS[chosen[0]]
  return read
