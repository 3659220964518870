"""Opens a data set, building it first where needed: the one function the training program and the command line call.

A builder of this package offers, beside TFDS's methods:
  open_source(manual_dir)                    what it is made from, a context manager with `fingerprint() -> str`
  validate(source, *, skip_bad, progress)    the checked contents, with `left_out`, a list of what was skipped
  fetch(manual_dir, *, progress)             downloads the source files where it can; whether it could. Called only
                                             where open_source raises MissingDataError
  can_fetch()                                whether it would try, likewise
  contents, progress                         attributes: what to write, and whether to show a bar
and writes `SOURCE_FILE` and, where something was left out, `LEFT_OUT_FILE` into the finished data set's folder.
`tfds_builders.builder.PreparedBuilder` has what they share.
"""
import contextlib
import functools
import importlib.util
import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

import tfds_builders
from tfds_builders import beam
from tfds_builders.errors import DataError, MissingDataError
from tfds_builders.locks import alone

#: JSON in the data set's folder: `fingerprint` of the source files, number of galaxies `left_out`.
SOURCE_FILE = "source.json"
#: CSV in the data set's folder: what was left out, and why.
LEFT_OUT_FILE = "left_out.csv"
FILE_FORMATS = ("array_record", "tfrecord")

#: Files that people name in place of the folder they are in.
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".h5", ".hdf5")

_log = logging.getLogger("tfds_builders")


def prepare(name: str, *, manual_dir=None, data_dir=None, file_format: str = "array_record", skip_bad: bool = False,
            overwrite: bool = False, progress: bool = True, beam_options: str | None = None):
  """Opens a data set, building it first if needed.

  Which build is used:
    1. Without a manual_dir, one that is finished in data_dir is opened as it is.
    2. So is one where manual_dir no longer holds the source files, with a warning.
    3. Else the source files decide: a finished build of the same files, in the same format, is opened.
    4. Else it is built. Where another build is in the way: with an explicit data_dir that is an error; in TFDS's
       default folder the new one goes into a folder of its own below it, named by the fingerprint.

  All input is checked before anything is written, and TFDS renames a finished build into place: a build is there whole
  or not at all, also when several processes start at once.

  Args:
    name: one of tfds_builders.BUILDERS, "galaxy_sim/demo"; "galaxy_sim" is its first configuration.
    manual_dir: the folder with the source files; simulated data have none. None: `downloads/manual` below data_dir, as
      in TFDS; where that has none, they are downloaded there if there are credentials.
    data_dir: where prepared data sets are. None: the environment's TFDS_DATA_DIR, else ~/tensorflow_datasets.
    file_format: "array_record" (read by index, without TensorFlow) or "tfrecord" (for tfds.load; needs TensorFlow).
    skip_bad: leave faulty galaxies out, and list them in `LEFT_OUT_FILE`, instead of raising an error.
    overwrite: replace a finished build.
    progress: show progress bars.
    beam_options: have Apache Beam write the shards: its pipeline options, as "runner=DirectRunner,job_name=build". The
      source is checked here all the same, and every worker must find it, and data_dir, under the same path.

  Returns:
    The TFDS builder, ready for `as_data_source` (or `as_dataset`, where the format is tfrecord).

  Raises:
    DataError: bad or missing input, or a build of other files or format in the way; with the remedy.
  """
  if file_format not in FILE_FORMATS:
    raise DataError(f"file_format is {file_format!r}; expected {' or '.join(FILE_FORMATS)}.")
  if file_format == "tfrecord" and importlib.util.find_spec("tensorflow") is None:
    raise DataError("file_format='tfrecord' needs TensorFlow: pip install 'galaxy_jax[tf]'. The default, array_record, "
                    "does not.")
  beam_options = None if beam_options is None else beam.options(beam_options)
  name = tfds_builders.full_name(name)
  make, root = _locate(name, data_dir)
  builder = _found(make, root)
  if manual_dir is not None:  # as a worker in another folder must find it
    manual_dir = Path(manual_dir).expanduser().absolute()
    if manual_dir.is_file() and manual_dir.suffix.lower() in _ARCHIVES:
      raise DataError(f"{manual_dir} is a file. Name the folder it is in: archives are read as they are.")

  if manual_dir is None:
    if _is_built(builder) and not overwrite:
      if difference := _difference(builder, None, file_format):
        raise DataError(f"{difference}. {_remedy(None)}")
      return _opened(builder)
    manual_dir = root / "downloads" / "manual"
    try:
      source = builder.open_source(manual_dir)
    except MissingDataError:
      if builder.can_fetch():
        _check_writable(builder.data_path)
      if not builder.fetch(manual_dir, progress=progress):
        raise
      source = builder.open_source(manual_dir)
  else:
    try:
      source = builder.open_source(manual_dir)
    except MissingDataError as error:
      if overwrite or not _is_built(builder) or _difference(builder, None, file_format):
        raise
      _log.warning("%s The finished build in %s is taken.", error, builder.data_path)
      return _opened(builder)

  with source:
    fingerprint = source.fingerprint()
    places = [root]
    if data_dir is None:
      places.append(root / f"{name.replace('/', '-')}-{fingerprint[:16]}-{file_format}")
    for place in places:
      builder = make(data_dir=place)
      if not _is_built(builder) or overwrite:
        return _build(functools.partial(make, data_dir=place), source, fingerprint, file_format, skip_bad, overwrite,
                      progress, beam_options)
      difference = _difference(builder, fingerprint, file_format)
      if difference is None:
        return _opened(builder)
      if place != places[-1]:
        _log.info("%s: using %s instead.", difference, places[-1])
  raise DataError(f"{difference}. {_remedy(manual_dir)}")


