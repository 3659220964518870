"""The warp against scipy.ndimage and exact turns; the drawing of matrices and colours by its distribution and keys."""
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from galaxy_jax import augment

GEOMETRY = {"rotation": 360.0, "zoom": 1.3, "shift": 0.1, "flip": True, "stretch": 1.2}
COLOURS = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.3, "channel_gain": 0.1, "pca_noise": 0.5, "noise": 0.02}


def row_keys(rows, seed=0):
  return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(rows))


def colour(keys, images, **strengths):
  return jax.jit(lambda keys, images: augment.colour(keys, images, **strengths))(keys, images)


def random_images(rows=4, height=40, width=36, channels=3):
  return np.random.default_rng(0).integers(0, 256, (rows, height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def warp():
  return jax.jit(augment.warp, static_argnames=("size", "border"))


@pytest.mark.parametrize("border, mode", [("reflect", "mirror"), ("edge", "nearest")])
@pytest.mark.parametrize("crop, size", [(30, 24), (70, 33)])
def test_warp_against_scipy(warp, border, mode, crop, size):
  images = random_images()
  matrices = np.asarray(augment.affine_matrices(row_keys(4), crop=crop, size=size, **GEOMETRY))
  result = warp(images, matrices, size=size, border=border)
  assert result.shape == (4, size, size, 3) and result.dtype == jnp.float32
  row, column = np.mgrid[:size, :size] - (size - 1) / 2
  for image, (for_x, for_y), warped in zip(images, matrices.astype(np.float64), result, strict=True):
    x = for_x[0] * column + for_x[1] * row + for_x[2] + (image.shape[1] - 1) / 2
    y = for_y[0] * column + for_y[1] * row + for_y[2] + (image.shape[0] - 1) / 2
    expected = np.stack([scipy.ndimage.map_coordinates(image[..., channel] / 255, [y, x], order=1, mode=mode)
                         for channel in range(3)], axis=-1)
    np.testing.assert_allclose(warped, expected, atol=1e-4)


def test_turns_and_flips_are_exact(warp):
  images = random_images(height=20, width=20)
  views = augment.view_matrices(crop=20, size=20, rotations=(0, 90, 180, 270), flips=(False, True))
  turned = {}
  for (turns, flip), matrix in zip(itertools.product(range(4), (False, True)), views, strict=True):
    expected = np.rot90(images, turns, axes=(1, 2))
    expected = (expected[:, :, ::-1] if flip else expected) * np.float32(1 / 255)
    turned[turns, flip] = np.asarray(warp(images, matrix, size=20))
    np.testing.assert_array_equal(turned[turns, flip], expected)
  assert len({view.tobytes() for view in turned.values()}) == 8


def test_plain_view_is_the_centre_crop_and_the_whole_image_can_be_scaled(warp):
  images = random_images(height=20, width=24)
  cropped = warp(images, augment.view_matrices(crop=8, size=8)[0], size=8)
  np.testing.assert_array_equal(cropped, images[:, 6:14, 8:16] * np.float32(1 / 255))
  halved = warp(images[:, :, 2:22], augment.view_matrices(crop=20, size=10)[0], size=10)
  blocks = images[:, :, 2:22].reshape(4, 10, 2, 10, 2, 3).mean(axis=(2, 4)) / 255
  np.testing.assert_allclose(halved, blocks, atol=1e-6)


def test_float_and_uint8_images_agree(warp):
  images, matrices = random_images(), augment.affine_matrices(row_keys(4), crop=30, size=24, **GEOMETRY)
  np.testing.assert_allclose(warp(images / np.float32(255), matrices, size=24), warp(images, matrices, size=24),
                             atol=1e-6)


def test_rows_do_not_depend_on_the_batch():
  keys, images = row_keys(6), random_images(6)

  @jax.jit
  def augmented(keys, images):
    matrices = augment.affine_matrices(keys, crop=30, size=24, **GEOMETRY)
    return augment.colour(keys, augment.warp(images, matrices, 24), **COLOURS)

  whole = np.asarray(augmented(keys, images))
  rows = np.array([4, 1])
  np.testing.assert_allclose(augmented(keys[rows], images[rows]), whole[rows], atol=1e-6)
  assert not np.allclose(whole[0], whole[1], atol=0.05)


def test_jit_changes_nothing():
  keys, images = row_keys(2), random_images(2)

  def augmented(keys, images):
    matrices = augment.affine_matrices(keys, crop=30, size=24, **GEOMETRY)
    return augment.colour(keys, augment.warp(images, matrices, 24), **COLOURS)

  np.testing.assert_allclose(jax.jit(augmented)(keys, images), augmented(keys, images), atol=1e-4)


def test_nothing_drawn_is_the_plain_view():
  matrices = augment.affine_matrices(row_keys(3), crop=30, size=20)
  np.testing.assert_allclose(matrices, np.repeat(augment.view_matrices(crop=30, size=20), 3, axis=0), atol=1e-6)


def test_matrices_have_the_ranges_asked_for():
  matrices = np.asarray(augment.affine_matrices(row_keys(4000), crop=40, size=20, rotation=60.0, zoom=1.5, shift=0.1,
                                                flip=True), np.float64)
  linear, shift = matrices[..., :2], matrices[..., 2]
  determinant = np.linalg.det(linear)
  np.testing.assert_allclose(np.mean(determinant < 0), 0.5, atol=0.03)
  log_zoom = np.log(2 / np.sqrt(np.abs(determinant))) / np.log(1.5)
  np.testing.assert_allclose([log_zoom.min(), log_zoom.mean(), log_zoom.max()], [-1, 0, 1], atol=0.04)
  angle = np.rad2deg(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1]))
  np.testing.assert_allclose([angle.min(), angle.mean(), angle.max()], [-30, 0, 30], atol=1)
  np.testing.assert_allclose([shift.min(), shift.mean(), shift.max()], [-4, 0, 4], atol=0.15)
  stretched = np.asarray(augment.affine_matrices(row_keys(1000), crop=20, size=20, rotation=360.0, stretch=1.2))
  singular = np.linalg.svd(stretched[..., :2], compute_uv=False)
  np.testing.assert_allclose(np.prod(singular, -1), 1, atol=1e-5)
  np.testing.assert_allclose([np.max(singular[:, 0] / singular[:, 1])], [1.2], atol=0.01)


