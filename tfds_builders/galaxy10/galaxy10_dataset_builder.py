"""The TFDS builder of Galaxy10: astroNN's HDF5 files as lossless PNG images with class and coordinates."""
import dataclasses
import functools
import hashlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from tfds_builders.builder import PreparedBuilder
from tfds_builders.contents import Contents, Faults
from tfds_builders.download import download, file_sha256
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.galaxy10.hdf5_file import COLUMNS, RELEASES, Galaxy10File, Release
from tfds_builders.galaxy10.splits import SPLITS, read_list, stratified, write_list
from tfds_builders.images import encode_png

#: CSV in the data set's folder: which row of the file, of which class, is in which split.
SPLITS_FILE = "splits.csv"
#: PNG is what takes the time, and packing lets other threads run.
_THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

_log = logging.getLogger("tfds_builders")


class Galaxy(NamedTuple):
  """A record: the row in the file, counted from 0, and its class."""
  index: int
  label: int


@dataclasses.dataclass
class Galaxy10Config(tfds.core.BuilderConfig):
  """One of the data sets.

  Attributes:
    release: name of the file it is made from.
    splits: for each of `splits.SPLITS`, the name of the split it goes into.
  """
  release: str = "decals"
  splits: tuple[str, str, str] = SPLITS


class Source:
  """The HDF5 file that a data set is made from; a context manager, as all sources are."""

  def __init__(self, path: Path, config: Galaxy10Config, published):
    """Remembers where the file is.

    Args:
      path: of the file.
      config: of the data set.
      published: what is known of the published file: `size` in bytes and `checksum`, a SHA-256.
    """
    self.path = path
    self.release = RELEASES[config.release]
    self._config = config
    self._published = published

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass

  @functools.cached_property
  def sha256(self) -> str:
    """SHA-256 of the file; raises DataError where it is a damaged copy of the published one."""
    try:
      size = self.path.stat().st_size
      sha256 = file_sha256(self.path)
    except OSError as error:
      raise DataError(f"{self.path} cannot be read ({error.strerror or error}).") from None
    if sha256 == self._published.checksum:
      return sha256
    if size == self._published.size:
      raise DataError(f"{self.path} has the size of the published file, {size} bytes, but the SHA-256 {sha256} instead "
                      f"of {self._published.checksum}: it is damaged. Delete it and get it again from "
                      f"{self.release.url}.")
    _log.warning("%s is not the published file (%d bytes, SHA-256 %s…, instead of %d bytes, %s…): it is taken as a "
                 "data set of your own.", self.path, size, sha256[:16], self._published.size,
                 self._published.checksum[:16])
    return sha256

  @property
  def is_published(self) -> bool:
    """Whether this is the published file, to the bit; raises DataError."""
    return self.sha256 == self._published.checksum

  @property
  def split_list(self) -> Path | None:
    """The published list of splits, where this is the published file and there is one; raises DataError."""
    path = split_list_path(self.release)
    return path if self.is_published and path.exists() else None

  def fingerprint(self) -> str:
    """64 hexadecimal digits of the file and of its splits; raises DataError."""
    splits = file_sha256(self.split_list) if self.split_list else "rule 1"
    return hashlib.sha256(f"{self._config.name} {self.sha256} {splits}".encode()).hexdigest()


