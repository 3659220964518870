"""Group convolutions beside their definition in loops, and beside images and features that are turned by hand."""
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxy_jax.models import group_layers
from galaxy_jax.models.group_layers import GROUPS
from galaxy_jax.models.layers import BatchNorm, GroupNorm, LayerNorm


def turned(image, group, element):
  """What an element of a group does to arrays (H, W, ...)."""
  mirror, turn = divmod(element, group.rotations)
  return np.rot90(image[:, ::-1] if mirror else image, turn * 4 // group.rotations)


def correlated(x, kernel):
  """Cross-correlation of (H, W) with an odd kernel, zeros around, by its definition."""
  margin = len(kernel) // 2
  x = np.pad(x, margin)
  return np.array([[np.sum(x[i:i + len(kernel), j:j + len(kernel)] * kernel) for j in range(x.shape[1] - 2 * margin)]
                   for i in range(x.shape[0] - 2 * margin)])


@pytest.mark.parametrize("name", GROUPS)
def test_elements_multiply_as_their_matrices_do(name):
  group, matrices = GROUPS[name], GROUPS[name].matrices()
  elements = np.arange(group.order)
  products = group.product(elements[:, None], elements)
  np.testing.assert_allclose(matrices[products], matrices[:, None] @ matrices, atol=1e-12)
  np.testing.assert_array_equal(group.product(elements, group.inverse(elements)), 0)
  assert all(sorted(row) == list(elements) for row in products)


@pytest.mark.parametrize("name", GROUPS)
def test_convolutions_are_sums_over_the_group_with_turned_filters(name):
  """Output element g adds, over the input's elements h, its channel h under filter g⁻¹ h turned by g."""
  group, rng = GROUPS[name], np.random.default_rng(0)
  x = rng.normal(size=(5, 6, group.order, 2))
  layer = group_layers.GroupConv(3 * group.order, (3, 3), group, padding=1)
  flat = jnp.float32(x.reshape(1, 5, 6, -1))
  variables = layer.init(jax.random.key(0), flat)
  kernel = np.float64(variables["params"]["kernel"])
  assert kernel.shape == (3, 3, group.order, 2, 3)
  matrices = group.matrices()
  expected = np.zeros((5, 6, group.order, 3))
  for g, h, i, f in itertools.product(range(group.order), range(group.order), range(2), range(3)):
    between = int(np.argmin(np.abs(matrices - np.linalg.inv(matrices[g]) @ matrices[h]).sum((1, 2))))
    expected[:, :, g, f] += correlated(x[:, :, h, i], turned(kernel[:, :, between, i, f], group, g))
  np.testing.assert_allclose(layer.apply(variables, flat)[0], expected.reshape(5, 6, -1), atol=1e-5)

  image = rng.normal(size=(6, 5, 2))
  layer = group_layers.LiftingConv(3 * group.order, (3, 3), group, padding=1)
  variables = layer.init(jax.random.key(1), jnp.float32(image[None]))
  kernel = np.float64(variables["params"]["kernel"])[:, :, 0]
  expected = np.stack([sum(correlated(image[:, :, i], turned(kernel[:, :, i, f], group, g)) for i in range(2))
                       for g in range(group.order) for f in range(3)], -1)
  np.testing.assert_allclose(layer.apply(variables, jnp.float32(image[None]))[0], expected, atol=1e-5)


def test_depthwise_convolution_turns_each_fields_filter_and_mixes_nothing():
  group, x = GROUPS["d4"], np.random.default_rng(0).normal(size=(6, 7, 16))
  layer = group_layers.DepthwiseGroupConv((5, 5), group)
  variables = layer.init(jax.random.key(0), jnp.float32(x[None]))
  kernel = np.float64(variables["params"]["kernel"])[:, :, 0, 0]
  variables["params"]["bias"] = jnp.array([0.5, -1.0])
  expected = np.stack([correlated(x[:, :, 2 * g + f], turned(kernel[:, :, f], group, g)) + (0.5, -1.0)[f]
                       for g in range(8) for f in range(2)], -1)
  np.testing.assert_allclose(layer.apply(variables, jnp.float32(x[None]))[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["c4", "d4"])
def test_expanded_filters_have_the_gradient_of_a_linear_map(name):
  """<expand(K), W> = <K, gradient> for every K, in bfloat16 within its rounding."""
  group = GROUPS[name]
  for elements, side in ((1, 3), (group.order, 4), (group.order, 1)):
    kernel = jax.random.normal(jax.random.key(0), (side, side, elements, 2, 3))
    filters = group_layers.expand_filters(kernel, group)
    weights = jax.random.normal(jax.random.key(1), filters.shape)
    other = jax.random.normal(jax.random.key(2), kernel.shape)
    gradient = jax.jit(jax.grad(lambda k: jnp.sum(group_layers.expand_filters(k, group) * weights)))(kernel)
    expected = jnp.sum(group_layers.expand_filters(other, group) * weights)
    np.testing.assert_allclose(jnp.sum(gradient * other), expected, rtol=1e-4, atol=1e-3)
    rough = jax.jit(jax.grad(lambda k: jnp.sum(group_layers.expand_filters(k, group, jnp.bfloat16) * weights)))(kernel)
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, gradient, atol=0.2)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (10, 10), (11, 12)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    (3, 2, 1), (1, 2, 0), (7, 2, 3), (6, 2, 2), (4, 4, 0), (2, 2, 0), (3, 3, 0)])
def test_strided_convolutions_are_equivariant_at_any_size(height, width, kernel, stride, padding):
  group = GROUPS["d4"]
  layer = group_layers.GroupConv(8, (kernel, kernel), group, strides=stride, padding=padding)
  x = jax.random.normal(jax.random.key(0), (1, height, width, 16))
  variables = layer.init(jax.random.key(1), x)
  y = layer.apply(variables, x)
  assert abs(y.shape[1] - height / stride) < 1.5
  for element in (1, 7):
    expected = group_layers.transform(y, group, element, fields=True)
    np.testing.assert_allclose(layer.apply(variables, group_layers.transform(x, group, element, fields=True)), expected,
                               atol=1e-5)


