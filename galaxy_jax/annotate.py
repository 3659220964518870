"""Begins the annotation of a folder of images: outlines by SEP, to be corrected by hand, as a project of VIA.

  python -m galaxy_jax.annotate --input=images --output=survey/train/via_region_data.json

The project is one of the VGG Image Annotator, version 2 (https://www.robots.ox.ac.uk/~vgg/software/via/): open it there
(Project, Load), correct outlines and classes (S, E or U, the attribute `object_name`), and save it under the same name.
The builder mask_galaxy reads it, python -m tfds_builders mask_galaxy --manual_dir=survey.

The images lie beside the project, as VIA and the builder want them: they are copied there, unless --output is in the
folder of the images itself. What a browser does not show, FITS and TIFF for instance, becomes a PNG there, scaled as
galaxy_jax.predict sees it. An image in which nothing is found has an entry without outlines. Those that cannot be used
are named in the log, and the exit status is 3.

With --catalogue the object nearest to the middle of the image has the class of the galaxy of that name, and all others
are U; without one all are. Tables of Galaxy Zoo 1 and 2 are known, as the builder knows them, by the number in a name
such as Dr7_587722981746540704.jpg; of any other say --id_column and --class_column: the ids are such numbers, or names
of files without their endings. Needs: pip install 'galaxy_jax[annotate]'.
"""
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from galaxy_jax import columns, inputs, pictures, sep_outlines, tables
from galaxy_jax.command import SOME_FAILED, run_command
from galaxy_jax.files import write_whole
from tfds_builders import images
from tfds_builders.contents import Faults
from tfds_builders.csv_tables import CsvTable
from tfds_builders.images import ImageError
from tfds_builders.mask_galaxy.catalogue import read_catalogue
from tfds_builders.mask_galaxy.classes import ELLIPTICAL, SPIRAL, UNKNOWN, class_number
from tfds_builders.mask_galaxy.validation import object_id

logger = logging.getLogger(__name__)

#: The classes' numbers in tfds_builders.class_lists.MASK_CLASSES -> as annotations have them, and what they mean.
LETTERS = {SPIRAL: "S", ELLIPTICAL: "E", UNKNOWN: "U"}
_MEANINGS = {"S": "spiral", "E": "elliptical", "U": "unknown: neither object nor background"}
_NO_CLASS = "U"


class Settings(NamedTuple):
  """How outlines are made.

  Attributes:
    threshold, min_area, deblend_contrast: see sep_outlines.find.
    centre_only: whether the object nearest to the middle of the image is the only one that is outlined.
    tolerance: pixels that a corner left out may lie off the outline, see detection.masks.outlines.
    planes: of FITS cubes, see pictures.check_planes.
  """
  threshold: float = 1.5
  min_area: int = 50
  deblend_contrast: float = 0.005
  centre_only: bool = False
  tolerance: float = 0.5
  planes: tuple[int, ...] = ()


class Done(NamedTuple):
  """How many images are in a project, how many outlines, images without one, and images that could not be used."""
  images: int
  outlines: int
  empty: int
  failed: int


def regions(pixels: np.ndarray, settings: Settings, label: str = _NO_CLASS) -> list[dict[str, Any]]:
  """The outlines of an image's objects, as VIA writes them.

  Args:
    pixels: (H, W, 3) uint8.
    settings: how they are made.
    label: S, E or U, the class of the object nearest to the middle; that of all others is U.

  Returns:
    A polygon each, see sep_outlines.polygons.
  """
  found = sep_outlines.find(pixels, threshold=settings.threshold, min_area=settings.min_area,
                            deblend_contrast=settings.deblend_contrast)
  polygons = sep_outlines.polygons(found, settings.tolerance)
  if not polygons:
    return []
  boxes = np.array([[*polygon.min(0)[::-1], *polygon.max(0)[::-1] + 1] for polygon in polygons])
  nearest = sep_outlines.nearest_to_middle(boxes, *pixels.shape[:2])
  return [{"shape_attributes": {"name": "polygon", "all_points_x": polygon[:, 0].tolist(),
                                "all_points_y": polygon[:, 1].tolist()},
           "region_attributes": {"object_name": label if number == nearest else _NO_CLASS}}
          for number, polygon in enumerate(polygons) if number == nearest or not settings.centre_only]