def check_available(name: str, *, manual_dir=None, data_dir=None) -> None:
  """Refuses a data set that `prepare` cannot give; builds nothing and downloads nothing.

  With a manual_dir the source files must be there, whether a build of such files is finished or not.

  Raises:
    MissingDataError: the folder does not have them; or, without one, there is no finished build, nor source files in
      their place, nor credentials to download them.
  """
  make, root = _locate(tfds_builders.full_name(name), data_dir)
  builder = _found(make, root)
  if manual_dir is not None:
    with builder.open_source(Path(manual_dir).expanduser().absolute()):
      return
  if _is_built(builder):
    return
  try:
    with builder.open_source(root / "downloads" / "manual"):
      pass
  except MissingDataError:
    if not builder.can_fetch():
      raise


def source_record(builder) -> dict:
  """What a finished build says of its source: `fingerprint` (str) and `left_out` (int); empty if it says nothing."""
  try:
    return json.loads((builder.data_path / SOURCE_FILE).read_text())
  except (OSError, ValueError):
    return {}


def _locate(name, data_dir):
  """A function from a place to the data set's builder there, and where data sets are."""
  make = functools.partial(tfds_builders.builder_class(name), config=name.partition("/")[2])
  from etils import epath  # With TFDS, so not when this package is only imported.
  return make, epath.Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _found(make, root):
  """The data set's builder there; a build that a process was killed while it replaced is first put back."""
  builder = make(data_dir=root)
  path = builder.data_path
  if _is_built(builder) or not path.parent.exists() or not any(path.parent.glob(f"{path.name}.replaced_*")):
    return builder
  with _alone(path):
    return make(data_dir=root)


def _build(make, source, fingerprint, file_format, skip_bad, overwrite, progress, beam_options):
  """Checks the source, builds, and returns a fresh builder on the result; `make` gives a builder on the place."""
  started = time.monotonic()
  builder = make()
  _check_writable(builder.data_path)
  contents = builder.validate(source, skip_bad=skip_bad, progress=progress)
  path = builder.data_path
  with _alone(path):
    if path.exists() and not overwrite and not _is_built(make()):
      raise DataError(f"{path} exists but holds no finished data set. Delete it, or replace it: --overwrite.")
    if overwrite or not path.exists():
      _write(make, contents, file_format, progress, beam_options)
  finished = make()
  if difference := _difference(finished, fingerprint, file_format):
    raise DataError(f"Meanwhile another process has finished a build, but {difference}. {_remedy(path)}")
  if contents.left_out:
    _log.warning("Left out %d galaxies or rows; %s lists them and says why.", len(contents.left_out),
                 path / LEFT_OUT_FILE)
  _log.info("Built %s: %s in %.0f s.", _summary(finished), finished.info.dataset_size, time.monotonic() - started)
  return finished


