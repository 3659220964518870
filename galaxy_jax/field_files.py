"""What was found in a field as others take it: rows of a catalogue, a map, regions for DS9, and a picture."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from galaxy_jax import fields
from galaxy_jax.detection import masks
from galaxy_jax.files import write_whole
from galaxy_jax.merging import Found
from galaxy_jax.sky import Sky
from tfds_builders import extras

#: Columns that only some images have values for.
SKY = ("ra", "dec", "area_arcsec2")
#: Of classes, one after the other, here, on the page (serve/static/outlines.js) and in reports; apart for colour-blind
#: eyes too (Okabe and Ito 2008), and bright on a dark sky.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")
#: Pixels that the corners of outlines may be off.
_TOLERANCE = 0.5


def schema(*, rle: bool) -> pa.Schema:
  """The columns of a catalogue; `rle`: with the masks."""
  numbers = lambda kind, *names: [(name, kind) for name in names]
  return pa.schema([
      ("file", pa.string()), ("id", pa.int32()), *numbers(pa.float64(), "x", "y", "ra", "dec"),
      *numbers(pa.int32(), "y0", "x0", "y1", "x1"), ("area", pa.int64()), ("area_arcsec2", pa.float64()),
      ("class", pa.string()), *numbers(pa.float32(), "score", "axis_ratio", "position_angle"), ("cut_off", pa.bool_()),
      ("model", pa.string()),
      *([*numbers(pa.int32(), "height", "width"), ("segmentation", pa.string())] if rle else [])])


def catalogue(found: Sequence[Found], *, file: str, model: str, classes: Sequence[str], height: int, width: int,
              sky: Sky | None, rle: bool) -> pa.Table:
  """The rows of a field's objects, of the columns of `schema`.

  Args:
    found: the objects, their rows counted as the file has them.
    file: what the field is called.
    model: what the model is called.
    classes: names by label.
    height, width: of the field, pixels.
    sky: the field's coordinates; None: those of the sky are NaN.
    rle: whether the masks are columns too.
  """
  shapes = [one.shape() for one in found]
  x, y = (np.array([getattr(shape, name) - 0.5 for shape in shapes], np.float64) for name in "xy")
  area = np.array([shape.area for shape in shapes], np.int64)
  unknown = np.full(len(found), np.nan)
  ra, dec = sky.positions(x, y) if sky else (unknown, unknown)
  columns = {
      "file": [file] * len(found), "id": np.arange(1, len(found) + 1), "x": x, "y": y, "ra": ra, "dec": dec,
      **{name: [one.box[i] for one in found] for i, name in enumerate(("y0", "x0", "y1", "x1"))}, "area": area,
      "area_arcsec2": area * sky.pixel_area if sky else unknown, "class": [classes[one.label] for one in found],
      "score": [one.score for one in found],
      **{name: [getattr(shape, name) for shape in shapes] for name in ("axis_ratio", "position_angle")},
      "cut_off": [one.cut_off for one in found], "model": [model] * len(found)}
  if rle:
    columns |= {"height": [height] * len(found), "width": [width] * len(found),
                "segmentation": list(_run_lengths(found, height, width))}
  return pa.table([pa.array(columns[field.name], field.type) for field in schema(rle=rle)], schema=schema(rle=rle))


def _run_lengths(found, height, width):
  whole = np.zeros((height, width), bool)
  for one in found:
    y0, x0, y1, x1 = one.box
    whole[y0:y1, x0:x1] = one.mask
    yield masks.encode_rle(whole)["counts"]
    whole[y0:y1, x0:x1] = False


def write_segmentation(path: Path, found: Sequence[Found], *, height: int, width: int, file: str, model: str,
                       classes: Sequence[str], sky: Sky | None) -> None:
  """Writes a field's map, see fields.segmentation, as FITS, whole or not at all; arguments as of `catalogue`.

  Its header has the field's coordinates, and what the map is: IMAGE, MODEL, NOBJECTS, NCLASS, CLASS1, ….

  Raises:
    DataError: astropy is not installed.
  """
  fits = extras.load("astropy.io.fits", extra="survey", purpose="Writing a segmentation map")
  header = sky.header() if sky else fits.Header()
  plain = lambda text: text.encode("ascii", "backslashreplace").decode()  # FITS holds ASCII alone
  facts: list[tuple[str, Any, str]] = [
      ("IMAGE", plain(file), "what it is the map of"), ("MODEL", plain(model), "what found the objects"),
      ("NOBJECTS", len(found), "rows of the catalogue"), ("NCLASS", len(classes), "classes of the model"),
      *((f"CLASS{number}", plain(name), "") for number, name in enumerate(classes, 1))]
  for key, value, comment in facts:
    header[key] = (value, comment) if comment and len(str(value)) < 40 else value
  image = fits.PrimaryHDU(fields.segmentation(found, height, width), header)
  write_whole(path, lambda fresh: image.writeto(fresh, overwrite=True))


def outlines(found: Sequence[Found]) -> list[list[np.ndarray]]:
  """Of each object the outlines of its parts, (N, 2) x and y of corners, (0, 0) being the field's first pixel's centre.

  The box stands for an object that has none: a mere pixel, or a straight line.
  """
  lines = []
  for one in found:
    y0, x0, y1, x1 = one.box
    own = [points + (x0, y0) for points in masks.outlines(one.mask, _TOLERANCE)]
    box = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64) - 0.5
    lines.append(own or [box])
  return lines


def write_regions(path: Path, found: Sequence[Found], lines: Sequence[Sequence[np.ndarray]], *, height: int, file: str,
                  classes: Sequence[str]) -> None:
  """Writes the outlines as a region file of DS9, in its image coordinates: the first pixel is 1, the lowest row first.

  DS9 turns pictures so that they are upright: the regions lie right on FITS images and on pictures.

  Args:
    path: where.
    found: the objects, rows from the top of the picture.
    lines: what `outlines` says of them.
    height: of the field, pixels.
    file: what the field is called.
    classes: names by label.
  """
  text = ["# Region file format: DS9 version 4.1", f"# {' '.join(file.split())}", "image"]
  for number, (one, parts) in enumerate(zip(found, lines, strict=True), 1):
    name = classes[one.label].translate(str.maketrans("{}", "()"))
    about = f"# color={_colour(one)} text={{{number} {name} {one.score:.2f}}} tag={{{name}}}"
    for points in parts:
      corners = np.stack([points[:, 0] + 1, height - points[:, 1]], axis=1)
      text.append(f"polygon({','.join(f'{value:.1f}' for value in corners.ravel())}) {about}")
  write_whole(path, lambda fresh: Path(fresh).write_text("\n".join(text) + "\n", encoding="utf-8"))


def write_overlay(path: Path, pixels: np.ndarray, found: Sequence[Found],
                  lines: Sequence[Sequence[np.ndarray]]) -> None:
  """Writes a PNG of a field (H, W, 3) uint8 with its objects' outlines and numbers, in their classes' colours.

  The other arguments are those of `write_regions`.
  """
  picture = Image.fromarray(pixels)
  draw = ImageDraw.Draw(picture)
  for number, (one, parts) in enumerate(zip(found, lines, strict=True), 1):
    for points in parts:
      closed = [tuple(point) for point in np.concatenate([points, points[:1]]).tolist()]
      draw.line(closed, fill=_colour(one), width=1)
    draw.text((one.box[3], one.box[0]), str(number), fill=_colour(one))
  write_whole(path, lambda fresh: picture.save(fresh, "PNG"))


def _colour(one):
  return COLOURS[one.label % len(COLOURS)]
