"""Finds galaxies in images of any size, from cut-outs to survey fields, into one catalogue.

  python -m galaxy_jax.find --workdir=runs/mask_galaxy --input=field.jpg --output=catalogue.parquet

--workdir is a run that learnt to find objects (config.task 'instances', configs/mask_galaxy.py). --input is an image
(JPEG, PNG, TIFF, FITS), a folder with all below it, a pattern in quotes, a zip, a table with a column of paths, or
BUILDER[/CONFIG]:SPLIT of a data set. --output is Parquet, CSV, FITS or VOTable, as its name ends, with a row for each
object, the best of an image first:

  file            the image, as galaxy_jax.predict's `id` has it
  id              the object's number in its image, from 1
  x, y            the mask's centroid in pixels of the image, (0, 0) being the first pixel's centre
  ra, dec         the same on the sky (ICRS, degrees), where a FITS image says; else NaN, or left out with all
  y0, x0, y1, x1  image[y0:y1, x0:x1] just holds the mask
  area            pixels; area_arcsec2, with ra and dec
  class, score    what it is, and the detection's probability
  axis_ratio, position_angle  of the ellipse with the mask's moments; degrees from x towards y, in [0, 180)
  cut_off         whether no tile showed all of it: the largest part that one did is what the row is of
  model           which found it
  height, width, segmentation  with --rle: the image's size, and the mask as COCO's run lengths

Rows of pictures count from the top, those of FITS images, as FITS has them, from the bottom. --segmentation is a FITS
image of the objects' ids, segmentation[y, x] for the image's pixel, with its WCS; where objects overlap, the better
one's. --regions has outlines for DS9 in image coordinates, as it shows the image; the map of a picture it shows upside
down. Of one image both may name a file (.fits, .reg), else they name folders, for NAME.segmentation.fits and NAME.reg;
--overlays names one for pictures with outlines, NAME.outlines.png.

The model knows galaxies at the size at which it saw them: --scale is what a pixel of the image becomes to it. Without
it that is what the run's own images became to it where it cut squares of one size out of them, else 1. In cut-outs,
such as those of the challenge and of mask_galaxy, a galaxy fills the image, so that a field with the same pixels wants
the factor at which those cut-outs were scaled (--scale=0.5 for 256 pixels that became 128), and one with finer or
coarser pixels a smaller or larger one. `fit` is for cut-outs: the shorter side becomes as large as the run's working
images. Several, as in --scale=0.25,0.5, are merged.

Fields are looked at in tiles that overlap, see galaxy_jax.fields and merging. An object that is larger than the overlap
may be cut off in every tile: a larger --overlap costs more tiles, a smaller --scale makes the object smaller.

Images that cannot be used are listed in OUTPUT.failures.csv; the exit status is 0 where there are none, else 3, and 1
where a mistake that is named ended the command.
"""
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from absl import flags
from tqdm import tqdm

from galaxy_jax import field_files, field_places, fields, finder, inputs, pictures, shards, sky, tables
from galaxy_jax.command import SOME_FAILED, run_command
from galaxy_jax.files import check_folder, check_not_read
from tfds_builders import images
from tfds_builders.fits_files import is_fits
from tfds_builders.images import ImageError

logger = logging.getLogger(__name__)


class Image(NamedTuple):
  """An image that is being looked at.

  Attributes:
    name: what it is called.
    path: what tells a user which it is.
    fits: whether its rows count from the bottom.
    sky: its coordinates, where it has any.
  """
  name: str
  path: str
  fits: bool
  sky: sky.Sky | None


class _Whole:
  """Decodes pictures at their full size, as a model of pictures.pixels_of."""

  def decode(self, data):
    return images.decode(data)


