"""Reads an annotation file, telling its format by what it holds."""
import json
from collections import Counter

from tfds_builders.contents import Fault, Faults
from tfds_builders.errors import DataError
from tfds_builders.mask_galaxy import coco, via
from tfds_builders.mask_galaxy.regions import Annotated, AnnotationError, whose
from tfds_builders.outlines import shown


def read_annotations(data: bytes, label: str, faults: Faults) -> list[Annotated]:
  """Reads a project of the VGG Image Annotator, or COCO's JSON.

  Args:
    data: the file.
    label: what errors call it.
    faults: takes what is wrong with single images; their `item` is the name of the image, where it has one.

  Returns:
    The images without a fault, in the file's order, those without regions among them.

  Raises:
    DataError: no such file.
  """
  document = _json(data, label)
  try:
    if coco.is_coco(document):
      parts = coco.read_parts(document)
      named = [(image.get("file_name") if isinstance(image, dict) else None, image) for image in parts.images]
      read = lambda _, image: coco.read_image(parts, image)
      _check_ids(parts.images)
    elif via.is_via(document):
      named, read = list(via.entries(document).items()), via.read_entry
      parts = None
    else:
      raise AnnotationError("has neither the images of the VGG Image Annotator (entries with `filename` and `regions`) "
                            "nor COCO's (`images`, `annotations`, `categories`)")
  except AnnotationError as error:
    raise DataError(f"{label} {error}. Get the file again, or mend it.") from None

  if parts is not None:
    try:
      coco.check_strays(parts)
    except AnnotationError as error:
      faults.add(Fault(label, None, None, str(error)))
  found = []
  for key, entry in named:
    try:
      found.append(read(key, entry))
    except AnnotationError as error:
      faults.add(Fault(label, None, _name(key, entry), str(error)))
  return _without_repeated(found, label, faults)


def _json(data: bytes, label: str):
  try:
    return json.loads(data, object_pairs_hook=_without_repeated_keys)
  except AnnotationError as error:
    raise DataError(f"{label} {error}. Mend the file.") from None
  except RecursionError:
    raise DataError(f"{label} is no annotation file: its JSON is nested without end. Get it again.") from None
  except ValueError as error:  # No JSON, no text, or a number of thousands of digits.
    raise DataError(f"{label} is no JSON file ({error}). Get it again.") from None


def _without_repeated_keys(pairs: list[tuple]) -> dict:
  """A dict; of a repeated key json would keep the last, and nobody would know."""
  found = dict(pairs)
  if len(found) < len(pairs):
    repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
    raise AnnotationError(f"has the key {shown(repeated)} more than once in one place")
  return found


def _check_ids(images: list) -> None:
  ids = Counter((type(image["id"]), image["id"]) for image in images
                if isinstance(image, dict) and type(image.get("id")) in (int, str))
  if repeated := [key for (_, key), number in ids.items() if number > 1]:
    raise AnnotationError(f"has more than one image with the id {shown(repeated[0])}")


def _name(key, entry) -> str | None:
  """What a list of faults calls an entry that cannot be read."""
  name = entry.get("filename", key) if isinstance(entry, dict) else key
  # A name with half of a surrogate pair could not be written.
  return name if isinstance(name, str) and name.isprintable() else None


def _without_repeated(images: list[Annotated], label: str, faults: Faults) -> list[Annotated]:
  """The images but for those that are there more than once: nobody knows which one's regions are right."""
  number = Counter(image.filename for image in images)
  for name in (name for name, times in number.items() if times > 1):
    faults.add(Fault(label, None, name, f"{whose(name)} {number[name]} times"))
  return [image for image in images if number[image.filename] == 1]
