"""Where the files of each field go, checked before anything is computed: named by flags as one file or as a folder."""
from pathlib import Path, PurePosixPath

from galaxy_jax import shards, tables
from galaxy_jax.files import check_folder, check_not_read
from galaxy_jax.inputs import Input
from tfds_builders import extras

#: The flags, and what they add to an image's name in a folder.
SUFFIXES = {"segmentation": ".segmentation.fits", "regions": ".reg", "overlays": ".outlines.png"}
#: How the one file ends that some of them may name instead.
FILES = {"segmentation": (".fits", ".fit"), "regions": (".reg",), "overlays": ()}


class Places:
  """Where an image's own files go.

  Attributes:
    wanted: the flags that were given.
  """

  def __init__(self, flags: dict[str, str | None], given: Input, output: Path, *, source: str, overwrite: bool):
    """Takes what the flags say.

    Args:
      flags: from keys of SUFFIXES to a file, where FILES says so and there is one image, a folder, or nothing.
      given: the images.
      output: where the catalogue goes.
      source: what --input says.
      overwrite: whether files that are there may be replaced.

    Raises:
      ValueError: a place cannot be written, or is not to be.
      DataError: astropy is needed and not installed.
    """
    self.wanted = {flag for flag, value in flags.items() if value}
    self._places, self._given = {flag: Path(flags[flag]).expanduser() for flag in self.wanted}, given
    self._single = {flag for flag, path in self._places.items()
                    if path.suffix.lower() in FILES[flag] and not path.is_dir()}
    self._taken, self._source = set(), Path(source).expanduser()
    for flag, path in self._places.items():
      if flag in self._single:
        self._check_file(flag, path, output, overwrite)
      else:
        self._check_folder(flag, path, overwrite)
    if "segmentation" in self.wanted:
      extras.load("astropy.io.fits", extra="survey", purpose="Writing a segmentation map")

  def _check_file(self, flag, path, output, overwrite):
    if self._given.count > 1:
      raise ValueError(f"--{flag} is {path}, one file, but --input holds {self._given.count:,} images. Name a folder.")
    tables.check_place(path, FILES[flag], f"--{flag}")
    check_not_read(path, f"--{flag}", self._source, self._given)
    if output.resolve() == path.resolve():
      raise ValueError(f"--{flag} is {path}, which is --output too. Name another file.")
    shards.check_new(path, overwrite=overwrite)
    check_folder(path.absolute().parent, f"--{flag}")

  def _check_folder(self, flag, path, overwrite):
    first = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not first.is_dir():
      or_file = f", or a file that ends in {' or '.join(FILES[flag])}" if FILES[flag] else ""
      raise ValueError(f"--{flag} is {path}, but {first} is no folder. Name one{or_file}.")
    if self._source.is_dir() and path.resolve().is_relative_to(self._source.resolve()):
      raise ValueError(f"--{flag} is {path}, in the folder of --input, where the next call would find its files as "
                       "images. Name a folder outside.")
    if path.is_dir() and not overwrite and (there := next(path.rglob(f"*{SUFFIXES[flag]}"), None)):
      raise ValueError(f"--{flag} is {path}, and {there} is there already. Choose another folder, or replace such "
                       "files: --overwrite.")
    check_folder(first, f"--{flag}")

  def of(self, flag: str, name: str) -> Path | None:
    """Where the file of a flag goes for the next image, of this name; None where the flag was not given.

    The folders of a name are made in the flag's own; of images of one name the second gets a number.
    """
    if flag not in self.wanted or flag in self._single:
      return self._places.get(flag)
    # Nothing in the names of an archive or a table may lead out of the folder.
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "//", "..")] or ["image"]
    path = self._places[flag].joinpath(*parts[:-1], parts[-1] + SUFFIXES[flag])
    number = 1
    while path in self._taken:
      number += 1
      path = path.with_name(f"{parts[-1]}-{number}{SUFFIXES[flag]}")
    self._taken.add(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