def read_classes(path: Path, names: Sequence[str], id_column: str | None = None,
                 class_column: str | None = None) -> dict[str, str]:
  """The classes that a catalogue gives to the galaxies of images.

  Args:
    path: the table.
    names: of the images' files.
    id_column, class_column: where the ids and the classes are; None both: a table of Galaxy Zoo, as CSV.

  Returns:
    name -> S, E or U, of the images that the table has.

  Raises:
    ValueError: no such column, or a row that means nothing.
    FileNotFoundError: no such table.
  """
  if not path.is_file():
    raise FileNotFoundError(f"There is no table {path}, which --catalogue names.")
  if (id_column is None) != (class_column is None):
    raise ValueError("--id_column and --class_column go together: a table whose columns are not those of Galaxy Zoo "
                     "needs both.")
  numbers = {name: object_id(name) for name in names}
  if id_column is None:
    faults = Faults(skip_bad=True)
    with open(path, "rb") as file:
      known = read_catalogue(CsvTable(str(path), file), set(numbers.values()) - {-1}, faults)
    if faults.found:
      raise ValueError(f"{faults.found[0]}. Mend the table or get it again.")
    return {name: LETTERS[known[number]] for name, number in numbers.items() if number in known}
  table = tables.read(path)
  for option, column in (("--id_column", id_column), ("--class_column", class_column)):
    columns.of_ids(str(path), table.schema.names, column, option)
  images_of = {}
  for name, number in numbers.items():
    for called in {inputs.stem(name), *([str(number)] if number >= 0 else [])}:
      images_of.setdefault(called, []).append(name)
  result, row = {}, 0
  for part in table.parts(8192):
    for called, label in zip(part[id_column].to_pylist(), part[class_column].to_pylist(), strict=True):
      row += 1
      for name in images_of.get(str(called), ()):
        try:
          letter = LETTERS[class_number(str(label))]
        except ValueError as error:
          raise ValueError(f"{path}, row {row} below the header {error}. Mend the table.") from None
        if result.setdefault(name, letter) != letter:
          raise ValueError(f"{path} gives {name} the class {result[name]} and, in row {row} below the header, "
                           f"{letter}. Leave the one that is right.")
  return result


def annotate(given: inputs.Input, source: Path, output: Path, settings: Settings,
             classes: Mapping[str, str] | None = None, *, overwrite: bool = False, progress: bool = True) -> Done:
  """Writes a project of VIA about all images of a folder.

  Args:
    given: the images, as inputs.find gives those of a folder.
    source: the folder.
    output: the project; see the module's docstring for where the images are.
    settings: how outlines are made.
    classes: of the central objects, by the images' names, see `read_classes`.
    overwrite: replace files that are there.
    progress: whether to show a progress bar.

  Raises:
    ValueError: a file is there already, or the folder of the output is one in which images would be found twice.
  """
  folder, source = output.absolute().parent, source.absolute()
  if output.exists() and not overwrite:
    raise ValueError(f"{output} is there already, perhaps corrected by hand. Give another --output, or --overwrite.")
  if folder.resolve() != source.resolve() and folder.resolve().is_relative_to(source.resolve()):
    raise ValueError(f"--output is in {folder}, a folder in --input, where the next call would find its images again. "
                     "Give a folder outside, or that of the images itself.")
  _check_names(given, source, folder, settings.planes, overwrite)
  entries, failed = {}, 0
  with tqdm(total=given.count, desc="outlining", unit="image", disable=None if progress else True) as bar:
    for part in given.parts(1024, 0):
      for name in part.places:
        bar.update()
        try:
          shown, data, pixels = _picture(given.read(name), name, settings.planes)
          found = regions(pixels, settings, (classes or {}).get(name, _NO_CLASS))
        except ImageError as error:
          logger.warning("%s %s: it is left out.", given.shown(name), error)
          failed += 1
          continue
        _lay(folder / shown, source / name, data)
        entries[shown] = {"filename": shown, "size": len(data), "regions": found, "file_attributes": {}}
  project = json.dumps(_project(output.stem, folder, list(entries.values())))
  write_whole(output, lambda fresh: Path(fresh).write_text(project))
  counts = [len(entry["regions"]) for entry in entries.values()]
  return Done(len(entries), sum(counts), counts.count(0), failed)


def _picture(data, name, planes):
  """An image as VIA and the builder take it: its name, the file's bytes, and the pixels; raises ImageError."""
  pixels = pictures.pixels_of(data, name, SimpleNamespace(decode=images.decode), planes)
  shown, as_it_is = _shown(data, name)
  return shown, data if as_it_is else images.encode_png(pixels), pixels


def _shown(data, name):
  """What an image is called in the project, and whether it stays as it is: others become a PNG."""
  try:
    if images.open_image(data).mode in ("RGB", "L"):
      return name, True
  except ImageError:
    pass
  folders, slash, _ = name.rpartition("/")
  return f"{folders}{slash}{inputs.stem(name)}.png", False


def _are_one(place, own):
  return place.resolve() == own.resolve()


def _lay(place, own, data):
  """Sees to it that an image lies beside the project."""
  if not (_are_one(place, own) or (place.exists() and place.read_bytes() == data)):
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, lambda fresh: Path(fresh).write_bytes(data))


def _check_names(given, source, folder, planes, overwrite):
  """Raises ValueError where an image would take the place of another one, before any is written."""
  names = {}
  for name in (name for part in given.parts(1024, 0) for name in part.places):
    try:
      data = given.read(name)
      shown, _ = _shown(data, name)
      place, own = folder / shown, source / name
      is_itself = _are_one(place, own)
      beside = place.parent.resolve() == own.parent.resolve() and not is_itself
      is_there = place.exists() and not (is_itself or overwrite)
      if shown in names or beside or is_there:
        data = _picture(data, name, planes)[1]  # what cannot be used takes no place
    except ImageError:
      continue
    if shown in names:
      raise ValueError(f"{name} and {names[shown]} would both be the image {shown} of the project. Rename one.")
    if beside:
      raise ValueError(f"{own} would become {place.name} beside it, which the next call would find as an image of its "
                       "own. Give an --output in another folder.")
    if is_there and place.read_bytes() != data:
      raise ValueError(f"{place} is there already and is another image than {own}. Give an --output in another folder, "
                       "or --overwrite.")
    names[shown] = name


