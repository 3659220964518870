"""Run lengths against what pycocotools writes."""
import numpy as np
from pycocotools import mask

from tfds_builders.galaxy_sim import rle

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
