"""Two hosts of one run, as two local processes that find each other the way they do under SLURM."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_main import ROOT, TINY

from galaxy_jax.logbook import read_history


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_two_hosts_train_as_one(challenge_dir, tmp_path, kind):
  arguments = [sys.executable, "-m", "galaxy_jax.main", *TINY, f"--config.data.manual_dir={challenge_dir}",
               f"--config.data.data_dir={tmp_path / 'data'}", "--config.train.steps=12", f"--config.parallel={kind}",
               "--config.train.eval_every=0.5"]
  alone = subprocess.run([*arguments, f"--workdir={tmp_path / 'alone'}"], cwd=ROOT, capture_output=True, text=True,
                         timeout=240)
  assert alone.returncode == 0, alone.stderr

  slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
           "SLURM_STEP_NUM_TASKS": "2", "JAX_PLATFORMS": "cpu"}
  hosts = [subprocess.Popen([*arguments, "--distributed", f"--workdir={tmp_path / 'two'}"], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | slurm | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)})
           for i in range(2)]
  logs = [host.communicate(timeout=240)[0] for host in hosts]
  assert [host.returncode for host in hosts] == [0, 0], "\n".join(logs)
  assert "2 × CPU" in logs[0]

  losses = [[value for _, value in read_history(Path(tmp_path, name, "metrics.csv"))["train/loss"]]
            for name in ("alone", "two")]
  np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)
  tables = [pq.read_table(tmp_path / name / "predictions.parquet") for name in ("alone", "two")]
  assert tables[1]["galaxy_id"] == tables[0]["galaxy_id"]
  np.testing.assert_allclose(tables[1]["Class1.1"].to_numpy(), tables[0]["Class1.1"].to_numpy(), atol=5e-3)
