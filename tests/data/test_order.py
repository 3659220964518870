"""The order of an epoch: a permutation, uniform, the same in numpy and in jax, and exact at any step."""
import warnings
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from galaxy_jax.data import order


@pytest.mark.parametrize("n", [*range(1, 34), 1000, 61578])
def test_every_row_once(n):
  rows = order.permute(np.arange(n), seed=5, epoch=3, n=n)
  assert rows.dtype == np.int32
  np.testing.assert_array_equal(np.sort(rows), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 7, 61578, 2**31 - 1])
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_same_in_numpy_and_jax(n, seed):
  compiled = jax.jit(lambda epoch, offset: order.batch_indices(seed, epoch, offset, 64, n, jnp))
  for step in (0, 10**9):
    start = order.batch_start(step * n // 64, 64, n)
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      expected = order.batch_indices(seed, *start, 64, n)
    got = compiled(*start)
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, expected)


def test_batches_are_the_epochs_one_after_the_other():
  n, seed = 10, 8
  epochs = np.concatenate([order.permute(np.arange(n), seed, epoch, n) for epoch in range(20)])
  for batch_size in (1, 3, 10, 25):
    for step in range(len(epochs) // batch_size):
      got = order.batch_indices(seed, *order.batch_start(step, batch_size, n), batch_size, n)
      np.testing.assert_array_equal(got, epochs[step * batch_size:(step + 1) * batch_size])


def test_start_is_exact_beyond_32_bits():
  epoch, place = order.batch_start(10**12, 4096, 2**31 - 1)
  assert int(epoch) * (2**31 - 1) + int(place) == 10**12 * 4096
  with pytest.raises(OverflowError):
    order.batch_start(2**32, 10, 10)


def test_uniform_over_all_permutations():
  n, epochs = 4, 12000
  orders = order.permute(np.tile(np.arange(n), epochs), 1, np.repeat(np.arange(epochs), n), n).reshape(epochs, n)
  counts = Counter(map(tuple, orders))
  assert len(counts) == 24
  assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_rows_are_uniform_at_each_place():
  n, epochs = 97, 9700
  for place in (0, 1, 50, 96):
    rows = order.permute(np.full(epochs, place), 2, np.arange(epochs), n)
    assert stats.chisquare(np.bincount(rows, minlength=n)).pvalue > 1e-3


@pytest.mark.parametrize("gap", [1, 2, 1000])
def test_rows_beside_each_other_are_independent(gap):
  n = 20011
  rows = order.permute(np.arange(n), 3, 0, n).astype(np.int64)
  steps = (rows[gap:] - rows[:-gap]) % n
  assert stats.chisquare(np.histogram(steps, 100, (0, n))[0]).pvalue > 1e-3
  pairs = np.histogram2d(rows[gap:], rows[:-gap], 10)[0]
  assert stats.chi2_contingency(pairs).pvalue > 1e-3


def test_epochs_and_seeds_have_their_own_orders():
  n = 5000
  first = order.permute(np.arange(n), 0, 0, n)
  others = [order.permute(np.arange(n), seed, epoch, n) for seed, epoch in ((0, 1), (1, 0), (1, 1), (2**31, 0))]
  for other in others:
    assert np.sum(first == other) < 10  # one on average
    assert abs(stats.spearmanr(first, other).statistic) < 0.06


def test_evaluation_covers_every_row_once():
  batches = [order.evaluation_batch(step, 4, 10) for step in range(3)]
  assert all(rows.shape == mask.shape == (4,) and rows.dtype == np.int32 and mask.dtype == np.float32
             for rows, mask in batches)
  rows, mask = map(np.concatenate, zip(*batches, strict=True))
  np.testing.assert_array_equal(rows[mask == 1], np.arange(10))
  assert mask.sum() == 10


def test_bad_lengths_are_refused():
  for n in (0, 2**31):
    with pytest.raises(ValueError, match="rows to put in order"):
      order.permute(np.arange(3), 0, 0, n)
  for arguments in ((-1, 1, 1), (0, 0, 1), (0, 1, 0)):
    with pytest.raises(ValueError, match="Expected step"):
      order.batch_start(*arguments)
