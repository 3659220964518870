"""What the Sloan Digital Sky Survey makes of a piece of sky, and the Galaxy Zoo cut-out made of that.

The order is that of the survey and its cut-out service: the point-spread function, pixels that are full, the noise of
sky and photons on the detector's own pixels, the colour stretch of Lupton et al. to 8 bits, a JPEG tile, and a
resampling to the cut-out's scale: small galaxies are enlarged, so their noise and pixels look soft.

Sky brightness is in nanomaggies per native pixel of 0.396″; bands are g, r, i in this order, images are (red, green,
blue) = (i, r, g).

References: Moffat 1969, A&A 3, 455; Lupton et al. 2004, PASP 116, 133; York et al. 2000, AJ 120, 1579 (SDSS);
Willett et al. 2013, MNRAS 435, 2835 (the cut-outs); the survey's own pages, for where point sources saturate.
"""
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

#: SDSS's pixel, arcsec.
NATIVE_PIXEL = 0.396
#: A Galaxy Zoo 2 cut-out is 424 pixels of 0.02 petroR90_r, the radius that holds 90 % of the Petrosian flux.
CUTOUT_PIXELS, CUTOUT_SCALE = 424, 0.02
#: The seeing of g and i over that of r, as the survey's medians in the bands are to each other.
SEEING_RATIO = (1.09, 1.0, 0.955)
#: What a native pixel holds, nanomaggies of g, r, i: the brightest pixel of a star of the magnitude at which the survey
#: saturates, 14.1, 14.1 and 13.8, in seeing of 1.3″.
FULL_PIXEL = (147.0, 147.0, 194.0)


def transfer_function(size, pitch, fwhm, shift):
  """The Fourier transform of pixel and seeing: a Moffat profile with β = 3.5, seen by square pixels.

  For half-integer β the transform of a Moffat profile is closed: (1 + z + z²/3) exp(-z), z = 2πfα. No kernel is
  sampled, so none is cut off or aliased.

  Args:
    size: pixels along each side of the grid.
    pitch: arcsec per pixel of the grid.
    fwhm: (C,) arcsec, of each band.
    shift: (C, 2) arcsec by which each band is displaced along x and y.

  Returns:
    (C, size, size // 2 + 1) complex64, for `rfft2`; 1 at frequency 0, so flux is conserved.
  """
  fx = jnp.asarray(np.fft.rfftfreq(size), jnp.float32) / pitch
  fy = jnp.asarray(np.fft.fftfreq(size), jnp.float32) / pitch
  alpha = fwhm / (2.0 * jnp.sqrt(2.0 ** (1.0 / 3.5) - 1.0))
  z = 2.0 * jnp.pi * jnp.sqrt(fx[None, :] ** 2 + fy[:, None] ** 2) * alpha[:, None, None]
  moffat = (1.0 + z + z * z / 3.0) * jnp.exp(-z)
  pixel = jnp.sinc(fx * pitch)[None, :] * jnp.sinc(fy * pitch)[:, None]
  phase = jnp.exp(-2j * jnp.pi * (fx[None, None, :] * shift[:, 0, None, None]))
  phase = phase * jnp.exp(-2j * jnp.pi * (fy[None, :, None] * shift[:, 1, None, None]))
  return moffat * pixel * phase


def see(sky, pitch, fwhm, shift):
  """Blurs (C, M, M) sky by seeing and pixels; arguments as `transfer_function`. The edges wrap around."""
  size = sky.shape[-1]
  return jnp.fft.irfft2(jnp.fft.rfft2(sky) * transfer_function(size, pitch, fwhm, shift), s=(size, size))


def saturate(sky, full):
  """What full pixels keep of the light: the rest spills along the column, to both sides of where it is brightest.

  Several saturated stars in one column spill as one, from the middle of them. On pixels wider than the detector's own a
  star's peak is averaged first, so it saturates later.

  Args:
    sky: (3, M, M) nanomaggies per native pixel, seeing included.
    full: (3,) what a pixel holds, likewise.

  Returns:
    (3, M, M); the same where no pixel is full.
  """
  full = jnp.asarray(full)[:, None, None]
  excess = jnp.maximum(sky - full, 0.0)
  spilt = jnp.sum(excess, axis=1, keepdims=True)
  rows = jnp.arange(sky.shape[1], dtype=sky.dtype)[None, :, None]
  brightest = jnp.sum(excess * rows, axis=1, keepdims=True) / jnp.maximum(spilt, 1e-12)
  # Each half of it fills pixel after pixel, beyond those that are full already.
  filled = jnp.sum(excess > 0, axis=1, keepdims=True) + spilt / full
  reached = (spilt > 0) & (jnp.abs(rows - brightest) <= 0.5 * filled)
  return jnp.where(reached, full, jnp.minimum(sky, full))


def expose(key, light, sky_noise, gain, binning):
  """Adds the noise of sky and photons.

  Args:
    key: for the noise.
    light: (3, M, M) nanomaggies per native pixel.
    sky_noise: (3,) standard deviation on one native pixel, nanomaggies.
    gain: (3,) photo-electrons per nanomaggy.
    binning: how many native pixels wide a pixel of this grid is, at least 1.
  """
  variance = sky_noise[:, None, None] ** 2 + jnp.maximum(light, 0.0) / gain[:, None, None]
  return light + jax.random.normal(key, light.shape) * jnp.sqrt(variance) / binning


