"""Finds the images and tables of Galaxy Zoo 2 in a folder, however they are packed, and reads them in place.

  images        images_gz2.zip, or a folder images_gz2 or images; JPEG files named by their asset_id, at any depth
  tables        NAME.csv or NAME.csv.gz

What the folder itself does not have is looked for in Kaggle's single zip, galaxy-zoo-2-images.zip.
"""
import gzip
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tfds_builders.archives import Folder, KeptOpen, Member, ReadError, Zip
from tfds_builders.csv_tables import CsvTable
from tfds_builders.errors import DataError, MissingDataError, lacking
from tfds_builders.numbered_images import Images

IMAGES = "images_gz2"
MAPPING = "gz2_filename_mapping"
VOTES = "gz2_hart16"
#: Split -> the table of its eight-class labels.
EIGHT_CLASS_TABLES = {"train": "gz2_train", "validation": "gz2_valid", "test": "gz2_test"}
_BUNDLE = "galaxy-zoo-2-images"


class GZ2Files(KeptOpen):
  """The files below one folder. A context manager: closes what it opened.

  Attributes:
    manual_dir: the folder.
  """

  def __init__(self, manual_dir, tables: tuple[str, ...], optional: tuple[str, ...] = ()):
    """Looks for the images and tables.

    Args:
      manual_dir: the folder.
      tables: names of tables, without their ending.
      optional: names of tables that may be absent.

    Raises:
      MissingDataError: the folder, the images or a table are missing.
      DataError: a zip is not complete.
    """
    self.manual_dir = Path(manual_dir).expanduser()
    super().__init__()
    self._images = None
    if not self.manual_dir.exists():
      raise MissingDataError(f"The manual folder {self.manual_dir} does not exist.\n{how_to_get(self.manual_dir)}")
    try:
      bundle = self.manual_dir / f"{_BUNDLE}.zip"
      self._bundle = self._keep(Zip(bundle, bundle.name)) if bundle.is_file() else None
      # A table is a path, or a member of the single zip.
      self._tables = {name: self._find_table(name) for name in (*tables, *optional)}
      self._where_images = self._find_images()
      missing = [f"{name}.csv" for name in tables if self._tables[name] is None]
      if self._where_images is None:
        missing.insert(0, f"{IMAGES}.zip")
      if missing:
        raise lacking(self.manual_dir, missing, how_to_get(self.manual_dir))
    except BaseException:
      self.close()
      raise

  def images(self) -> Images:
    """The images; raises DataError where there is none."""
    if self._images is None:
      if self._where_images == self._bundle:
        self._images = Images(self._bundle, within=IMAGES)
      else:
        path = self._where_images
        self._images = Images(Folder(path, path.name) if path.is_dir() else self._keep(Zip(path, path.name)))
      if not self._images.members:
        raise DataError(f"{self._images.label} holds no .jpg file. Download {IMAGES}.zip again.")
    return self._images

  def has(self, name: str) -> bool:
    """Whether there is an optional table."""
    return self._tables[name] is not None

  @contextmanager
  def table(self, name: str) -> Iterator[CsvTable]:
    """Opens a table; raises DataError where it is no CSV file."""
    with self._bytes(name) as file:
      packed = str(self._label(name)).endswith(".gz")
      yield CsvTable(self._label(name), io.BufferedReader(gzip.GzipFile(fileobj=file)) if packed else file)

  def fingerprint(self) -> str:
    """A digest of the source files: 64 hexadecimal digits.

    The tables' bytes go in, and the images' names, sizes and the zip's own CRCs; no image is read. In a folder images
    count with name and size. The place and dates of the files do not matter; how they are packed does.
    """
    digest = hashlib.sha256()
    for name, where in self._tables.items():
      digest.update(f"{name}\n".encode())
      if where is not None:
        with self._bytes(name) as file:
          digest.update(hashlib.file_digest(file, "sha256").digest())
    for member in sorted(self.images().members, key=lambda member: member.name):
      digest.update(f"{member.name}\t{member.size}\t{member.crc}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()

  def _find_images(self) -> Path | Zip | None:
    for path in (self.manual_dir / f"{IMAGES}.zip", self.manual_dir / IMAGES, self.manual_dir / "images"):
      if path.is_dir() or (path.suffix and path.is_file()):
        return path
    if self._bundle and any(IMAGES in PurePosixPath(member.name).parts[:-1] for member in self._bundle.members()):
      return self._bundle
    return None

  def _find_table(self, name: str) -> Path | Member | None:
    endings = (".csv", ".csv.gz")
    for ending in endings:
      if (path := self.manual_dir / f"{name}{ending}").is_file():
        return path
    members = self._bundle.members() if self._bundle else []
    named = [member for member in members if PurePosixPath(member.name).name in [f"{name}{end}" for end in endings]
             and "__MACOSX" not in PurePosixPath(member.name).parts]
    return named[0] if named else None

  def _label(self, name: str) -> str:
    where = self._tables[name]
    return where.name if isinstance(where, Path) else f"{self._bundle.label}/{where.name}"

  @contextmanager
  def _bytes(self, name: str) -> Iterator[BinaryIO]:
    where = self._tables[name]
    try:
      with where.open("rb") if isinstance(where, Path) else self._bundle.stream(where) as file:
        yield file
    except ReadError as error:
      raise DataError(f"{self._label(name)} {error}. Download {_BUNDLE}.zip again.") from None
    except OSError as error:
      raise DataError(f"{self._label(name)} cannot be read ({error.strerror or error}). Get it again.") from None


def how_to_get(manual_dir) -> str:
  """The lines of an error that say how to get the files into `manual_dir`."""
  return (f"Download into {manual_dir}:\n"
          "  images_gz2.zip and gz2_filename_mapping.csv from https://zenodo.org/records/3565489, or the two as\n"
          f"  kaggle datasets download jaimetrickz/galaxy-zoo-2-images -p {manual_dir}\n"
          "  for galaxy_zoo_2/votes: https://gz2hart.s3.amazonaws.com/gz2_hart16.csv.gz\n"
          "  for galaxy_zoo_2/morph8: gz2_train.csv, gz2_valid.csv and gz2_test.csv from\n"
          "  https://github.com/soliao/Galaxy-Zoo-Classification\n"
          f"Then run\n  python -m tfds_builders galaxy_zoo_2/votes --manual_dir={manual_dir}    (or /morph8)")