def test_points_go_where_the_image_goes(warp):
  height, width, size = 60, 70, 64
  points = np.array([[30, 28], [44, 35], [35, 20]])
  matrices = augment.affine_matrices(row_keys(3), crop=60, size=size, **GEOMETRY)
  moved = np.asarray(augment.transform_points(matrices, jnp.asarray(points)[:, None].astype(jnp.float32),
                                              input_shape=(height, width), size=size))[:, 0]
  y, x = np.mgrid[:height, :width]
  blobs = np.stack([np.exp(-((x - px)**2 + (y - py)**2) / 18) for px, py in points])[..., None].astype(np.float32)
  # Not mirrored: no second image of a blob shifts its centre of mass.
  warped = np.asarray(warp(blobs, matrices, size=size, border="edge"))[..., 0]
  for blob, (px, py) in zip(warped, moved, strict=True):
    found_y, found_x = scipy.ndimage.center_of_mass(blob)
    np.testing.assert_allclose([found_x, found_y], [px, py], atol=0.05)


def test_colour_without_strength_is_the_identity():
  images = random_images().astype(np.float32) / 255
  assert augment.colour(row_keys(4), images) is images
  # Vanishing strengths go through all the arithmetic.
  tiny = dict.fromkeys(COLOURS, 1e-9)
  np.testing.assert_allclose(colour(row_keys(4), images, **tiny), images, atol=1e-5)


def test_colour_parts():
  images, keys = np.random.default_rng(0).uniform(0.3, 0.6, (64, 8, 8, 3)).astype(np.float32), row_keys(64)
  ratio = colour(keys, images, brightness=0.2) / images
  np.testing.assert_allclose(np.ptp(ratio, axis=(1, 2, 3)), 0, atol=1e-5)
  assert 0.8 <= ratio.min() < 0.83 and 1.17 < ratio.max() <= 1.2

  contrasted = colour(keys, images, contrast=0.5)
  grey = augment.greyscale(images).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(augment.greyscale(contrasted).mean(axis=(1, 2, 3)), grey, atol=1e-5)
  spread = contrasted.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
  assert 0.5 <= spread.min() < 0.6 and 1.4 < spread.max() <= 1.51

  saturated = colour(keys, images, saturation=0.5)
  np.testing.assert_allclose(augment.greyscale(saturated), augment.greyscale(images), atol=1e-5)

  gained = np.asarray(colour(keys, images, channel_gain=0.1) / images)
  np.testing.assert_allclose(np.ptp(gained, axis=(1, 2)), 0, atol=1e-5)
  assert np.all(np.ptp(gained[:, 0, 0], axis=-1) > 0)

  change = np.asarray(colour(row_keys(4000), jnp.full((4000, 2, 2, 3), 0.5), pca_noise=0.5)) - 0.5
  np.testing.assert_allclose(change.std(axis=0)[0, 0], 0.5 * np.abs(augment.PCA_COLOUR), rtol=0.05)
  np.testing.assert_allclose(np.corrcoef(change[:, 0, 0].T), 1, atol=1e-3)

  noisy = np.asarray(colour(keys, jnp.full((64, 8, 8, 3), 0.5), noise=0.05)) - 0.5
  np.testing.assert_allclose([noisy.mean(), noisy.std()], [0, 0.05], atol=2e-3)

  everything = colour(keys, images, **dict.fromkeys(COLOURS, 0.9))
  assert everything.min() >= 0 and everything.max() <= 1