def colours(light, sky_noise, binning, scales, softening):
  """Lupton et al.'s colour image: the brightness stretched by asinh, the colour kept, where channels clip as well.

  Negative values are cut to black on native pixels. Where a pixel here is wider than those, the cut has happened to
  more noise than is left in it: the mean over that noise is taken.

  Args:
    light: (3, M, M) with its noise, nanomaggies per native pixel, bands g, r, i.
    sky_noise, binning: as for `expose`.
    scales: (3,) by which the bands are multiplied before the stretch.
    softening: Q of asinh(Q I) / Q, I the sum of the channels (Lupton et al. take their mean, so their Q is three times
      this one).

  Returns:
    (3, M, M) red, green, blue, 0 … 255, not rounded.
  """
  averaged = (sky_noise * jnp.sqrt(jnp.maximum(1.0 - 1.0 / binning**2, 0.0)))[:, None, None] + 1e-6
  t = light / averaged
  clipped = light * 0.5 * (1.0 + erf(t / jnp.sqrt(2.0))) + averaged * jnp.exp(-0.5 * t * t) / jnp.sqrt(2.0 * jnp.pi)
  scaled = (scales[:, None, None] * clipped)[::-1]
  total = jnp.sum(scaled, axis=0) + 1e-9
  stretched = scaled * (jnp.arcsinh(softening * total) / (softening * total))
  return 255.0 * stretched / jnp.maximum(jnp.max(stretched, axis=0), 1.0)


def resample(image, pitch, out_size, out_pitch, smooth):
  """(C, M, M) to (C, out_size, out_size) about the common centre, by a separable cubic kernel.

  Args:
    image: on the grid.
    pitch: arcsec per pixel of the grid.
    out_size, out_pitch: pixels of the result's side, and arcsec per pixel of it.
    smooth: 1: a cubic B-spline, which softens; 0: Keys' interpolation (1981, a = -0.5); between: a mixture.
  """
  size = image.shape[-1]
  place = (jnp.arange(out_size) - (out_size - 1) / 2.0) * out_pitch / pitch + (size - 1) / 2.0
  t = jnp.abs(place[:, None] - jnp.arange(size)[None, :])
  near, far = t < 1.0, t < 2.0
  keys = jnp.where(near, (1.5 * t - 2.5) * t * t + 1.0, jnp.where(far, ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0, 0.0))
  spline = jnp.where(near, (0.5 * t - 1.0) * t * t + 2.0 / 3.0, jnp.where(far, (2.0 - t) ** 3 / 6.0, 0.0))
  weights = smooth * spline + (1.0 - smooth) * keys
  return jnp.einsum("yi,cij,xj->cyx", weights, image, weights, optimize=[(0, 1), (0, 1)])


# ITU-T T.81, annex K: the tables that a JPEG coder scales by its quality.
_LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], np.float32)
_CHROMINANCE = np.full((8, 8), 99, np.float32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_FROM_YCC = np.linalg.inv(_TO_YCC).astype(np.float32)
_DCT = np.array([[np.sqrt((1 if k == 0 else 2) / 8) * np.cos(np.pi * k * (2 * n + 1) / 16) for n in range(8)]
                 for k in range(8)], np.float32)


def _rounded(x):
  """Rounding without a jump: an eighth of a step wide at the halves.

  A sum that another version of XLA orders otherwise may not tip a cosine over a whole step: a key means one image.
  """
  for _ in range(3):
    x = x - jnp.sin(2.0 * jnp.pi * x) / (2.0 * jnp.pi)
  return x


def _quantised(channel, table):
  """One channel (M, M) through 8×8 cosine transforms, rounded to the table's steps and back."""
  size = channel.shape[0]
  blocks = channel.reshape(size // 8, 8, size // 8, 8)
  spectrum = jnp.einsum("ka,iajb,lb->ikjl", _DCT, blocks, _DCT, optimize=[(0, 1), (0, 1)])
  steps = table[None, :, None, :]
  return jnp.einsum("ka,ikjl,lb->iajb", _DCT, _rounded(spectrum / steps) * steps, _DCT,
                    optimize=[(0, 1), (0, 1)]).reshape(size, size)


def jpeg(image, quality, chroma_quality):
  """What JPEG coding leaves of an image: (3, M, M) red, green, blue, 0 … 255; M a multiple of 16.

  Annex K's tables scaled as in the Independent JPEG Group's coder, chroma at half the resolution.

  Args:
    image: its values are not rounded before.
    quality, chroma_quality: of luminance and of colour, 1 … 100, traced numbers or plain ones.
  """
  def steps(table, quality):
    scale = jnp.where(quality < 50, 5000.0 / quality, 200.0 - 2.0 * quality)
    return jnp.clip(jnp.floor((table * scale + 50.0) / 100.0), 1.0, 255.0)

  tables = steps(_LUMINANCE, quality), steps(_CHROMINANCE, chroma_quality)
  size = image.shape[-1]
  luminance, *chroma = jnp.einsum("dc,cij->dij", _TO_YCC, image)
  channels = [_quantised(luminance - 128.0, tables[0]) + 128.0]
  for channel in chroma:
    half = channel.reshape(size // 2, 2, size // 2, 2).mean((1, 3))
    half = _quantised(half, tables[1])
    channels.append(jnp.repeat(jnp.repeat(half, 2, axis=0), 2, axis=1))
  return jnp.clip(jnp.einsum("dc,cij->dij", _FROM_YCC, jnp.stack(channels)), 0.0, 255.0)
