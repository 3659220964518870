"""What feeding costs: a resident training step beside the same step called alone on a batch already in place.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/train_step.py --config=configs/gz2.py:scratch

Three loops take turns, so that a slow spell of the machine hits all of them; the table gives the median time a step:
  resident     order, draw from the resident split, augment, train: what a run does
  in place     the same step, augmentation included, on a batch that lies on the device already
  no augment   the step without augmentation, on an augmented batch that lies on the device already
"""
import os
import statistics
import tempfile
import time
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from galaxy_jax import datasets, experiment, feeds
from galaxy_jax.parallel import Parallel
from galaxy_jax.train_step import init_state, make_train_step

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", "configs/gz2.py:scratch", "The experiment whose step is measured.")
flags.DEFINE_integer("rounds", 12, "Turns of each loop.")
flags.DEFINE_integer("steps", 10, "Steps a turn.")


def main(_):
  config = FLAGS.config
  if not config.data.manual_dir:
    if "GALAXY_JAX_SAMPLES" not in os.environ:
      raise SystemExit("GALAXY_JAX_SAMPLES names no folder with the real samples; nothing is measured.")
    config.data.manual_dir = str(Path(os.environ["GALAXY_JAX_SAMPLES"]) / "kaggle_format_sample")
  with tempfile.TemporaryDirectory() as folder:
    config.data.data_dir = config.data.data_dir or folder
    measure(config)


def measure(config):
  config = experiment.resolve(config)
  parallel = Parallel("jit")
  task = experiment.make_task(config, axis_name=None, all_views=False)
  optimizer, _ = experiment.make_optimizer(config, steps=10_000)
  step = make_train_step(task, optimizer, seed=0, ema=config.train.ema)
  plain = make_train_step(task._replace(augment=lambda keys, batch: batch), optimizer, seed=0, ema=config.train.ema)
  size = config.train.batch_size
  with feeds.open_feed(config, datasets.open_dataset(config), parallel, task) as feed:
    feed.compile(step)
    batch = {name: value[:size] for name, value in feed._data.items()}
    batch |= {"mask": jax.numpy.ones(size), "place": jax.numpy.arange(size)}
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(0), row))(batch["place"])
    seen = jax.block_until_ready(jax.jit(task.augment)(keys, batch))
    in_place = jax.jit(step, donate_argnums=0)
    without = jax.jit(plain, donate_argnums=0)
    loops = {"resident": lambda state, t: feed.advance(state, t, feed.steps_per_call),
             "in place": lambda state, t: in_place(state, batch),
             "no augment": lambda state, t: without(state, seen)}
    per_call = {"resident": feed.steps_per_call, "in place": 1, "no augment": 1}
    steps = -(-FLAGS.steps // feed.steps_per_call) * feed.steps_per_call
    states = {name: parallel.replicate(init_state(task, optimizer, seed=0, ema=config.train.ema)) for name in loops}
    times = {name: [] for name in loops}
    for turn in range(FLAGS.rounds + 1):
      for name, loop in loops.items():
        state, start = states[name], time.perf_counter()
        for t in range(0, steps, per_call[name]):
          state, sums = loop(state, turn * steps + t)
        jax.block_until_ready((state, sums))
        states[name] = state
        if turn:  # the first turn compiles
          times[name].append((time.perf_counter() - start) / steps)
  print(f"{config.model.name}, {config.augment.size} px, batch {size}, {experiment.hardware()}, jax {jax.__version__}")
  alone = statistics.median(times["in place"])
  print(f"{'loop':12s}{'ms/step':>10s}{'least':>10s}{'galaxies/s':>12s}{'to in place':>13s}")
  for name, values in times.items():
    median = statistics.median(values)
    print(f"{name:12s}{median * 1e3:10.1f}{min(values) * 1e3:10.1f}{size / median:12.0f}{median / alone - 1:+13.1%}")


if __name__ == "__main__":
  app.run(main)
