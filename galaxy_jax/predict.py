"""Predicts every galaxy of a folder, an archive, a catalogue or a data set, into one table.

  python -m galaxy_jax.predict --workdir=runs/gz2 --input=images --output=predictions.parquet

--input is an image (JPEG, PNG, TIFF, FITS), a folder with all below it, a pattern in quotes, a zip, a table with a
column of paths (Parquet, CSV, FITS, VOTable), or BUILDER[/CONFIG]:SPLIT of a data set. --output is Parquet, CSV, FITS
or VOTable, as its name ends: `id`, the input table's own columns, `model`, and what the model says. Without --workdir
the model that comes with the package answers.

Images are read and decoded ahead of the device, and finished parts wait in OUTPUT.parts, so that memory does not grow
with the catalogue. Killed anywhere, the same command goes on after the last finished part. Images that cannot be used
are listed in OUTPUT.failures.csv; but for those of a data set, it is the --input that predicts them once they are
mended. The exit status is 0 where all is well, 3 where there are such images, be it all of them, and 1 where a mistake
that is named ended the command.
"""
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from absl import flags
from tqdm import tqdm

from galaxy_jax import ensembles, inputs, pictures, predictor, shards, tables
from galaxy_jax.command import SOME_FAILED, run_command
from galaxy_jax.data.decode import cores
from galaxy_jax.files import check_not_read
from tfds_builders.images import ImageError

logger = logging.getLogger(__name__)

_CHUNK = 16  # images a thread takes at a time


class Answerer(Protocol):
  """What `predict` asks about every galaxy, and that makes the columns of its table.

  Attributes:
    name: of the model.
    batch_size: images that are handed over at once.
    schema: the columns that `table` gives.
  """
  name: str
  batch_size: int
  schema: pa.Schema

  def pixels(self, data: bytes, name: str) -> Any:
    """What `table` takes of an image file; by several threads at once. Raises ImageError."""

  def table(self, seen: Sequence[Any]) -> dict[str, pa.Array]:
    """The columns of N galaxies, one or more, from what `pixels` gives of each."""

  def identity(self) -> dict[str, Any]:
    """What tells these answers from others, as JSON values."""


class Members:
  """The answers of one model, or the mean ones of several, without intervals and novelty; see Answerer."""

  def __init__(self, models: Sequence[Any], planes: Sequence[int] = ()):
    """As `load` makes them.

    Args:
      models: as `predictor.load` gives them.
      planes: see pictures.check_planes.

    Raises:
      ValueError: the models do not say the same of a galaxy.
    """
    pictures.check_planes(planes)
    self._planes = tuple(planes)
    first, *others = self._models = tuple(models)
    for other in others:
      if (other.task, tuple(other.columns)) != (first.task, tuple(first.columns)):
        raise ValueError(f"{first.name} and {other.name} make no ensemble: one says {_what(first)}, the other "
                         f"{_what(other)}.")
    self.name = name_of(self._models)
    self.batch_size = max(model.batch_size for model in self._models)
    # Members that see the same part of an image at the same size share its pixels.
    self._eyes = {(model.crop, model.size): model for model in self._models}
    black = tuple(np.zeros((size, size, 3), np.uint8) for _, size in self._eyes)
    self.schema = pa.table(self.table([black])).schema

  def pixels(self, data: bytes, name: str) -> tuple[np.ndarray, ...]:
    """An image's bytes as each of the models takes them; see pictures.pixels_of."""
    return tuple(pictures.pixels_of(data, name, model, self._planes) for model in self._eyes.values())

  def table(self, seen: Sequence[tuple[np.ndarray, ...]]) -> dict[str, pa.Array]:
    """The columns of answers to N galaxies, one or more, from what `pixels` gives of each."""
    pixels = {eye: np.stack(images) for eye, images in zip(self._eyes, zip(*seen, strict=True), strict=True)}
    first, *others = (model.answers(pixels[model.crop, model.size]) for model in self._models)
    if others:
      fractions = np.stack([answers.fractions for answers in (first, *others)])
      # Intervals are of one model's errors and novelty of one model's features; of the mean nobody measured either.
      first = first._replace(fractions=ensembles.combine(fractions, ensembles.uniform(len(fractions))), lower=None,
                             upper=None, novelty=None)
    return self._models[0].table(first)

  def identity(self) -> dict[str, Any]:
    """What tells these models from others, as JSON values."""
    return identity_of(self._models, self._planes)


def _what(model):
  return f"{model.task} ({', '.join(model.columns)})"


def name_of(models: Sequence[Any]) -> str:
  """What one model or several are called in a table."""
  return " + ".join(model.name for model in models)


def identity_of(models: Sequence[Any], planes: Sequence[int]) -> dict[str, Any]:
  """What tells answers of these models from others, as JSON values."""
  return {"model": name_of(models),
          "parameters": predictor.fingerprint([(model.variables, model.calibration) for model in models]),
          "pixels": [f"{model.crop} to {model.size}" for model in models],
          "views": [_looks(*model.looks) for model in models], "planes": [str(plane) for plane in planes]}


