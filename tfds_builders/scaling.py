"""Measured brightness to 8-bit colour, for images that are no pictures yet: FITS, and TIFF or PNG of more than 8 bits.

Three ways: `linear` and `asinh` map each band between limits, `lupton` maps the bands' mean and keeps their ratios, so
that colour means colour at every brightness (Lupton et al. 2004, PASP 116, 133).
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders import extras

METHODS = ("linear", "asinh", "lupton")

#: Brighter than any pixel, and small enough that no sum or product of the scaling overflows.
_BRIGHTEST = 1e30
#: Where no stretch is given, the brightest half per cent of pixels lie above this many times the stretch,
#: which Q = 8 shows in a bright grey while the noise of the sky stays dark.
_STRETCHES = 5.0
_BRIGHT = 99.5


class Scaling(NamedTuple):
  """How bands become colours. A tuple has one value for all bands, or three: red, green, blue.

  Attributes:
    method: one of METHODS; None: lupton for three bands, asinh for one.
    percentiles: linear, asinh: what becomes black and white, in per cent of each image's finite pixels, band by band.
    limits: linear, asinh: (black, white) instead, in the image's unit times `factors`.
    softening: asinh: below this share of the range it is about linear, above it logarithmic.
    Q: lupton: the larger, the fainter the details that show beside bright ones.
    stretch: lupton: the brightness, in the image's unit times `factors`, that a linear scaling would be made for;
      None: each image's own, from its brightest half per cent.
    minimum: lupton: what becomes black, in the image's unit times `factors`.
    factors: each band is multiplied by its own, before all else.
    fill: stands in for pixels that are no finite numbers, in the image's unit.
  """
  method: str | None = None
  percentiles: tuple[float, float] = (0.5, 99.5)
  limits: tuple[tuple[float, float], ...] | None = None
  softening: float = 0.1
  Q: float = 8.0
  stretch: float | None = None
  minimum: tuple[float, ...] = (0.0,)
  factors: tuple[float, ...] = (1.0,)
  fill: float = 0.0


def missing_pixels(bands: Sequence[np.ndarray]) -> int:
  """The number of pixels that are no finite number in at least one band."""
  return int(np.count_nonzero(~np.logical_and.reduce([np.isfinite(band) for band in bands])))


def to_rgb(bands: Sequence[np.ndarray], scaling: Scaling) -> np.ndarray:
  """Scales bands to colours.

  Args:
    bands: one, or red, green and blue: (H, W) numbers each, NaN or infinite where there is none.
    scaling: the settings.

  Returns:
    (H, W, 3) uint8; one band is repeated.

  Raises:
    DataError: `lupton` without astropy.
  """
  finite = [np.isfinite(band) for band in bands]
  values = [np.clip(np.where(good, band, scaling.fill) * factor, -_BRIGHTEST, _BRIGHTEST).astype(np.float64)
            for good, band, factor in zip(finite, bands, _each(scaling.factors, bands), strict=True)]
  if (scaling.method or ("lupton" if len(bands) == 3 else "asinh")) == "lupton":
    return _lupton(values, finite, scaling)
  scaled = []
  for number, (value, good) in enumerate(zip(values, finite, strict=True)):
    if scaling.limits is None:
      black, white = np.percentile(value[good], scaling.percentiles) if good.any() else (0.0, 0.0)
    else:
      black, white = _each(scaling.limits, bands)[number]
    share = np.clip((value - black) / (white - black), 0, 1) if white > black else np.zeros_like(value)
    if scaling.method != "linear":
      share = np.arcsinh(share / scaling.softening) / np.arcsinh(1 / scaling.softening)
    scaled.append((255 * share + 0.5).astype(np.uint8))
  return np.stack(scaled if len(scaled) == 3 else scaled * 3, axis=-1)


def _lupton(values, finite, scaling):
  visualization = extras.load("astropy.visualization", extra="survey", purpose="Lupton's scaling")
  red, green, blue = values if len(values) == 3 else values * 3
  minimum = _each(scaling.minimum, (red, green, blue))
  stretch = scaling.stretch
  if stretch is None:
    intensity = (red + green + blue - sum(minimum)) / 3
    good = np.logical_and.reduce(finite)
    stretch = float(np.percentile(intensity[good], _BRIGHT)) / _STRETCHES if good.any() else 1.0
    if not stretch > 0:
      stretch = 1.0
  with np.errstate(divide="ignore", invalid="ignore"):  # Where the intensity is 0.
    return visualization.make_lupton_rgb(red, green, blue, minimum=minimum, stretch=stretch, Q=scaling.Q)


def _each(values, bands):
  return list(values) * len(bands) if len(values) == 1 else list(values)[:len(bands)]