def _project(name, folder, entries):
  """VIA's project, as its version 2.0.10 and later write one."""
  metadata = {f"{entry['filename']}{entry['size']}": entry for entry in entries}
  attribute = {"type": "dropdown", "description": "class", "options": _MEANINGS, "default_options": {_NO_CLASS: True}}
  grid = {"img_height": 80, "rshape_fill": "none", "rshape_fill_opacity": 0.3, "rshape_stroke": "yellow",
          "rshape_stroke_width": 2, "show_region_shape": True, "show_image_policy": "all"}
  image = {"region_label": "object_name", "region_color": "object_name", "region_label_font": "10px Sans",
           "on_image_annotation_editor_placement": "NEAR_REGION"}
  return {
      "_via_settings": {
          "ui": {"annotation_editor_height": 25, "annotation_editor_fontsize": 0.8, "leftsidebar_width": 18,
                 "image_grid": grid, "image": image},
          "core": {"buffer_size": 18, "filepath": {}, "default_filepath": f"{folder.as_uri()}/"},
          "project": {"name": name}},
      "_via_img_metadata": metadata,
      "_via_attributes": {"region": {"object_name": attribute}, "file": {}},
      "_via_data_format_version": "2.0.10",
      "_via_image_id_list": list(metadata)}


FLAGS = flags.FLAGS


def main(_) -> int:
  """Annotates the images of --input; returns the exit status."""
  source, output = Path(FLAGS.input).expanduser(), Path(FLAGS.output).expanduser()
  if not source.is_dir():
    raise ValueError(f"--input is {source}, which is no folder; a folder of images was expected.")
  if output.suffix.lower() != ".json":
    raise ValueError(f"--output is {output}; a file that ends in .json was expected.")
  if (FLAGS.id_column or FLAGS.class_column) and not FLAGS.catalogue:
    raise ValueError("--id_column and --class_column are of a table, which --catalogue names.")
  planes = pictures.parse_planes(FLAGS.planes)
  settings = Settings(FLAGS.threshold, FLAGS.min_area, FLAGS.deblend_contrast, FLAGS.centre_only, FLAGS.tolerance,
                      planes)
  sep_outlines.find(np.zeros((8, 8)), **{key: getattr(settings, key) for key in (
      "threshold", "min_area", "deblend_contrast")})  # what is wrong with them shows before the first image
  given = inputs.find(str(source))
  classes = None
  if FLAGS.catalogue:
    names = [name for part in given.parts(1024, 0) for name in part.places]
    classes = read_classes(Path(FLAGS.catalogue).expanduser(), names, FLAGS.id_column, FLAGS.class_column)
    logger.info("%d of %d images have a class in %s.", len(classes), given.count, FLAGS.catalogue)
  output.absolute().parent.mkdir(parents=True, exist_ok=True)
  done = annotate(given, source, output, settings, classes, overwrite=FLAGS.overwrite)
  logger.info("%d outlines of %d images are in %s; in %d of the images nothing was found.", done.outlines, done.images,
              output, done.empty)
  if done.failed:
    logger.warning("%d images could not be used, see above.", done.failed)
  return SOME_FAILED if done.failed else 0


def _define_flags():
  flags.DEFINE_string("input", None, "A folder of images; those in folders in it are taken too.")
  flags.DEFINE_string("output", None, "The project to write, survey/train/via_region_data.json for instance.")
  flags.DEFINE_string("catalogue", None, "A table with the classes of the galaxies that the images are named after.")
  flags.DEFINE_string("id_column", None, "Its column of the galaxies' ids, where it is no table of Galaxy Zoo.")
  flags.DEFINE_string("class_column", None, "Its column of the classes: S, E, U, or as Galaxy Zoo 2 writes them.")
  flags.DEFINE_float("threshold", 1.5, "Times the sky's noise that an object's pixels lie above the background.")
  flags.DEFINE_integer("min_area", 50, "Pixels that an object has at least.")
  flags.DEFINE_float("deblend_contrast", 0.005, "Share of a blend's light from which a part is an object of its own; "
                     "1: nothing is parted.")
  flags.DEFINE_bool("centre_only", False, "Outline the object nearest to the middle of each image alone.")
  flags.DEFINE_float("tolerance", 0.5, "Pixels that a corner left out may lie off the outline.", lower_bound=0)
  flags.DEFINE_list("planes", None, "Of FITS cubes: the planes, from 0, that are red, green and blue; or one.")
  flags.DEFINE_bool("overwrite", False, "Replace a project that is there, with all that was corrected in it.")
  flags.mark_flags_as_required(["input", "output"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