class Builder(PreparedBuilder):
  """Galaxy10. See README.md beside this file for the features and splits."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = " ".join(
      f"For galaxy10/{release.name} put {release.file_name} from {release.url} into <manual_dir>."
      for release in RELEASES.values())
  BUILDER_CONFIGS = [
      Galaxy10Config(name="decals", release="decals",
                     description="DECaLS, 256 x 256 pixels, in fixed stratified splits of 80, 10 and 10 %."),
      Galaxy10Config(name="decals_seed004", release="decals", splits=("train", "train", "test"),
                     description="DECaLS in 90 and 10 %: `train` and `validation` of `decals` in one, and its `test`."),
      Galaxy10Config(name="sdss", release="sdss",
                     description="SDSS, 69 x 69 pixels, other classes, in fixed stratified splits of 80, 10 and 10 %."),
  ]

  def open_source(self, manual_dir) -> Source:
    """The HDF5 file: in a folder, or named itself. Raises MissingDataError."""
    release = self._release
    path = Path(manual_dir).expanduser()
    path = path if path.is_file() else path / release.file_name
    if not path.is_file():
      raise MissingDataError(f"{path} is not there. {release.file_name} is downloaded where no manual folder is named; "
                             f"by hand, get it from {release.url} and name its folder: --manual_dir=…")
    return Source(path, self.builder_config, self.url_infos[release.url])

  def validate(self, source: Source, *, skip_bad: bool, progress: bool) -> Contents:
    """Checks the file and divides its rows; raises DataError."""
    faults = Faults(skip_bad)
    fingerprint = source.fingerprint()
    with Galaxy10File(source.path, source.release) as file:
      labels = file.labels(faults)
      file.columns()
      # The published file is known to be whole, to the bit.
      if not source.is_published:
        rows = np.flatnonzero(labels >= 0).tolist()
        with tqdm(desc="Checking", total=len(rows), unit=" images", disable=None if progress else True) as bar:
          for block in file.blocks(rows):
            file.pixels(block)
            bar.update(len(block))
    if source.split_list:
      splits = read_list(source.split_list, labels)
    else:
      splits = stratified(labels, source.release.name)
    names = np.array([*self.builder_config.splits, ""])[splits]
    contents = {name: [Galaxy(row, int(labels[row])) for row in np.flatnonzero(names == name).tolist()]
                for name in dict.fromkeys(self.builder_config.splits)}
    if not contents["train"]:
      raise DataError(f"{source.path} has no galaxy that can be used: all {len(labels)} are faulty.")
    return Contents(fingerprint, {name: galaxies for name, galaxies in contents.items() if galaxies},
                    functools.partial(_examples, source.path.absolute(), source.release), faults.found,
                    source.release.png_bytes)

  def can_fetch(self) -> bool:
    """The files are public."""
    return True

  def fetch(self, manual_dir, *, progress: bool) -> bool:
    """Downloads the file; raises DataError."""
    published = self.url_infos[self._release.url]
    download(self._release.url, Path(manual_dir, self._release.file_name), sha256=published.checksum,
             size=int(published.size), progress=progress)
    return True

  @property
  def _release(self) -> Release:
    return RELEASES[self.builder_config.release]

  def _info(self) -> tfds.core.DatasetInfo:
    side = self._release.side
    # As bytes: TFDS's other encodings keep 32 of the 64 bits.
    number = tfds.features.Tensor(shape=(), dtype=np.float64, encoding=tfds.features.Encoding.BYTES)
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict({
            "image": tfds.features.Image(shape=(side, side, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=self._release.classes),
            "index": np.int64,
        } | dict.fromkeys(COLUMNS, number)),
        supervised_keys=("image", "label"),
        homepage="https://github.com/henrysky/Galaxy10",
        disable_shuffling=True,
    )

  def _shard_iterators_per_split(self, dl_manager):
    if self.contents is None:
      self.contents = self.validate(self.open_source(dl_manager.manual_dir), skip_bad=False, progress=self.progress)
    shards = super()._shard_iterators_per_split(dl_manager)
    write_list(self.data_path / SPLITS_FILE,
               sorted((*galaxy, name) for name, galaxies in self.contents.splits.items() for galaxy in galaxies))
    return shards


def split_list_path(release: Release) -> Path:
  """Where the published list of a release's splits is, once there is one."""
  return Path(__file__).with_name(f"{release.name}_splits.csv")


def _examples(path: Path, release: Release, galaxies: Sequence[Galaxy]) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (key, example) of ascending rows; while some are packed by threads, the next are read."""
  pool = ThreadPoolExecutor(_THREADS)
  try:
    with Galaxy10File(path, release) as file:
      columns = file.columns()
      labels = dict(galaxies)
      packed = iter(())
      for rows in file.blocks([galaxy.index for galaxy in galaxies]):
        following = zip(rows, [pool.submit(encode_png, pixels) for pixels in file.pixels(rows)], strict=True)
        yield from _finished(packed, labels, columns)
        packed = following
      yield from _finished(packed, labels, columns)
  finally:
    pool.shutdown(cancel_futures=True)


def _finished(packed, labels, columns):
  for row, image in packed:
    yield row, {"image": io.BytesIO(image.result()), "label": labels[row], "index": row,
                **{name: values[row] for name, values in columns.items()}}
