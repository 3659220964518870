"""The statistics that real and simulated galaxies are compared by, on images whose statistics are known."""
import numpy as np
import pytest
from scipy import integrate, ndimage, optimize

from benchmarks.looks import statistics

SIDE, PEAK, LEAST = 212, 200.0, 3.0  # the statistics see light from LEAST counts on


def coordinates():
  axis = np.arange(SIDE) - (SIDE - 1) / 2
  return np.meshgrid(axis, axis, indexing="ij")


def grey(light, background=0.0):
  return np.repeat(np.clip(np.round(light + background), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def truncated(profile, edge):
  """r20, r50, r80 and M20 of a round profile that ends at `edge`, by integration."""
  flux = lambda r: integrate.quad(lambda s: profile(s) * s, 0, r)[0]
  moment = lambda r: integrate.quad(lambda s: profile(s) * s**3, 0, r)[0]
  radii = [optimize.brentq(lambda r: flux(r) - share * flux(edge), 1e-3, edge) for share in (0.2, 0.5, 0.8)]
  return *radii, np.log10(moment(radii[0]) / moment(edge))


@pytest.mark.parametrize(("profile", "edge"), [
    (lambda r: np.exp(-r / 12), 12 * np.log(PEAK / LEAST)),
    (lambda r: np.exp(-r**2 / (2 * 20**2)), 20 * np.sqrt(2 * np.log(PEAK / LEAST)))], ids=["exponential", "gaussian"])
def test_round_profiles(profile, edge):
  y, x = coordinates()
  found = statistics.measure_one(grey(PEAK * profile(np.hypot(y, x))))
  r20, r50, r80, m20 = truncated(profile, edge)
  assert found["concentration/c"] == pytest.approx(5 * np.log10(r80 / r20), abs=0.06)
  assert found["radius/half_light"] == pytest.approx(r50, abs=0.7)
  assert found["radius/area"] == pytest.approx(edge, rel=0.03)
  assert found["gini/m20"] == pytest.approx(m20, abs=0.06)
  assert found["axis_ratio/moments"] == pytest.approx(1, abs=0.01)
  assert abs(found["asymmetry/a"]) < 0.005


@pytest.mark.parametrize("ratio", [0.3, 0.6])
@pytest.mark.parametrize("degrees", [0, 35])
def test_axis_ratio_of_an_ellipse(ratio, degrees):
  y, x = coordinates()
  angle = np.radians(degrees)
  along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
  found = statistics.measure_one(grey(PEAK * np.exp(-np.hypot(along, across / ratio) / 14)))
  assert found["axis_ratio/moments"] == pytest.approx(ratio, abs=0.02)


def test_asymmetry_is_the_share_of_light_on_one_side():
  y, x = coordinates()
  galaxy = 150 * np.exp(-np.hypot(y, x) / 14)
  clump = 40 * (np.hypot(y, x - 25) < 8)
  found = statistics.measure_one(grey(galaxy + clump))
  seen = np.where(galaxy + clump > LEAST, galaxy + clump, 0).sum()
  assert found["asymmetry/a"] == pytest.approx(clump.sum() / seen, rel=0.05)
  assert found["asymmetry/offset"] > 0.5


def test_gini_of_two_levels():
  y, x = coordinates()
  radius = np.hypot(y, x)
  found = statistics.measure_one(grey(50.0 * (radius < 50) + 50.0 * (radius < 50 / np.sqrt(2))))
  pixels = round(np.pi * found["radius/area"]**2)  # the smoothed outline holds a dark rim
  low, high = (radius < 50).sum(), (radius < 50 / np.sqrt(2)).sum()
  values = np.repeat([0.0, 50.0, 100.0], [pixels - low, low - high, high])[::7]
  difference = np.abs(values[:, None] - values[None]).mean()
  assert found["gini/g"] == pytest.approx(difference / (2 * values.mean()), abs=0.003)


def test_colours_and_background():
  y, x = coordinates()
  light = np.exp(-np.hypot(y, x) / 14)[..., None] * np.array([160.0, 120.0, 60.0]) + np.array([9.0, 7.0, 4.0])
  found = statistics.measure_one(np.round(light).astype(np.uint8))
  assert [found[f"background/{c}"] for c in "rgb"] == [9, 7, 4]
  assert found["colour/rg_centre"] == pytest.approx(np.log(162 / 122), abs=0.01)
  assert found["colour/gb_centre"] == pytest.approx(np.log(122 / 62), abs=0.02)
  assert found["noise/deviation_g"] < 0.5


@pytest.mark.parametrize(("kernel", "lags"), [(1, (0, 0, 0, 0)), (3, (2 / 3, 1 / 3, 0, 0))])
def test_noise_of_known_correlation(kernel, lags):
  rng = np.random.default_rng(0)
  common, own = rng.normal(size=(SIDE, SIDE, 1)), rng.normal(size=(SIDE, SIDE, 3))
  noise = np.sqrt(0.75) * common + np.sqrt(0.25) * own
  noise = ndimage.uniform_filter(noise, (kernel, kernel, 1), mode="wrap") * kernel
  found = statistics.measure_one(np.clip(np.round(100 + 12 * noise), 0, 255).astype(np.uint8))
  assert [found[f"noise/lag_{lag}"] for lag in statistics.LAGS] == pytest.approx(lags, abs=0.06)
  assert [found[f"noise/correlation_{pair}"] for pair in ("rg", "gb", "rb")] == pytest.approx([0.75] * 3, abs=0.03)
  assert [found[f"noise/{c}"] for c in "rgb"] == pytest.approx([12] * 3, rel=0.06)


def test_other_sources_are_counted():
  y, x = coordinates()
  image = PEAK * np.exp(-np.hypot(y, x) / 8)
  for (row, column), height in {(40.5, 40.5): 90, (-60.5, 50.5): 150, (70.5, -20.5): 30}.items():
    image += height * np.exp(-((y - row)**2 + (x - column)**2) / (2 * 2.5**2))
  found = statistics.measure_one(grey(image))
  assert (found["others/number"], found["others/bright"]) == (3, 2)
  assert found["others/brightest"] == pytest.approx(150, abs=1)


def test_turns_change_nothing():
  rng = np.random.default_rng(1)
  y, x = coordinates()
  light = 150 * np.exp(-np.hypot(y - 1, x / 0.6 + 2) / 12) + 60 * np.exp(-((y - 50)**2 + (x + 61)**2) / 30)
  image = np.clip(light[..., None] + rng.normal(8, 3, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
  table = statistics.measure(np.stack([image, np.rot90(image), image[::-1]]))
  np.testing.assert_allclose(table.values[1:], np.repeat(table.values[:1], 2, 0), rtol=2e-3, atol=2e-3)
  assert np.isfinite(table.values).all()


def test_an_empty_image_and_wrong_shapes():
  assert np.isfinite(statistics.measure(np.zeros((1, 64, 64, 3), np.uint8)).values).all()
  with pytest.raises(ValueError, match="uint8"):
    statistics.measure(np.zeros((1, SIDE, SIDE, 3), np.float32))
  with pytest.raises(ValueError, match="64 is the least"):
    statistics.measure(np.zeros((1, 32, 32, 3), np.uint8))
