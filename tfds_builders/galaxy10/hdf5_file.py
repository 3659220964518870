"""Reads astroNN's HDF5 files: checked before use, in blocks of rows, and whatever is wrong is one clear error.

Facts of the files: https://astronn.readthedocs.io, pages `galaxy10` and `galaxy10sdss`.
"""
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfds_builders import extras
from tfds_builders.class_lists import TEN_CLASSES, TEN_CLASSES_SDSS
from tfds_builders.contents import Fault, Faults
from tfds_builders.errors import DataError

IMAGES, LABELS = "images", "ans"
#: What else is known of a galaxy: position in degrees (J2000), redshift, arcseconds per pixel.
COLUMNS = ("ra", "dec", "redshift", "pxscale")

#: Bytes of pixels read at once: of those chunks that hold many rows, which are unpacked whole.
_BLOCK_BYTES = 128 << 20
#: Rows gathered at least, where chunks hold few, so that there is work for several threads.
_BLOCK_ROWS = 64
#: Beyond these a file is no Galaxy10, but would fill the memory or the disk.
_MOST_ROWS = 1_000_000
_MOST_CHUNK_BYTES = 512 << 20


class Release(NamedTuple):
  """One of the two published files.

  Attributes:
    name: "decals" or "sdss".
    file_name: as published.
    url: where it is published; its size and SHA-256 are in checksums.tsv.
    side: height and width of the images in pixels.
    classes: names, in the order of their numbers in `ans`.
    required: those of `COLUMNS` that the file must have; others are NaN where it lacks them.
    png_bytes: about the size of an image as PNG.
  """
  name: str
  file_name: str
  url: str
  side: int
  classes: tuple[str, ...]
  required: tuple[str, ...]
  png_bytes: int


DECALS = Release("decals", "Galaxy10_DECals.h5", "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5", 256,
                 TEN_CLASSES, COLUMNS, 150_000)
SDSS = Release("sdss", "Galaxy10.h5", "https://zenodo.org/records/10844811/files/Galaxy10.h5", 69, TEN_CLASSES_SDSS, (),
               9_000)
RELEASES = {release.name: release for release in (DECALS, SDSS)}


