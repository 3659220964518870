"""Encoded images to pixels of the working size, once per dataset and kept in a cache.

`decode_image` is the one way from bytes to pixels in training, streamed or not, so both see the same values. It lets
the JPEG decoder work at 1/2, 1/4 or 1/8 of the size where the crop allows it, and scales the rest with a filter that
averages (Pillow's box filter where the ratio is whole, else Hamming: a box of whole pixels displaces structure by up
to half of one at ratios such as 4/3).
"""
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from galaxy_jax.data.cache import cached
from galaxy_jax.data.sources import Source
from tfds_builders.images import ImageError, load_rgb, open_image

# Part of every cache's settings: raised when the same bytes come to give other pixels.
READER = 1

_CHUNK = 64  # records a thread takes at a time


class Decoded(NamedTuple):
  """A dataset as arrays.

  Attributes:
    images: (N, size, size, 3) uint8, mapped from the cache, read-only.
    labels: every other feature of the records, each (N, …).
  """
  images: np.ndarray
  labels: dict[str, np.ndarray]


def central_square(width: int, height: int, crop: int | None) -> tuple[int, int, int]:
  """(left, top, side) of what `decode_image` keeps of an image, in pixels of the file."""
  side = min(width, height, crop or width)
  return (width - side) // 2, (height - side) // 2, side


def averaging(side: int, size: int) -> Image.Resampling:
  """The filter that makes `size` pixels of more of them, `side`: see the module's docstring."""
  return Image.Resampling.HAMMING if side % size else Image.Resampling.BOX


