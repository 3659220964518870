"""The challenge winner's network: its views, parts and numbers against the published program."""
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from galaxy_jax import models
from galaxy_jax.models.dieleman import cut_parts, make_views


def test_parts_are_cut_and_turned_as_published():
  views = np.random.default_rng(0).normal(size=(2, 4, 69, 69, 3)).astype(np.float32)
  parts = np.asarray(cut_parts(jnp.asarray(views), 45))
  assert parts.shape == (2, 16, 45, 45, 3)
  for number, x in enumerate(views[1]):
    # MultiRotSliceLayer of benanne/kaggle-galaxies, rows and columns first.
    expected = [x[:45, :45], x[:45, :-46:-1].swapaxes(0, 1), x[:-46:-1, :-46:-1], x[:-46:-1, :45].swapaxes(0, 1)]
    np.testing.assert_array_equal(parts[1, 4 * number:4 * number + 4], expected)
  centre = np.zeros((1, 1, 69, 69, 1), np.float32)
  centre[:, :, 34, 34] = 1
  np.testing.assert_array_equal(cut_parts(jnp.asarray(centre), 45)[0, :, 34, 34, 0], 1)


def test_views_are_the_centre_and_its_turn_by_45_degrees():
  image = scipy.ndimage.gaussian_filter(np.random.default_rng(1).random((99, 99)), 2).astype(np.float32)
  views = np.asarray(make_views(jnp.asarray(image[None, :, :, None]), 69))[0, ..., 0]
  upright, mirrored, turned, turned_mirrored = views
  np.testing.assert_array_equal(upright, image[15:84, 15:84])
  np.testing.assert_array_equal(mirrored, upright[:, ::-1])
  np.testing.assert_array_equal(turned_mirrored, turned[:, ::-1])
  expected = scipy.ndimage.rotate(image, 45, reshape=False, order=1)[15:84, 15:84]
  np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_a_turn_by_90_degrees_only_moves_the_parts():
  image = jax.random.uniform(jax.random.key(0), (1, 99, 99, 3))
  parts, turned = (np.asarray(cut_parts(make_views(x, 69), 45))[0] for x in (image, jnp.rot90(image, 1, (1, 2))))
  for view in range(4):
    # Mirroring turns the other way.
    order = np.roll(np.arange(4), -1 if view % 2 == 0 else 1) + 4 * view
    np.testing.assert_allclose(turned[4 * view:4 * view + 4], parts[order], atol=1e-5)


@pytest.fixture(scope="module")
def narrow():
  """A small network's images, first variables and features."""
  network = models.create("dieleman", outputs=37, view=37, part=37, width=16, hidden=64)
  images = jax.random.uniform(jax.random.key(1), (1, 37, 37, 3))
  (_, features), variables = jax.jit(partial(network.init_with_output, train=False))(jax.random.key(0), images)
  return images, variables["params"], features


def test_sizes_are_the_published_ones():
  network = models.create("dieleman", outputs=37)
  shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 99, 99, 3)), train=False))["params"]
  convolutions = 6 * 6 * 3 * 32 + 5 * 5 * 32 * 64 + 3 * 3 * 64 * 128 + 3 * 3 * 128 * 128
  biases = 40 * 40 * 32 + 16 * 16 * 64 + 6 * 6 * 128 + 4 * 4 * 128
  dense = 16 * 2 * 2 * 128 * 4096 + 4096 + 2048 * 4096 + 4096 + 2048 * 37 + 37
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == convolutions + biases + dense == 42_377_125


def test_initial_values_are_the_published_ones(narrow):
  _, values, _ = narrow
  for name, deviation in (("stage1_conv", .01), ("stage2_conv", .01), ("stage3_conv", .01), ("stage4_conv", .1),
                          ("maxout1", .001), ("maxout2", .001), ("head", .01)):
    np.testing.assert_allclose(np.std(values[name]["kernel"]), deviation, rtol=0.05)
  for name, bias in (("maxout1", .01), ("maxout2", .01), ("head", .1)):
    np.testing.assert_array_equal(values[name]["bias"], np.float32(bias))
  np.testing.assert_array_equal(values["stage1_bias"], np.full((32, 32, 16), np.float32(0.1)))


def test_a_part_goes_through_the_convolutions_alone(narrow):
  """The features of a part are those of an image that is that part, by an independent convolution."""
  images, values, features = narrow
  kernel = np.asarray(values["stage1_conv"]["kernel"], np.float64)
  part = np.rot90(np.asarray(images[0], np.float64), 1)
  windows = np.lib.stride_tricks.sliding_window_view(part, (6, 6), axis=(0, 1))
  expected = np.maximum(np.einsum("ijcxy,xycf->ijf", windows, kernel) + 0.1, 0)
  np.testing.assert_allclose(features["stage1"][0, 1], expected, atol=1e-5)


@pytest.mark.parametrize(("size", "options"), [(64, {}), (99, {"part": 70}), (99, {"part": 36})])
def test_parts_that_do_not_fit_are_refused(size, options):
  network = models.create("dieleman", outputs=3, **options)
  with pytest.raises(ValueError, match="37 ≤ part ≤ view"):
    jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, size, size, 3)), train=False))
