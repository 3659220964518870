"""Statistics of galaxy images: what an image looks like, in some hundred numbers.

Everything is measured on the pixels as they are shown, after Lupton's stretch and JPEG, because that is what a
volunteer and a network see; concentration and the like therefore differ from those of linear light. The light of a
pixel is the mean of its three channels above the background, which is the median of the corners. Radii are in pixels
of the image. The galaxy is the connected region about the centre that stands above the background; every other region
is another source.

Definitions: concentration 5 log10(r80 / r20), asymmetry under a turn of 180° (least over the centre, background taken
off) and clumpiness: Conselice 2003 (ApJS 147, 1), without his Petrosian radius, for which the region's half-light
radius stands in; Gini coefficient and M20: Lotz, Primack and Madau 2004 (AJ 128, 163); axis ratio from the second
moments of the light.
"""
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import ndimage

CHANNELS = "rgb"
#: The outer radii of the profile's rings, in units of the image's side.
RINGS = (0.008, 0.018, 0.03, 0.045, 0.065, 0.09, 0.12, 0.16, 0.21, 0.28, 0.37, 0.5)
#: Edges of the bands of spatial frequency, cycles a pixel.
BANDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
LAGS = (1, 2, 3, 4)
#: A region stands out by so many standard deviations of the smoothed background, but never by less than so many counts.
_SIGMAS, _COUNTS = 3.0, 3.0


class Statistics(NamedTuple):
  """A table of statistics.

  Attributes:
    names: of the columns, `group/name`.
    values: (N, len(names)) float32, all finite.
  """
  names: tuple[str, ...]
  values: np.ndarray

  def column(self, name: str) -> np.ndarray:
    """The values (N,) of one statistic."""
    return self.values[:, self.names.index(name)]

  def groups(self) -> tuple[str, ...]:
    """The groups in the order of their first column."""
    return tuple(dict.fromkeys(name.split("/")[0] for name in self.names))

  def only(self, groups) -> "Statistics":
    """The columns of some groups."""
    keep = [i for i, name in enumerate(self.names) if name.split("/")[0] in groups]
    return Statistics(tuple(self.names[i] for i in keep), self.values[:, keep])


class _Grid(NamedTuple):
  """What depends on an image's side alone; regions as flat indices, rings as their bounds in the order of radius."""
  y: np.ndarray
  x: np.ndarray
  radius: np.ndarray
  by_radius: np.ndarray
  corners: np.ndarray
  outer: np.ndarray
  rings: np.ndarray
  frame: np.ndarray
  window: np.ndarray
  bands: np.ndarray


