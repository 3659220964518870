"""Which rows batch t holds: the order of an epoch as one integer permutation, the same in numpy and in jax.

The permutation is a swap-or-not shuffle: each round pairs every place with another by one random sum and swaps
the pair or not by one random bit. It is a bijection for every length, needs no table, and any place can be asked for
alone, so a run starts at any step at no cost and many hosts agree without talking.

Epochs follow each other without a gap: batch t covers the global positions t·B … t·B + B - 1, and position p is place
p mod n of epoch p div n. `xp` is numpy or jax.numpy, the arithmetic uint32's alone; with numpy, jax is not
imported.

Source: Hoang, Morris and Rogaway 2012, An enciphering scheme based on a card shuffle, arXiv 1208.1176. The hash is
MurmurHash3's 32-bit finaliser (public domain, Austin Appleby).
"""
from types import ModuleType
from typing import Any

import numpy as np

# Each round leaves half the pairs of rows as far apart as they were: after 24, 6e-8 of them still are.
ROUNDS = 24

_GOLDEN = np.uint32(0x9E3779B9)
_FIRST = np.uint32(0x85EBCA6B)
_SECOND = np.uint32(0xC2B2AE35)


def _mix(x: Any) -> Any:
  """MurmurHash3's finaliser of a uint32 array: a bijection in which each bit of `x` moves every bit of the result."""
  x = (x ^ (x >> 16)) * _FIRST
  x = (x ^ (x >> 13)) * _SECOND
  return x ^ (x >> 16)


def permute(places: Any, seed: Any, epoch: Any, n: int, xp: ModuleType = np) -> Any:
  """The rows that an epoch's order holds at `places`.

  Args:
    places: (B,) integers in [0, n).
    seed: an integer in [0, 2**32).
    epoch: an integer, or (B,) integers, in [0, 2**32).
    n: the number of rows, 1 to 2**31 - 1.
    xp: numpy or jax.numpy.

  Returns:
    (B,) int32 rows in [0, n): all n of them, each once, where `places` are all n places.

  Raises:
    ValueError: n is out of range.
  """
  if not 0 < n < 2**31:
    raise ValueError(f"Expected 1 to 2**31 - 1 rows to put in order; got {n}.")
  x = xp.asarray(places).astype(xp.uint32)
  if n == 1:  # XLA 0.10 on CPU fails to compile a chain of remainders by 1.
    return xp.zeros(x.shape, xp.int32)
  # Whole arrays: numpy warns when a scalar overflows, and wraps an array silently.
  seed = xp.full(x.shape, xp.asarray(seed, dtype=xp.uint32))
  epoch = xp.broadcast_to(xp.asarray(epoch, dtype=xp.uint32), x.shape)
  # One key a round and place, not a running one: compiled, the chain of operations is half as long.
  key = _mix(_mix(seed + _GOLDEN) + epoch)
  keys = _mix(key + _GOLDEN * xp.arange(1, ROUNDS + 1, dtype=xp.uint32)[:, None])
  length = np.uint32(n)
  sums = _mix(keys ^ _FIRST) % length
  for round_key, round_sum in zip(keys, sums, strict=True):
    partner = round_sum + (length - x)
    partner = xp.where(partner >= length, partner - length, partner)
    # Both of a pair ask about the larger of the two, so that both swap or neither does.
    bit = _mix(xp.maximum(x, partner) ^ round_key) & np.uint32(1)
    x = xp.where(bit == 1, partner, x)
  if xp is not np:
    from jax import lax
    # Where a gather reads the rows, XLA on CPU (jax 0.12) fuses the rounds into it and never finishes compiling.
    x = lax.optimization_barrier(x)
  return x.astype(xp.int32)


def batch_start(step: int, batch_size: int, n: int) -> tuple[np.uint32, np.uint32]:
  """Where batch `step` begins, as the (epoch, place) that `batch_indices` takes; exact at any step.

  Raises:
    ValueError: a negative step, a batch or a dataset without rows.
    OverflowError: 2**32 epochs or more.
  """
  if step < 0 or batch_size < 1 or n < 1:
    raise ValueError(f"Expected step ≥ 0, batch size ≥ 1 and rows ≥ 1; got {step}, {batch_size} and {n}.")
  epoch, place = divmod(int(step) * int(batch_size), int(n))
  return np.uint32(epoch), np.uint32(place)


def batch_indices(seed: Any, start_epoch: Any, start_offset: Any, batch_size: int, n: int,
                  xp: ModuleType = np) -> Any:
  """The rows of the batch that begins at place `start_offset` of epoch `start_epoch`.

  A batch may reach over the end of an epoch, and may be larger than the dataset.

  Args:
    seed: an integer in [0, 2**32).
    start_epoch, start_offset: from `batch_start`; arrays under jit, so that one compiled step serves every batch.
    batch_size: B.
    n: the number of rows.
    xp: numpy or jax.numpy.

  Returns:
    (B,) int32 rows in [0, n).
  """
  position = xp.asarray(start_offset, dtype=xp.uint32) + xp.arange(batch_size, dtype=xp.uint32)
  length = np.uint32(n)
  ended = position // length
  epoch = xp.asarray(start_epoch, dtype=xp.uint32) + ended
  return permute(position - ended * length, seed, epoch, n, xp)


def step_rows(seed: int, step: int, batch_size: int, n: int) -> np.ndarray:
  """The rows of batch `step` on the host: (B,) int32. As `batch_start` and `batch_indices`."""
  return batch_indices(seed, *batch_start(step, batch_size, n), batch_size, n)


def evaluation_batch(step: int, batch_size: int, n: int) -> tuple[np.ndarray, np.ndarray]:
  """Batch `step` of ceil(n / batch_size) that hold every row once, in order, all of one size.

  Returns:
    (B,) int32 rows and (B,) float32 mask: the last batch is filled up with row 0 under mask 0.
  """
  rows = np.arange(step * batch_size, (step + 1) * batch_size)
  real = rows < n
  return np.where(real, rows, 0).astype(np.int32), real.astype(np.float32)