def test_greyscale():
  np.testing.assert_allclose(augment.greyscale(jnp.eye(3)[None])[..., 0], [[0.299, 0.587, 0.114]], rtol=1e-6)
  np.testing.assert_allclose(augment.greyscale(jnp.ones((1, 2, 2, 3))), 1, rtol=1e-6)


def test_bad_arguments_are_named():
  images = jnp.zeros((2, 8, 8, 3))
  with pytest.raises(ValueError, match=r"zoom 0\.5"):
    augment.affine_matrices(row_keys(2), crop=8, size=8, zoom=0.5)
  with pytest.raises(ValueError, match=r"\(B, H, W, C\)"):
    augment.warp(images[0], jnp.zeros((2, 3)), 8)
  with pytest.raises(ValueError, match=r"\(2, 2, 3\)"):
    augment.warp(images, jnp.zeros((3, 2, 3)), 8)
  with pytest.raises(ValueError, match=r"edge.*reflect"):
    augment.warp(images, jnp.zeros((2, 3)), 8, border="wrap")
  with pytest.raises(ValueError, match="1 channels"):
    augment.colour(row_keys(2), images[..., :1], saturation=0.1)


def test_turns_by_a_step_move_no_pixel_off_its_grid(warp):
  images = random_images(rows=64, height=12, width=12)
  matrices = augment.affine_matrices(row_keys(64), crop=12, size=12, rotation=360.0, rotation_step=90.0)
  result = np.asarray(warp(images, matrices, size=12))
  turns = [[np.abs(np.rot90(image, k) / 255 - seen).max() < 1e-5 for k in range(4)]
           for image, seen in zip(images, result, strict=True)]
  assert (np.sum(turns, axis=1) == 1).all()
  assert np.sum(turns, axis=0).min() >= 8  # each is drawn about 16 times


@pytest.mark.parametrize(("rotation", "step", "angles"), [
    (360, 90, [-180, -90, 0, 90]), (180, 90, [-90, 0, 90]), (360, 120, [-120, 0, 120]), (90, 15, range(-45, 46, 15))])
def test_angles_are_the_multiples_of_the_step_in_the_range_all_alike(rotation, step, angles):
  linear = np.asarray(augment.affine_matrices(row_keys(4000), crop=20, size=20, rotation=float(rotation),
                                              rotation_step=float(step)))[..., :2]
  found = np.rad2deg(np.arctan2(-linear[:, 0, 1], linear[:, 1, 1]))
  found, number = np.unique(np.round(found) % 360, return_counts=True)
  np.testing.assert_array_equal(found, sorted(angle % 360 for angle in angles))
  assert scipy.stats.chisquare(number).pvalue > 1e-3


@pytest.mark.parametrize(("rotation", "step"), [(360, 50), (90, 90), (0, 90), (360, 360)])
def test_a_step_that_does_not_divide_the_range_is_refused(rotation, step):
  with pytest.raises(ValueError, match=rf"\.rotation_step is {step}; .* divide config\.augment\.rotation, {rotation}"):
    augment.affine_matrices(row_keys(1), crop=20, size=20, rotation=rotation, rotation_step=step)


def test_normalisations_against_their_definitions():
  images = random_images().astype(np.float32) / 255
  images[1] = 0.5
  flat = images.reshape(4, -1)
  smallest = 1 / np.sqrt(flat.shape[1])
  expected = (flat - flat.mean(1, keepdims=True)) / np.maximum(flat.std(1, keepdims=True), smallest)
  np.testing.assert_allclose(augment.NORMALISATIONS["per_image"](images).reshape(4, -1), expected, atol=1e-4)
  result = augment.NORMALISATIONS["imagenet"](images)
  np.testing.assert_allclose(result[..., 1], (images[..., 1] - 0.456) / 0.224, atol=1e-5)
  grey = augment.NORMALISATIONS["imagenet"](images[..., :1])
  np.testing.assert_allclose(grey, (images[..., :1] - 0.449) / 0.226, atol=1e-5)
  np.testing.assert_allclose(augment.NORMALISATIONS["symmetric"](np.array([0.0, 0.25, 1.0])), [-1, -0.5, 1])
  np.testing.assert_allclose(augment.NORMALISATIONS["matterport"](np.ones(3, np.float32)), [131.3, 138.2, 151.1],
                             rtol=1e-5)
  assert augment.NORMALISATIONS["none"](images) is images
