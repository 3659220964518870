"""A small survey to build from, in any format: rows of a table, and images of generated pixels."""
import csv
import io

import numpy as np
from PIL import Image

from tfds_builders.prepare import prepare


def encoded(pixels: np.ndarray, format: str) -> bytes:
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, format)
  return file.getvalue()


def colours(seed: int, side: int = 12) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


def write_csv(path, rows: list[list]) -> None:
  with open(path, "w", newline="") as file:
    csv.writer(file).writerows(rows)


def survey(folder, count: int = 20, **columns):
  """A folder with images 0.png, 1.jpg, 2.png, … and catalogue.csv: id, path, and further columns of `count` values."""
  (folder / "images").mkdir(parents=True)
  rows = [["id", "path", *columns]]
  for number in range(count):
    name = f"images/{number}.{'jpg' if number % 2 else 'png'}"
    (folder / name).write_bytes(encoded(colours(number), "JPEG" if number % 2 else "PNG"))
    rows.append([number + 100, name, *(values[number] for values in columns.values())])
  write_csv(folder / "catalogue.csv", rows)
  return folder


def build(folder, data_dir=None, **options):
  """The builder of a survey, built beside it."""
  return prepare("own_images", manual_dir=folder, data_dir=data_dir or folder.parent / f"{folder.name}_data",
                 progress=False, **options)


def records(builder) -> dict:
  """Split -> its records, images as the stored bytes."""
  import tensorflow_datasets as tfds
  stored = {"image": tfds.decode.SkipDecoding()}
  return {split: list(builder.as_data_source(split, decoders=stored)) for split in builder.info.splits}


def by_id(builder) -> dict:
  """Id -> record, of all splits."""
  return {record["galaxy_id"] if isinstance(record["galaxy_id"], bytes) else int(record["galaxy_id"]): record
          for split in records(builder).values() for record in split}
