"""Checks a survey's rows and images and arranges what is good into splits, before anything is written."""
import functools
import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from tqdm import tqdm

from tfds_builders.contents import Contents, Fault, Faults
from tfds_builders.errors import DataError
from tfds_builders.images import ImageError
from tfds_builders.own_images import columns, labels, pictures
from tfds_builders.own_images.matching import counterparts, on_sky
from tfds_builders.own_images.pictures import Files, Picture, Recipe
from tfds_builders.own_images.settings import Splits, split_name
from tfds_builders.own_images.survey import Survey
from tfds_builders.own_images.tables import Table
from tfds_builders.own_images.toml_checks import Wrong

_log = logging.getLogger("tfds_builders")


class Record(NamedTuple):
  """One galaxy to be written.

  Attributes:
    galaxy_id: its id.
    picture: where its image is.
    values: its features but the image and those made with it.
  """
  galaxy_id: int | str
  picture: Picture
  values: dict[str, Any]


class Rows:
  """A table's rows, and what is wrong with them: each is at most one fault.

  Attributes:
    good: (N,) bool.
    ids: of each row; None where it has none.
  """

  def __init__(self, table: Table, faults: Faults):
    self._table, self._faults = table, faults
    self.good = np.ones(len(table.lines), bool)
    self.ids: list[int | str | None] = [None] * len(self.good)

  def refuse(self, row: int, reason: str) -> None:
    """Takes a fault; of a row that has one already it is not looked at."""
    if self.good[row]:
      self.good[row] = False
      self._faults.add(Fault(self._table.label, int(self._table.lines[row]), self.ids[row], reason))


