"""JPEG files named by the number of their galaxy, in a folder or a zip: found, matched and checked."""
import io
from collections.abc import Sequence
from pathlib import PurePosixPath

from tqdm import tqdm

from tfds_builders.archives import Folder, Member, ReadError, Zip
from tfds_builders.contents import Fault, Faults
from tfds_builders.csv_tables import whole_number
from tfds_builders.errors import DataError
from tfds_builders.images import ImageError, check_jpeg

_JPEG_SUFFIXES = (".jpg", ".jpeg")


class Images:
  """The JPEG files of a folder or a zip.

  Attributes:
    label: what errors call the archive or folder.
    members: the JPEG files, in no particular order. Whatever else lies there is not looked at: a folder collects
      thumbnails and hidden files.
  """

  def __init__(self, archive: Folder | Zip, within: str | None = None):
    """Args:
      archive: where the files lie.
      within: take only files below a folder of this name, at any depth.
    """
    self._archive = archive
    self.label = archive.label if within is None else f"{archive.label}/{within}"
    self.members = [member for member in archive.members() if _is_jpeg(member.name, within)]

  def __getstate__(self):
    # Whoever reads a member has it; the list of all of them need not travel with each shard.
    return {"_archive": self._archive, "label": self.label, "members": []}

  def name(self, member: Member) -> str:
    """What errors call a member."""
    return f"{self._archive.label}/{member.name}"

  def read(self, member: Member) -> bytes:
    """The bytes of a member; raises archives.ReadError."""
    return self._archive.read(member)


def _is_jpeg(name: str, within: str | None) -> bool:
  path = PurePosixPath(name)
  return (path.suffix.lower() in _JPEG_SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts
          and (within is None or within in path.parts[:-1]))


def by_number(images: Images, faults: Faults) -> tuple[dict[int, Member], set[int]]:
  """Galaxy's number -> image, and the numbers with more than one image. Those, and names without one, are faults."""
  found, twice = {}, set()
  for member in images.members:
    stem = PurePosixPath(member.name).stem
    try:
      number = whole_number(stem, "name")
    except ValueError:
      faults.add(Fault(images.name(member), None, None, f"is named {stem!r}; a galaxy's id was expected"))
      continue
    if number in found:
      faults.add(Fault(images.name(member), None, number, f"is a second image of galaxy {number}, beside "
                       f"{images.name(found[number])}"))
      twice.add(number)
    else:
      found[number] = member
  return {number: member for number, member in found.items() if number not in twice}, twice


def stored(record) -> io.BytesIO:
  """The image, as it is stored, of a record that `with_good_image` has passed; raises DataError.

  TFDS takes a file object's bytes as they are; it would re-encode an array, with TensorFlow.
  """
  try:
    return io.BytesIO(record.images.read(record.member))
  except ReadError as error:
    raise DataError(f"{record.images.name(record.member)} {error}. It was sound when it was checked, so it has been "
                    "changed meanwhile; build again.") from None


def with_good_image(records: Sequence, faults: Faults, bar: tqdm) -> list:
  """The records whose image can be read and decoded; the others are faults.

  Args:
    records: each has `images`, an `Images`, and `member`, the image in it.
    faults: takes what is wrong with images.
    bar: moves on with each record.
  """
  good = []
  for record in records:
    try:
      check_jpeg(record.images.read(record.member))
      good.append(record)
    except (ReadError, ImageError) as error:
      number = int(PurePosixPath(record.member.name).stem)
      faults.add(Fault(record.images.name(record.member), None, number, str(error)))
    bar.update()
  return good
