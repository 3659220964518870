"""The same run in other ways, streamed, under pmap, on two hosts: the same losses and predictions to rounding.

With Nesterov's momentum, because AdamW amplifies rounding where gradients are near zero.
"""
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_main import ROOT, command

from galaxy_jax.logbook import read_history

SETTINGS = ["--config.train.steps=12", "--config.train.eval_every=0.5", "--config.optimizer.name=nesterov",
            "--config.optimizer.learning_rate=0.01"]


@pytest.fixture(scope="module")
def start(challenge_dir, tmp_path_factory):
  """Starts the run in a way of its own: (workdir's name, more flags, more environment) → its process."""
  folder = tmp_path_factory.mktemp("ways")

  def start(name, *more, **environment):
    arguments = command(challenge_dir, folder / "data", folder / name, *SETTINGS, *more)
    process = subprocess.Popen(arguments, cwd=ROOT, env=os.environ | environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    process.workdir = folder / name
    return process
  return start


@pytest.fixture(scope="module")
def plain(start):
  return finish(start("plain"))


def finish(*processes):
  """The losses and the predictions that the processes of one run left, and the first one's log."""
  logs = [process.communicate(timeout=240)[0] for process in processes]
  assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(logs)
  workdir = processes[0].workdir
  losses = [value for _, value in read_history(workdir / "metrics.csv")["train/loss"]]
  return losses, pq.read_table(workdir / "predictions.parquet"), logs[0]


def assert_same(one, other):
  np.testing.assert_allclose(other[0], one[0], rtol=1e-4)
  assert other[1]["galaxy_id"] == one[1]["galaxy_id"]
  for name in ("Class1.1", "Class7.2", "Class11.6"):
    np.testing.assert_allclose(other[1][name].to_numpy(), one[1][name].to_numpy(), atol=1e-4)


def test_streamed_and_pmapped(start, plain):
  assert_same(plain, finish(start("other", "--config.data.loader=stream", "--config.parallel=pmap")))


@pytest.mark.skipif(sys.platform != "linux", reason="the hosts find each other as under SLURM")
def test_two_hosts_are_one(start, plain):
  """Streamed: each host decodes its own rows. What pmap does on several hosts is test_hosts.py's."""
  job = str(os.getpid())  # decides the port where the hosts meet
  hosts = [start("two", "--distributed", "--config.data.loader=stream", SLURM_JOB_ID=job,
                 SLURM_STEP_NODELIST="localhost", SLURM_NTASKS="2", SLURM_STEP_NUM_TASKS="2", SLURM_PROCID=str(i),
                 SLURM_LOCALID=str(i)) for i in (0, 1)]
  result = finish(*hosts)
  assert "2 × CPU" in result[2]
  assert_same(plain, result)
