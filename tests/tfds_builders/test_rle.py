"""Run lengths against what pycocotools writes and reads."""
import numpy as np
import pytest
from pycocotools import mask

from tfds_builders import rle

Y, X = np.mgrid[:40, :50]


def test_known_masks():
  disc = np.hypot(Y - 20, X - 31) < 9
  corner = disc | ((Y < 2) & (X < 2))
  # Written by pycocotools 2.0.11.
  assert rle.encode(np.zeros((5, 7), bool)) == b"S1"
  assert rle.encode(np.ones((5, 7), bool)) == b"0S1"
  assert rle.encode(disc) == b"Xm09n02N2N2N2O0000000000000001N2N2N2NQ<"
  assert rle.encode(corner) == b"02V10hj07PUO2N2N2N2O0000000000000001N2N2N2NQ<"


def test_pycocotools_reads_it():
  rng = np.random.default_rng(0)
  for _ in range(50):
    pixels = rng.random(rng.integers(1, 60, 2)) < rng.random()
    np.testing.assert_array_equal(mask.decode({"size": list(pixels.shape), "counts": rle.encode(pixels)}), pixels)


def test_what_pycocotools_writes_is_read():
  rng = np.random.default_rng(1)
  for _ in range(50):
    pixels = rng.random(rng.integers(1, 60, 2)) < rng.random()
    written = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    np.testing.assert_array_equal(rle.decode(written["counts"], *pixels.shape), pixels)
    np.testing.assert_array_equal(rle.decode(written["counts"].decode(), *pixels.shape), pixels)


def test_uncompressed_runs_are_read():
  """The example is read by hand: down the columns, beginning with False."""
  expected = [[0, 1, 0], [0, 1, 0], [1, 0, 1]]
  np.testing.assert_array_equal(rle.decode([2, 3, 3, 1], 3, 3), np.array(expected, bool))
  assert rle.decode([0, 6], 2, 3).all() and not rle.decode([6], 2, 3).any()


@pytest.mark.parametrize("counts,message", [
    (b"", "end within"), (b"S", "end within"), (b"1\x7f", "character"), ("é1", "character"), (b"ooooooooo0", "larger"),
    (b"5", "add up"), ([4, 1], "add up"), ([7, -1], "no whole number"), ([10**400], "no whole number"),
    ([6.0], "no whole number"), ([True, 5], "no whole number"), ([[6]], "no whole number"), (["6"], "no whole number"),
    ([], "add up")])
def test_damaged_runs(counts, message):
  with pytest.raises(ValueError, match=message):
    rle.decode(counts, 2, 3)
