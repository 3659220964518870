"""Galaxy10 by a small network of four convolutions, on the central 88 of 128 pixels.

  python -m galaxy_jax.main --config=configs/galaxy10_cnn.py --workdir=runs/galaxy10_cnn

Galaxy10_DECals.h5 (2.7 GB) is downloaded, or taken from --config.data.manual_dir=FOLDER; needs galaxy_jax[galaxy10].
90 % of each class are trained on, the other 10 % tested on. Compare with the others:
`python -m galaxy_jax.report --workdirs=runs/galaxy10_baseline,runs/galaxy10_cnn,runs/galaxy10_resnet50`.

As published: four convolutions, 256 pixels scaled to 128, of which the central 88 are seen, 90 and 10 % stratified.
Not published, so ours: the filters, pools and dropouts (GalaxyID's), the optimiser, and how images are turned, moved
and zoomed in training.

Expected: published accuracy 0.811, the figure of the study whose protocol this is; the most frequent class has 0.149.
The accuracy was not measured here, where the published file was not at hand: the command above would show it. On a made
file of the same form the config trains, evaluates and reports.
"""
import ml_collections

from galaxy_jax.configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment."""
  c = base.get_config()
  c.variant = base.choose(variant, ())
  c.name, c.task = "Galaxy10 CNN", "classes"
  c.data.builder, c.data.eval, c.data.test = "galaxy10/decals_seed004", "test", ""
  c.data.size, c.augment.size, c.augment.view = 128, 88, 88 / 128
  c.augment.zoom, c.augment.normalise = 1.2, "per_image"
  c.model.name, c.model.options = "galaxyid", {"dropout": 0.3}
  c.loss.name = "cross_entropy"
  c.optimizer.learning_rate, c.optimizer.weight_decay = 1e-3, 0.01
  c.train.batch_size, c.train.epochs = 64, 60.0
  c.simulated.data.label = "ten_class"
  return c
