"""COCO's compressed run-length encoding of masks, as `pycocotools.mask` reads and writes it.

A PNG of labels gives each pixel one object; overlapping objects need a mask each, and run lengths are the smallest
common form for that.
"""
import numpy as np


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
