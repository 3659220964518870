"""Instances under jit and pmap, on one device and two: the same losses, parameters and detections."""
from collections import defaultdict

import numpy as np
import pytest
from conftest import stored_by


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  """{(kind, devices): {name: array}} from a process with two devices."""
  result = defaultdict(dict)
  path = tmp_path_factory.mktemp("two") / "stored.npz"
  for name, values in stored_by("instances_on_devices.py", path, devices=2).items():
    kind, devices, leaf = name.split("/", 2)
    result[kind, int(devices)][leaf] = values
  return result


@pytest.mark.parametrize("other", [("jit", 2), ("pmap", 2)])
def test_devices_make_no_difference(stored, other):
  one = stored["jit", 1]
  assert one["sums/0/loss"][1] == 3 and one["found/valid"].shape == (5, 6)
  assert one["figures/box_ap50"] >= 0 and len(one) > 60
  for name, value in one.items():
    if name.startswith("sums/0"):
      np.testing.assert_allclose(stored[other][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    elif name.startswith(("sums", "state")):
      np.testing.assert_allclose(stored[other][name], value, rtol=1e-3, atol=2e-4, err_msg=name)
    else:
      np.testing.assert_allclose(stored[other][name], value, atol=1e-3, err_msg=name)
