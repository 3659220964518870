"""Masks as bits: what goes in comes out, overlapping or not, on either side."""
import jax
import numpy as np
import pytest

from galaxy_jax.detection import bit_planes


@pytest.mark.parametrize("number", [1, 8, 11])
def test_masks_come_back(number):
  masks = np.random.default_rng(0).random((number, 5, 7)) < 0.4
  packed = bit_planes.pack(masks)
  assert packed.shape == (5, 7, bit_planes.planes(number)) and packed.dtype == np.uint8
  np.testing.assert_array_equal(bit_planes.unpack(packed, number), masks)
  several = jax.jit(bit_planes.unpack, static_argnums=1)(np.stack([packed, 0 * packed]), number)
  np.testing.assert_array_equal(several, np.stack([masks, 0 * masks]))
