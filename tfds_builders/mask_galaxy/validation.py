"""Checks annotations against their images and arranges what is good into splits, before anything is written."""
import io
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfds_builders import outlines
from tfds_builders.contents import Contents, Fault, Faults, printable
from tfds_builders.csv_tables import CsvTable
from tfds_builders.errors import DataError
from tfds_builders.images import ImageError, check_jpeg, load_rgb, open_image
from tfds_builders.mask_galaxy.annotation_files import AnnotationFiles, SplitFiles, read_file
from tfds_builders.mask_galaxy.annotations import read_annotations
from tfds_builders.mask_galaxy.catalogue import read_catalogue
from tfds_builders.mask_galaxy.classes import UNKNOWN
from tfds_builders.mask_galaxy.regions import Annotated, AnnotationError, Region, whose

_OBJECT_ID = re.compile(r"dr7_(\d{1,19})(?!\d)", re.IGNORECASE | re.ASCII)

_log = logging.getLogger("tfds_builders")


class Record(NamedTuple):
  """One image to be written; N is the number of its objects.

  Attributes:
    path: of the file.
    size: of the file, bytes.
    image_id: its name in the annotations.
    objid: the object id in its name, -1 where there is none.
    boxes: (N, 4) float32, y0, x0, y1, x1, pixels.
    classes: (N,) int64, numbers of MASK_CLASSES.
    ignore: (N,) bool.
    polygons: the outlines as JSON texts.
  """
  path: Path
  size: int
  image_id: str
  objid: int
  boxes: np.ndarray
  classes: np.ndarray
  ignore: np.ndarray
  polygons: list[str]