def _looks(rotations, flips, zooms):
  """Test-time views in words."""
  return f"{rotations} rotations, {'mirrored too' if flips else 'not mirrored'}, zooms {', '.join(map(str, zooms))}"


def load(sources: Sequence[str | None], checkpoint: str | None = None, *, planes: Sequence[int] = (),
         **options: Any) -> Members:
  """The models of some runs; but for `planes` (see Members) the arguments are those of predictor.load, for all."""
  return Members([predictor.load(source, checkpoint, **options) for source in sources], planes)


def own_names(carried: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
  """What the input's own columns are called in a table with columns of ours.

  One that has the name of one of ours, in large or small letters, gets the suffix `_input`.
  """
  taken, names = {name.lower() for name in ours}, {}
  for name in carried:
    new = name
    while new.lower() in taken:
      new += "_input"
    taken.add(new.lower())
    names[name] = new
  return names


def predict(answerer: Answerer, given: inputs.Input, output: Path, *, shard_rows: int = 8192,
            workers: int | None = None, overwrite: bool = False, progress: bool = True) -> int:
  """Predicts all galaxies of an input into a table, going on where an interrupted call stopped.

  Args:
    answerer: what is asked about each galaxy, the models of `load` for instance.
    given: the galaxies.
    output: the table, whose ending says its format.
    shard_rows: galaxies of a finished part.
    workers: threads that decode; None: one for each core.
    overwrite: replace a table that is there.
    progress: whether to show a progress bar.

  Returns:
    How many images could not be used.

  Raises:
    ValueError: as shards.opened.
  """
  names = own_names(given.columns.names, ["id", "model", *answerer.schema.names])
  schema = pa.schema([("id", given.ids), *((names[field.name], field.type) for field in given.columns),
                      ("model", pa.string()), *answerer.schema])
  if changed := [f"{old} as {new}" for old, new in names.items() if old != new]:
    logger.info("Columns of the input whose names are taken: %s.", ", ".join(changed))
  job = {**answerer.identity(), **given.identity, "shard_rows": shard_rows,
         "columns": [f"{field.name} ({field.type})" for field in schema]}
  with shards.opened(output, schema, job, overwrite=overwrite) as done:
    start = min(done.done * shard_rows, given.count)
    if start:
      logger.info("%s of %s galaxies are done already.", f"{start:,}", f"{given.count:,}")
    parts = () if done.complete else given.parts(shard_rows, done.done)
    with tqdm(total=given.count, initial=start, desc="predicting", unit="image",
              disable=None if progress else True) as bar:
      for part, good, said, failures in _predicted(answerer, given, parts, workers or cores(), bar.update):
        columns = {"id": part.ids.take(good), **{new: part.carried[old].take(good) for old, new in names.items()},
                   "model": pa.array([answerer.name] * len(good), pa.string())}
        done.add(pa.table(columns | dict(zip(said.column_names, said.columns, strict=True))), failures)
    return done.finish()


def _predicted(answerer: Answerer, given: inputs.Input, parts: Iterable[inputs.Part], workers: int,
               advance: Callable[[int], Any],
               ) -> Iterator[tuple[inputs.Part, pa.Array, pa.Table, list[shards.Failure]]]:
  """Of each part: itself, its rows that could be used, their answers, and what failed.

  A batch ends with its part, so that a part is the same whichever were made before it.
  """
  def decode(chunk):
    part, start, stop = chunk
    return [_pixels_or_reason(answerer, given, part.places[row]) for row in range(start, stop)]

  chunks = ((part, start, min(start + _CHUNK, len(part.ids))) for part in parts
            for start in range(0, len(part.ids), _CHUNK))
  batch = answerer.batch_size
  for (part, start, stop), results in _ahead(decode, chunks, workers, 2 * (workers + -(-batch // _CHUNK))):
    if start == 0:
      good, waiting, answered, failures = [], [], [answerer.schema.empty_table()], []
    for row, result in enumerate(results, start):
      if isinstance(result, str):
        failures.append(shards.Failure(part.ids[row].as_py(), given.shown(part.places[row]), result))
      else:
        good.append(row)
        waiting.append(result)
    while len(waiting) >= batch or (waiting and stop == len(part.ids)):
      answered.append(pa.table(answerer.table(waiting[:batch])))
      del waiting[:batch]
    advance(len(results))
    if stop == len(part.ids):
      yield part, pa.array(good, pa.int64()), pa.concat_tables(answered), failures


def _pixels_or_reason(answerer, given, place):
  """An image's pixels, or a text that says why it has none."""
  try:
    return answerer.pixels(given.read(place), given.shown(place))
  except ImageError as error:
    return str(error)


def _ahead(work, items, workers, limit):
  """(item, work(item)) in the order of the items, made by threads, of which `limit` may wait to be taken."""
  pool, waiting = ThreadPoolExecutor(workers), deque()
  try:
    for item in items:
      waiting.append((item, pool.submit(work, item)))
      if len(waiting) >= limit:
        item, future = waiting.popleft()
        yield item, future.result()
    while waiting:
      item, future = waiting.popleft()
      yield item, future.result()
  finally:
    pool.shutdown(cancel_futures=True)


FLAGS = flags.FLAGS


def main(_) -> int:
  """Predicts the galaxies of --input into --output; returns the exit status."""
  if FLAGS.ensemble and FLAGS.workdir:
    raise ValueError("Give --workdir=RUN, or --ensemble=RUN,RUN,… for the mean of several.")
  if len(set(FLAGS.ensemble or [])) < len(FLAGS.ensemble or []):
    raise ValueError(f"--ensemble={','.join(FLAGS.ensemble)} names a run twice.")
  sources = FLAGS.ensemble or [FLAGS.workdir]
  return run(lambda planes: load(sources, FLAGS.checkpoint, planes=planes, tta=FLAGS.tta,
                                 batch_size=FLAGS.batch_size), "predictions")


def run(make_answerer: Callable[[tuple[int, ...]], Answerer], what: str) -> int:
  """What the flags of `define_flags` ask for; returns the exit status.

  Args:
    make_answerer: from the planes of FITS cubes to what is asked, once the flags were found right.
    what: is given, in words.
  """
  output, planes = Path(FLAGS.output).expanduser(), pictures.parse_planes(FLAGS.planes)
  tables.check_writable(output)
  if not shards.parts_folder(output).exists():
    shards.check_new(output, overwrite=FLAGS.overwrite)
  given = inputs.find(FLAGS.input, path_column=FLAGS.path_column, id_column=FLAGS.id_column, data_dir=FLAGS.data_dir,
                      manual_dir=FLAGS.manual_dir)
  check_not_read(output, "--output", FLAGS.input, given)
  check_not_read(shards.failures_file(output), "The list of failures of --output", FLAGS.input, given)
  answerer = make_answerer(planes)
  logger.info("%s galaxies of %s, model %s.", f"{given.count:,}", FLAGS.input, answerer.name)
  began = time.monotonic()
  failed = predict(answerer, given, output, shard_rows=FLAGS.shard_rows, workers=FLAGS.workers,
                   overwrite=FLAGS.overwrite)
  logger.info("The %s of %s galaxies are in %s, after %.1f s.", what, f"{given.count - failed:,}", output,
              time.monotonic() - began)
  if failed:
    logger.warning("%s of %s images could not be used; %s says which, and why.", f"{failed:,}", f"{given.count:,}",
                   shards.failures_file(output))
    return SOME_FAILED
  return 0


def define_flags(output: str):
  """Defines the flags that `run` reads; `output` says what --output may be."""
  flags.DEFINE_string("input", None, "An image, a folder, a pattern in quotes, a zip, a table, or BUILDER:SPLIT.")
  flags.DEFINE_string("output", None, f"The table to write: {output}.")
  flags.DEFINE_string("workdir", None, "A run of galaxy_jax.main, or the name of a model that comes with the package.")
  flags.DEFINE_string("checkpoint", None, "latest, best or a step; without one, as the run was evaluated.")
  flags.DEFINE_integer("tta", None, "Test-time views instead of the run's: 1 upright; 2 with its mirror image; 8 four "
                       "rotations, each mirrored; an odd number that many rotations.", lower_bound=1)
  flags.DEFINE_string("path_column", None, "Of a table: the column of the images' paths, relative to the table.")
  flags.DEFINE_string("id_column", None, "Of a table: the column that becomes id.")
  flags.DEFINE_list("planes", None, "Of FITS cubes: the planes, from 0, that are red, green and blue; or one.")
  flags.DEFINE_string("data_dir", None, "Of a data set: where it is, or is built.")
  flags.DEFINE_string("manual_dir", None, "Of a data set: the folder with the published files.")
  flags.DEFINE_integer("batch_size", None, "Images a device call instead of the run's.", lower_bound=1)
  flags.DEFINE_integer("workers", None, "Threads that read and decode; one for each core by default.", lower_bound=1)
  flags.DEFINE_integer("shard_rows", 8192, "Galaxies of a finished part: at most so many are done twice after a kill.",
                       lower_bound=1)
  flags.DEFINE_bool("overwrite", False, "Replace an output that is there already.")
  flags.mark_flags_as_required(["input", "output"])


if __name__ == "__main__":
  define_flags("NAME.parquet, .csv, .fits or .vot")
  flags.DEFINE_list("ensemble", None, "Several runs, whose mean answers, without intervals and novelty.")
  sys.exit(run_command(main))
