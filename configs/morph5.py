"""Five classes of the Galaxy Zoo challenge by Zhu et al. 2019 (Ap&SS 364, 55): a pre-activation ResNet-26 of width 2.

  python -m galaxy_jax.main --config=configs/morph5.py --config.data.manual_dir=FOLDER --workdir=runs/morph5

FOLDER holds the competition's zips; the classes follow from its votes. The run is evaluated on the test split, a tenth
of each class, now and then and once it has ended: the last checkpoint counts, and nothing but the temperature of its
probabilities comes from them.

`gpu` is as published, and, where the article is silent, as in its authors' program: 26 layers with twice the usual
filters behind a stem of 64 of 6×6, the central 170 to 241 pixels scaled to 80, of which 64 are cut out, turns by 90°,
flips, each image standardised, Nesterov at 0.1, a tenth of it after each 30,000 of 100,000 steps of 128 galaxies, decay
1e-4; tested by the mean over the central 180, 200, 220 and 240 pixels. Ours: scales are log-uniform in that range and
drawn for every image, anew in every step; the strengths of brightness, contrast and saturation; 3×3 maxima after the
stem, and strides in the first block of a stage. `cpu` is narrower and shorter, for a sample.

Expected: published accuracy 0.9521; by class 0.967, 0.944, 0.586, 0.944, 0.977.
Here, `cpu` on 516 galaxies of a real sample in the challenge's form, against its other 57 (seed 0): accuracy 0.825 in
8 minutes on one core; always the most frequent class has 0.351.
`gpu` was not measured; the command above would show it.

`best` (`best_gpu`, `best_cpu`) is what we would take for these classes, by the same splits: see configs/morph8.py. It
was not measured on these.
"""
import ml_collections

from galaxy_jax.configs import base

#: The mean, in the logarithm, of the crops in training, pixels; 64 of the 80 pixels that they are scaled to are seen.
_CROP = (170 * 241) ** 0.5
_SEEN = 64 / 80 * _CROP


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  c = base.get_config()
  c.name, c.task = "morph5", "classes"
  best = variant == "best" or variant.startswith("best_")
  c.variant = base.choose("" if variant == "best" else variant, ("cpu", "gpu", "best_cpu", "best_gpu"))
  if variant == "best":
    c.variant = f"best_{c.variant}"
  c.data.builder, c.data.eval, c.data.test = "galaxy_zoo_challenge/morph5", "test", ""
  if best:
    base.best_of_classes(c)
    return c
  c.data.crop, c.data.size = 256, 128
  a = c.augment
  a.size, a.view, a.zoom, a.shift = 64, _SEEN / 256, (241 / 170) ** 0.5, 8 / 64
  a.rotation_step, a.brightness, a.contrast, a.saturation, a.normalise = 90.0, 0.25, 0.25, 0.25, "per_image"
  c.model.name = "resnet26"
  c.model.options = {"preactivation": True, "width": 128, "stem": (6, 1), "stem_width": 64}
  c.loss.name = "cross_entropy"
  o = c.optimizer
  o.name, o.learning_rate, o.weight_decay, o.clip, o.warmup = "nesterov", 0.1, 1e-4, 0.0, 0.0
  o.schedule, o.milestones = "step", (0.3, 0.6, 0.9)
  c.train.batch_size, c.train.ema = 128, 0.0
  c.eval.rotations, c.eval.flips, c.eval.zooms = 1, False, tuple(_CROP / pixels for pixels in (180, 200, 220, 240))
  if c.variant == "cpu":
    c.model.options.width, c.model.options.stem_width = 16, 16
    c.train.batch_size, c.train.epochs, o.learning_rate = 32, 60.0, 0.05
  else:
    c.train.steps, c.train.eval_every, c.simulated.train.steps = 100_000, 0.02, 4000
  return c
