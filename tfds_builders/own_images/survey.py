"""A survey's files below one folder: its settings, given or obvious, its tables, and which columns are used."""
import difflib
import fnmatch
import hashlib
import os
from pathlib import Path

from tfds_builders.csv_tables import SeparatorError
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.images import ImageError
from tfds_builders.own_images import labels
from tfds_builders.own_images import settings as toml
from tfds_builders.own_images.pictures import locate
from tfds_builders.own_images.settings import FILE_NAME, Settings
from tfds_builders.own_images.tables import Table, TableFile

#: Names of columns, in any case, that say by themselves where an image is, or whose it is.
IMAGE_COLUMNS = ("path", "file", "image", "filename")
ID_COLUMNS = ("galaxy_id", "galaxyid", "objid", "object_id", "dr7objid", "id")
#: Formats of which a table is looked for where no settings file names one.
_OBVIOUS_SUFFIXES = (".csv", ".parquet", ".vot", ".votable")


class Survey:
  """The source of the data set. A context manager, as all are.

  Attributes:
    folder: that paths are relative to.
    settings: with its defaults resolved: `table`, `image.file` and `labels.vote_fractions` are given, `id` is where the
      table has such a column.
    label: what errors call the settings.
  """

  def __init__(self, manual_dir):
    """Reads the settings and the tables' columns' names.

    Args:
      manual_dir: the folder, or a settings file of any name that ends in .toml, whose folder it is.

    Raises:
      MissingDataError: there is neither a settings file nor a table with images.
      DataError: the settings are wrong, or a table cannot be read.
    """
    path = Path(manual_dir).expanduser()
    named = path.suffix == ".toml" and path.is_file()
    self.folder = path.parent if named else path
    file = path if named else path / FILE_NAME
    self.label = file.name
    if not self.folder.is_dir():
      raise MissingDataError(f"The manual folder {self.folder} does not exist.\n{how_to_get(self.folder)}")
    settings = Settings()
    if file.exists():
      try:
        settings = toml.parse(file.read_bytes(), file.name)
      except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from None
    self._found = {}
    self._table = (self._open(settings, settings.table, settings.table_hdu, "table") if settings.table
                   else self._obvious_table(settings, file))
    match = settings.match
    self._second = match and self._open(settings, match.table, match.table_hdu, "[match] table")
    self.settings = self._resolved(settings._replace(table=self._table.label))
    self._taken = self._columns_taken()
    self._used = self._columns_used()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    """Nothing stays open."""

  def table(self) -> Table:
    """The columns that are used; raises DataError."""
    return self._table.read(sorted(self._used))

  def second_table(self) -> Table:
    """The columns to take from the second table, and its positions; raises DataError."""
    match = self.settings.match
    return self._second.read(sorted({*self._taken, match.match_ra, match.match_dec}))

  @property
  def taken(self) -> tuple[str, ...]:
    """The columns that come from the second table."""
    return self._taken

  def locate(self, path: str) -> tuple[str, int]:
    """The absolute path of an image file and its size, looked up once; raises ImageError."""
    if path not in self._found:
      try:
        self._found[path] = locate(self.folder, path, allow_outside=self.settings.allow_outside)
      except ImageError as error:
        self._found[path] = error
    if isinstance(found := self._found[path], ImageError):
      raise found
    return found

  def image_paths(self, table: Table) -> tuple[list[tuple[str, ...] | None], dict[int, str]]:
    """What each row's image files are called, None where a value is missing; and {row: what is wrong with it}."""
    templates = self.settings.image.file
    texts = {name: labels.texts(table.columns, name, self.settings.missing, table.label)
             for template in templates for name in toml.places(template)}
    paths, wrong = [], {}
    for row in range(len(table.lines)):
      files = []
      for template in templates:
        values = [texts[name][row] for name in toml.places(template)]
        if None in values:
          name = toml.places(template)[values.index(None)]
          wrong[row] = f"has nothing in column {name}, where its image is named"
          break
        files.append(toml.fill_in(template, values))
      paths.append(tuple(files) if len(files) == len(templates) else None)
    return paths, wrong

  def fingerprint(self) -> str:
    """A digest of the settings, the tables' bytes and the names and sizes of images: 64 hexadecimal digits."""
    digest = hashlib.sha256(repr(self.settings).encode())
    for table in filter(None, (self._table, self._second)):
      try:
        with open(table.path, "rb") as file:
          digest.update(hashlib.file_digest(file, "sha256").digest())
      except OSError as error:
        raise DataError(f"{table.label} cannot be read ({error.strerror}).") from None
    paths, _ = self.image_paths(self.table())
    for path in sorted({path for files in paths if files for path in files}):
      try:
        size = self.locate(path)[1]
      except ImageError:
        size = -1
      digest.update(f"{path}\t{size}\n".encode())
    return digest.hexdigest()

  def _open(self, settings, name, hdu, key):
    try:
      locate(self.folder, name, allow_outside=settings.allow_outside)
    except ImageError as error:
      raise DataError(f"{self.label}: {key} {name!r} {error}. It is looked for in {self.folder}.") from None
    return TableFile(Path(self.folder, name), name, hdu)

  def _obvious_table(self, settings, file):
    """The only table in the folder that names images."""
    try:
      names = sorted(entry.name for entry in os.scandir(self.folder)
                     if entry.name.lower().endswith(_OBVIOUS_SUFFIXES) and not entry.name.startswith("."))
    except OSError as error:
      raise DataError(f"{self.folder} cannot be read ({error.strerror}).") from None
    tables, otherwise_separated = [], []
    for name in names:
      try:
        tables.append(self._open(settings, name, None, "table"))
      except SeparatorError as error:
        otherwise_separated.append(error)
    if not settings.image.file:
      tables = [table for table in tables if _like(IMAGE_COLUMNS, table.names)]
    if otherwise_separated and (settings.image.file or not tables):
      raise otherwise_separated[0]
    if len(tables) == 1:
      return tables[0]
    if not tables:
      asked = f"no {FILE_NAME} and no" if not file.exists() else "no"
      raise MissingDataError(f"{self.folder} has {asked} table ({', '.join(_OBVIOUS_SUFFIXES)}) with a column "
                             f"{', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}"
                             + (f" (tables there: {', '.join(names[:8])})" if names else "")
                             + f".\n{how_to_get(self.folder)}")
    raise DataError(f"{self.folder} has several tables that may name the images, {', '.join(t.label for t in tables)}. "
                    f"Say which in {self.folder / FILE_NAME}: table = {tables[0].label!r}")

  def _resolved(self, settings):
    """The settings with what is obvious from the table's columns."""
    names = self._table.names
    if not settings.image.file:
      found = _like(IMAGE_COLUMNS, names)
      if len(found) != 1:
        why = (f"has several columns that may name the images, {', '.join(found)}" if found else
               f"has no column {', '.join(IMAGE_COLUMNS[:-1])} or {IMAGE_COLUMNS[-1]}, which would name the images")
        raise DataError(f"{self._table.label} {why}. Say it in {self.label}: [image] and below it file = "
                        f"\"{{COLUMN}}\". The columns are {_listed(names)}.")
      settings = settings._replace(image=settings.image._replace(file=(f"{{{found[0]}}}",)))
    if settings.id is None:
      found = _like(ID_COLUMNS, names)
      settings = settings._replace(id=found[0] if found else None)
      if not found and not toml.places(settings.image.file[0]):
        raise DataError(f"{self.label}: the images' file is the same for all rows, and {self._table.label} has no "
                        f"column of ids. Name it: id = \"COLUMN\". The columns are {_listed(names)}.")
    if settings.labels.vote_fractions is None:
      taken = () if settings.match is None else {
          name for pattern in settings.match.columns for name in fnmatch.filter(self._second.names, pattern)}
      there = all(name in names or name in taken for name in COLUMNS)
      settings = settings._replace(labels=settings.labels._replace(vote_fractions=COLUMNS if there else ()))
    return settings

  def _columns_taken(self):
    """The columns of the second table that its patterns name."""
    match = self.settings.match
    if match is None:
      return ()
    taken = []
    for pattern in match.columns:
      found = [pattern] if pattern in self._second.names else fnmatch.filter(self._second.names, pattern)
      if not found:
        self._refuse("[match] columns", pattern, self._second)
      taken += [name for name in found if name not in taken]
    for key, name in (("match_ra", match.match_ra), ("match_dec", match.match_dec)):
      if name not in self._second.names:
        self._refuse(f"[match] {key}", name, self._second)
    return tuple(taken)

  def _columns_used(self):
    """The columns of the own table that some setting names."""
    settings, used = self.settings, {}
    labels, cutout, match = settings.labels, settings.cutout, settings.match
    for template in settings.image.file:
      used |= dict.fromkeys(toml.places(template), "[image] file")
    named = {"keep": settings.keep, "keep_integer": settings.keep_integer,
             "keep_text": settings.keep_text, "[labels] vote_fractions": labels.vote_fractions,
             "[labels] vote_counts": labels.vote_counts, "[labels] label": [labels.label],
             "[splits] column": [settings.splits.column]}
    # Whose row it is, and where it is, only the own table can say.
    own = {"id": [settings.id]}
    for key in ("x", "y", "ra", "dec") if cutout else ():
      own[f"[cutout] {key}"] = [getattr(cutout, key)]
    if match:
      own |= {"[match] ra": [match.ra], "[match] dec": [match.dec]}
    for key, names in (named | own).items():
      for name in names:
        if name is None:
          continue
        if name in self._taken and key not in own:
          if name in self._table.names:
            raise DataError(f"{self.label}: {key} names the column {name!r}, which both {self._table.label} and "
                            f"{self._second.label} have. Rename one, or leave it out of [match] columns.")
          continue
        used.setdefault(name, key)
    for name, key in used.items():
      if name not in self._table.names:
        self._refuse(key, name, self._table)
    return used

  def _refuse(self, key, name, table):
    near = difflib.get_close_matches(name, table.names, 1)
    raise DataError(f"{self.label}: {key} names the column {name!r}, which {table.label} does not have"
                    f"{f'; is {near[0]!r} meant?' if near else '.'} Its columns are {_listed(table.names)}.")


def _like(wanted, names):
  """The names that are wanted, in any case, in the order of the wanted."""
  return [name for want in wanted for name in names if name.lower() == want]


def _listed(names):
  return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def how_to_get(manual_dir) -> str:
  """The lines of an error that say what belongs into `manual_dir`."""
  return (f"Put images and a table there that names them in a column 'path', or describe them in "
          f"{Path(manual_dir) / FILE_NAME} (tfds_builders/own_images/README.md), then run\n"
          f"  python -m tfds_builders own_images --manual_dir={manual_dir}")
