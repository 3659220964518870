"""A decoded split that lives on the accelerators: each step draws its batch there, inside the compiled call.

Either every device holds all rows, or each holds its share of them and contributes what it holds of every batch. The
batch that comes out is the same either way, on any number of devices. Rows may have any shape and type.
"""
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from galaxy_jax.data.decode import Decoded, device_labels

# The rest is for the model, its activations and the optimiser.
_SHARE_OF_MEMORY = 0.4


def fits(size: int, devices: Sequence[jax.Device]) -> str:
  """How a split of `size` bytes can be delivered to `devices`: 'replicated', 'sharded' or 'stream'.

  Four tenths of a device's free memory may be taken. Where devices do not tell theirs (CPUs), the host's memory, or
  what its control group allows, is shared by all devices of the host.
  """
  local = [device for device in devices if device.process_index == jax.process_index()]
  stats = [device.memory_stats() for device in local]
  if stats and all(stat and "bytes_limit" in stat for stat in stats):
    free = min(stat["bytes_limit"] - stat.get("bytes_in_use", 0) for stat in stats)
  else:
    free = _host_memory() // max(1, len(local))
  if size <= _SHARE_OF_MEMORY * free:
    return "replicated"
  return "sharded" if size / len(devices) <= _SHARE_OF_MEMORY * free else "stream"


def _host_memory() -> int:
  """The bytes of memory that this process may use."""
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
    try:
      memory = min(memory, int(Path(path).read_text()))
    except (OSError, ValueError):  # Not there, or "max".
      pass
  return memory


def place(decoded: Decoded, mesh: Mesh, *, labels: Sequence[str], sharded: bool,
          pmap: bool = False) -> dict[str, jax.Array]:
  """Puts a split on the devices of a mesh.

  Args:
    decoded: the split; every host reads the rows its own devices hold.
    mesh: the devices, along one axis.
    labels: the labels to take along; the others stay on the host, where a batch's `row` finds them.
    sharded: each device holds ceil(N / devices) rows (zeros fill up the last); else each holds all N.
    pmap: for a function under pmap, which takes arrays with a leading device axis; else for one under jit.

  Returns:
    `image` and the labels, for `draw`.

  Raises:
    ValueError: a label is not there, or is none that a device can hold.
  """
  axis, = mesh.axis_names
  sharding = NamedSharding(mesh, PartitionSpec(axis) if sharded or pmap else PartitionSpec())
  count = len(decoded.images)
  rows = -(-count // mesh.size) if sharded else count

  def put(array):
    def part(start):
      piece = np.asarray(array[start:start + rows])
      if len(piece) < rows:
        piece = np.concatenate([piece, np.zeros((rows - len(piece), *piece.shape[1:]), piece.dtype)])
      return piece

    def on_device(index):
      start = index[0].start or 0
      if pmap:  # Here the index counts devices.
        return part(start * rows if sharded else 0)[None]
      return part(start)

    leading = (mesh.size, rows) if pmap else (mesh.size * rows if sharded else rows,)
    return jax.make_array_from_callback((*leading, *array.shape[1:]), sharding, on_device)

  return {name: put(array)
          for name, array in {"image": decoded.images, **device_labels(decoded.labels, labels)}.items()}


def draw(data: Mapping[str, jax.Array], indices: jax.Array, mask: jax.Array | None = None, *, mesh: Mesh,
         sharded: bool, axis_name: str | None = None) -> dict[str, jax.Array]:
  """Inside a compiled function: the rows `indices` of what `place` placed, as a batch.

  Args:
    data: from `place`, with the same mesh and `sharded`; under pmap as the function sees it, without device axis.
    indices: (B,) int32 rows of the global batch, the same on every device; B is a multiple of the devices.
    mask: (B,) float32, 1 for real rows; all are where it is None.
    mesh: the devices, along one axis.
    sharded: whether each device holds its share of the rows, or all.
    axis_name: the axis's name under pmap; None under jit.

  Returns:
    `image` and labels (B, …), `row` (B,) int32, `mask` (B,) float32. Under pmap this device's share of the rows; under
    jit all of them, spread over the mesh.

  Raises:
    ValueError: B is not a multiple of the devices.
  """
  if indices.shape[0] % mesh.size:
    raise ValueError(f"A batch of {indices.shape[0]} rows cannot be shared by {mesh.size} devices; "
                     "choose a multiple of their number.")
  mask = jnp.ones(indices.shape, jnp.float32) if mask is None else mask
  data = dict(data)
  if axis_name is not None:
    return _draw(data, indices, mask, axis_name=axis_name, sharded=sharded)
  axis, = mesh.axis_names
  part = PartitionSpec(axis)
  return jax.shard_map(partial(_draw, axis_name=axis, sharded=sharded), mesh=mesh,
                       in_specs=(part if sharded else PartitionSpec(), PartitionSpec(), PartitionSpec()),
                       out_specs=part)(data, indices, mask)


def _draw(data: dict[str, jax.Array], indices: jax.Array, mask: jax.Array, *, axis_name: str,
          sharded: bool) -> dict[str, jax.Array]:
  """`draw` as one device sees it."""
  share = indices.shape[0] // lax.axis_size(axis_name)
  device = lax.axis_index(axis_name)
  own = partial(lax.dynamic_slice_in_dim, start_index=device * share, slice_size=share)

  def take_own(rows):
    return jnp.take(rows, own(indices), axis=0, mode="clip")

  def gather(rows):
    place_here = indices - device * rows.shape[0]
    held = (place_here >= 0) & (place_here < rows.shape[0])
    part = jnp.take(rows, place_here, axis=0, mode="clip")
    part = jnp.where(held.reshape(-1, *(1,) * (part.ndim - 1)), part, jnp.zeros((), part.dtype))
    # One device alone holds each row, so the sum is that row to the bit, in any type.
    summed = lax.psum_scatter(part.astype(jnp.uint8) if part.dtype == bool else part, axis_name, tiled=True)
    return summed.astype(part.dtype)

  return jax.tree.map(gather if sharded else take_own, data) | {"row": own(indices), "mask": own(mask)}
