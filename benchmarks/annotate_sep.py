"""How well SEP's outlines, with which galaxy_jax.annotate begins, agree with those of a data set of mask_galaxy's form.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/annotate_sep.py
  python benchmarks/annotate_sep.py --annotations=survey/val/via_region_data.json --threshold=2

Prints the mean overlap (intersection over union) of the objects nearest to the middle, how many of these overlap by
half, the recall of all outlines at that overlap, and how many objects are found beside how many are outlined. The
sample's outlines were made with SEP themselves, with settings that nobody wrote down: on it the figures say how much
the settings matter, not how well a person would agree.
"""
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from absl import app, flags
from looks import sets

from galaxy_jax import inputs, pictures, sep_outlines
from tfds_builders import images, outlines
from tfds_builders.contents import Faults
from tfds_builders.mask_galaxy.annotations import read_annotations
from tfds_builders.masks import polygon_mask

FLAGS = flags.FLAGS
flags.DEFINE_string("annotations", None, "A project of VIA with its images beside it; without one, that of the sample.")
flags.DEFINE_float("threshold", 1.5, "See galaxy_jax.annotate.")
flags.DEFINE_integer("min_area", 50, "See galaxy_jax.annotate.")
flags.DEFINE_float("deblend_contrast", 0.005, "See galaxy_jax.annotate.")
flags.DEFINE_float("tolerance", 0.5, "See galaxy_jax.annotate.")


def overlaps(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
  """The intersections over unions (A, B) of masks (A, H, W) and (B, H, W)."""
  ours, theirs = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (ours, theirs))
  both = ours @ theirs.T
  return both / np.maximum(ours.sum(1)[:, None] + theirs.sum(1) - both, 1)


def central(masks: np.ndarray) -> int:
  """The mask (K, H, W) whose box is nearest to the image's middle."""
  boxes = []
  for mask in masks:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    boxes.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
  return sep_outlines.nearest_to_middle(np.array(boxes), *masks.shape[1:])


def main(_):
  path = Path(FLAGS.annotations) if FLAGS.annotations else (
      sets.samples() / "mask_galaxy_sample/val/via_region_data.json")
  annotated = [image for image in read_annotations(path.read_bytes(), str(path), Faults(skip_bad=False))
               if image.regions]
  middle, half, found_there, outlined, found, corners, seconds = [], [], 0, 0, 0, [], 0.0
  for image in annotated:
    pixels = pictures.pixels_of(inputs.read_file(path.parent / image.filename), image.filename,
                              SimpleNamespace(decode=images.decode))
    size = pixels.shape[:2]
    theirs = np.stack([outlines.mask(region.outline, *size) for region in image.regions])
    theirs = theirs[theirs.any((1, 2))]
    began = time.perf_counter()
    polygons = sep_outlines.polygons(sep_outlines.find(
        pixels, threshold=FLAGS.threshold, min_area=FLAGS.min_area, deblend_contrast=FLAGS.deblend_contrast),
        FLAGS.tolerance)
    seconds += time.perf_counter() - began
    found, outlined, corners = found + len(polygons), outlined + len(theirs), corners + list(map(len, polygons))
    if not polygons:
      middle.append(0.0)
      half.append(False)
      continue
    ours = np.stack([polygon_mask(polygon, *size) for polygon in polygons])
    table = overlaps(ours, theirs)
    middle.append(table[central(ours), central(theirs)])
    half.append(middle[-1] >= 0.5)
    found_there += int((table.max(0) >= 0.5).sum())
  print(f"{len(annotated)} images of {path}; threshold {FLAGS.threshold}, at least {FLAGS.min_area} pixels, contrast "
        f"{FLAGS.deblend_contrast}, tolerance {FLAGS.tolerance}")
  print(f"central objects: overlap {np.mean(middle):.3f} in the mean, {np.median(middle):.3f} in the median; at least "
        f"0.5 in {np.mean(half):.1%}")
  print(f"recall at an overlap of 0.5: {found_there / outlined:.1%} of {outlined} outlines")
  print(f"found {found / len(annotated):.1f} objects an image, outlined {outlined / len(annotated):.1f}; "
        f"{np.mean(corners):.0f} corners an outline, {1000 * seconds / len(annotated):.0f} ms an image")


if __name__ == "__main__":
  app.run(main)
