"""A small challenge to build from: 20 labelled and 3 unlabelled images of generated pixels, packed in any layout."""
import csv
import io
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tfds_builders.gz2_tree import COLUMNS


def jpeg(seed: int, size: tuple[int, int] = (48, 40)) -> bytes:
  """A JPEG file of smooth random colours, (height, width)."""
  pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC).save(file, "JPEG")
  return file.getvalue()


class Challenge(NamedTuple):
  """The contents of the three parts; a test spoils them before they are packed."""
  images: dict[str, bytes]
  rows: list[list[str]]
  test: dict[str, bytes]

  @property
  def csv(self) -> bytes:
    """The solutions as a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(self.rows)
    return text.getvalue().encode()

  def pack(self, folder, layout: str = "zips"):
    """Writes the parts below a folder, in one of the layouts the builder accepts; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = "images_training_rev1", "images_test_rev1"
    if layout == "folders":
      for name, data in {**_below(train, self.images), **_below(test, self.test)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
      (folder / "training_solutions_rev1.csv").write_bytes(self.csv)
      return folder
    parts = {f"{train}.zip": zipped(_below(train, self.images)),
             "training_solutions_rev1.zip": zipped({"training_solutions_rev1.csv": self.csv}, zipfile.ZIP_DEFLATED)}
    if self.test:
      parts[f"{test}.zip"] = zipped(_below(test, self.test))
    if layout == "zips":
      for name, data in parts.items():
        (folder / name).write_bytes(data)
      return folder
    if layout == "one zip of plain files":
      parts = {**_below(train, self.images), **_below(test, self.test), "training_solutions_rev1.csv": self.csv}
    method = zipfile.ZIP_DEFLATED if layout == "one zip, deflated" else zipfile.ZIP_STORED
    (folder / "galaxy-zoo-the-galaxy-challenge.zip").write_bytes(zipped(parts, method))
    return folder


LAYOUTS = ("zips", "folders", "one zip, stored", "one zip, deflated", "one zip of plain files")


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
  """The bytes of a zip."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", method) as archive:
    for name, data in files.items():
      archive.writestr(name, data)
  return file.getvalue()


def _below(folder, files):
  return {f"{folder}/{name}": data for name, data in files.items()}


@pytest.fixture
def challenge() -> Challenge:
  """Good contents. Ids are neither in order nor of one length, so that sorting them as text would show."""
  rng = np.random.default_rng(0)
  ids = [int(i) for i in rng.permutation([7, 88, 99, *range(100, 110), 1000, 2000, 3000, 4000, 5000, 6000, 7000])]
  rows = [["GalaxyID", *COLUMNS]]
  rows += [[str(i), *(f"{value:.6f}" for value in rng.uniform(size=37))] for i in ids]
  return Challenge({f"{i}.jpg": jpeg(i) for i in ids}, rows, {f"{i}.jpg": jpeg(i) for i in (30, 9, 200)})


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
  """Each way of packing the files."""
  return request.param
