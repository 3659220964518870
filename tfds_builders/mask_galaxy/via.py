"""Reads projects of the VGG Image Annotator (VIA), versions 1 and 2.

An entry is {"filename", "size", "regions", "file_attributes"}; a region {"shape_attributes", "region_attributes"}.
VIA 1 has the regions as a dict, by number, and VIA 2 as a list. Annotations that were exported are a dict of entries,
by file name and size; a whole project of VIA 2 has them under `_via_img_metadata`.

Source: https://www.robots.ox.ac.uk/~vgg/software/via/ ; mask_galaxy's `galaxia.py`.
"""
from tfds_builders.mask_galaxy.classes import class_number
from tfds_builders.mask_galaxy.regions import Annotated, AnnotationError, Region, checked_name, whose
from tfds_builders.outlines import from_via, shown

PROJECT = "_via_img_metadata"

#: The attribute that holds a region's class: mask_galaxy's, then others that are in use.
_CLASS_KEYS = ("object_name", "class", "label", "name", "type")


def is_via(document) -> bool:
  """Whether a JSON document is a project of VIA, or annotations that it exported."""
  if not isinstance(document, dict):
    return False
  if PROJECT in document:
    return True
  return any(isinstance(entry, dict) and "regions" in entry for entry in document.values())


def entries(document: dict) -> dict:
  """The entries, one an image, by VIA's own keys; raises AnnotationError."""
  found = document.get(PROJECT, document)
  if not isinstance(found, dict):
    raise AnnotationError(f"has {shown(found)} for {PROJECT}; a dict of images was expected")
  return found


def read_entry(key: str, entry) -> Annotated:
  """The image of an entry; raises AnnotationError."""
  if not isinstance(entry, dict) or "filename" not in entry:
    raise AnnotationError(f"has the entry {shown(key)} without a filename")
  name = checked_name(entry["filename"])
  regions = entry.get("regions")
  if isinstance(regions, list):
    regions = dict(enumerate(regions))
  if not isinstance(regions, dict):
    raise AnnotationError(f"{whose(name)} with {shown(regions)} for regions; a list or dict of them was expected")
  return Annotated(name, [_region(name, number, region) for number, region in regions.items()])


def _region(filename: str, number: int | str, region) -> Region:
  name = f"region {number if isinstance(number, int) else shown(number)}"
  where = f"{whose(filename)}, whose {name}"
  if not isinstance(region, dict):
    raise AnnotationError(f"{where} is {shown(region)}; a dict was expected")
  try:
    outline = from_via(region.get("shape_attributes"))
    label = _class(region.get("region_attributes"))
  except ValueError as error:
    raise AnnotationError(f"{where} {error}") from None
  return Region(name, outline, label)


def _class(attributes) -> int | None:
  """The class in a region's `region_attributes`, None where they have none; raises ValueError, with the reason."""
  if attributes is None:
    return None
  if not isinstance(attributes, dict):
    raise ValueError(f"has {shown(attributes)} for region_attributes; a dict was expected")
  value = next((attributes[key] for key in _CLASS_KEYS if key in attributes), None)
  if isinstance(value, dict):  # as check boxes are stored
    chosen = [option for option, checked in value.items() if checked]
    if len(chosen) > 1:
      raise ValueError(f"has the classes {shown(chosen)}; one was expected")
    value = chosen[0] if chosen else None
  if value is None:
    return None
  if not isinstance(value, str):
    raise ValueError(f"has {shown(value)} for a class; its name was expected")
  return class_number(value) if value.strip() else None
