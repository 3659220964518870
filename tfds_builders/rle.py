"""COCO's run-length encodings of masks, the compressed one as `pycocotools.mask` reads and writes it.

A PNG of labels gives each pixel one object; overlapping objects need a mask each, and run lengths are the smallest
common form for that.
"""
from collections.abc import Sequence

import numpy as np

#: Groups of five bits in the longest number taken: no image has 2³⁵ pixels.
_GROUPS = 7


def encode(mask: np.ndarray) -> bytes:
  """The `counts` of a mask; with `"size": [H, W]` beside it pycocotools decodes it.

  Runs go down the columns, the first is of False. From the fourth on a run is written as its difference from the one
  before the last; numbers are in groups of five bits, lowest first, with a sixth bit where more follow and 48 added,
  so that every byte is a printable character.

  Args:
    mask: (H, W) bool.
  """
  flat = np.ravel(mask, order="F")
  changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
  runs = np.diff([0, *([0] if flat.size and flat[0] else []), *changes, flat.size]).tolist()
  text = bytearray()
  for i, run in enumerate(runs):
    number = run - runs[i - 2] if i > 2 else run
    more = True
    while more:
      group = number & 31
      number >>= 5
      more = number != (-1 if group & 16 else 0)
      text.append(48 + group + (32 if more else 0))
  return bytes(text)


def decode(counts: bytes | str | Sequence[int], height: int, width: int) -> np.ndarray:
  """The mask of run lengths.

  Args:
    counts: compressed, as `encode` writes them, or a list of the runs themselves.
    height: of the mask, pixels.
    width: of the mask, pixels.

  Returns:
    (height, width) bool.

  Raises:
    ValueError: they are no run lengths, or not those of a mask of this size.
  """
  if isinstance(counts, str):
    counts = counts.encode("utf-8", "surrogatepass")
  if isinstance(counts, bytes):
    runs = _uncompressed(counts)
  else:
    # Compared before they are converted: a number of JSON may have any size.
    if not all(type(run) is int and 0 <= run <= height * width for run in counts):
      raise ValueError("has a run length that is no whole number of the mask's pixels")
    runs = np.array(counts, np.int64)
  if ((runs < 0) | (runs > height * width)).any() or runs.sum() != height * width:
    raise ValueError(f"has run lengths that do not add up to {height} x {width} pixels")
  return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _uncompressed(counts: bytes) -> np.ndarray:
  """(N,) int64, the runs; raises ValueError."""
  groups = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
  if ((groups < 0) | (groups > 63)).any():
    raise ValueError("has run lengths with a character that COCO's encoding does not use")
  last = np.flatnonzero(groups & 32 == 0)
  if not len(last) or last[-1] != len(groups) - 1:
    raise ValueError("has run lengths that end within a number")
  lengths = np.diff(last, prepend=-1)
  if lengths.max() > _GROUPS:
    raise ValueError("has a run length that is larger than any image")
  first = last - lengths + 1
  place = np.arange(len(groups)) - np.repeat(first, lengths)
  numbers = np.add.reduceat((groups & 31) << 5 * place, first)
  numbers -= np.where(groups[last] & 16, np.left_shift(1, 5 * lengths), 0)
  numbers[1::2] = np.cumsum(numbers[1::2])
  numbers[2::2] = np.cumsum(numbers[2::2])
  return numbers
