"""Brightness to colour against the formulas of the paper, written out here, and on what surveys do to their pixels."""
import numpy as np
import pytest

from tfds_builders.scaling import Scaling, missing_pixels, to_rgb


def bands(count: int = 3, seed: int = 0) -> list[np.ndarray]:
  """Noise with a bright patch, (20, 30) each."""
  rng = np.random.default_rng(seed)
  images = [rng.normal(0, 0.02, (20, 30)) for _ in range(count)]
  for number, image in enumerate(images):
    image[8:12, 10:16] += 0.5 * (number + 1)
  return images


def test_linear_maps_limits_to_black_and_white():
  image = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 0.25]])
  rgb = to_rgb([image], Scaling("linear", limits=((0.0, 1.0),)))
  assert rgb.dtype == np.uint8 and rgb.shape == (2, 3, 3)
  np.testing.assert_array_equal(rgb[..., 0], [[0, 0, 128], [255, 255, 64]])
  np.testing.assert_array_equal(rgb, np.repeat(rgb[..., :1], 3, axis=-1))


def test_percentiles_are_of_the_finite_pixels_of_each_band():
  image = np.arange(100.0).reshape(10, 10)
  holed = image.copy()
  holed[0, :5] = np.nan
  red, green, blue = np.moveaxis(to_rgb([image, 7 * image, holed], Scaling("linear", percentiles=(0, 100))), -1, 0)
  np.testing.assert_array_equal(red, green)
  expected = np.floor(255 * np.clip((holed - 5) / 94, 0, 1) + 0.5)
  np.testing.assert_array_equal(blue[1:], expected[1:])
  assert (blue[0, :5] == 0).all()


def test_asinh_is_the_formula():
  image = np.linspace(0, 1, 50).reshape(5, 10)
  rgb = to_rgb([image], Scaling("asinh", limits=((0.0, 1.0),), softening=0.05))
  expected = 255 * np.log(image / 0.05 + np.sqrt((image / 0.05) ** 2 + 1)) / np.log(20 + np.sqrt(401))
  np.testing.assert_allclose(rgb[..., 0], expected, atol=0.51)


def test_lupton_is_the_formula_of_the_paper():
  pytest.importorskip("astropy")
  red, green, blue = bands()
  minimum, stretch, q = (0.01, 0.0, -0.01), 0.3, 6.0
  rgb = to_rgb([red, green, blue], Scaling("lupton", Q=q, stretch=stretch, minimum=minimum))
  colours = np.stack([band - low for band, low in zip((red, green, blue), minimum, strict=True)], -1)
  intensity = colours.mean(-1)
  # Equations (1) and (2) of Lupton et al. 2004; the slope is that of a linear scaling at a tenth of the range.
  mapped = np.arcsinh(q * intensity / stretch) * 0.1 / np.arcsinh(0.1 * q)
  with np.errstate(invalid="ignore"):
    expected = np.where(intensity[..., None] > 0, colours * (mapped / intensity)[..., None], 0)
  expected = np.clip(expected, 0, None)
  expected = 255 * expected / np.maximum(1, expected.max(-1, keepdims=True))
  np.testing.assert_allclose(rgb, expected, atol=1.01)


def test_lupton_keeps_colour_at_every_brightness():
  pytest.importorskip("astropy")
  brightness = np.geomspace(0.05, 1000, 60).reshape(6, 10)
  rgb = to_rgb([brightness, brightness / 2, brightness / 4], Scaling("lupton", stretch=0.5)).astype(float)
  bright = rgb[rgb[..., 0] > 100]
  np.testing.assert_allclose(bright[:, 1] / bright[:, 0], 0.5, atol=0.02)
  np.testing.assert_allclose(bright[:, 2] / bright[:, 0], 0.25, atol=0.02)


@pytest.mark.parametrize("method", ["linear", "asinh", "lupton", None])
@pytest.mark.parametrize("count", [1, 3])
def test_factors_stand_for_a_multiplied_band(method, count):
  pytest.importorskip("astropy")
  images = bands(count)
  factors = (2.0, 0.5, 3.0)[:count]
  multiplied = [image * factor for image, factor in zip(images, factors, strict=True)]
  scaling = Scaling(method, stretch=0.2)
  np.testing.assert_array_equal(to_rgb(images, scaling._replace(factors=factors)), to_rgb(multiplied, scaling))


@pytest.mark.parametrize("method", ["linear", "asinh", "lupton"])
def test_anything_becomes_colours(method):
  pytest.importorskip("astropy")
  scaling = Scaling(method)
  for value in (0.0, -3.0, 1e38, -1e38, np.inf, np.nan):
    for dtype in (np.float32, np.float64):
      image = np.full((4, 5), value, dtype)
      assert to_rgb([image] * 3, scaling).shape == (4, 5, 3)
      image[0, 0] = 1.0
      assert to_rgb([image], scaling).shape == (4, 5, 3)
  assert to_rgb([np.arange(20, dtype=np.uint16).reshape(4, 5)], scaling).max() > 150


def test_missing_pixels_are_counted_once_and_filled():
  images = bands()
  images[0][0, 0] = images[1][0, 0] = np.nan
  images[2][3, 4] = np.inf
  assert missing_pixels(images) == 2
  filled = [np.where(np.isfinite(image), image, 9.0) for image in images]
  scaling = Scaling("linear", limits=((0.0, 1.0),))
  np.testing.assert_array_equal(to_rgb(images, scaling._replace(fill=9.0)), to_rgb(filled, scaling))
