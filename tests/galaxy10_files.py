"""Small HDF5 files in the form of Galaxy10's."""
from pathlib import Path

import h5py
import numpy as np


def galaxy10(labels, *, side: int = 256, coordinates: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
  """What a file holds: blobs of flat steps, which pack into little, each of its own place, size and colour."""
  rng = np.random.default_rng(seed)
  count = len(labels)
  y, x = np.mgrid[:side, :side]
  images = np.zeros((count, side, side, 3), np.uint8)
  for image in images:
    distance = np.hypot(y - rng.uniform(0.3, 0.7) * side, x - rng.uniform(0.3, 0.7) * side)
    steps = np.clip(8 - distance * 30 / side / rng.uniform(0.5, 1.5), 0, 8).astype(int)
    image[:] = (steps[..., None] * rng.integers(10, 31, 3)).astype(np.uint8)
  held = {"images": images, "ans": np.array(labels, np.uint8)}
  if coordinates:
    held |= {"ra": rng.uniform(0, 360, count), "dec": rng.uniform(-20, 30, count),
             "redshift": rng.uniform(0, 0.2, count), "pxscale": rng.uniform(0.2, 0.5, count)}
    held["redshift"][1::5] = np.nan
  return held


def write(path: Path, held: dict[str, np.ndarray], *, chunks=True, compression="gzip") -> Path:
  """Writes a file; by default with the chunks that h5py chooses, as astroNN's has."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, "w") as file:
    for name, values in held.items():
      if name == "images":
        file.create_dataset(name, data=values, chunks=chunks, compression=compression)
      else:
        file.create_dataset(name, data=values)
  return path