def decode_image(data: bytes, *, crop: int | None, size: int) -> np.ndarray:
  """Decodes an image, cuts out its central square and scales that.

  Args:
    data: the bytes of a JPEG or PNG file.
    crop: the side of the central square, in pixels of the file. Where the image is smaller, or for None, the largest
      square there is: its scale then differs from that of larger images.
    size: the side of the result, in pixels.

  Returns:
    (size, size, 3) uint8.

  Raises:
    ImageError: the bytes are no usable image.
  """
  image = open_image(data)
  width, height = image.size
  left, top, side = central_square(width, height, crop)
  if image.format == "JPEG":
    shrink = max(s for s in (1, 2, 4, 8) if s == 1 or side >= s * size)
    image.draft(None, (width // shrink, height // shrink))
  else:
    shrink = 1
  image = load_rgb(image)
  box = (left / shrink, top / shrink, (left + side) / shrink, (top + side) / shrink)
  if side < shrink * size:
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
  elif left % shrink or top % shrink:
    image = image.resize((size, size), Image.Resampling.HAMMING, box=box)
  elif side > shrink * size:
    image = image.resize((size, size), averaging(side, shrink * size), box=box)
  elif image.size != (size, size):
    image = image.crop(tuple(map(int, box)))
  return np.asarray(image)


def decode_record(source: Source, index: int, *, crop: int | None, size: int) -> tuple[np.ndarray, dict[str, Any]]:
  """Record `index` as (pixels, labels).

  Raises:
    ValueError: the record has no image, or one that cannot be decoded; the record is named.
  """
  record = source[index]
  labels = {name: value for name, value in record.items() if name != "image"}
  try:
    return decode_image(record["image"], crop=crop, size=size), labels
  except (KeyError, ImageError) as error:
    reason = "has no image" if isinstance(error, KeyError) else f"has an image that {error}"
    raise ValueError(f"Record {index}{_named(labels)} {reason}. Build the dataset again from sound files, or without "
                     "this record (python -m tfds_builders … --skip_bad).") from error


def cores() -> int:
  """The processor cores this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(labels: Mapping[str, Any]) -> str:
  identity = next((f"{name} {labels[name]}" for name in labels if name.endswith("id")), None)
  return f" ({identity})" if identity else ""


def decoded(source: Source, *, crop: int | None, size: int, cache_dir: str | Path, key: Any,
            workers: int | None = None, progress: bool = False) -> Decoded:
  """The whole source as arrays, from the cache where they are in it, else decoded into it.

  Args:
    source: records with `image` as encoded bytes.
    crop: the side of the central square, in pixels of the files; None: the largest there is (see `decode_image`).
    size: the side of the result, in pixels.
    cache_dir: where caches lie; one dataset takes N · size² · 3 bytes.
    key: what tells this source from others, as JSON values: `sources.fingerprint`.
    workers: the number of threads (the decoder does not hold Python's lock); None: one for each core.
    progress: whether to show a progress bar.

  Returns:
    The arrays, in the order of the source.

  Raises:
    ValueError: a crop or size below 1, an empty source, too little space, an image that cannot be decoded (named).
  """
  if size < 1 or (crop is not None and crop < 1):
    raise ValueError(f"Expected crop and size of at least 1 pixel; got {crop} and {size}.")
  if not len(source):
    raise ValueError("The source holds no records; name a larger split.")
  settings = {"source": key, "records": len(source), "crop": crop, "size": size, "reader": READER}
  folder = cached(cache_dir, f"{size}px", settings,
                  partial(_write, source=source, crop=crop, size=size, workers=workers, progress=progress))
  with np.load(folder / "labels.npz", allow_pickle=False) as labels:
    return Decoded(np.load(folder / "images.npy", mmap_mode="r"), dict(labels))


def _write(folder: Path, *, source: Source, crop: int | None, size: int, workers: int | None, progress: bool) -> None:
  """Decodes the source into `images.npy` and `labels.npz`."""
  count = len(source)
  images = _allocate(folder / "images.npy", (count, size, size, 3))

  def work(start):
    labels = []
    for index in range(start, min(start + _CHUNK, count)):
      images[index], label = decode_record(source, index, crop=crop, size=size)
      labels.append(label)
    return labels

  labels = []
  pool = ThreadPoolExecutor(workers or cores())
  try:
    with tqdm(total=count, desc="decoding", unit="image", disable=None if progress else True) as bar:
      for part in pool.map(work, range(0, count, _CHUNK)):
        labels += part
        bar.update(len(part))
  finally:
    pool.shutdown(cancel_futures=True)
  np.savez(folder / "labels.npz", **stack(labels))


def _allocate(path: Path, shape: tuple[int, ...]) -> np.ndarray:
  """A new uint8 .npy file, mapped, all of whose space is taken at once: a full disk kills a mapped file's writer."""
  needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
  try:
    if needed > free:
      raise OSError("too little space")
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
      with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
  except OSError as error:
    raise ValueError(f"{path.parent.parent} has {free / 2**30:.1f} GiB free, and the decoded images need "
                     f"{needed / 2**30:.1f} ({error}). Free some, or name another cache folder or a smaller size."
                     ) from error
  return images


def stack(labels: list[dict[str, Any]]) -> dict[str, np.ndarray]:
  """Labels of several records as arrays with a leading axis; those without one shape for all, as boxes, are left out.

  Raises:
    ValueError: the records do not have the same labels.
  """
  names = labels[0].keys()
  for position, label in enumerate(labels):
    if label.keys() != names:
      raise ValueError(f"Record {position}{_named(label)} has the labels {sorted(label)}; the first has "
                       f"{sorted(names)}. Build the dataset again with the same features throughout.")
  return {name: np.asarray([label[name] for label in labels]) for name in names
          if len({np.shape(label[name]) for label in labels}) == 1}


def device_labels(labels: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
  """The named labels in types that devices hold: float64 becomes float32, 64-bit integers become int32.

  Raises:
    ValueError: a label is not there, is not numeric, or holds integers beyond 32 bits.
  """
  kept = {}
  for name in names:
    if name not in labels:
      raise ValueError(f"The records have no label {name!r}; they have {', '.join(sorted(labels)) or 'none'}.")
    values = labels[name]
    if values.dtype.kind not in "fiub":
      raise ValueError(f"The label {name!r} is of type {values.dtype}, which no device holds. Leave it on the host: a "
                       "batch's `row` finds it.")
    if values.dtype.kind in "iu" and values.dtype.itemsize > 4:
      if values.size and (values.min() < -2**31 or values.max() >= 2**31):
        raise ValueError(f"The label {name!r} has values beyond 32 bits ({values.min()} … {values.max()}), which "
                         "devices do not hold. Leave it on the host: a batch's `row` finds it.")
      values = values.astype(np.int32)
    kept[name] = values.astype(np.float32) if values.dtype == np.float64 else values
  return kept