def read(given: inputs.Input, planes: tuple[int, ...], failures: list[shards.Failure],
         ) -> Iterator[tuple[Image, np.ndarray]]:
  """The images of an input, and their pixels (H, W, 3) uint8 with the top row first; adds to `failures`."""
  for part in given.parts(256, 0):
    for key, place in zip(part.ids.to_pylist(), part.places, strict=True):
      path = given.shown(place)
      try:
        data = given.read(place)
        pixels = pictures.pixels_of(data, path, _Whole(), planes)
        fits = is_fits(data)  # whatever the file is called
        own_sky = sky.of_fits(data, path) if fits else None
      except ImageError as error:
        failures.append(shards.Failure(key, path, str(error)))
        continue
      yield Image(str(key), path, fits, own_sky), pixels


def find(model: finder.Finder, given: inputs.Input, output: Path, places: field_places.Places, *,
         planes: tuple[int, ...] = (), rle: bool = False, progress: bool = True,
         **options: Any) -> tuple[pa.Table, int]:
  """Finds the objects of all images of an input, and writes what is wanted.

  Args:
    model: finds them.
    given: the images.
    output: the catalogue, whose ending says its format.
    places: of other files.
    planes: of FITS cubes, see pictures.check_planes.
    rle: whether the catalogue has the masks.
    progress: whether to show a progress bar.
    **options: `scales`, `overlap` and `min_score` of fields.find_all.

  Returns:
    The catalogue, and how many images could not be used.
  """
  failures, rows, empty, on_sky = [], [field_files.schema(rle=rle).empty_table()], 0, False
  about = {"classes": model.classes}
  refused = lambda image, why: failures.append(shards.Failure(image.name, image.path, why))
  with tqdm(desc="finding", unit="tile", disable=None if progress else True) as bar:
    for image, pixels, found in fields.find_all(model, read(given, planes, failures), refused=refused,
                                                advance=bar.update, **options):
      height, width = pixels.shape[:2]
      of_file = [one.upside_down(height) for one in found] if image.fits else found
      size = {"height": height, "width": width}
      rows.append(field_files.catalogue(of_file, file=image.name, model=model.name, sky=image.sky, rle=rle, **size,
                                        **about))
      empty, on_sky = empty + (not found), on_sky or image.sky is not None
      if path := places.of("segmentation", image.name):
        field_files.write_segmentation(path, of_file, file=image.name, model=model.name, sky=image.sky, **size, **about)
      lines = field_files.outlines(found) if places.wanted & {"regions", "overlays"} else []
      if path := places.of("regions", image.name):
        field_files.write_regions(path, found, lines, height=height, file=image.name, **about)
      if path := places.of("overlays", image.name):
        field_files.write_overlay(path, pixels, found, lines)
  table = pa.concat_tables(rows)
  if not on_sky:
    table = table.drop_columns(list(field_files.SKY))
  tables.write(output, table.schema, [table])
  shards.write_failures(shards.failures_file(output), failures)
  seen = given.count - len(failures)
  logger.info("%s objects in %s images; %s images without any; %s objects cut off by their tiles.", f"{len(table):,}",
              f"{seen:,}", f"{empty:,}", f"{sum(table['cut_off'].to_pylist()):,}")
  return table, len(failures)


def scales_of(texts: list[str] | None, own: float) -> tuple[float | str, ...]:
  """What --scale means, `own` where it was not given; ValueError."""
  low, high = fields.SCALES
  scales = []
  for text in texts or [str(own)]:
    try:
      scale = fields.FIT if text == fields.FIT else float(text)
      right = scale == fields.FIT or low <= scale <= high
    except ValueError:
      right = False
    if not right:
      raise ValueError(f"--scale has {text!r}; expected how many pixels of the model's one of the image becomes, from "
                       f"{low:g} to {high:g}, or {fields.FIT!r}: --scale=0.5 for instance, or --scale=0.25,0.5.")
    scales.append(scale)
  return tuple(dict.fromkeys(scales))


FLAGS = flags.FLAGS


