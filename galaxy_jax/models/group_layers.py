"""Layers that are equivariant under the rotations and mirrorings of the pixel grid (Cohen and Welling 2016).

What the layers of a network see turns with the image: `layer(turned image)` is the turned `layer(image)`, and after
pooling over space and group nothing depends on the orientation. Source: Cohen and Welling 2016 (arXiv:1602.07576).

Features are (B, H, W, |G| F): F fields with a channel for each of the |G| elements, the element varying slowest. A
group convolution then is one ordinary convolution with |G| F channels, in the one layout that CPUs and GPUs have fast
kernels for, and (B, H, W, |G|, F), which norms and pooling want, is the same memory. With the field slowest, pooling
would gather single numbers; with an axis for the group, every convolution would reshape.

A strided convolution samples a grid that has to be its own mirror image: (size + 2 padding - kernel) must be a multiple
of the stride. Where an even stride meets a kernel and a size of unlike parity, no padding helps; there the filters are
averaged over two neighbouring shifts, which makes the kernel one wider. For 3×3, stride 2 and an even size that is the
convolution with stride 1 followed by a mean over 2×2 blocks, at 4/9 of the cost. The other strides and sizes are met
by padding both sides alike.
"""
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax.models.layers import max_pool_2x2


class Group(NamedTuple):
  """Rotations by multiples of 360° / `rotations`, anticlockwise, with `mirrored` also those of the mirror image.

  Element e mirrors left and right if e ≥ rotations, and then turns by e mod rotations steps, like np.rot90.
  """
  rotations: int
  mirrored: bool

  @property
  def order(self) -> int:
    """Number of elements."""
    return self.rotations * (2 if self.mirrored else 1)

  def product(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The element that does `second`, then `first`; arrays of elements broadcast."""
    mirror, turn = np.divmod(first, self.rotations)
    then_mirror, then_turn = np.divmod(second, self.rotations)
    turn = (turn + np.where(mirror, -then_turn, then_turn)) % self.rotations
    return (mirror ^ then_mirror) * self.rotations + turn

  def inverse(self, element: np.ndarray) -> np.ndarray:
    """The element that undoes `element`."""
    return np.where(element < self.rotations, -element % self.rotations, element)

  def matrices(self) -> np.ndarray:
    """(|G|, 2, 2): what each element does to (x to the right, y up)."""
    mirror, turn = np.divmod(np.arange(self.order), self.rotations)
    angle = 2 * np.pi * turn / self.rotations
    sign = 1 - 2 * mirror
    return np.stack([np.stack([sign * np.cos(angle), -np.sin(angle)], -1),
                     np.stack([sign * np.sin(angle), np.cos(angle)], -1)], -2)


#: The groups by name; c1 has the identity alone, and its layers are ordinary ones. All map pixels on pixels. Filters
#: turned by 45° are nearly equivariant in a layer, but strides and small maps leave nothing of that in these networks.
GROUPS = {"c1": Group(1, False), "c4": Group(4, False), "d4": Group(4, True)}


def find_group(name: str) -> Group:
  """The group called `name`.

  Raises:
    ValueError: there is none.
  """
  if name not in GROUPS:
    raise ValueError(f"config.model.options.group is {name!r}; expected one of {', '.join(GROUPS)}.")
  return GROUPS[name]


def transform(x: jax.Array, group: Group, element: int, *, fields: bool) -> jax.Array:
  """Images or features (B, H, W, C) as they are after the image was turned by an element of the group.

  Args:
    x: (B, H, W, C).
    group: see GROUPS.
    element: which.
    fields: the channels are fields of the group, and change places too; else they are those of an image.
  """
  mirror, turn = divmod(element, group.rotations)
  if fields:
    order = group.product(group.inverse(np.array(element)), np.arange(group.order))
    x = x.reshape(*x.shape[:3], group.order, -1)[..., order, :].reshape(x.shape)
  x = x[:, :, ::-1] if mirror else x
  return jnp.rot90(x, turn, axes=(1, 2))


def expand_filters(kernel: jax.Array, group: Group, dtype: Any = jnp.float32) -> jax.Array:
  """The filters of the ordinary convolution that a group convolution is.

  Output element g sees the filter turned by g: W[x, h, g] = K[g⁻¹ x, g⁻¹ h].

  Args:
    kernel: (K, K, E, I, F), E being 1 for filters on images and |G| for those on fields.
    group: to turn the filters with.
    dtype: of the result.

  Returns:
    (K, K, E·I, |G|·F).
  """
  side, _, elements, inputs, fields = kernel.shape
  flat = kernel.reshape(-1, inputs, fields)
  return _turn(flat, group, side, elements, dtype).reshape(side, side, elements * inputs, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _turn(kernel, group, side, elements, dtype):
  """(K·K·E, I, F) → (K·K·E, I, |G|, F)."""
  table, _ = _tables(group, side, elements)
  return jnp.swapaxes(kernel.astype(dtype)[table], 1, 2)


def _turn_forward(kernel, group, side, elements, dtype):
  return _turn(kernel, group, side, elements, dtype), None


def _turn_backward(group, side, elements, dtype, _, cotangent):
  # Each element permutes the filter's numbers, so the transpose is a gather, too. JAX's own would be a scatter, which
  # runs number by number on CPU and with atomic additions on GPU.
  _, inverse = _tables(group, side, elements)
  moved = jnp.swapaxes(cotangent, 1, 2)[inverse, np.arange(group.order)]
  return (jnp.sum(moved.astype(jnp.float32), 1),)


_turn.defvjp(_turn_forward, _turn_backward)


@functools.cache
def _tables(group, side, elements):
  """Where each number of the expanded filters comes from, and where each one of the kernel goes to: (K·K·E, |G|)."""
  places = np.rint(_positions(side) @ group.matrices() + (side - 1) / 2).astype(int)
  pixels = (side - 1 - places[..., 1]) * side + places[..., 0]  # (|G|, K·K)
  elements_of = np.arange(group.order)
  moved = np.zeros((group.order, 1), int) if elements == 1 else group.product(
      group.inverse(elements_of)[:, None], elements_of)
  table = (pixels[:, :, None] * elements + moved[:, None, :]).reshape(group.order, -1)
  return table.T.astype(np.int32), np.argsort(table, axis=1).T.astype(np.int32)


def _positions(side):
  """(K·K, 2): (x to the right, y up) of the pixels, row by row, from the middle."""
  row, column = np.divmod(np.arange(side * side), side)
  return np.stack([column, side - 1 - row], -1) - (side - 1) / 2


def sampling(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
  """How a strided window covers a side symmetrically: (how much wider the window must be, padding of both ends).

  Args:
    size: pixels.
    kernel: pixels of the window.
    stride: in pixels.
    padding: the least.
  """
  wider = int(stride % 2 == 0 and (size - kernel) % 2)
  while (size + 2 * padding - kernel - wider) % stride:
    padding += 1
  return wider, padding


def _convolve(x, filters, stride, padding, **options):
  """An ordinary convolution of (B, H, W, C) whose strided samples lie symmetrically, see the module's docstring."""
  paddings = []
  for axis in (0, 1):
    wider, amount = sampling(x.shape[1 + axis], filters.shape[axis], stride, padding)
    paddings.append((amount, amount))
    if wider:
      margin = [(0, 0)] * 4
      margin[axis] = (1, 1)
      wide = jnp.pad(filters, margin)
      filters = (jax.lax.slice_in_dim(wide, 0, -1, axis=axis) + jax.lax.slice_in_dim(wide, 1, None, axis=axis)) / 2
  if stride > 1 and filters.shape[0] % stride == filters.shape[1] % stride == 0:
    # The same sums without a stride, whose backward pass is slow on CPU: each block of pixels becomes one of more
    # channels. An image's few channels become more, too.
    x = _blocks(jnp.pad(x, ((0, 0), *paddings, (0, 0))), stride)
    filters = jnp.moveaxis(_blocks(jnp.moveaxis(filters, 3, 0), stride), 0, 3)
    stride, paddings = 1, ((0, 0), (0, 0))
  if filters.shape[:2] == (1, 1) and stride == 1 and not any(map(sum, paddings)) and not options:
    return x @ filters[0, 0]
  return jax.lax.conv_general_dilated(x, filters, (stride, stride), paddings,
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"), **options)


def _blocks(x, side):
  """(B, H, W, C) → (B, H / side, W / side, side² C)."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // side, side, w // side, side, c)
  return jnp.moveaxis(x, 2, 3).reshape(b, h // side, w // side, side * side * c)


def fields_of(channels: int, group: Group) -> int:
  """The number of fields in as many channels.

  Raises:
    ValueError: they are no multiple of the group's elements.
  """
  if channels <= 0 or channels % group.order:
    raise ValueError(f"There would be {channels} channels, no multiple of the group's {group.order} elements. Change "
                     f"config.model.options.width to a multiple of {group.order}.")
  return channels // group.order


class GroupConv(nn.Module):
  """A convolution of fields or, with `lifting`, of an image to fields.

  Attributes:
    features: channels of the result, fields times group elements.
    kernel_size: (K, K).
    group: see GROUPS.
    strides: in both directions.
    padding: the least, at both ends; see `sampling`.
    lifting: the channels of the input are those of an image.
    use_bias: adds a number for each field.
    kernel_init: of the parameter `kernel`, (K, K, |G|, I, F), I and F being the fields before and after; (K, K, 1, C,
      F) with `lifting`.
    dtype: of the computation.
  """
  features: int
  kernel_size: tuple[int, int]
  group: Group
  strides: int = 1
  padding: int = 0
  lifting: bool = False
  use_bias: bool = False
  kernel_init: Callable = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) → (B, H', W', features)."""
    elements = 1 if self.lifting else self.group.order
    inputs = x.shape[-1] if self.lifting else fields_of(x.shape[-1], self.group)
    fields = fields_of(self.features, self.group)
    kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, elements, inputs, fields))
    y = _convolve(x.astype(self.dtype), expand_filters(kernel, self.group, self.dtype), self.strides, self.padding)
    return _add_bias(self, y, fields) if self.use_bias else y


