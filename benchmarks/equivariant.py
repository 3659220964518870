"""What equivariance costs and gains: networks at equal arithmetic and at equal parameters.

  python benchmarks/equivariant.py
  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/equivariant.py --train --workdirs=FOLDER --seeds=0,1,2

The first prints, for 96 pixels, batch 32 and 37 outputs, each network's parameters, the arithmetic of its forward pass,
and the speed of the forward pass and of a training step with plain gradient descent. The networks take turns. A
network's name is followed by its width: with the plain network's the arithmetic is the same, with about √|G| times that
the parameters are.

--train runs configs/gz2.py:scratch on 635 galaxies of the real sample with each network and seed, and compares its
errors on the 159 others with those of the first network, galaxy by galaxy, with a bootstrap interval over galaxies.
Other settings of the runs follow after --: `-- --config.train.epochs=20`. A run that is finished is not run again.
"""
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from galaxy_jax import models

FLAGS = flags.FLAGS
flags.DEFINE_list("networks", None, "name:width, …; the others are compared with the first.")
flags.DEFINE_integer("rounds", 5, "Turns of each network.")
flags.DEFINE_integer("batch", 32, "Images a batch.")
flags.DEFINE_integer("pixels", 96, "Of a side.")
flags.DEFINE_bool("train", False, "Train on the real sample.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to train with.")
flags.DEFINE_string("workdirs", None, "Where the runs of --train are kept.")

#: By plain network: equal arithmetic (the plain width) and equal parameters, of each group.
SPEED = ("resnet18:32", "c1_resnet18:32", "c4_resnet18:32", "d4_resnet18:32", "c4_resnet18:64",
         "d4_resnet18:88", "convnext_pico:32", "c1_convnext_pico:32", "c4_convnext_pico:32",
         "d4_convnext_pico:32", "c4_convnext_pico:64", "d4_convnext_pico:88")
#: What is trained by default: about equal arithmetic, and, of d4, about equal parameters.
TRAINED = ("resnet18:32", "c1_resnet18:32", "c4_resnet18:32", "d4_resnet18:32", "d4_resnet18:88")
OUTPUTS = 37


def case(text):
  name, colon, width = text.partition(":")
  if name not in models.MODELS or not colon or not width.isdecimal():
    raise SystemExit(f"--networks has {text!r}; expected name:width, such as d4_resnet18:32, the name being one of "
                     f"{', '.join(sorted(models.MODELS))}.")
  return name, int(width)


class Timed:
  """One network with its compiled functions and its times."""

  def __init__(self, name, width, images):
    self.label, self.times = f"{name}:{width}", {"forward": [], "train": []}
    network = models.create(name, outputs=OUTPUTS, width=width)
    self.variables = jax.jit(lambda x: network.init(jax.random.key(0), x, train=False))(images[:1])
    self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    def loss(params, variables, x):
      (outputs, _), new = network.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
      return jnp.mean(jnp.square(outputs - 0.5)), new

    def step(variables, x):
      gradient, new = jax.grad(loss, has_aux=True)(variables["params"], variables, x)
      return {"params": jax.tree.map(lambda p, g: p - 1e-4 * g, variables["params"], gradient), **new}

    forward = jax.jit(lambda variables, x: network.apply(variables, x, train=False)[0]).lower(self.variables, images)
    self.flops = forward.cost_analysis()["flops"]
    self.forward, self.step = forward.compile(), jax.jit(step).lower(self.variables, images).compile()

  def turn(self, images, *, keep):
    for kind, call in (("forward", self.forward), ("train", self.step)):
      start = time.perf_counter()
      jax.block_until_ready(call(self.variables, images))
      if keep:
        self.times[kind].append(time.perf_counter() - start)


def measure(networks):
  images = jax.random.uniform(jax.random.key(1), (FLAGS.batch, FLAGS.pixels, FLAGS.pixels, 3))
  timed = [Timed(*case(text), images) for text in networks]
  for turn in range(FLAGS.rounds + 1):  # the first warms up
    for network in timed:
      network.turn(images, keep=turn > 0)
  print(f"{FLAGS.pixels} px, batch {FLAGS.batch}, {jax.devices()[0].device_kind}, jax {jax.__version__}; medians of "
        f"{FLAGS.rounds}")
  print(f"{'network':22s}{'parameters':>12s}{'GFLOP/image':>13s}{'forward/s':>11s}{'GFLOP/s':>9s}{'train/s':>9s}"
        f"{'ms/step':>9s}{'GFLOP/s':>9s}")
  for network in timed:
    forward, train = (statistics.median(network.times[kind]) for kind in ("forward", "train"))
    print(f"{network.label:22s}{network.parameters:12,}{network.flops / FLAGS.batch / 1e9:13.3f}"
          f"{FLAGS.batch / forward:11.1f}{network.flops / forward / 1e9:9.1f}{FLAGS.batch / train:9.1f}"
          f"{train * 1e3:9.0f}{3 * network.flops / train / 1e9:9.1f}")


def compare(networks, extra):
  import sample_runs
  from looks.sets import TEST

  folder = Path(FLAGS.workdirs).absolute()
  data = sample_runs.data_flags(folder)
  errors, minutes = {}, {}
  for text in networks:
    name, width = case(text)
    errors[text], minutes[text] = [], []
    for seed in FLAGS.seeds:
      workdir = folder / f"{name}_{width}_seed{seed}"
      start = time.monotonic()
      sample_runs.train(workdir, "--config=configs/gz2.py:scratch", f"--config.model.name={name}",
                        f"--config.model.options.width={width}", f"--config.seed={seed}", *data, *extra)
      minutes[text].append((time.monotonic() - start) / 60)
      predicted, voted = sample_runs.votes(workdir / "predictions.parquet", TEST)
      errors[text].append(predicted - voted)
      print(f"{text}, seed {seed}: RMSE {sample_runs.rmse(errors[text][-1]):.5f} of {len(voted)} galaxies", flush=True)
  print(f"{'network':22s}{'RMSE':>9s}{'± seeds':>9s}{'minutes':>9s}   change from {networks[0]}, 95 % of the bootstrap")
  table = {}
  for text in networks:
    values = [sample_runs.rmse(e) for e in errors[text]]
    spread = f"{np.std(values, ddof=1):9.5f}" if len(values) > 1 else f"{'':9s}"
    change, low, high = sample_runs.change(np.stack(errors[text]), np.stack(errors[networks[0]]))
    print(f"{text:22s}{np.mean(values):9.5f}{spread}{np.mean(minutes[text]):9.1f}   "
          + ("" if text == networks[0] else f"{change:+.1%}, {low:+.1%} to {high:+.1%}"))
    table[text] = {"rmse": values, "change": change, "interval": [low, high]}
  (folder / "equivariant.json").write_text(json.dumps({"seeds": FLAGS.seeds, "networks": table}, indent=2))


def main(argv):
  if FLAGS.train:
    if not FLAGS.workdirs:
      raise SystemExit("--train needs --workdirs=FOLDER, where the runs are kept.")
    compare(FLAGS.networks or TRAINED, argv[1:])
  else:
    measure(FLAGS.networks or SPEED)


if __name__ == "__main__":
  app.run(main)
