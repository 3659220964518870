"""What an annotation file says, in whichever format: images, and regions in them with an outline and a class."""
from pathlib import PurePosixPath
from typing import NamedTuple

from tfds_builders.outlines import shown


class AnnotationError(ValueError):
  """An image or region that cannot be used; the message is the reason, to follow the name of the annotation file."""


class Region(NamedTuple):
  """One object of an image.

  Attributes:
    name: what errors call it, "region 3".
    outline: as `outlines.from_via` or `from_coco` gives it.
    label: its class in MASK_CLASSES; None where the annotation has none.
    crowd: whether it is a crowd, several objects that nobody has outlined one by one.
  """
  name: str
  outline: list | dict
  label: int | None
  crowd: bool = False


class Annotated(NamedTuple):
  """One image.

  Attributes:
    filename: its path below the folder of images, with slashes.
    regions: in the order of the file.
    size: (height, width) as the file states it, pixels; None where it does not.
  """
  filename: str
  regions: list[Region]
  size: tuple[int, int] | None = None


def checked_name(name) -> str:
  """The name of an image's file, a path below the folder of images; raises AnnotationError for any other."""
  if not isinstance(name, str) or not name:
    raise AnnotationError(f"has an image with {shown(name)} for a file name")
  path = PurePosixPath(name)
  if path.is_absolute() or ".." in path.parts or "\\" in name or "://" in name or not name.isprintable():
    raise AnnotationError(f"names the image {shown(name)}, which is no path below the folder of images. Put the image "
                          "there, and its plain name into the file")
  return path.as_posix()


def whose(name: str) -> str:
  """How a reason begins that is about one image."""
  return f"has an image {shown(name)}"
