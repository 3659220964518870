"""Finds the annotation files, their images and the catalogue in a folder.

For each of the splits `train` and `val` the first of these annotation files that is there is taken, in the format of
the VGG Image Annotator or of COCO:

  {split}/via_region_data.json               as mask_galaxy wants it
  {split}_via_region_data.json               as mask_galaxy publishes it
  {split}.json
  annotations/{split}.json
  annotations/instances_{split}….json        as COCO publishes it, instances_train2017.json for instance

Its images lie in the folder {split}, that of the name after `instances_`, images/{split}, or images; a name that is in
several is taken from the first. `val` may be absent, and may be called `valid` or `validation`. A table of `CATALOGUES`
beside them gives classes to galaxies whose annotation has none.
"""
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from tfds_builders.errors import DataError, MissingDataError

#: The splits as written -> what their files are called.
SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation")}

#: Tables with classes, the first that is there; `catalogue.csv` is for one of any other name.
CATALOGUES = ("catalogue.csv", "zoo2MainSpecz_simpleLabels.csv", "gz2_hart16.csv", "zoo2MainSpecz.csv",
              "GalaxyZoo1_DR_table2.csv")

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_SITE = "http://datascience-userena.s3.amazonaws.com"


class SplitFiles(NamedTuple):
  """The files of one split.

  Attributes:
    label: what errors call the annotation file.
    path: where it is.
    folders: where its images are, those to be taken first before the others.
    images: the path of an image below a folder -> (the folder, its size in bytes).
  """
  label: str
  path: Path
  folders: list[Path]
  images: dict[str, tuple[Path, int]]


class AnnotationFiles:
  """The files of all splits. A context manager, as sources are; it holds nothing open.

  Attributes:
    manual_dir: the folder.
    splits: split -> its files.
    catalogue: the table of classes, or None.
  """

  def __init__(self, manual_dir):
    """Looks for the files.

    Args:
      manual_dir: the folder.

    Raises:
      MissingDataError: the folder or the annotations of `train` are missing.
      DataError: it is not clear which files are meant, or a folder cannot be read.
    """
    self.manual_dir = Path(manual_dir).expanduser()
    if not self.manual_dir.is_dir():
      raise MissingDataError(f"The manual folder {self.manual_dir} does not exist.\n{how_to_get(self.manual_dir)}")
    try:
      found = {split: self._find(names) for split, names in SPLITS.items()}
    except OSError as error:
      raise DataError(f"{error.filename} cannot be read ({error.strerror}).") from None
    self.splits = {split: files for split, files in found.items() if files is not None}
    if "train" not in self.splits:
      raise MissingDataError(f"{self.manual_dir} holds no train/via_region_data.json, nor annotations of another "
                             f"name.\n{how_to_get(self.manual_dir)}")
    tables = (self.manual_dir / name for name in CATALOGUES)
    self.catalogue = next((path for path in tables if path.is_file()), None)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  def fingerprint(self) -> str:
    """A digest: of the annotations and the catalogue, and of the images' names and sizes; raises DataError."""
    digest = hashlib.sha256()
    for split, files in self.splits.items():
      digest.update(f"{split}\t{hashlib.sha256(read_file(files.path)).hexdigest()}\n".encode())
      for name in sorted(files.images):
        digest.update(f"{name}\t{files.images[name][1]}\n".encode("utf-8", "surrogateescape"))
    if self.catalogue is not None:
      digest.update(read_file(self.catalogue))
    return digest.hexdigest()

  def _find(self, names: tuple[str, ...]) -> SplitFiles | None:
    for name in names:
      candidates = [Path(name, "via_region_data.json"), Path(f"{name}_via_region_data.json"), Path(f"{name}.json"),
                    Path("annotations", f"{name}.json")]
      # With a number only: instances_validation is not of a split called val.
      numbered = [path.relative_to(self.manual_dir)
                  for path in sorted(self.manual_dir.glob(f"annotations/instances_{name}*.json"))
                  if re.fullmatch(rf"instances_{name}\d*", path.stem)]
      if len(numbered) > 1:
        raise DataError(f"{self.manual_dir} has more than one file for {name}: {numbered[0]} and {numbered[1]}. Leave "
                        "the one that is meant.")
      for path in candidates + numbered:
        if (self.manual_dir / path).is_file():
          folders = [name, path.stem.removeprefix("instances_"), f"images/{name}", "images"]
          folders = [self.manual_dir / folder for folder in dict.fromkeys(folders)]
          folders = [folder for folder in folders if folder.is_dir()]
          return SplitFiles(path.as_posix(), self.manual_dir / path, folders, _images(folders))
    return None


def _images(folders: list[Path]) -> dict[str, tuple[Path, int]]:
  found = {}
  for folder in folders:
    for path in folder.rglob("*"):
      name = path.relative_to(folder).as_posix()
      # A link to nowhere, or something that is no file, is as good as absent.
      if path.suffix.lower() in _IMAGE_SUFFIXES and name not in found and path.is_file():
        found[name] = folder, path.stat().st_size
  return found


def read_file(path: Path) -> bytes:
  """The bytes of a file; raises DataError."""
  try:
    return path.read_bytes()
  except OSError as error:
    raise DataError(f"{path} cannot be read ({error.strerror}). Copy it again.") from None


def how_to_get(manual_dir) -> str:
  """The lines of an error that say how to get the files into `manual_dir`."""
  seed = f"{_SITE}/mask_galaxy-morphological_segmentation_of_galaxies"
  return (f"mask_galaxy's files are (https://github.com/hfarias/mask_galaxy):\n"
          f"  {seed}/train_via_region_data.json and val_via_region_data.json, into {manual_dir}\n"
          f"  {_SITE}/zoo2Main.tar.gz, whose images go into {manual_dir}/images\n"
          f"  python -m tfds_builders mask_galaxy --manual_dir={manual_dir}")