def validate(files: AnnotationFiles, *, skip_bad: bool = False, progress: bool = False) -> Contents:
  """Checks all annotations and images.

  Records are in the order of the annotation file. Images without regions are left out, as mask_galaxy leaves them out,
  and listed; that is no fault. One with a faulty region is left out whole: without that region its object would be
  taken for background.

  Args:
    files: the source files.
    skip_bad: leave faulty images out instead of raising an error.
    progress: show a progress bar.

  Raises:
    DataError: naming file, image, region and remedy. Also, whatever `skip_bad`, where no image is left for `train`.
  """
  faults, without = Faults(skip_bad), []
  annotated = {split: read_annotations(read_file(found.path), found.label, faults)
               for split, found in files.splits.items()}
  unlabelled = {objid for images in annotated.values() for image in images
                if any(region.label is None for region in image.regions) and (objid := object_id(image.filename)) >= 0}
  known = {}
  if unlabelled and files.catalogue is not None:
    known = read_catalogue(CsvTable(files.catalogue.name, io.BytesIO(read_file(files.catalogue))), unlabelled, faults)

  splits, seen, reaching = {}, {}, 0
  with tqdm(desc="Checking images", total=sum(map(len, annotated.values())), unit=" images",
            disable=None if progress else True) as bar:
    for split, images in annotated.items():
      found, records = files.splits[split], []
      for image in images:
        bar.update()
        if not image.regions:
          without.append(Fault(found.label, None, image.filename, f"{whose(image.filename)} without regions"))
          continue
        try:
          path, bytes_ = _file(image.filename, found)
          height, width = _image_size(path, image)
          objid = object_id(image.filename)
          _check_once(path if objid < 0 else objid, image.filename, found.label, seen)
          boxes, classes, ignore = arrange(image, height, width, known.get(objid))
        except AnnotationError as error:
          faults.add(Fault(found.label, None, image.filename, str(error)))
          continue
        reaching += sum(outlines.reaches_out(region.outline, height, width) for region in image.regions)
        records.append(Record(path, bytes_, image.filename, objid, boxes, classes, ignore,
                              [outlines.to_text(region.outline) for region in image.regions]))
      if records or split == "train":
        splits[split] = records
  if not splits["train"]:
    raise DataError(f"{files.splits['train'].label} gives no usable image for train. "
                    + (f"The first fault: {faults.found[0]}. " if faults.found else "") + "Get the files again.")
  listed = {image.filename for images in annotated.values() for image in images} | {f.item for f in faults.found}
  without += [Fault(name, None, PurePosixPath(name).name, "is named by no annotation file")
              for name in _unlisted(files, listed)]
  _report(without, reaching)
  size = sum(record.size for records in splits.values() for record in records)
  return Contents(files.fingerprint(), splits, examples, faults.found + without,
                  size // sum(map(len, splits.values())))


def arrange(image: Annotated, height: int, width: int,
            central: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Boxes, classes and whether to ignore an image's objects.

  A box holds the pixels of the mask and no more. A class is the annotation's; where it has none, the object nearest to
  the centre of the image is the catalogue's galaxy, and others are of unknown class. Ignored are unknown classes, and
  what is no object: crowds, and points and polylines, which outline nothing.

  Args:
    image: what the annotations say; it has regions.
    height: of the image, pixels.
    width: of the image, pixels.
    central: the class of the galaxy that the image is of; None where the catalogue does not have it.

  Returns:
    (N, 4) float32, y0, x0, y1, x1 in pixels, (N,) int64 and (N,) bool.

  Raises:
    AnnotationError: an outline outside the image or damaged, or no class for the central object.
  """
  boxes = np.array([_box(image.filename, region, height, width) for region in image.regions], np.float32)
  middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - (height / 2, width / 2)
  objects = [number for number, region in enumerate(image.regions)
             if outlines.has_area(region.outline) and not region.crowd]
  nearest = min(objects, key=np.hypot(*middle.T).__getitem__, default=None)
  classes = np.full(len(boxes), UNKNOWN, np.int64)
  for number, region in enumerate(image.regions):
    if region.label is not None:
      classes[number] = region.label
    elif number == nearest:
      if central is None:
        raise AnnotationError(f"{whose(image.filename)}, whose {region.name} has no class, nor has a catalogue one "
                              "for its galaxy. Put a table that has into the folder, as catalogue.csv")
      classes[number] = central
  return boxes, classes, (classes == UNKNOWN) | ~np.isin(np.arange(len(boxes)), objects)


def examples(records: Sequence[Record]) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields (key, example) of the records' images."""
  for record in records:
    example = {name: getattr(record, name) for name in ("image_id", "objid", "boxes", "classes", "ignore", "polygons")}
    # TFDS takes a file object's bytes as they are; it would re-encode an array, with TensorFlow.
    yield record.image_id, {"image": io.BytesIO(read_file(record.path)), **example}


def object_id(filename: str) -> int:
  """The object id in a file name such as Dr7_587722981746540704.jpg; -1 where it has none."""
  match = _OBJECT_ID.match(PurePosixPath(filename).name)
  return int(match[1]) if match and int(match[1]) < 2**63 else -1


def _box(filename: str, region: Region, height: int, width: int) -> tuple[int, int, int, int]:
  where = f"{whose(filename)}, whose {region.name}"
  try:
    mask = outlines.mask(region.outline, height, width)
  except outlines.OutlineError as error:
    raise AnnotationError(f"{where} {error}") from None
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  if not len(rows):
    raise AnnotationError(f"{where} covers no pixel of the image, which has {height} x {width}")
  return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def _file(name: str, files: SplitFiles) -> tuple[Path, int]:
  """(path, bytes) of an image; raises AnnotationError."""
  if name not in files.images:
    folders = " or ".join(map(str, files.folders))
    raise AnnotationError(f"{whose(name)} that is not in {folders or 'any folder of images'}")
  folder, size = files.images[name]
  path = folder / name
  if not path.resolve().is_relative_to(folder.resolve()):
    raise AnnotationError(f"{whose(name)} that is a link out of its folder. Copy the image there")
  return path, size


def _image_size(path: Path, image: Annotated) -> tuple[int, int]:
  """(height, width) of an image that is whole; raises AnnotationError."""
  data = read_file(path)
  try:
    opened = open_image(data)
    if opened.format == "JPEG":
      check_jpeg(data)
    elif opened.mode not in ("RGB", "L"):
      raise ImageError(f"has pixels of Pillow's mode {opened.mode!r}; colour (RGB) or greyscale (L) was expected")
    else:
      load_rgb(opened)
  except ImageError as error:
    raise AnnotationError(f"{whose(image.filename)} that {error}") from None
  size = opened.height, opened.width
  if image.size not in (None, size):
    raise AnnotationError(f"{whose(image.filename)} of {image.size[0]} x {image.size[1]} pixels, but the image has "
                          f"{size[0]} x {size[1]}: the outlines would not fit")
  return size


def _check_once(key, filename: str, label: str, seen: dict) -> None:
  """Raises AnnotationError for a second image of one galaxy, or for one file in two splits."""
  if key in seen:
    raise AnnotationError(f"{whose(filename)} of a galaxy that {seen[key]} has too")
  seen[key] = f"{filename} in {label}"


def _unlisted(files: AnnotationFiles, listed: set[str]) -> list[str]:
  """The images below the folder that no annotation file names, be it in another place."""
  images = [(folder / name, name in listed) for found in files.splits.values()
            for name, (folder, _) in found.images.items()]
  # An image below two folders, images/train and images, has a name in each.
  named = {path for path, is_listed in images if is_listed}
  return sorted(path.relative_to(files.manual_dir).as_posix() for path in {path for path, _ in images} - named)


def _report(without: list[Fault], reaching: int) -> None:
  """Says what is left out, or odd, without being a fault."""
  if without:
    _log.warning("%d images have no regions or no annotation, %s for one: they are left out, and listed.", len(without),
                 printable(str(without[0].item)))
  if reaching:
    _log.info("%d regions reach beyond the edge of their image: kept as published, their boxes end at the edge.",
              reaching)
