"""The peer's networks on the real sample, with their predictions kept, so that galaxies can be compared one by one.

  pip install torch numpy opencv-python-headless pillow pyyaml safetensors huggingface_hub
  pip install --no-deps timm torchvision
  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/timm_peer.py --output=predictions.npz --task=classes --epochs=60 --seed=0

Runs `peers/timm_baseline.py`, which lies beside the samples, as it is: its arguments follow. The file gets `predicted`,
(N, 37) fractions or (N, 8) probabilities of its test galaxies, `truth`, and `seconds`. Needs nothing of this project.
"""
import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

#: The line after which the peer has its final predictions, and what is put behind it.
_AFTER = "        q = sum(final(model(v)) for v in views) / len(views)\n"
_KEEP = "      KEPT.update(predicted=q.numpy(), truth=y[test].numpy())\n"


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--output", type=Path, required=True)
  ours, theirs = parser.parse_known_args()
  samples = Path(os.environ["GALAXY_JAX_SAMPLES"]).absolute()
  path = samples.parent / "peers/timm_baseline.py"
  source = path.read_text()
  if source.count(_AFTER) != 1:
    raise SystemExit(f"{path} is not the peer that this script knows.")
  kept, start = {}, time.monotonic()
  sys.argv = [str(path), "--samples", str(samples), *theirs]
  exec(compile(source.replace(_AFTER, _AFTER + _KEEP), str(path), "exec"), {"__name__": "__main__", "KEPT": kept})
  np.savez(ours.output, **kept, seconds=time.monotonic() - start)


if __name__ == "__main__":
  main()