def validate(survey: Survey, *, skip_bad: bool, progress: bool) -> tuple[Contents, tuple[str, ...], bool]:
  """Checks a survey.

  Args:
    survey: the source.
    skip_bad: leave faulty galaxies out instead of raising an error.
    progress: show a progress bar.

  Returns:
    Its contents; the names of its classes; and whether images are made, so that there is a feature `nan_pixels`.

  Raises:
    DataError: naming file, row and remedy.
  """
  settings, faults = survey.settings, Faults(skip_bad)
  table = survey.table()
  for fault in table.faults:
    faults.add(fault)
  rows = Rows(table, faults)
  paths, wrong = survey.image_paths(table)
  for row, reason in wrong.items():
    rows.refuse(row, reason)
  _read_ids(survey, table, rows, paths)
  found = [_located(survey, rows, row, files) for row, files in enumerate(paths)]
  positions = _positions(survey, table, rows)
  everything = table.columns | _matched(survey, table, rows)
  features = labels.read(everything, settings, rows.refuse, table.label)
  splits = _splits(settings.splits, everything, rows, settings.missing, table.label)

  recipe = Recipe(settings.image, settings.scaling, settings.cutout)
  records, checked = _with_good_image(rows, found, positions, features.values, recipe, progress)
  made = not all(check.stored_as_is for check in checked.values())
  if not records:
    raise DataError(f"{survey.folder} has no usable galaxy."
                    + (f" The first fault: {faults.found[0]}." if faults.found else f" {table.label} has no rows."))
  _say_filled(table.label, checked)
  arranged = {name: [] for name in splits.names}
  for row in sorted(records, key=lambda row: rows.ids[row]):
    arranged[splits.of[row]].append(records[row])
  for name in [name for name, members in arranged.items() if not members]:
    _log.warning("No galaxy falls into the split %r; there is none of that name.", name)
    del arranged[name]
  contents = Contents(survey.fingerprint(), arranged,
                      functools.partial(_examples, recipe, made), faults.found,
                      max(1, sum(check.size for check in checked.values()) // len(checked)))
  return contents, features.class_names, made


def _examples(recipe: Recipe, made: bool, records: Sequence[Record]) -> Iterator[tuple[int | str, dict[str, Any]]]:
  """Yields (key, example) of the records' galaxies."""
  with Files() as files:
    for record in records:
      try:
        # TFDS takes a file object's bytes as they are; it would re-encode an array, with TensorFlow.
        data, nan_pixels = pictures.stored(record.picture, recipe, files)
      except ImageError as error:
        raise DataError(f"{record.picture.files[0]} {error}. It was sound when it was checked, so it has been changed "
                        "meanwhile; build again.") from None
      example = {"image": io.BytesIO(data), "galaxy_id": record.galaxy_id, **record.values}
      yield record.galaxy_id, example | ({"nan_pixels": nan_pixels} if made else {})


def _read_ids(survey, table, rows, paths):
  """Fills in `rows.ids`; a row without a good one, or with one that another has, is a fault."""
  settings = survey.settings
  if settings.id is None:
    texts = [None if files is None else PurePath(files[0]).stem for files in paths]
    what = "the name of its image"
  else:
    column, what = table.columns[settings.id], f"column {settings.id}"
    if pa.types.is_floating(column.type):
      raise DataError(f"{table.label}: the column {settings.id!r} of ids holds floating-point numbers, which are exact "
                      "up to 2⁵³ only. Save it as 64-bit integers or as text.")
    texts = labels.texts(table.columns, settings.id, settings.missing, table.label)
  first = next((text for text in texts if text is not None), "0")
  integers = settings.id_type == "integer" or (
      settings.id_type is None and columns.whole_number(first) is not None)
  where = {}
  for row, text in enumerate(texts):
    number = columns.whole_number(text) if text is not None else None
    if text is None:
      rows.refuse(row, f"has no id in {what}")
    elif integers and number is None:
      rows.refuse(row, f"has {text[:60]!r} for an id in {what}; a whole number of 64 bits was expected (ids that are "
                  "texts: id_type = \"text\")")
    else:
      where.setdefault(number if integers else text, []).append(row)
  for galaxy_id, same in where.items():
    for row in same:
      rows.ids[row] = galaxy_id
      if len(same) > 1:
        # Of two rows for one galaxy nobody knows which is right: neither is used.
        other = next(other for other in same if other != row)
        rows.refuse(row, f"has the id {galaxy_id!r} of row {table.lines[other]}")


def _located(survey, rows, row, files):
  """The absolute paths of a row's files, or None."""
  if not rows.good[row]:
    return None
  found = []
  for file in files:
    try:
      found.append(survey.locate(file)[0])
    except ImageError as error:
      rows.refuse(row, f"names the image {file[:200]!r}, which {error}")
      return None
  return tuple(found)


def _positions(survey, table, rows):
  """(N, 2) where the cut-outs are, or None."""
  cutout = survey.settings.cutout
  if cutout is None:
    return None
  names = (cutout.x, cutout.y) if cutout.x is not None else (cutout.ra, cutout.dec)
  values = _numbers(table, names, survey.settings.missing, rows)
  good = np.isfinite(values).all(1) & (np.abs(values) < 1e9).all(1)
  if cutout.ra is not None:
    good &= on_sky(*values.T)
  for row in np.flatnonzero(~good):
    rows.refuse(int(row), f"has no position to cut out: {names[0]} is {values[row, 0]:g}, {names[1]} "
                f"{values[row, 1]:g}")
  return values


def _numbers(table, names, missing, rows):
  """(N, len(names)) float64 of some columns."""
  result = []
  for name in names:
    values, bad = columns.floats(table.columns[name], missing)
    for row, text in bad.items():
      rows.refuse(row, f"has {text[:40]!r} in column {name}; a number was expected")
    result.append(values)
  return np.stack(result, axis=-1)


def _matched(survey, table, rows):
  """Columns of the second table, as rows of the first; null where there is no counterpart."""
  match, missing = survey.settings.match, survey.settings.missing
  if match is None:
    return {}
  second = survey.second_table()
  mine = _numbers(table, (match.ra, match.dec), missing, rows)
  theirs = np.stack([columns.floats(second.columns[name], missing)[0] for name in (match.match_ra, match.match_dec)])
  impossible = np.isfinite(mine).all(1) & ~on_sky(*mine.T)
  for row in np.flatnonzero(impossible):
    rows.refuse(int(row), f"has ra {mine[row, 0]:g}, dec {mine[row, 1]:g}, which is no position in degrees")
  found = counterparts(*mine.T, *theirs, match.radius_arcsec)
  _log.info("%s: %d of %d rows have a counterpart in %s within %g arcsec; %d of them have several, and the nearest is "
            "taken; %d share theirs with another row; %d have none, and none of its columns.", table.label,
            np.count_nonzero(found.row >= 0), len(found.row), second.label, match.radius_arcsec, found.ambiguous,
            found.shared, np.count_nonzero(found.row < 0))
  if second.faults or not on_sky(*theirs).all():
    _log.warning("%s: %d rows have no position that can be read, and match nothing.", second.label,
                 len(second.faults) + np.count_nonzero(~on_sky(*theirs)))
  take = pa.array(found.row, mask=found.row < 0)
  return {name: pa.compute.take(second.columns[name], take) for name in survey.taken}


class _Arranged(NamedTuple):
  """The splits' names in order, and that of each row."""
  names: tuple[str, ...]
  of: list[str | None]


def _splits(splits: Splits, table, rows, missing, label) -> _Arranged:
  if splits.column is not None:
    names = labels.texts(table, splits.column, missing, label)
    for row, name in enumerate(names):
      try:
        split_name(name)
      except Wrong as wrong:
        rows.refuse(row, f"has {name!r} in column {splits.column}; expected is {wrong}")
    return _Arranged(tuple(dict.fromkeys(name for name, good in zip(names, rows.good, strict=True) if good)), names)
  bounds = np.cumsum([share for _, share in splits.fractions])
  of = []
  for galaxy_id in rows.ids:
    share = int.from_bytes(hashlib.sha256(str(galaxy_id).encode()).digest()[:8], "big") / 2**64
    number = min(int(np.searchsorted(bounds, share, side="right")), len(bounds) - 1)
    of.append(splits.fractions[number][0])
  return _Arranged(tuple(name for name, _ in splits.fractions), of)


def _with_good_image(rows, found, positions, values, recipe, progress):
  """Row -> its record, and row -> what is known of its image, of the rows whose image can be stored."""
  records, checked = {}, {}
  with Files() as files, tqdm(desc="Checking images", total=int(rows.good.sum()), unit=" images",
                              disable=None if progress else True) as bar:
    for row in np.flatnonzero(rows.good):
      row = int(row)
      picture = Picture(found[row], None if positions is None else tuple(map(float, positions[row])))
      try:
        checked[row] = pictures.check(picture, recipe, files)
        records[row] = Record(rows.ids[row], picture, {name: column[row] for name, column in values.items()})
      except ImageError as error:
        rows.refuse(row, f"names the image {' + '.join(picture.files)}, which {error}")
      bar.update()
  return records, checked


def _say_filled(label, checked):
  filled = [check.nan_pixels for check in checked.values() if check.nan_pixels]
  if filled:
    _log.warning("%s: %d of %d images have pixels without a number, %d in all; they are filled, and the feature "
                 "nan_pixels counts them.", label, len(filled), len(checked), sum(filled))
