"""Batches decoded on the way, for a split that does not fit the devices: the same as `resident` draws.

Grain's workers read records and decode them, each preparing whole batches, several at a time. Batch t is a function of
(seed, t) alone, so a stream starts at any step exactly and at once.
"""
import atexit
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import grain
import numpy as np
from absl import flags

from galaxy_jax.data.decode import cores, decode_record, device_labels, stack
from galaxy_jax.data.order import step_rows
from galaxy_jax.data.sources import Source

Batch = dict[str, np.ndarray]
_FOREVER = 2**62


def training_batches(source: Source, *, crop: int | None, size: int, labels: Sequence[str], seed: int,
                     batch_size: int, start: int = 0, stop: int | None = None, workers: int = 0,
                     process_index: int = 0, process_count: int = 1) -> Iterator[Batch]:
  """Batches `start`, `start` + 1, … of the endless sequence that (seed, batch_size) decide.

  Args:
    source: records with `image` as encoded bytes.
    crop, size: as in `decode.decode_image`.
    labels: the labels to take along.
    seed: an integer in [0, 2**32).
    batch_size: B, the rows of the global batch.
    start: the first batch.
    stop: the batch to end before; None: none.
    workers: processes; 0: threads in this process, one a core, which is as fast up to about eight cores.
    process_index, process_count: yield this host's share of each batch's rows, in order.

  Returns:
    An iterator of `image` (b, size, size, 3) uint8, labels (b, …), `row` (b,) int32 and `mask` (b,) float32, with
    b = B / process_count. Close it (`contextlib.closing`) to end its workers.

  Raises:
    ValueError: rows that cannot be shared evenly by the hosts; from the iterator, a record that cannot be decoded.
  """
  load = partial(_load, source=source, seed=seed, batch_size=batch_size, crop=crop, size=size, labels=tuple(labels),
                 own=_share(batch_size, process_index, process_count))
  return _run(load, start, _FOREVER if stop is None else stop, workers)


def _share(batch_size: int, process_index: int, process_count: int) -> slice:
  """A host's rows of the global batch."""
  if batch_size < 1 or batch_size % process_count or not 0 <= process_index < process_count:
    raise ValueError(f"A batch of {batch_size} rows cannot be shared by {process_count} hosts (this one is number "
                     f"{process_index}); choose a multiple of their number.")
  share = batch_size // process_count
  return slice(process_index * share, (process_index + 1) * share)


def _load(step: int, *, source: Source, seed: int, batch_size: int, crop: int | None, size: int,
          labels: tuple[str, ...], own: slice) -> Batch:
  """A host's share of batch `step`."""
  rows = step_rows(seed, step, batch_size, len(source))[own]
  images = np.empty((len(rows), size, size, 3), np.uint8)
  records = []
  for place, row in enumerate(rows):
    images[place], record = decode_record(source, int(row), crop=crop, size=size)
    records.append(record)
  return {"image": images} | device_labels(stack(records), labels) | {
      "row": rows, "mask": np.ones(len(rows), np.float32)}


def _run(load: Callable[[int], Batch], start: int, stop: int, workers: int) -> Iterator[Batch]:
  """Runs `load` over the steps in workers, in order."""
  steps = grain.MapDataset.range(start, stop).map(load)
  threads = 1 if workers else cores()
  batches = steps.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads))
  if workers:
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()  # Grain reads its own; a notebook or a test parses none.
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))

  def run():
    iterator = iter(batches)
    try:
      for batch in iterator:
        # Workers hand over shared memory, which whoever still holds a batch at exit would leak.
        yield {name: np.array(array) for name, array in batch.items()} if workers else batch
    finally:
      iterator.close()

  running = run()
  # One left open ends its workers while Python still holds what Grain's clean-up needs.
  atexit.register(_close, weakref.ref(running))
  return running


def _close(running: weakref.ref) -> None:
  iterator = running()
  if iterator is not None:
    iterator.close()
