"""jit and pmap over two hosts of two devices each, as a pod has them: the sums of one that sees all rows."""
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hosts import ROWS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
  """What each of the hosts stored."""
  folder = tmp_path_factory.mktemp("hosts")
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu",
                              "PYTHONPATH": str(ROOT)}
  processes = [subprocess.Popen([sys.executable, ROOT / "tests/hosts.py", folder / f"{i}.npz", str(port), str(i)],
                                env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
               for i in (0, 1)]
  logs = [process.communicate(timeout=120)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], "\n".join(logs)
  return [dict(np.load(folder / f"{i}.npz")) for i in (0, 1)]


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_both_hosts_see_the_sum_over_all_rows(stored, kind):
  """Every row weighs by its number in the global batch: a row that is missed, doubled or misplaced shows."""
  totals = [((np.arange(ROWS) + number) * (1 + np.arange(ROWS))).sum() for number in range(3)]
  for host in stored:
    np.testing.assert_allclose([host[f"{kind}/{number}"] for number in range(3)], totals, rtol=1e-6)


@pytest.mark.parametrize("kind", ["jit", "pmap"])
@pytest.mark.parametrize("what", ["kept", "merged", "placed"])
def test_the_state_is_one_on_all_hosts(stored, kind, what):
  expected = sum(((np.arange(ROWS) + number) * (1 + np.arange(ROWS))).sum() for number in range(3))
  for host in stored:
    np.testing.assert_allclose(host[f"{kind}/{what}"], expected, rtol=1e-6)