class Galaxy10File:
  """One of the HDF5 files, opened and its shapes checked; a context manager.

  Attributes:
    rows: number of galaxies.
  """

  def __init__(self, path, release: Release):
    """Opens a file.

    Args:
      path: of the file.
      release: which of the two it is.

    Raises:
      DataError: not a whole HDF5 file, a key is missing, or something has another shape or type than published; or h5py
        is not installed.
    """
    self._h5py = h5py = extras.load("h5py", extra="galaxy10", purpose="HDF5, the form of Galaxy10's files,")
    self._path = Path(path)
    self._release = release
    try:
      # Nothing is written, and many network file systems have no locks.
      self._file = h5py.File(self._path, "r", locking=False)
    except Exception as error:  # OSError mostly, but a damaged file finds other ways.
      raise DataError(f"{self._path} is no complete HDF5 file ({_reason(error)}). It may have been cut off: "
                      "download it again.") from None
    try:
      self._check()
    except Exception as error:
      self.close()
      if isinstance(error, DataError):
        raise
      # Whatever a damaged header leads to.
      raise DataError(f"{self._path} cannot be read ({_reason(error)}). Download it again.") from None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()

  def labels(self, faults: Faults) -> np.ndarray:
    """(rows,) int64: the class of each galaxy, −1 where there is none, which is added to the faults.

    Raises:
      DataError: they cannot be read, or a fault is not to be skipped.
    """
    values = self._read(self._labels, slice(None), f"`{LABELS}`")
    number = len(self._release.classes)
    with np.errstate(invalid="ignore"):
      good = (values >= 0) & (values < number) & (values == np.floor(values))
    for row in np.flatnonzero(~good).tolist():
      faults.add(Fault(str(self._path), None, row, f"has {values[row].item()!r} as the class of row {row} "
                       f"({LABELS}[{row}], rows counted from 0); a whole number from 0 to {number - 1} was expected"))
    # Into signed numbers first: -1 among uint8 would be 255.
    return np.where(good, np.where(good, values, 0).astype(np.int64), -1)

  def columns(self) -> dict[str, np.ndarray]:
    """Name in `COLUMNS` -> (rows,) float64, NaN where the file says nothing; raises DataError."""
    return {name: np.full(self.rows, np.nan) if dataset is None
            else self._read(dataset, slice(None), f"`{name}`").astype(np.float64)
            for name, dataset in self._columns.items()}

  def blocks(self, rows: Sequence[int]) -> Iterator[list[int]]:
    """Cuts ascending rows into parts to be read at once, along the chunks of the file."""
    step, most = self._rows_of_a_chunk(), self._most_rows()
    block = []
    for row in rows:
      if len(block) >= most or (len(block) >= _BLOCK_ROWS and row // step != block[-1] // step):
        yield block
        block = []
      block.append(row)
    if block:
      yield block

  def pixels(self, rows: Sequence[int]) -> np.ndarray:
    """Images of ascending rows, (len(rows), H, W, 3) uint8; raises DataError."""
    step, most = self._rows_of_a_chunk(), self._most_rows()
    rows = np.asarray(rows)
    found = np.empty((len(rows), *self._images.shape[1:]), np.uint8)
    start = 0
    while start < len(rows):
      first = int(rows[start])
      stop = int(np.searchsorted(rows, min((first // step + 1) * step, first + most)))
      last = int(rows[stop - 1])
      read = self._read(self._images, slice(first, last + 1), f"`{IMAGES}`, rows {first} to {last},")
      found[start:stop] = read[rows[start:stop] - first]
      start = stop
    return found

  def _rows_of_a_chunk(self):
    return self._images.chunks[0] if self._images.chunks else 1

  def _most_rows(self):
    return max(1, _BLOCK_BYTES // math.prod(self._images.shape[1:]))

  def _check(self):
    side = self._release.side
    self._images = self._dataset(IMAGES)
    shape = self._images.shape
    if shape is None or len(shape) != 4 or shape[1:] != (side, side, 3) or self._images.dtype != np.uint8:
      other = next((f" That is the shape of Galaxy10 {release.name.upper()}: build galaxy10/{release.name}."
                    for release in RELEASES.values() if shape and shape[1:] == (release.side, release.side, 3)), "")
      self._refuse(IMAGES, f"has the shape {shape} and the type {self._images.dtype}; (N, {side}, {side}, 3) uint8 was "
                           f"expected.{other}")
    self.rows = shape[0]
    if not 0 < self.rows <= _MOST_ROWS:
      self._refuse(IMAGES, f"has {self.rows} rows; from 1 to {_MOST_ROWS} were expected.")
    self._check_storage()
    self._labels = self._column(LABELS)
    self._columns = {name: self._column(name) if name in self._release.required or name in list(self._file) else None
                     for name in COLUMNS}

  def _check_storage(self):
    """Refuses images that were not all written, or whose chunks are too large to unpack."""
    chunks = self._images.chunks
    if chunks is None:
      if self._images.id.get_storage_size() < math.prod(self._images.shape):
        self._refuse(IMAGES, "was not written to its end.")
      return
    if math.prod(chunks) > _MOST_CHUNK_BYTES:
      self._refuse(IMAGES, f"is stored in chunks of {math.prod(chunks)} bytes, more than the {_MOST_CHUNK_BYTES} "
                           f"allowed. Store it in smaller ones: h5repack -l {IMAGES}:CHUNK=64x"
                           f"{'x'.join(map(str, chunks[1:]))} FILE NEW_FILE")
    expected = math.prod(-(-length // chunk) for length, chunk in zip(self._images.shape, chunks, strict=True))
    # HDF5 reads chunks that are not there as zeros: black images.
    if (written := self._images.id.get_num_chunks()) != expected:
      self._refuse(IMAGES, f"has {written} of {expected} chunks: it was not written to its end.")

  def _column(self, key):
    dataset = self._dataset(key)
    if dataset.shape != (self.rows,) or dataset.dtype.kind not in "iuf":
      self._refuse(key, f"has the shape {dataset.shape} and the type {dataset.dtype}; one number for each of the "
                        f"{self.rows} images, ({self.rows},), was expected.")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > _MOST_CHUNK_BYTES:
      self._refuse(key, f"is stored in chunks of {dataset.chunks[0]} values, which is too many.")
    return dataset

  def _dataset(self, key):
    """A dataset that is in the file itself; raises DataError."""
    if key not in (keys := list(self._file)):
      raise DataError(f"{self._path} lacks the key {key!r}; it has {', '.join(map(repr, keys[:20])) or 'none'}. Get "
                      f"{self._release.file_name} from {self._release.url}.")
    link = self._file.get(key, getlink=True)
    dataset = self._file[key] if isinstance(link, self._h5py.HardLink) else None
    if not isinstance(dataset, self._h5py.Dataset) or dataset.is_virtual or dataset.external is not None:
      self._refuse(key, "is not an array in this file; links to elsewhere, virtual arrays and groups are not read.")
    return dataset

  def _read(self, dataset, selection, what):
    try:
      return dataset[selection]
    except Exception as error:  # OSError for a damaged chunk, among others.
      raise DataError(f"{self._path}, {what} cannot be read ({_reason(error)}). Download the file again.") from None

  def _refuse(self, key, reason):
    raise DataError(f"{self._path}, `{key}`, {reason}")


def _reason(error: Exception) -> str:
  lines = str(error).strip().splitlines()
  return lines[0][:200] if lines else type(error).__name__
