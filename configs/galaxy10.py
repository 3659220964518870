"""Galaxy10: the network that we would take for it, equivariant under turns and mirrorings.

  python -m galaxy_jax.main --config=configs/galaxy10.py --workdir=runs/galaxy10

Galaxy10_DECals.h5 (2.7 GB) is downloaded, or taken from --config.data.manual_dir=FOLDER; needs galaxy_jax[galaxy10].
90 % of each class are trained on, the other 10 % tested on, as in configs/galaxy10_cnn.py.

`gpu` trains a D4-equivariant ResNet-18 from random parameters: equivariant networks hold the record on these images.
Turning an image by 90° or mirroring it changes nothing in what it says; augmentation has the angles between. `cpu`, for
two processor cores, starts from the model that comes with the package.

Expected: published accuracies 0.955 (an equivariant network), 0.949 (Astroformer), about 0.90 (ResNet-101,
Inception-v4), of splits that cannot be reproduced. It was not measured here: the command above would show it. On a made
file of the same form the config trains, evaluates and reports.
"""
import ml_collections

from galaxy_jax.configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  c = base.get_config()
  c.name, c.task, c.variant = "Galaxy10", "classes", base.choose(variant, ("cpu", "gpu"))
  c.data.builder, c.data.eval, c.data.test = "galaxy10/decals_seed004", "test", ""
  c.loss.name, c.loss.label_smoothing = "cross_entropy", 0.1
  if c.variant == "cpu":
    base.small(c)
    c.data.crop, c.data.size = 0, 128
    c.augment.view = 0.9
    c.train.epochs = 20.0
  else:
    c.data.size, c.augment.size, c.augment.view, c.augment.zoom = 224, 192, 0.9, 1.2
    c.model.name, c.model.options = "d4_resnet18", {"width": 128, "dropout": 0.3}
    c.train.batch_size, c.train.epochs, c.train.ema = 128, 120.0, 0.999
  c.simulated.data.label = "ten_class"
  return c
