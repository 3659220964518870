"""A sheet of a data set's images with their labels, to see at a glance whether it is what it should be."""
import collections
import os
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.errors import DataError
from tfds_builders.images import decode

_COLUMNS, _ROWS, _SIDE, _LINE = 6, 4, 160, 12
#: So many lines of text below an image, so many characters wide.
_LINES, _CHARACTERS = 4, 26


def check_path(path) -> None:
  """Refuses a place where no sheet can be written.

  Raises:
    DataError: the path does not end in .png, or its folder is not there or cannot be written.
  """
  path = Path(path)
  if path.suffix.lower() != ".png":
    raise DataError(f"The preview is {path}; a file that ends in .png was expected.")
  try:
    with tempfile.TemporaryFile(dir=path.absolute().parent):
      pass
  except OSError as error:
    raise _unwritable(path, error) from None
  if path.is_dir():
    raise DataError(f"The preview {path} is a folder; name a file in it.")


def _unwritable(path, error):
  return DataError(f"The preview {path} cannot be written ({error.strerror or error}). Name a file in a folder that is "
                   "there.")


def write_preview(builder, path, *, split: str | None = None) -> None:
  """Writes a sheet of 24 images, spread evenly over a split, each with its id and labels.

  Args:
    builder: a finished data set in ArrayRecord files.
    path: of the PNG file; `check_path` says beforehand whether it can be.
    split: of the data set; None: its first.

  Raises:
    DataError: the data set is in another format, or the sheet cannot be written.
  """
  import tensorflow_datasets as tfds
  check_path(path)
  if builder.info.file_format.value != "array_record":
    raise DataError(f"{builder.data_path} is in {builder.info.file_format.value} files; a preview is made of "
                    "array_record ones only.")
  split = split or next(iter(builder.info.splits))
  stored = {name: tfds.decode.SkipDecoding() for name, feature in builder.info.features.items()
            if isinstance(feature, tfds.features.Image)}
  source = builder.as_data_source(split=split, decoders=stored)
  rows = np.unique(np.linspace(0, len(source) - 1, min(len(source), _COLUMNS * _ROWS)).astype(int))
  cell = _SIDE + _LINES * _LINE + 6
  sheet = Image.new("RGB", (_COLUMNS * (_SIDE + 4), -(-len(rows) // _COLUMNS) * cell), "white")
  draw = ImageDraw.Draw(sheet)
  for place, row in enumerate(rows):
    record = source[int(row)]
    x, y = place % _COLUMNS * (_SIDE + 4), place // _COLUMNS * cell
    image = Image.fromarray(decode(record["image"]))
    scale = _SIDE / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    sheet.paste(image, (x, y))
    _outline(draw, record, x, y, scale)
    lines = [part for text in _describe(builder.info.features, record) for part in textwrap.wrap(text, _CHARACTERS)]
    for line, text in enumerate(lines[:_LINES]):
      draw.text((x, y + _SIDE + 2 + line * _LINE), text, fill="black")
  path = Path(path)
  part = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    sheet.save(part, "PNG")
    part.replace(path)
  except OSError as error:
    part.unlink(missing_ok=True)
    raise _unwritable(path, error) from None


def _outline(draw, record, x, y, scale):
  """Boxes of instances."""
  for y0, x0, y1, x1 in np.reshape(record.get("boxes", ()), (-1, 4)) * scale:
    draw.rectangle((x + x0, y + y0, x + max(x0, x1 - 1), y + max(y0, y1 - 1)), outline=(255, 220, 0))


def _describe(features, record) -> list[str]:
  """The id, then the labels: classes by name, vote fractions by their largest, numbers as they are."""
  import tensorflow_datasets as tfds
  lines = []
  for name, value in record.items():
    feature = features[name]
    if isinstance(feature, tfds.features.ClassLabel):
      lines.append(f"{name} {feature.int2str(int(value)) if value >= 0 else 'none'}")
    elif isinstance(getattr(feature, "feature", None), tfds.features.ClassLabel):
      found = collections.Counter(feature.feature.int2str(int(number)) for number in value)
      lines.append(", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or f"no {name}")
    elif name == "vote_fractions":
      lines.append("no votes" if np.isnan(value).all() else _votes(value))
    elif isinstance(value, (bytes, str, int, np.integer)) and not isinstance(feature, tfds.features.Image):
      text = value.decode() if isinstance(value, bytes) else value
      lines.insert(0 if name.endswith("id") else len(lines), f"{name} {text}")
  return lines


def _votes(values) -> str:
  from tfds_builders.gz2_tree import ANSWER_NAMES
  best = int(np.nanargmax(values[:3]))
  return f"{ANSWER_NAMES[best].rpartition('_')[2]} {values[best]:.2f}, odd {values[13]:.2f}"