def test_a_stride_over_an_even_side_is_a_mean_over_blocks():
  layer = lambda stride: group_layers.GroupConv(8, (3, 3), GROUPS["c4"], strides=stride, padding=1)
  x = jax.random.normal(jax.random.key(0), (1, 8, 8, 4))
  variables = layer(1).init(jax.random.key(1), x)
  expected = layer(1).apply(variables, x).reshape(1, 4, 2, 4, 2, 8).mean((2, 4))
  np.testing.assert_allclose(layer(2).apply(variables, x), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (9, 8)])
def test_max_pool_halves_symmetrically(size):
  x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
  y = group_layers.max_pool(jnp.asarray(x))
  assert y.shape[1:3] == tuple(-(-side // 2) for side in size)
  np.testing.assert_array_equal(group_layers.max_pool(jnp.rot90(x, axes=(1, 2))), jnp.rot90(y, axes=(1, 2)))
  np.testing.assert_array_equal(group_layers.max_pool(jnp.asarray(x[:, ::-1])), y[:, ::-1])


@pytest.mark.parametrize("norm", [
    BatchNorm(), GroupNorm(groups=2), LayerNorm(reduction_axes=(-2, -1))])
def test_norms_have_moments_and_factors_of_fields(norm):
  group, fields, rng = GROUPS["d4"], 4, np.random.default_rng(0)
  x = rng.normal(1, 2, (2, 3, 5, 8 * fields)).astype(np.float32)
  options = {} if isinstance(norm, nn.LayerNorm) else {"train": True}
  shaped = jnp.asarray(x.reshape(2, 3, 5, 8, fields))
  variables = norm.init(jax.random.key(0), shaped, **options)
  assert all(leaf.shape == (fields,) for leaf in jax.tree.leaves(variables))
  variables["params"] = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), variables["params"])

  def apply(y):
    bound = lambda z, **o: norm.apply(variables, z, mutable=["batch_stats"], **o)[0]
    return group_layers.per_field(bound, group)(y, **options)

  y = apply(jnp.asarray(x))
  for element in range(8):
    np.testing.assert_allclose(apply(group_layers.transform(jnp.asarray(x), group, element, fields=True)),
                               group_layers.transform(y, group, element, fields=True), atol=1e-5)


def test_pool_is_means_and_means_of_largest_elements():
  x = np.random.default_rng(0).normal(size=(2, 3, 4, 8 * 5)).astype(np.float32)
  elements = x.reshape(2, 3, 4, 8, 5)
  expected = np.concatenate([elements.mean((1, 2, 3)), elements.max(3).mean((1, 2))], -1)
  np.testing.assert_allclose(group_layers.pool(jnp.asarray(x), GROUPS["d4"]), expected, atol=1e-6)
  np.testing.assert_allclose(group_layers.pool(jnp.asarray(x), GROUPS["c1"]), x.mean((1, 2)), atol=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: group_layers.find_group("d6"), "group is 'd6'; expected one of c1, c4, d4"),
    (lambda: group_layers.fields_of(20, GROUPS["d4"]), "20 channels, no multiple of the group's 8 .* multiple of 8"),
])
def test_what_no_group_can_do_is_refused(call, message):
  with pytest.raises(ValueError, match=message):
    call()
