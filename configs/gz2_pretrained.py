"""The Galaxy Zoo challenge after pre-training on simulated galaxies: 37 vote fractions a galaxy.

  python -m galaxy_jax.main --config=configs/gz2_pretrained.py --config.data.manual_dir=FOLDER --workdir=runs/pretrained

The model and the data are those of configs/gz2.py, in the same variants. First the network learns from galaxies that
are drawn anew at every step, in WORKDIR/pretraining; then it is trained on the real ones. An interrupted run goes on
where it was, in either part. Other real data on the same simulated ones: --config.pretrain.train.steps=0
--config.init_from=runs/pretrained/pretraining.

Expected: `cpu`, on 635 galaxies of a sample in the challenge's format, 159 others to test on: RMSE 0.0806 (three seeds
from one pre-training, that of the package's model) in about 40 minutes on two cores, 32 of them for pre-training, where
configs/gz2.py:scratch reaches 0.0901 (benchmarks/simulator_use.py). `gpu` was not measured.
"""
import ml_collections

from galaxy_jax.configs import base, gz2


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  variant = base.choose(variant, ("cpu", "gpu"))
  c = gz2.get_config(variant)
  c.name, c.init_from = "gz2 pretrained", ""
  pretrain = c.pretrain
  # What the network will see of real galaxies, at the same pixels on the sky, is all that is rendered. The simulated
  # population has every orientation, place and size already.
  pretrain.augment = ml_collections.ConfigDict(
      {"view": 1.0, "rotation": 0.0, "flip": False, "zoom": 1.0, "shift": 0.0,
       # What the simulator may have wrong about the survey's colours and brightness is not to be relied on.
       "brightness": 0.25, "contrast": 0.2, "saturation": 0.25, "channel_gain": 0.12, "noise": 0.015})
  # More of what is rare among galaxies: edge-on and merging ones. Forty volunteers' chance would only be in the way.
  pretrain.simulator = ml_collections.ConfigDict({"mix": "balanced", "votes": "expected"})
  pretrain.optimizer = ml_collections.ConfigDict()
  if c.variant == "cpu":
    pretrain.data.crop, pretrain.data.size = 256, 96
    pretrain.train.steps = 8000
    pretrain.optimizer.learning_rate = 2e-3
    c.simulated.pretrain = {"train": {"steps": 400}}
    c.simulated.train.epochs = 20.0
    pretrain.train.ema = 0.99
  else:
    pretrain.data.crop, pretrain.data.size = 276, 128
    pretrain.train.steps = 40_000
    c.simulated.pretrain = {"train": {"steps": 1000}}
    pretrain.optimizer.learning_rate = 1e-3
    c.train.epochs = 60.0
    c.optimizer.learning_rate = 5e-4
  return c
