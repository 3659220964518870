"""Colour cut-outs of the brightest sources of a field in three bands, through the builder own_images; and its speed.

  python -m benchmarks.own_images_field --fields=$GALAXY_JAX_SAMPLES/fields --sheet=sheet.png

`--repeat=100` cuts every source out so many times, to measure.
"""
import argparse
import csv
import logging
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from tfds_builders.fits_images import FitsImage
from tfds_builders.prepare import prepare
from tfds_builders.preview import write_preview

_SETTINGS = """
table = "sources.csv"
keep = ["x", "y"]
[image]
file = ["img_z.fits", "img_r.fits", "img_g.fits"]
[scaling]
method = "lupton"
stretch = 0.05
factors = [0.7, 1.0, 1.5]
[cutout]
x = "x"
y = "y"
size = {size}
[splits]
fractions = {{ train = 1 }}
"""


def brightest(image: np.ndarray, count: int, margin: int, apart: int) -> list[tuple[int, int]]:
  """(x, y) of the brightest sources, the brightest first: pixels that none within `apart` outshines.

  The image is averaged over 5 x 5 pixels first; nothing within `margin` of its edge is taken.
  """
  smooth = image
  for axis in (0, 1):
    smooth = np.apply_along_axis(np.convolve, axis, smooth, np.ones(5) / 5, "same")
  highest = np.pad(smooth, apart, constant_values=-np.inf)
  for axis in (0, 1):
    highest = np.lib.stride_tricks.sliding_window_view(highest, 2 * apart + 1, axis).max(-1)
  is_source = smooth == highest
  is_source[:margin] = is_source[-margin:] = is_source[:, :margin] = is_source[:, -margin:] = False
  y, x = np.nonzero(is_source)
  order = np.argsort(-smooth[y, x])[:count]
  return list(zip(x[order].tolist(), y[order].tolist(), strict=True))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--fields", required=True, help="folder with img_g.fits, img_r.fits, img_z.fits")
  parser.add_argument("--sheet", help="PNG file to write the cut-outs to")
  parser.add_argument("--size", type=int, default=64, help="side of the cut-outs, in pixels")
  parser.add_argument("--repeat", type=int, default=1, help="how often each source is cut out")
  options = parser.parse_args()
  logging.basicConfig(format="%(message)s")
  with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch, "field")
    folder.mkdir()
    for band in "grz":
      shutil.copy(Path(options.fields, f"img_{band}.fits"), folder)
    with FitsImage(str(folder / "img_r.fits")) as image:
      sources = brightest(image.pixels(), 24, options.size // 2, 12) * options.repeat
    with open(folder / "sources.csv", "w", newline="") as file:
      csv.writer(file).writerows([("id", "x", "y"), *((n, *source) for n, source in enumerate(sources))])
    (folder / "own_images.toml").write_text(_SETTINGS.format(size=options.size))
    started = time.perf_counter()
    builder = prepare("own_images", manual_dir=folder, data_dir=Path(scratch, "data"), progress=False)
    seconds = time.perf_counter() - started
    print(f"{len(sources)} cut-outs of {options.size} x {options.size} pixels in three bands: {seconds:.2f} s, "
          f"{len(sources) / seconds:.0f}/s, {builder.info.dataset_size / len(sources) / 1024:.1f} KiB each")
    if options.sheet:
      write_preview(builder, options.sheet)


if __name__ == "__main__":
  main()