def main(_) -> int:
  """Finds the galaxies of --input into --output; returns the exit status."""
  output = Path(FLAGS.output).expanduser()
  planes = pictures.parse_planes(FLAGS.planes)
  scales_of(FLAGS.scale, 1.0)
  tables.check_writable(output)
  shards.check_new(output, overwrite=FLAGS.overwrite)
  check_folder(output.absolute().parent, "--output")
  given = inputs.find(FLAGS.input, path_column=FLAGS.path_column, id_column=FLAGS.id_column, data_dir=FLAGS.data_dir,
                      manual_dir=FLAGS.manual_dir)
  places = field_places.Places({flag: FLAGS[flag].value for flag in field_places.SUFFIXES}, given, output,
                               source=FLAGS.input, overwrite=FLAGS.overwrite)
  check_not_read(output, "--output", FLAGS.input, given)
  check_not_read(shards.failures_file(output), "The list of failures of --output", FLAGS.input, given)
  model = finder.load(FLAGS.workdir, FLAGS.checkpoint, tta=FLAGS.tta, batch_size=FLAGS.batch_size)
  scales = scales_of(FLAGS.scale, model.scale)
  logger.info("%s images of %s, model %s: tiles of %d pixels, scale %s.", f"{given.count:,}", FLAGS.input, model.name,
              model.seen, ", ".join(map(str, scales)))
  began = time.monotonic()
  _, failed = find(model, given, output, places, planes=planes, rle=FLAGS.rle, scales=scales, overlap=FLAGS.overlap,
                   min_score=FLAGS.min_score)
  logger.info("The catalogue is %s, after %.1f s.", output, time.monotonic() - began)
  if failed:
    logger.warning("%s of %s images could not be used; %s says which, and why.", f"{failed:,}", f"{given.count:,}",
                   shards.failures_file(output))
    return SOME_FAILED
  return 0


def _define_flags():
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main that learnt to find objects.")
  flags.DEFINE_string("input", None, "An image, a folder, a pattern in quotes, a zip, a table, or BUILDER:SPLIT.")
  flags.DEFINE_string("output", None, "The catalogue to write: NAME.parquet, .csv, .fits or .vot.")
  flags.DEFINE_string("segmentation", None, "Of one image NAME.fits, else a folder: each pixel's object.")
  flags.DEFINE_string("regions", None, "Of one image NAME.reg, else a folder: outlines for DS9.")
  flags.DEFINE_string("overlays", None, "A folder for PNG files of the images with outlines.")
  flags.DEFINE_list("scale", None, "Pixels of the model's image that one of the image becomes, or fit, or several; "
                    "without it as in the run's own data, where that says, else 1.")
  flags.DEFINE_float("overlap", 0.5, "The share of a tile that the next one shows again.", fields.LEAST_OVERLAP, 0.9)
  flags.DEFINE_float("min_score", fields.MIN_SCORE, "Least score of an object; the run's own begin at its min_score.",
                     0.0, 1.0)
  flags.DEFINE_bool("rle", False, "Masks in the catalogue, as COCO's run lengths.")
  flags.DEFINE_string("checkpoint", None, "latest, best or a step; without one, as the run was evaluated.")
  flags.DEFINE_integer("tta", None, "Test-time views instead of the run's: 1 upright; 2 with its mirror image; 4 two "
                       "rotations and 8 four, each mirrored.", lower_bound=1)
  flags.DEFINE_string("path_column", None, "Of a table: the column of the images' paths, relative to the table.")
  flags.DEFINE_string("id_column", None, "Of a table: the column that becomes file.")
  flags.DEFINE_list("planes", None, "Of FITS cubes: the planes, from 0, that are red, green and blue; or one.")
  flags.DEFINE_string("data_dir", None, "Of a data set: where it is, or is built.")
  flags.DEFINE_string("manual_dir", None, "Of a data set: the folder with the published files.")
  flags.DEFINE_integer("batch_size", None, "Tiles of a device call instead of the run's.", lower_bound=1)
  flags.DEFINE_bool("overwrite", False, "Replace files that are there already.")
  flags.mark_flags_as_required(["workdir", "input", "output"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
