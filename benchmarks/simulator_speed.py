"""Simulated galaxies a second, votes included.

  python benchmarks/simulator_speed.py --size=128 --batches=32,64,128,256

Each batch size is compiled by itself (its time is given apart) and then drawn again and again with new keys, until the
least number of seconds has passed; the median and the best rate count whole batches, images and votes made and waited
for.
"""
import functools
import os
import statistics
import time

import jax
from absl import app, flags

from galaxy_jax import simulate

FLAGS = flags.FLAGS
flags.DEFINE_integer("size", 128, "Pixels.")
flags.DEFINE_integer("crop", 424, "Pixels of the cut-out that are shown.")
flags.DEFINE_integer("quality", 0, "JPEG quantisation inside the renderer; 0 for none.")
flags.DEFINE_string("mix", "natural", "Population.")
flags.DEFINE_list("batches", ["32", "64", "128", "256"], "Batch sizes.")
flags.DEFINE_float("seconds", 8.0, "At least so long for each.")


def main(_):
  device = jax.devices()[0]
  cores = len(os.sched_getaffinity(0))
  name = f"{cores} CPU cores" if device.platform == "cpu" else device.device_kind
  print(f"{FLAGS.size} px of a cut-out's {FLAGS.crop or 424}, {FLAGS.mix} mix, {name}, jax {jax.__version__}, "
        f"load before {os.getloadavg()[0]:.1f}")
  print(f"{'batch':>6s}{'compiled in s':>15s}{'galaxies/s':>12s}{'best':>8s}{'ms a batch':>12s}{'memory, MB':>12s}")
  for batch in map(int, FLAGS.batches):
    print("{:6d}{:15.1f}{:12.0f}{:8.0f}{:12.1f}{:>12s}".format(batch, *measure(batch, device)))


def measure(batch, device):
  """Seconds to compile, median and best galaxies/s, milliseconds a batch, memory."""
  one = functools.partial(simulate.galaxy, size=FLAGS.size, crop=FLAGS.crop, mix=FLAGS.mix, quality=FLAGS.quality)

  def draw(t):
    base = jax.random.fold_in(jax.random.key(0), t)
    return jax.vmap(lambda row: one(jax.random.fold_in(base, row)))(jax.numpy.arange(batch))
  start = time.perf_counter()
  compiled = jax.jit(draw).lower(jax.numpy.int32(0)).compile()
  compiling = time.perf_counter() - start
  jax.block_until_ready(compiled(jax.numpy.int32(0)))
  times = []
  while len(times) < 3 or sum(times) < FLAGS.seconds:
    start = time.perf_counter()
    jax.block_until_ready(compiled(jax.numpy.int32(len(times) + 1)))
    times.append(time.perf_counter() - start)
  memory = compiled.memory_analysis()
  used = "–" if memory is None else f"{(memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6:.0f}"
  median = statistics.median(times)
  return compiling, batch / median, batch / min(times), median * 1e3, used


if __name__ == "__main__":
  app.run(main)
