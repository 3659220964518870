"""Every network with published weights beside timm's own, at several sizes and numbers of classes.

timm fills each network with weights by a rule (../reference_outputs/weights_rule.py beside GALAXY_JAX_SAMPLES), writes
them as safetensors and computes its outputs; this project loads the file and computes its own. The largest difference
is printed, relative to the largest output, and the time of ours, compilation included.

timm wants an environment of its own:

  python -m venv peer && peer/bin/pip install timm safetensors
  GALAXY_JAX_SAMPLES=… python benchmarks/published_networks.py --peer=peer/bin/python [--only=convnext_pico,vgg16]

--store=tests/models/published_networks.npz keeps timm's outputs for the cases in STORED, which a test compares with.
"""
import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from galaxy_jax import models, pretrained  # noqa: E402

#: timm's name of each of our networks, and the sizes and numbers of classes to compare.
NETWORKS = {
    "resnet18": ("resnet18", ((64, 5), (97, 10))),
    "resnet26": ("resnet26", ((64, 5), (97, 10))),
    "resnet50": ("resnet50", ((64, 5), (97, 10))),
    "resnet101": ("resnet101", ((64, 5),)),
    "vgg16": ("vgg16", ((96, 5), (129, 10), (256, 2))),
    "inception_v3": ("inception_v3", ((75, 5), (160, 10))),
    "xception": ("legacy_xception", ((64, 5), (101, 10))),
    "convnext_pico": ("convnext_pico", ((64, 5), (100, 10))),
    "convnext_nano": ("convnext_nano", ((64, 5), (100, 10))),
    "convnext_tiny": ("convnext_tiny", ((64, 5),)),
    "convnext_small": ("convnext_small", ((64, 5),)),
    "convnext_base": ("convnext_base", ((64, 5),)),
    "dinov2_small": ("vit_small_patch14_dinov2", ((98, 5), (126, 10), (224, 2), (518, 5), (560, 5))),
    "dinov2_base": ("vit_base_patch14_dinov2", ((112, 5),)),
}
#: The cases that the tests keep: (pixels, classes) other than those of the reference outputs.
STORED = {"resnet18": (97, 10), "vgg16": (96, 5), "dinov2_small": (126, 10)}
PEER = """
import importlib.util, sys
import numpy as np, timm, torch
from safetensors.torch import save_file
rule_path, name, sizes, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location("weights_rule", rule_path)
rule = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rule)
options = {"dynamic_img_size": True} if name.startswith("vit") else {}
for size, classes in (map(int, pair.split(":")) for pair in sizes.split(",")):
  network = timm.create_model(name, num_classes=classes, **options).eval()
  shapes = {key: tuple(x.shape) for key, x in network.state_dict().items()}
  state = {key: torch.from_numpy(np.asarray(rule.tensor(key, shape))) for key, shape in shapes.items()}
  network.load_state_dict(state)
  save_file(state, f"{folder}/{size}_{classes}.safetensors")
  with torch.no_grad():
    stages = network.forward_features(torch.from_numpy(rule.image(size)))
    np.savez(f"{folder}/{size}_{classes}.npz", pooled=network.forward_head(stages, pre_logits=True),
             logits=network.forward_head(stages))
"""


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--peer", required=True, help="the Python that has timm")
  parser.add_argument("--only", default=",".join(NETWORKS), help="some of the networks, with commas")
  parser.add_argument("--store", help="the file to keep timm's outputs of some cases in")
  options = parser.parse_args()
  stored = {}
  path = Path(os.environ["GALAXY_JAX_SAMPLES"]).parent / "reference_outputs/weights_rule.py"
  spec = importlib.util.spec_from_file_location("weights_rule", path)
  rule = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(rule)
  print("| network | pixels | classes | pooled | logits | seconds |\n|---|---|---|---|---|---|")
  for model in options.only.split(","):
    name, cases = NETWORKS[model]
    with tempfile.TemporaryDirectory() as folder:
      sizes = ",".join(f"{size}:{classes}" for size, classes in cases)
      subprocess.run([options.peer, "-c", PEER, path, name, sizes, folder], check=True)
      for size, classes in cases:
        began = time.perf_counter()
        images = jnp.asarray(rule.image(size).transpose(0, 2, 3, 1))
        network = models.create(model, outputs=classes)
        empty = jax.eval_shape(lambda: network.init(jax.random.key(0), images, train=False))
        variables = pretrained.load(f"{folder}/{size}_{classes}.safetensors", model, empty)
        outputs, features = jax.jit(lambda v, x: network.apply(v, x, train=False))(variables, images)
        with np.load(f"{folder}/{size}_{classes}.npz") as theirs:
          differences = [np.max(np.abs(ours - theirs[key])) / np.max(np.abs(theirs[key]))
                         for ours, key in ((features["pooled"], "pooled"), (outputs, "logits"))]
          if STORED.get(model) == (size, classes):
            stored |= {f"{model}/{size}/{classes}/{key}": theirs[key] for key in theirs}
        print(f"| {model} | {size} | {classes} | {differences[0]:.1e} | {differences[1]:.1e} | "
              f"{time.perf_counter() - began:.1f} |", flush=True)
  if options.store:
    np.savez_compressed(options.store, **stored)


if __name__ == "__main__":
  main()
