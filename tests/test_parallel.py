"""jit and pmap, one device and eight: the same parameters from the same batches."""
from collections import defaultdict

import numpy as np
import pytest
from conftest import stored_by

from galaxy_jax.parallel import Parallel


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  """{(masking, optimiser): {(kind, devices): {name: array}}} from a process with eight devices."""
  result = defaultdict(lambda: defaultdict(dict))
  path = tmp_path_factory.mktemp("eight") / "stored.npz"
  for name, values in stored_by("eight_devices.py", path, devices=8).items():
    masking, optimizer, kind, devices, leaf = name.split("/", 4)
    result[masking, optimizer][kind, int(devices)][leaf] = values
  return result


OTHERS = [("jit", 8), ("pmap", 8)]


@pytest.mark.parametrize("masking", ["full", "uneven"])
@pytest.mark.parametrize("other", OTHERS)
def test_nesterov_gives_the_same_parameters(stored, masking, other):
  runs = stored[masking, "nesterov"]
  assert len(runs["jit", 1]) > 30
  for name, value in runs["jit", 1].items():
    np.testing.assert_allclose(runs[other][name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("masking", ["full", "uneven"])
@pytest.mark.parametrize("other", OTHERS)
def test_gradients_are_the_same(stored, masking, other):
  runs = stored[masking, "gradient"]
  assert all(np.any(value) for value in runs["jit", 1].values())
  for name, value in runs["jit", 1].items():
    # Before a batch norm the gradient sums to nothing over the rows, and images are not centred: what is left of the
    # first convolution's is a small difference of large sums.
    tolerance = 3e-6 if name == "['stem']['kernel']" else 1e-6
    np.testing.assert_allclose(runs[other][name], value, atol=tolerance * np.abs(value).max(), rtol=0, err_msg=name)


@pytest.mark.parametrize("masking", ["full", "uneven"])
@pytest.mark.parametrize("other", OTHERS)
def test_adamw_gives_the_same_losses(stored, masking, other):
  runs = stored[masking, "adamw"]
  np.testing.assert_allclose(runs[other]["['loss']"], runs["jit", 1]["['loss']"], rtol=1e-5)


@pytest.mark.parametrize("other", OTHERS)
def test_weighted_classes_on_a_frozen_stage_are_the_same(stored, other):
  first, last = (stored["classes", name] for name in ("first", "last"))
  for runs in (first, last):
    for name, value in runs["jit", 1].items():
      np.testing.assert_allclose(runs[other][name], value, atol=1e-5, err_msg=name)
  losses = stored["classes", "losses"]
  np.testing.assert_allclose(losses[other]["['loss']"], losses["jit", 1]["['loss']"], rtol=1e-5)
  # The average, [2], is on its way to them.
  stays = {name: np.array_equal(value, first[other][name]) for name, value in last[other].items() if name[:3] != "[2]"}
  assert sum("['stem" in name for name in stays) == 5  # the kernel, scale, bias and both moments
  assert all(same == ("['stem" in name) for name, same in stays.items()), stays


def test_masks_matter(stored):
  """The checks above would pass if the mask were ignored; it is not."""
  full, uneven = (stored[masking, "nesterov"]["jit", 1] for masking in ("full", "uneven"))
  assert max(np.abs(full[name] - uneven[name]).max() for name in full) > 1e-3


def test_a_hosts_rows_are_contiguous():
  """Whatever order the network would have the devices in: a host takes one slice of each batch."""
  class Device:
    platform, device_kind = "cpu", "cpu"

    def __init__(self, number, process):
      self.id, self.process_index = number, process
  devices = [Device(i, process) for i, process in enumerate([0, 1, 0, 1, 2, 2])]
  mesh = Parallel("jit", devices).mesh
  assert [device.process_index for device in mesh.devices.flat] == [0, 0, 1, 1, 2, 2]


def test_a_batch_that_devices_cannot_share_is_refused():
  with pytest.raises(ValueError, match=r"train\.batch_size is 0"):
    Parallel().check_batch(0, "config.train.batch_size")
  with pytest.raises(ValueError, match="'jit' or 'pmap'"):
    Parallel("both")
