"""Finds the competition's files in a folder, however Kaggle or the user packed them, and reads them in place.

Three parts, each accepted as it is shipped or unpacked:

  images_training_rev1       .zip, or a folder of JPEG files
  training_solutions_rev1    .zip, .csv, or a folder that holds the .csv
  images_test_rev1           as the training images; may be absent

They lie in the manual folder itself, in a folder `galaxy-zoo-the-galaxy-challenge` in it, or in the single zip of
Kaggle's 'Download all', `galaxy-zoo-the-galaxy-challenge.zip`, as zips within the zip or as plain files. A zip of
its own is taken before a folder, and both before the single zip. Whether the contents are right is the business of
`validation`.
"""
import hashlib
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tfds_builders.archives import Folder, KeptOpen, Member, ReadError, Zip
from tfds_builders.errors import DataError, MissingDataError, lacking
from tfds_builders.numbered_images import Images

COMPETITION = "galaxy-zoo-the-galaxy-challenge"
TRAINING_IMAGES = "images_training_rev1"
SOLUTIONS = "training_solutions_rev1"
TEST_IMAGES = "images_test_rev1"


class Table(NamedTuple):
  """A CSV file.

  Attributes:
    label: what errors call it.
    data: its bytes.
  """
  label: str
  data: bytes


class KaggleFiles(KeptOpen):
  """The competition's files below one folder. A context manager: closes what it opened.

  Attributes:
    manual_dir: the folder, or the single zip of 'Download all'.
  """

  def __init__(self, manual_dir):
    """Looks for the three parts.

    Args:
      manual_dir: the folder, or the single zip of 'Download all'.

    Raises:
      MissingDataError: the folder, the training images or their solutions are missing.
      DataError: a zip is not complete.
    """
    self.manual_dir = Path(manual_dir).expanduser()
    super().__init__()
    self._found_images = {}
    if not self.manual_dir.exists():
      raise MissingDataError(f"The manual folder {self.manual_dir} does not exist.\n{how_to_get(self.manual_dir)}")
    self._bundle = None
    bundle = self.manual_dir if self.manual_dir.is_file() else self.manual_dir / f"{COMPETITION}.zip"
    try:
      if bundle.is_file():
        self._bundle = self._keep(Zip(bundle, bundle.name))
      # Each part is (kind, where): a path outside, or a member of the bundle.
      self._parts = {part: self._find(part) for part in (TRAINING_IMAGES, SOLUTIONS, TEST_IMAGES)}
      missing = [f"{part}.zip" for part in (TRAINING_IMAGES, SOLUTIONS) if self._parts[part] is None]
      if missing:
        raise lacking(self.manual_dir, missing, how_to_get(self.manual_dir))
    except BaseException:
      self.close()
      raise

  def training_images(self) -> Images:
    """The labelled images."""
    return self._images(TRAINING_IMAGES)

  def test_images(self) -> Images | None:
    """The unlabelled images, or None where they are absent."""
    return self._images(TEST_IMAGES) if self._parts[TEST_IMAGES] is not None else None

  def solutions(self) -> Table:
    """The table of vote fractions; raises DataError where it cannot be read."""
    kind, where = self._parts[SOLUTIONS]
    if kind == "file":
      archive, member, label = Folder(where.parent, ""), Member(where.name, 0, None), where.name
    else:
      archive = self._bundle if kind == "member" else self._archive(SOLUTIONS)
      candidates = [where] if kind == "member" else [
          member for member in archive.members() if PurePosixPath(member.name).name == f"{SOLUTIONS}.csv"]
      if not candidates:
        raise DataError(f"{archive.label} holds no {SOLUTIONS}.csv. Download it again.")
      member = candidates[0]
      label = f"{archive.label}/{member.name}"
    try:
      return Table(label, archive.read(member))
    except ReadError as error:
      raise DataError(f"{label} {error}. Download {SOLUTIONS}.zip again.") from None

  def fingerprint(self) -> str:
    """A digest of the source files: 64 hexadecimal digits.

    Names, sizes and the zips' own CRCs go in, so no image is read. In a folder images count with name and size. The
    place and dates of the files do not matter; how they are packed does.
    """
    digest = hashlib.sha256()
    for part, found in self._parts.items():
      digest.update(f"{part}\n".encode())
      if found is None:
        continue
      kind, where = found
      if part == SOLUTIONS:
        data = self.solutions().data
        members = [Member(f"{SOLUTIONS}.csv", len(data), zlib.crc32(data))]
      elif kind == "nested":
        members = [where]
      else:
        members = self._images(part).members
      for member in sorted(members, key=lambda member: member.name):
        digest.update(f"{member.name}\t{member.size}\t{member.crc}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()

  def _find(self, part: str) -> tuple | None:
    for folder in (self.manual_dir, self.manual_dir / COMPETITION):
      if (path := folder / f"{part}.zip").is_file():
        return "zip", path
      if part == SOLUTIONS and (path := folder / f"{part}.csv").is_file():
        return "file", path
      if (path := folder / part).is_dir():
        return "folder", path
    if self._bundle is None:
      return None
    plain = None
    for member in self._bundle.members():
      path = PurePosixPath(member.name)
      if "__MACOSX" in path.parts:
        continue
      if path.name == f"{part}.zip":
        return "nested", member
      if part == SOLUTIONS and path.name == f"{part}.csv":
        plain = "member", member
      elif part != SOLUTIONS and part in path.parts[:-1]:
        plain = "within", part
    return plain

  def _archive(self, part: str) -> Folder | Zip:
    kind, where = self._parts[part]
    if kind == "folder":
      return Folder(where, where.name)
    return self._keep(Zip(where, where.name) if kind == "zip" else self._bundle.nested(where))

  def _images(self, part: str) -> Images:
    if part not in self._found_images:
      kind, where = self._parts[part]
      images = Images(self._bundle, within=where) if kind == "within" else Images(self._archive(part))
      if not images.members:
        raise DataError(f"{images.label} holds no .jpg file. Download {part}.zip again.")
      self._found_images[part] = images
    return self._found_images[part]


def how_to_get(manual_dir) -> str:
  """The lines of an error that say how to get the files into `manual_dir`."""
  return (f"Accept the rules at https://www.kaggle.com/c/{COMPETITION}/rules, then run\n"
          f"  kaggle competitions download -c {COMPETITION} -p {manual_dir}\n"
          f"  python -m tfds_builders galaxy_zoo_challenge --manual_dir={manual_dir}")


def source_fingerprint(manual_dir) -> str:
  """The digest of the competition's files in a folder (`KaggleFiles.fingerprint`); raises DataError."""
  with KaggleFiles(manual_dir) as files:
    return files.fingerprint()
