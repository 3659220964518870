"""One function on many devices: jit over a mesh, or pmap.

What is compiled here is written once, as `function(*arguments, axis_name)`. Under jit it sees the global batch and
`axis_name` is None; under pmap it sees a device's rows and `axis_name` is the axis to sum over. Its arguments are
placed by `replicate` (the same on every device) or `split_rows` (a device's share of the batch's rows); all that it
returns must be the same on every device, and comes back replicated.
"""
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


class Parallel:
  """How this run uses its devices.

  Attributes:
    kind: 'jit' or 'pmap'.
    mesh: all devices of all hosts along the axis 'batch'.
    axis_name: what a compiled function gets under this kind; models sum their batch moments over it.
  """

  def __init__(self, kind: str = "jit", devices: list | None = None):
    """Takes `devices`, all there are by default.

    Raises:
      ValueError: an unknown kind.
    """
    if kind not in ("jit", "pmap"):
      raise ValueError(f"config.parallel is {kind!r}; expected 'jit' or 'pmap'.")
    self.kind = kind
    # In order of hosts, so that a host's rows of a batch are contiguous; jax.make_mesh would go by the network instead.
    devices = sorted(jax.devices() if devices is None else devices, key=lambda d: (d.process_index, d.id))
    # Explicit axes, jax's default, make one-hot losses and fancy indexing fail.
    self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
    self.axis_name = AXIS if kind == "pmap" else None
    self._everywhere = NamedSharding(self.mesh, PartitionSpec())
    self._by_row = NamedSharding(self.mesh, PartitionSpec(AXIS))

  @property
  def device_count(self) -> int:
    """The number of devices of all hosts."""
    return self.mesh.size

  def check_batch(self, size: int, name: str, *, pairs: bool = False) -> None:
    """Raises ValueError where the devices cannot share `size` rows evenly, or pairs of them."""
    if size < 1 or size % self.device_count:
      raise ValueError(f"{name} is {size}; expected a positive multiple of the number of "
                       f"devices, {self.device_count}.")
    if pairs and size % (2 * self.device_count):
      raise ValueError(f"{name} is {size}; config.augment.mixup and config.augment.cutmix mix galaxies two by two on "
                       f"each device, so that a multiple of {2 * self.device_count} is expected.")

  def compile(self, function: Callable, *, donate: tuple[int, ...] = ()) -> Callable:
    """`function` compiled for all devices; `donate`: arguments whose memory the results may take."""
    function = partial(function, axis_name=self.axis_name)
    if self.kind == "jit":
      return jax.jit(function, out_shardings=self._everywhere, donate_argnums=donate)
    return jax.pmap(function, axis_name=AXIS, devices=list(self.mesh.devices.flat), donate_argnums=donate)

  def rows(self, batch_size: int) -> jax.Array:
    """Inside a compiled function: the numbers of this device's rows of the global batch, int32."""
    if self.kind == "jit":
      return jax.lax.with_sharding_constraint(jnp.arange(batch_size, dtype=jnp.int32), self._by_row)
    share = batch_size // self.device_count
    return jax.lax.axis_index(AXIS) * share + jnp.arange(share, dtype=jnp.int32)

  def replicate(self, tree: Any) -> Any:
    """Places host values (the same on every host), or what `globalise` gave, on every device."""
    sharding, stack = (self._everywhere, 0) if self.kind == "jit" else (self._by_row, self.device_count)

    def place(x):
      # Not device_put, which makes the hosts compare what they place, at every step.
      x = np.asarray(x)[None] if stack else np.asarray(x)
      return jax.make_array_from_callback((stack, *x.shape[1:]) if stack else x.shape, sharding,
                                          lambda index: x if stack else x[index])
    return jax.tree.map(place, tree)

  def split_rows(self, batch: Any) -> Any:
    """Places this host's rows of a global batch, each device taking its share."""
    if self.kind == "jit":
      return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self._by_row, np.asarray(x)), batch)
    count = len(self.mesh.local_devices)
    return jax.tree.map(lambda x: np.asarray(x).reshape(count, -1, *np.shape(x)[1:]), batch)

  def globalise(self, tree: Any) -> Any:
    """A compiled function's results as arrays without a device axis, replicated over the mesh."""
    if self.kind == "jit":
      return tree

    def merge(x):
      shards = [shard.data.reshape(shard.data.shape[1:]) for shard in x.addressable_shards]
      return jax.make_array_from_single_device_arrays(x.shape[1:], self._everywhere, shards)
    return jax.tree.map(merge, tree)

  def fetch(self, tree: Any) -> Any:
    """A compiled function's results as numpy arrays on this host."""
    first = lambda x: x.addressable_shards[0].data
    take = (lambda x: np.asarray(first(x))) if self.kind == "jit" else (lambda x: np.asarray(first(x))[0])
    return jax.tree.map(take, tree)

  def abstract(self, tree: Any) -> Any:
    """The shapes and dtypes of `tree`, to be restored replicated over the mesh."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._everywhere), tree)
