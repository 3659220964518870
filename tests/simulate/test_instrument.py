"""The instrument against numpy, scipy and Pillow."""
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from galaxy_jax.simulate import instrument

NONE = jnp.zeros((1, 2))


def test_seeing_keeps_flux_to_the_last_digit_and_spreads_a_point_as_a_moffat_profile():
  size, pitch, fwhm = 128, 0.2, 1.4
  sky = jnp.zeros((1, size, size)).at[0, 64, 64].set(7.0)
  seen = np.asarray(instrument.see(sky, pitch, jnp.asarray([fwhm]), NONE))[0]
  assert seen.sum() == pytest.approx(7.0, rel=1e-5)
  x = (np.arange(size) - 64) * pitch
  alpha = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
  moffat = 7.0 * 2.5 / (np.pi * alpha**2) * (1 + (x[:, None] ** 2 + x[None] ** 2) / alpha**2) ** -3.5 * pitch**2
  # Pixels are a seventh of the seeing: what they blur besides is under a hundredth of the peak.
  assert np.abs(seen - moffat).max() < 0.02 * moffat.max()
  row = seen[64]
  assert np.interp(fwhm / 2, x[64:], row[64:] / row[64]) == pytest.approx(0.5, abs=0.02)


def test_bands_are_displaced_by_their_shift():
  sky = jnp.zeros((1, 64, 64)).at[0, 32, 32].set(1.0)
  moved = instrument.see(sky, 0.4, jnp.asarray([1.4]), jnp.asarray([[0.8, -0.4]]))
  np.testing.assert_allclose(moved, jnp.roll(instrument.see(sky, 0.4, jnp.asarray([1.4]), NONE), (-1, 2), (1, 2)),
                             atol=1e-6)


def star(flux, size=128, row=64, column=40):
  """A star on one pixel of g, r and i, seen in 1.3″ on native pixels."""
  sky = jnp.zeros((3, size, size)).at[:, row, column].set(flux)
  return instrument.see(sky, instrument.NATIVE_PIXEL, jnp.full(3, 1.3), jnp.zeros((3, 2)))


def test_pixels_fill_at_the_magnitude_at_which_the_survey_saturates():
  for band, magnitude in enumerate((14.1, 14.1, 13.8)):
    peak = float(star(10 ** (0.4 * (22.5 - magnitude)))[band].max())
    assert peak == pytest.approx(instrument.FULL_PIXEL[band], rel=0.05)


def test_what_is_full_spills_along_its_column_and_nothing_else_changes():
  faint = star(1000.0)
  np.testing.assert_array_equal(instrument.saturate(faint, instrument.FULL_PIXEL), faint)
  bright = np.asarray(star(2e4))
  full = np.asarray(instrument.FULL_PIXEL)[:, None, None]
  kept = np.asarray(instrument.saturate(jnp.asarray(bright), instrument.FULL_PIXEL))
  assert (kept <= full * (1 + 1e-6)).all()
  changed = (kept != bright).any((0, 1))
  assert set(np.flatnonzero(changed)) <= set(range(37, 44))
  for band in range(3):
    rows = np.flatnonzero(kept[band, :, 40] >= full[band] * (1 - 1e-6))
    assert len(rows) > 10 and (np.diff(rows) == 1).all()
    assert abs(rows.mean() - 64) < 1.5
    assert kept[band].sum() == pytest.approx(bright[band].sum(), rel=0.1)


def test_noise_has_the_variance_of_sky_and_photons_and_falls_with_binning():
  light = jnp.full((3, 200, 200), 4.0)
  sky, gain = jnp.asarray([0.1, 0.2, 0.3]), jnp.asarray([100.0, 200.0, 50.0])
  for binning in (1.0, 2.0):
    noisy = instrument.expose(jax.random.key(0), light, sky, gain, binning)
    expected = np.sqrt(np.asarray(sky) ** 2 + 4.0 / np.asarray(gain)) / binning
    np.testing.assert_allclose(np.std(noisy, axis=(1, 2)), expected, rtol=0.02)
    np.testing.assert_allclose(np.mean(noisy, axis=(1, 2)), 4.0, atol=0.01)


def test_colour_survives_the_stretch_where_channels_clip():
  light = jnp.stack([jnp.full((8, 8), v) for v in (5.0, 10.0, 20.0)])
  for factor in (0.01, 1.0, 100.0):
    red, green, blue = np.asarray(instrument.colours(light * factor, jnp.full(3, 1e-5), 1.0, jnp.ones(3), 2.0))[:, 0, 0]
    assert red / green == pytest.approx(2.0, rel=1e-3)
    assert green / blue == pytest.approx(2.0, rel=1e-3)
    assert red <= 255.001


def test_black_is_the_mean_of_noise_cut_on_native_pixels():
  """Averaging fine pixels that were cut at zero is what the formula for coarse ones must give."""
  rng = np.random.default_rng(0)
  fine = 0.3 + rng.normal(size=(1, 800, 800))
  coarse = fine.reshape(1, 200, 4, 200, 4).mean((2, 4))
  cut = np.maximum(fine, 0).mean()
  picture = instrument.colours(jnp.asarray(np.repeat(coarse, 3, 0), jnp.float32), jnp.ones(3), 4.0, jnp.full(3, 1e-4),
                               1e-3)
  assert float(picture[0].mean()) / (255 * 1e-4) == pytest.approx(cut, rel=0.02)


def test_resampling_keeps_constants_and_centre():
  image = jnp.ones((1, 48, 48))
  for smooth in (0.0, 0.6, 1.0):
    np.testing.assert_allclose(instrument.resample(image, 0.396, 40, 0.2, smooth), 1.0, atol=1e-5)
  line = jnp.exp(-0.5 * ((jnp.arange(48) - 23.5) / 4) ** 2)
  blob = line[:, None] * line
  out = np.asarray(instrument.resample(blob[None], 1.0, 48, 0.5, 0.0))[0]
  x = np.arange(48)
  assert (out.sum(0) * x).sum() / out.sum() == pytest.approx(23.5, abs=1e-3)


@pytest.mark.parametrize("quality", [40, 75, 92])
def test_jpeg_is_that_of_the_coder(quality):
  """Pillow, the same quality and colour at half resolution, on an image of noise and a slope."""
  rng = np.random.default_rng(1)
  smooth = np.linspace(20, 200, 64)[None, :, None] * np.array([1.0, 0.8, 0.5]) + 10 * rng.normal(size=(64, 64, 1))
  image = np.clip(smooth, 0, 255).round().astype(np.uint8)
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
  theirs = np.asarray(Image.open(buffer)).astype(float)
  ours = np.asarray(instrument.jpeg(jnp.asarray(image.transpose(2, 0, 1), jnp.float32), quality, quality))
  error = np.abs(ours.transpose(1, 2, 0) - theirs)
  lost = np.abs(theirs - image)
  # Rounding inside the coder, and its smoother enlargement of colour, are all that differs.
  assert error.mean() < 0.25 * lost.mean() + 0.6
  assert np.corrcoef((ours.transpose(1, 2, 0) - image).ravel(), (theirs - image).ravel())[0, 1] > 0.85
