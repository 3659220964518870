"""Predictions by Apache Beam, for catalogues that one machine would take too long over.

  found = pipeline | … | PredictRows("/shared/runs/gz2")  # found.rows and found.failures, PCollections of dicts

The run is in a folder under a path that every worker can read, as can who starts the pipeline; without one it is the
model that comes with the package. Needs: pip install 'galaxy_jax[scale]'. The rows are those of
`python -m galaxy_jax.predict`.
"""
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from galaxy_jax import inputs, pictures, predict, shards, shipped
from tfds_builders import extras
from tfds_builders.images import ImageError

beam = extras.load("apache_beam", extra="scale", purpose="Predicting by Apache Beam")
_FILES = extras.load("apache_beam.io.filesystems", extra="scale", purpose="Predicting by Apache Beam")
_SHARED = extras.load("apache_beam.utils.shared", extra="scale", purpose="Predicting by Apache Beam")

ROWS, FAILURES = "rows", "failures"


class PredictRows(beam.PTransform):
  """From dicts with `id` and `path`, or `bytes`, to the table's rows as dicts: `.rows`, and `.failures` beside them.

  A path is a file's that every worker finds, or any that Beam reads (gs://, s3://, …). Other values of a dict are
  carried along. A failure has id, path and reason. Each worker loads the models once.
  """

  def __init__(self, workdir: str | Sequence[str] | None = None, *, checkpoint: str | None = None,
               tta: int | None = None, batch_size: int = 64, planes: Sequence[int] = ()):
    """See predict.load.

    Args:
      workdir: a run's folder, which every worker reads, or several whose mean answers; None: the model that comes with
        the package.
      checkpoint, tta: as predictor.load takes them.
      batch_size: images a device call.
      planes: see pictures.check_planes.

    Raises:
      FileNotFoundError: there is no such run.
      ValueError: the planes are none.
    """
    super().__init__()
    workdirs = [workdir] if workdir is None or isinstance(workdir, str) else list(workdir)
    for one in workdirs:  # here, not on each worker once the pipeline runs
      shipped.folder(one)
    pictures.check_planes(planes)
    self._batch_size = batch_size
    self._load = partial(predict.load, workdirs, checkpoint=checkpoint, planes=tuple(planes), tta=tta,
                         batch_size=batch_size)

  def expand(self, images):
    """Called by Beam: the DoOutputsTuple of rows and failures."""
    batches = images | "batch" >> beam.BatchElements(min_batch_size=self._batch_size, max_batch_size=self._batch_size)
    return batches | "predict" >> beam.ParDo(_Predict(self._load)).with_outputs(FAILURES, main=ROWS)


class _Predict(beam.DoFn):
  """Rows of a batch of images; the models are one for all threads of a worker."""

  def __init__(self, load):
    self._load, self._shared = load, _SHARED.Shared()

  def setup(self):
    self._members = self._shared.acquire(self._load)

  def process(self, batch: list[dict[str, Any]]) -> Iterator[Any]:
    good, pixels = [], []
    for image in batch:
      try:
        pixels.append(self._members.pixels(_bytes_of(image), str(image.get("path", ""))))
        good.append(image)
      except ImageError as error:
        failure = shards.Failure(image["id"], str(image.get("path", "")), str(error))
        yield beam.pvalue.TaggedOutput(FAILURES, failure._asdict())
    if not good:
      return
    answers = pa.table(self._members.table(pixels))
    for image, said in zip(good, answers.to_pylist(), strict=True):
      carried = [name for name in image if name not in ("id", "bytes")]
      names = predict.own_names(carried, ["id", "model", *answers.column_names])
      yield {"id": image["id"], **{names[name]: image[name] for name in carried}, "model": self._members.name, **said}


def _bytes_of(image):
  """An image's bytes, which it has with it or which are read; raises ImageError."""
  if image.get("bytes") is not None:
    return image["bytes"]
  path = str(image.get("path") or "")
  if not path:
    raise ImageError("has neither path nor bytes")
  if "://" not in path:
    return inputs.read_file(path)
  files = _FILES.FileSystems
  try:
    # As it is: Beam would unpack by the name's ending.
    with files.open(path, compression_type="uncompressed") as file:
      return file.read()
  except Exception as error:  # each file system raises its own
    raise ImageError(f"cannot be read ({type(error).__name__}: {error})") from None
