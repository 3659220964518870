"""Zoobot: a published encoder with a Dirichlet-multinomial head on the numbers of votes of Galaxy Zoo 2.

  python -m galaxy_jax.main --config=configs/zoobot.py --config.data.manual_dir=FOLDER --workdir=runs/zoobot

FOLDER holds images_gz2.zip, gz2_filename_mapping.csv and gz2_hart16.csv. Where the table has no counts, they follow
from total_classifications and the fractions down the tree; of the challenge's galaxies (--config.data.builder=
galaxy_zoo_challenge) not even those are known, and config.loss.volunteers are assumed. The log says which. Predictions
are the mean fractions, down the tree.

`gpu` (needs galaxy_jax[pretrained]) fine-tunes a ConvNeXt of the hub as Zoobot does: AdamW at 1e-4, decay 0.05, 0.75 of
the rate for each stage further from the head, dropout 0.5, until ten evaluations bring nothing; pixels are not
normalised. (In Zoobot the last stage, too, has the head's rate, so the encoder's rates are 4/3 of those here.) `cpu`
trains a small ResNet-18 from scratch.

Expected: Zoobot publishes no RMSE for these 37 columns.
Here, `cpu` on the 628 training galaxies of a real sample without counts, against the 166 others (seed 0): RMSE 0.0909
in 8 minutes on one core.
`gpu` was not measured; the command above would show it.
"""
import ml_collections

from galaxy_jax.configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """The experiment in one of its variants."""
  c = base.get_config()
  c.name = "Zoobot"
  c.variant = base.choose(variant, ("cpu", "gpu"))
  c.data.builder, c.data.test = "galaxy_zoo_2/votes", ""
  c.model.output, c.loss.name = "dirichlet", "dirichlet_multinomial"
  c.optimizer.clip = 0.0
  if c.variant == "cpu":
    base.small(c, from_package=False)
    c.train.epochs = 60.0
  else:
    # The central 70 to 80 % of the area.
    c.data.crop, c.data.size = 0, 300
    c.augment.size, c.augment.view, c.augment.zoom, c.augment.shift = 224, 0.866, 1.034, 0.0
    c.model.name = "convnext_nano"
    c.model.pretrained = "mwalmsley/zoobot-encoder-convnext_nano"
    c.model.options.dropout = 0.5
    c.optimizer.learning_rate, c.optimizer.schedule, c.optimizer.layer_decay = 1e-4, "constant", 0.75
    c.train.batch_size, c.train.epochs, c.train.eval_every, c.train.patience = 128, 100.0, 0.01, 10
    c.eval.checkpoint, c.data.test = "best", "test"
  return c
