"""VGG-16 with a small head on the challenge's five classes, the two rare ones repeated; and a search for its settings.

  python -m galaxy_jax.search --config=configs/morph5_vgg16.py --config.data.manual_dir=FOLDER --workdir=runs/search \
    --trials=20
  python -m galaxy_jax.main --config=configs/morph5_vgg16.py --config.data.manual_dir=FOLDER --workdir=runs/vgg16

FOLDER holds the competition's zips. The search tries the rate, the optimiser and how many stages stay as published, in
runs that it judges by the last ninth of the training galaxies; its last line has the flags that train with the best.
Galaxies of the test split are only looked at in the end: metrics.json has their accuracy as test/accuracy.

As in pegasus-isi/galaxy-classification-workflow: 80, 10 and 10 % of the galaxies, weights of ImageNet, a new head of
few units, more images of the two rare classes by augmentation, Adam, Optuna. Ours: rare galaxies come as often as
others, augmented anew each time, instead of in a few stored copies; any optimiser; the size of images, 224 pixels.
`gpu` needs galaxy_jax[pretrained]. `cpu` is a VGG-16 of a quarter of the filters from scratch, for a sample.

Expected: the workflow publishes no figure; configs/morph5.py has others' on the same classes.
Here, `cpu`, on 459 galaxies of a real sample in the challenge's form, 57 others to choose the checkpoint by (seed 0):
accuracy 0.667 on the 57 of the test split in 6 minutes on two loaded cores; always the most frequent class has 0.351. A
search of four trials of 6 epochs took 4 minutes, with an interruption.
`gpu` was not measured; the commands above would show it.
"""
import ml_collections

from galaxy_jax.configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  c = base.get_config()
  c.name, c.task, c.variant = "morph5 VGG-16", "classes", base.choose(variant, ("cpu", "gpu"))
  c.data.builder, c.data.repeat_rare = "galaxy_zoo_challenge/morph5", 1.0
  c.data.train, c.data.eval = "train[:89%]", "train[89%:]"
  c.augment.zoom, c.augment.shift, c.augment.normalise = 1.2, 0.05, "imagenet"
  c.model.name, c.model.options = "vgg16", {"hidden": 256, "dropout": 0.2}
  c.loss.name = "cross_entropy"
  c.optimizer.learning_rate, c.optimizer.weight_decay = 1e-4, 1e-4
  c.train.eval_every, c.eval.checkpoint = 0.05, "best"
  c.search = {"optimizer": {
      "learning_rate": ("log", 1e-5, 3e-2), "name": ("choice", "adamw", "nesterov"),
      "frozen": ("choice", (), ("stage1", "stage2"), ("stage1", "stage2", "stage3"),
                 ("stage1", "stage2", "stage3", "stage4"), ("stage1", "stage2", "stage3", "stage4", "stage5"))}}
  if c.variant == "cpu":
    c.data.crop, c.data.size = 256, 96
    c.augment.size, c.augment.view = 64, 2 / 3
    c.model.options.width, c.model.options.hidden = 16, 64
    c.optimizer.learning_rate, c.train.batch_size, c.train.epochs = 1e-3, 32, 40.0
  else:
    c.data.crop, c.data.size = 320, 256
    c.augment.size, c.augment.view = 224, 0.875
    c.model.pretrained = "timm/vgg16.tv_in1k"
    c.train.batch_size, c.train.epochs, c.train.patience = 64, 20.0, 6
  return c