LiftingConv = functools.partial(GroupConv, lifting=True)


class DepthwiseGroupConv(nn.Module):
  """A convolution of each channel by itself, with its field's filter turned by its element, and a bias.

  It mixes neither fields nor elements: that is for the 1×1 group convolutions around it (Lengyel and van Gemert 2021,
  arXiv:2110.09059). Size and orientation stay: K is odd. The parameter `kernel` is (K, K, 1, 1, F).
  """
  kernel_size: tuple[int, int]
  group: Group
  kernel_init: Callable = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, |G| F) → the same shape."""
    fields = fields_of(x.shape[-1], self.group)
    kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, 1, 1, fields))
    y = _convolve(x.astype(self.dtype), expand_filters(kernel, self.group, self.dtype), 1, self.kernel_size[0] // 2,
                  feature_group_count=x.shape[-1])
    return _add_bias(self, y, fields)


def _add_bias(module, y, fields):
  bias = module.param("bias", nn.initializers.zeros, (fields,))
  return y + jnp.tile(bias.astype(y.dtype), y.shape[-1] // fields)


def per_field(norm: Callable, group: Group) -> Callable:
  """A norm of (B, ..., C) as one of (B, ..., |G| F) whose moments and factors belong to the fields.

  It takes the elements for one more axis of space, which they are to the convolutions. Layer norms are to be told so:
  `LayerNorm(reduction_axes=(-2, -1))`, whose factors are those of the last axis.
  """
  def normalise(x, **options):
    return norm(x.reshape(*x.shape[:-1], group.order, -1), **options).reshape(x.shape)
  return normalise


def max_pool(x: jax.Array) -> jax.Array:
  """Halves (B, H, W, C) symmetrically: maxima over blocks of 2 along an even side, over 3 neighbours along an odd one.
  """
  if x.shape[1] % 2 == x.shape[2] % 2 == 0:
    return max_pool_2x2(x)
  windows = tuple(2 + side % 2 for side in x.shape[1:3])
  return nn.max_pool(x, windows, strides=(2, 2), padding=tuple((side % 2, side % 2) for side in x.shape[1:3]))


def pool(x: jax.Array, group: Group) -> jax.Array:
  """Invariants (B, 2 F) float32 of features (B, H, W, |G| F): means, and means of the largest element at each place.

  The mean over the elements alone would forget what directions have to do with each other. Of c1, where both are the
  same, there is one: (B, F).
  """
  x = x.astype(jnp.float32)
  if group.order == 1:
    return jnp.mean(x, axis=(1, 2))
  x = x.reshape(*x.shape[:3], group.order, -1)
  return jnp.concatenate([jnp.mean(x, axis=(1, 2, 3)), jnp.mean(jnp.max(x, axis=3), axis=(1, 2))], axis=-1)