def _check_writable(path):
  """Refuses a place where no build can be put, before the work of making one; leaves nothing there."""
  folder = Path(os.fspath(path))
  if "://" in os.fspath(path):  # a store of objects, which only writing can tell
    return
  try:
    with tempfile.TemporaryFile(dir=next(parent for parent in folder.absolute().parents if parent.exists())):
      pass
  except OSError as error:
    raise _unwritable(folder.parent, error) from None


def _unwritable(folder, error):
  return DataError(f"{folder} cannot be written ({error.strerror or error}). Name another data_dir (--data_dir=…).")


@contextlib.contextmanager
def _alone(path):
  """Keeps other processes out of the place of a build; what killed ones left there is put right."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Path(os.fspath(path.parent))
    lock = alone(place / f".{path.name}.lock", str(path), _log) if place.is_dir() else contextlib.nullcontext(False)
  except OSError as error:
    raise _unwritable(path.parent, error) from None
  with lock as held:
    if held:
      for left_behind in place.glob(f"{path.name}.replaced_*"):
        _log.warning("A process was killed while it replaced %s; that build is kept.", path)
        shutil.rmtree(left_behind) if path.exists() else left_behind.rename(path)
      for left_behind in place.glob(f"incomplete.*_{path.name}"):
        _log.warning("Removing %s, left by a build that was killed.", left_behind)
        shutil.rmtree(left_behind)
    yield


def _write(make, contents, file_format, progress, beam_options):
  """Has TFDS write the contents; a build that is there is replaced when the new one is whole."""
  import tensorflow_datasets as tfds
  path = make().data_path
  replaced = path.with_name(f"{path.name}.replaced_{os.getpid()}")
  if path.exists():
    path.rename(replaced)
  builder = make()
  builder.contents, builder.progress = contents, progress and beam_options is None
  _log.info("Building %s in %s.", builder.info.full_name, path)
  # TFDS makes a download folder even for a data set that downloads nothing.
  with tempfile.TemporaryDirectory() as downloads:
    config = tfds.download.DownloadConfig(manual_dir=downloads, **(beam_options or {}))
    try:
      with contextlib.nullcontext() if beam_options is None else beam.one_error():
        builder.download_and_prepare(download_dir=downloads, file_format=file_format, download_config=config)
    except BaseException as error:
      # Where the file system has no locks, another process may have put a build there meanwhile.
      if any(isinstance(each, OSError) for each in (error, error.__cause__)) and _is_built(make()):
        return
      if replaced.exists():
        replaced.rename(path)
      raise
  if replaced.exists():
    replaced.rmtree()


def _is_built(builder) -> bool:
  # TFDS writes this file last, and its own test for it logs an error where there is none.
  return (builder.data_path / "dataset_info.json").exists()


def _opened(builder):
  _log.info("Using the finished build %s.", _summary(builder))
  if left_out := source_record(builder).get("left_out"):
    _log.warning("It was built without %d galaxies or rows, listed in %s.", left_out,
                 builder.data_path / LEFT_OUT_FILE)
  return builder


def _summary(builder) -> str:
  splits = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
  return f"{builder.data_path} ({splits})"


def _difference(builder, fingerprint, file_format) -> str | None:
  """How a finished build differs from what is wanted, or None; a fingerprint of None fits every build."""
  record = source_record(builder)
  if fingerprint is not None and record.get("fingerprint") != fingerprint:
    return (f"{builder.data_path} was built from other source files (their fingerprint is "
            f"{record.get('fingerprint', 'unknown')[:16]}, that of the given ones {fingerprint[:16]})")
  if builder.info.file_format.value != file_format:
    return f"{builder.data_path} was built as {builder.info.file_format.value}, not {file_format}"
  return None


def _remedy(manual_dir) -> str:
  return ("Name another data_dir (--data_dir=…), or replace that build (--overwrite)"
          + (", or leave manual_dir out to use it as it is." if manual_dir is not None else "."))
