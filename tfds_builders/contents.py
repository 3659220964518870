"""What a data set is made of once its source has been checked: the same for every builder."""
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tfds_builders.errors import DataError


def printable(text: str) -> str:
  """A text as it can be written: bytes of a file name that are no UTF-8 are escaped."""
  return text.encode("utf-8", "backslashreplace").decode()


class Fault(NamedTuple):
  """Something wrong with one record.

  Attributes:
    file: the file it was found in.
    row: the line of a table, the header being 1; None elsewhere.
    item: the galaxy's id, or what else names the record; None where that is what is wrong.
    reason: what is wrong, to follow "FILE, row ROW".
  """
  file: str
  row: int | None
  item: int | str | None
  reason: str

  def __str__(self):
    return printable(f"{self.file}{'' if self.row is None else f', row {self.row}'} {self.reason}")


class Faults:
  """Raises the first fault, or collects them all.

  Attributes:
    found: the faults that were skipped.
  """

  def __init__(self, skip_bad: bool):
    self.skip_bad = skip_bad
    self.found: list[Fault] = []

  def add(self, fault: Fault) -> None:
    """Takes a fault; raises DataError where faults are not to be skipped."""
    if not self.skip_bad:
      raise DataError(f"{fault}. Nothing was built. Mend the file or get it again, or build without such galaxies: "
                      "--skip_bad (skip_bad=True in Python, --config.data.skip_bad=True for galaxy_jax.main).")
    self.found.append(fault)


class Contents(NamedTuple):
  """What is to be written, all of it checked.

  Attributes:
    fingerprint: a digest of the source and of what is made of it: 64 hexadecimal digits.
    splits: split name -> its records, in the order they are written. A record is whatever `examples` takes; it can be
      pickled, as Apache Beam's workers are sent it.
    examples: from some of the records to (key, example) for each, in order; a function that can be pickled.
    left_out: the faults that were skipped.
    record_bytes: about how large a record is, which decides the number of shards.
    features: TFDS features by name, of a builder whose source decides them; None: the builder has its own.
  """
  fingerprint: str
  splits: dict[str, Sequence[Any]]
  examples: Callable[[Sequence[Any]], Iterator[tuple[int | str, dict[str, Any]]]]
  left_out: Sequence[Fault] = ()
  record_bytes: int = 32 << 10
  features: dict[str, Any] | None = None