@functools.cache
def _grid(side: int) -> _Grid:
  axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
  y, x = np.meshgrid(axis, axis, indexing="ij")
  radius = np.hypot(y, x)
  by_radius = np.argsort(radius, axis=None, kind="stable")
  rings = np.searchsorted(radius.ravel()[by_radius], np.concatenate([[0], np.asarray(RINGS) * side]))
  border = np.maximum(np.abs(y), np.abs(x)) > side / 2 - max(1, side // 70)
  frame = border & (np.minimum(np.abs(y), np.abs(x)) < 0.2 * side)
  hann = np.hanning(side).astype(np.float32)
  frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
  # All columns of the half plane but the first, and the last of an even side, stand for two of the whole plane.
  doubled = np.full(side // 2 + 1, 2.0)
  doubled[[0, -1] if side % 2 == 0 else [0]] = 1
  bands = np.stack([(((frequency >= low) & (frequency < high)) * doubled).ravel()
                    for low, high in itertools.pairwise(BANDS)]).astype(np.float32)
  bands /= bands.sum(1, keepdims=True)
  return _Grid(y, x, radius, by_radius, np.flatnonzero(radius > 0.48 * side),
               radius > 0.28 * side, rings, np.flatnonzero(frame), hann[:, None] * hann[None], bands)


def measure(images: np.ndarray, workers: int = 2) -> Statistics:
  """Measures images.

  Args:
    images: (N, S, S, 3) uint8, the galaxy in the middle, S at least 64.
    workers: threads.

  Returns:
    The statistics, a row an image.

  Raises:
    ValueError: images of another shape or type.
  """
  images = np.asarray(images)
  if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3 or images.dtype != np.uint8:
    raise ValueError(f"measure() takes images of shape (N, S, S, 3) and type uint8, not {images.shape} of "
                     f"{images.dtype}.")
  if images.shape[1] < 64:
    raise ValueError(f"Images of {images.shape[1]} pixels are too small for these statistics; 64 is the least.")
  with ThreadPoolExecutor(workers) as pool:
    rows = list(pool.map(measure_one, images))
  names = tuple(rows[0]) if rows else ()
  return Statistics(names, np.nan_to_num(np.array([list(row.values()) for row in rows], np.float32)))


def measure_one(image: np.ndarray) -> dict[str, float]:
  """The statistics of one image (S, S, 3) uint8, by `group/name`."""
  side = image.shape[0]
  grid = _grid(side)
  pixels = image.reshape(-1, 3).astype(np.float32)
  corners = pixels[grid.corners]
  background = np.median(corners, axis=0)
  above = pixels - background
  light = above.mean(1).reshape(side, side)
  smooth = ndimage.uniform_filter(ndimage.uniform_filter(light, 3, mode="nearest"), 3, mode="nearest")
  labels, count, target, label = _regions(smooth, grid)
  row = {}
  row.update({f"background/{c}": background[i] for i, c in enumerate(CHANNELS)})
  row.update(_noise(above, corners, background, smooth, grid))
  row.update(_shape(light, smooth, target, grid))
  row.update(_colour(above, target, row["radius/half_light"], grid))
  row.update(_profile(above, light, grid))
  row.update(_others(light, labels, count, label))
  row.update(_texture(light, target, grid))
  row["edge/brightness"] = above[grid.frame].mean()
  row["peak/saturated"] = np.arcsinh(1e3 * np.mean(image.min(-1) >= 250))
  for i, c in enumerate(CHANNELS):
    row[f"peak/{c}"] = pixels[grid.by_radius[:24], i].max()
  return row


def _median_deviation(values):
  return 1.4826 * np.median(np.abs(values - np.median(values)))


def _regions(smooth, grid):
  """Connected regions above the background: labels, their number, the galaxy's mask and label."""
  side = len(smooth)
  threshold = max(_SIGMAS * _median_deviation(smooth.ravel()[grid.corners]), _COUNTS)
  labels, count = ndimage.label(smooth > threshold)
  half, reach = side // 2, max(2, side // 50)
  middle = np.bincount(labels[half - reach:half + reach, half - reach:half + reach].ravel(), minlength=count + 1)
  middle[0] = 0
  label = int(middle.argmax())
  if not middle[label]:  # no galaxy: a disc in its place keeps every statistic defined
    return labels, count, grid.radius < 0.05 * side, -1
  return labels, count, labels == label, label


def _noise(above, corners, background, smooth, grid):
  """The background's spread, its correlation from pixel to pixel and from channel to channel."""
  row = {f"noise/{c}": 1.4826 * np.median(np.abs(corners[:, i] - background[i])) for i, c in enumerate(CHANNELS)}
  row["noise/light"] = _median_deviation(corners.mean(1))
  threshold = max(_SIGMAS * _median_deviation(smooth.ravel()[grid.corners]), _COUNTS)
  free = grid.outer & (smooth < threshold)
  share = free.mean()
  row["noise/free"] = share
  residual = (above.reshape(*free.shape, 3) - above[free.ravel()].mean(0)) * free[..., None]
  weight = free.astype(np.float32)
  number = max(weight.sum(), 1)
  variance = (residual**2).sum((0, 1)) / number + 1e-6
  for i, c in enumerate(CHANNELS):
    row[f"noise/deviation_{c}"] = np.sqrt(variance[i])
  for i, j in ((0, 1), (1, 2), (0, 2)):
    both = (residual[..., i] * residual[..., j]).sum() / number
    row[f"noise/correlation_{CHANNELS[i]}{CHANNELS[j]}"] = both / np.sqrt(variance[i] * variance[j])
  mean = residual.mean(-1)
  scale = (mean**2).sum() / number + 1e-6
  for lag in LAGS:
    products = (mean[:, lag:] * mean[:, :-lag]).sum() + (mean[lag:] * mean[:-lag]).sum()
    pairs = (weight[:, lag:] * weight[:, :-lag]).sum() + (weight[lag:] * weight[:-lag]).sum()
    row[f"noise/lag_{lag}"] = products / max(pairs, 1) / scale
  values = mean[free] / np.sqrt(scale)
  row["noise/skewness"] = np.clip((values**3).mean(), -5, 5) if len(values) else 0.0
  return row


def _shape(light, smooth, target, grid):
  """Concentration, radii, axis ratio, asymmetry, clumpiness, Gini and M20 of the galaxy."""
  flux = np.where(target, np.maximum(light, 0), 0)
  total = flux.sum() + 1e-6
  centre = _peak(smooth, grid)
  cumulative = np.cumsum(flux.ravel()[grid.by_radius])
  sorted_radius = grid.radius.ravel()[grid.by_radius]
  r20, r50, r80, r90 = (_crossing(cumulative, sorted_radius, share) for share in (0.2, 0.5, 0.8, 0.9))
  y, x = (flux * grid.y).sum() / total, (flux * grid.x).sum() / total
  dy, dx = grid.y - y, grid.x - x
  yy, xx, xy = (flux * dy * dy).sum() / total, (flux * dx * dx).sum() / total, (flux * dy * dx).sum() / total
  spread = np.hypot(yy - xx, 2 * xy)
  minor, major = max(yy + xx - spread, 0) / 2, (yy + xx + spread) / 2
  values = np.sort(flux[target])
  number = len(values)
  ranks = 2 * np.arange(1, number + 1) - number - 1
  gini = (ranks * values).sum() / (max(values.mean(), 1e-6) * number * max(number - 1, 1)) if number else 0.0
  moment = flux * ((grid.y - centre[0])**2 + (grid.x - centre[1])**2)
  brightest = np.argsort(flux, axis=None)[::-1][:max(number, 1)]
  held = brightest[:1 + np.searchsorted(np.cumsum(flux.ravel()[brightest]), 0.2 * total)]
  m20 = np.log10(max(moment.ravel()[held].sum(), 1e-6) / max(moment.sum(), 1e-6))
  box = max(3, round(0.5 * r50))
  clumps = np.maximum(light - ndimage.uniform_filter(light, box, mode="nearest"), 0)
  outside = target & (grid.radius > box / 2)
  blank = grid.outer & ~target
  blank_clumps = clumps[blank].mean() if blank.any() else 0.0
  return {"concentration/c": 5 * np.log10(max(r80, 0.5) / max(r20, 0.5)),
          "concentration/c90": np.log10(max(r90, 0.5) / max(r50, 0.5)),
          "radius/half_light": r50, "radius/area": np.sqrt(target.sum() / np.pi), "radius/r20": r20,
          "axis_ratio/moments": np.sqrt(minor / max(major, 1e-6)),
          "asymmetry/a": _asymmetry(light, target, centre, grid),
          "asymmetry/offset": np.hypot(y - centre[0], x - centre[1]),
          "asymmetry/centring": np.hypot(*centre),
          "smoothness/s": 10 * (clumps[outside] - blank_clumps).sum() / total,
          "gini/g": gini, "gini/m20": m20,
          "radius/flux": np.log10(total)}


def _peak(smooth, grid):
  """The centre (y, x) from the image's middle: where the smoothed image is brightest, at most 0.06 sides away."""
  near = np.flatnonzero(grid.radius < 0.06 * len(smooth))
  at = near[smooth.ravel()[near].argmax()]
  return grid.y.ravel()[at], grid.x.ravel()[at]


def _crossing(cumulative, radius, share):
  """The radius within which a share of the light lies."""
  at = min(np.searchsorted(cumulative, share * cumulative[-1]), len(radius) - 1)
  return radius[at]


def _asymmetry(light, target, centre, grid):
  """Least over centres half a pixel apart; the background's own asymmetry, scaled by area, is taken off."""
  total = np.abs(light[target]).sum() + 1e-6
  turned = light[::-1, ::-1]
  # A turn about the array's middle, then a shift by twice the centre, is a turn about the centre.
  dy, dx = round(2 * float(centre[0])), round(2 * float(centre[1]))
  best = min((np.abs(light - np.roll(turned, (dy + j, dx + i), (0, 1)))[target].sum(), j, i)
             for j in (-1, 0, 1) for i in (-1, 0, 1))
  blank = grid.outer & ~target
  noise = np.abs(light - turned)[blank].mean() * target.sum() if blank.any() else 0.0
  return (best[0] - noise) / (2 * total)


def _colour(above, target, half_light, grid):
  """Logarithms of red to green and green to blue at the centre and in the outskirts."""
  radius = grid.radius.ravel()
  inside = target.ravel()
  regions = {"centre": inside & (radius < max(0.5 * half_light, 2)),
             "middle": inside & (radius >= 0.5 * half_light) & (radius < 1.2 * half_light),
             "outskirts": inside & (radius >= 1.2 * half_light)}
  row = {}
  for name, region in regions.items():
    red, green, blue = above[region].mean(0) if region.any() else (0.0, 0.0, 0.0)
    row[f"colour/rg_{name}"] = np.log((max(red, 0) + 2) / (max(green, 0) + 2))
    row[f"colour/gb_{name}"] = np.log((max(green, 0) + 2) / (max(blue, 0) + 2))
  weights = np.maximum(above[inside].mean(1), 0)
  chroma = above[inside] - above[inside].mean(1, keepdims=True)
  row["colour/scatter"] = np.sqrt((weights * chroma.var(1)).sum() / max(weights.sum(), 1e-6)) if len(chroma) else 0.0
  return row


def _profile(above, light, grid):
  """Mean of each channel and scatter of the light in rings, compressed by the inverse hyperbolic sine."""
  values = np.concatenate([above, light.reshape(-1, 1)**2], axis=1)[grid.by_radius[:grid.rings[-1]]]
  means = np.add.reduceat(values, grid.rings[:-1]) / np.maximum(np.diff(grid.rings), 1)[:, None]
  scatter = np.sqrt(np.maximum(means[:, 3] - means[:, :3].mean(1)**2, 0))
  row = {f"profile/{c}_{ring:02d}": value for i, c in enumerate(CHANNELS)
         for ring, value in enumerate(np.arcsinh(means[:, i]))}
  return row | {f"scatter/{ring:02d}": value for ring, value in enumerate(np.log(scatter + 0.3))}


def _others(light, labels, count, label):
  """The sources besides the galaxy: how many, how bright, how large."""
  area = np.bincount(labels.ravel(), minlength=count + 1)
  large = area >= 6
  large[0] = False
  if label > 0:
    large[label] = False
  index = np.flatnonzero(large)
  peaks = ndimage.maximum(light, labels, index) if len(index) else np.zeros(1)
  return {"others/number": len(index), "others/bright": int((peaks > 60).sum()), "others/brightest": np.max(peaks),
          "others/typical": np.median(peaks), "others/area": np.sqrt(area[index].sum()),
          "others/small": int(((area > 0) & (area < 6)).sum())}


def _texture(light, target, grid):
  """Power by spatial frequency over the whole image, and between 3 and 7 pixels in four zones of it."""
  side = len(light)
  spectrum = np.abs(np.fft.rfft2(light * grid.window)).ravel()**2 / side**2
  row = {f"power/{low:.2f}": value
         for low, value in zip(BANDS, np.log(grid.bands @ spectrum + 1e-3), strict=False)}
  middle = ndimage.uniform_filter(light, 3, mode="nearest")
  between = (middle - ndimage.uniform_filter(middle, 5, mode="nearest"))**2
  fine = (light - middle)**2
  bright = light > 40
  zones = {"bright": target & bright, "faint": target & ~bright, "blank": grid.outer & ~target,
           "near": (grid.radius < 0.28 * side) & ~target}
  for name, zone in zones.items():
    for scale, power in (("fine", fine), ("between", between)):
      row[f"texture/{scale}_{name}"] = np.log((power[zone].mean() if zone.any() else 0.0) + 1e-2)
  return row
