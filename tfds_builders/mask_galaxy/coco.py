"""Reads instance annotations in the JSON format of COCO: `images`, `annotations` and `categories`.

An image is {"id", "file_name", "height", "width"}; an annotation {"id", "image_id", "category_id", "segmentation",
"iscrowd"}; a category {"id", "name"}.

Source: https://cocodataset.org/#format-data.
"""
from typing import NamedTuple

from tfds_builders.mask_galaxy.classes import class_number
from tfds_builders.mask_galaxy.regions import Annotated, AnnotationError, Region, checked_name, whose
from tfds_builders.outlines import from_coco, shown

_PARTS = ("images", "annotations", "categories")


class Coco(NamedTuple):
  """The parts of a file.

  Attributes:
    images: as they are.
    annotations: id of an image -> its annotations, as they are; of those without such an id, under None.
    categories: id -> name.
  """
  images: list
  annotations: dict
  categories: dict


def is_coco(document) -> bool:
  """Whether a JSON document has the format."""
  return isinstance(document, dict) and {"images", "annotations"} <= set(document)


def read_parts(document: dict) -> Coco:
  """Sorts a file's annotations by image; raises AnnotationError where it has not the format after all."""
  parts = [document.get(name, []) for name in _PARTS]
  for name, part in zip(_PARTS, parts, strict=True):
    if not isinstance(part, list):
      raise AnnotationError(f"has {shown(part)} for {name}; a list was expected")
  categories = {}
  for category in parts[2]:
    if not isinstance(category, dict) or not _is_id(category.get("id")) or not isinstance(category.get("name"), str):
      raise AnnotationError(f"has a category {shown(category)}; an id and a name were expected")
    if category["id"] in categories:
      raise AnnotationError(f"has the category {shown(category['id'])} twice")
    categories[category["id"]] = category["name"]
  ids = {image["id"] for image in parts[0] if isinstance(image, dict) and _is_id(image.get("id"))}
  annotations = {}
  for annotation in parts[1]:
    image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
    annotations.setdefault(image_id if _is_id(image_id) and image_id in ids else None, []).append(annotation)
  return Coco(parts[0], annotations, categories)


def check_strays(coco: Coco) -> None:
  """Raises AnnotationError for annotations that belong to no image."""
  if strays := coco.annotations.get(None):
    raise AnnotationError(f"has {len(strays)} annotations whose image_id is that of no image, the first being "
                          f"{shown(strays[0])}")


def read_image(coco: Coco, image) -> Annotated:
  """One of `coco.images` with its annotations; raises AnnotationError."""
  if not isinstance(image, dict) or not _is_id(image.get("id")):
    raise AnnotationError(f"has an image {shown(image)} without an id")
  name = checked_name(image.get("file_name"))
  size = None
  if image.get("height") is not None or image.get("width") is not None:
    size = image.get("height"), image.get("width")
    if not all(type(side) is int and side > 0 for side in size):
      raise AnnotationError(f"{whose(name)} of {shown(size[0])} x {shown(size[1])} pixels; whole numbers were expected")
  found = coco.annotations.get(image["id"], ())
  return Annotated(name, [_region(name, coco, annotation) for annotation in found], size)


def _region(filename: str, coco: Coco, annotation: dict) -> Region:
  name = f"annotation {shown(annotation.get('id'))}"
  where = f"{whose(filename)}, whose {name}"
  category, crowd = annotation.get("category_id"), annotation.get("iscrowd", 0)
  try:
    outline = from_coco(annotation.get("segmentation"))
    if category is not None and (not _is_id(category) or category not in coco.categories):
      raise ValueError(f"has {shown(category)} for a category_id; the file has no such category")
    if crowd not in (0, 1):
      raise ValueError(f"has {shown(crowd)} for iscrowd; 0 or 1 was expected")
    label = None if category is None else class_number(coco.categories[category])
  except ValueError as error:
    raise AnnotationError(f"{where} {error}") from None
  return Region(name, outline, label, bool(crowd))


def _is_id(value) -> bool:
  return type(value) in (int, str)
