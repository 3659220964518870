"""Which columns of a table say where the images are and what the galaxies are called."""
from collections.abc import Sequence

import pyarrow as pa

#: Columns of a table that are taken for the images' paths and for the galaxies' ids, the first that there is.
PATHS = ("file", "path", "filename", "image", "file_loc")
IDS = ("galaxy_id", "objid", "id", "dr7objid", "dr8objid", "asset_id", "id_str", "iauname", "object_id", "source_id")


def of_paths(table: str, names: Sequence[str], given: str | None, option: str) -> str:
  """The column that says where the images are.

  Args:
    table: what errors call the table.
    names: of its columns.
    given: which it is; None: the first of PATHS, in large or small letters.
    option: how a user says which.

  Raises:
    ValueError: there is none.
  """
  found = _known(table, names, given, PATHS, option)
  if found is None:
    raise ValueError(f"{table} has no column of paths: none is called {', '.join(PATHS)}. Say which it is: {option}. "
                     f"There are {', '.join(names)}.")
  return found


def of_ids(table: str, names: Sequence[str], given: str | None, option: str) -> str | None:
  """The column of the galaxies' ids, None where there is none; see `of_paths`."""
  return _known(table, names, given, IDS, option)


def _known(table, names, given, known, option):
  """The column that is given, or the first that has one of the known names, however it is written."""
  if given is not None:
    if given not in names:
      raise ValueError(f"{table} has no column {given!r} ({option}). There are {', '.join(names)}.")
    return given
  lowered = {name.lower(): name for name in reversed(names)}
  return next((lowered[name] for name in known if name in lowered), None)


def kind_of_ids(table: str, name: str, kind: pa.DataType, option: str) -> pa.DataType:
  """The type of the ids that a column of type `kind` makes, see `ids`; `option` is how a user names another.

  Raises:
    ValueError: they are neither integers nor texts.
  """
  if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
    return pa.string()
  if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
    raise ValueError(f"{table}: the column {name!r} is to say what the galaxies are called, and holds values of type "
                     f"{kind}; expected integers or texts. Name another: {option}.")
  return kind


def ids(values: pa.Array, kind: pa.DataType, name: str) -> pa.Array:
  """A column's values as ids of that kind: bytes become the texts that they are.

  Raises:
    ValueError: they are no texts; `name` is the column's.
  """
  try:
    return values if values.type == kind else values.cast(pa.binary()).cast(kind)
  except pa.ArrowInvalid as error:
    raise ValueError(f"The column {name!r}, of the galaxies' ids, holds bytes that are no text in UTF-8. Write them as "
                     "texts.") from error
