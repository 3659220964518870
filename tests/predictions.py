"""A model that answers at once with an image's mean colours, and folders of images for it."""
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from own_survey import colours, encoded

from galaxy_jax.data import decode


class Answers(NamedTuple):
  fractions: np.ndarray
  lower: np.ndarray | None
  upper: np.ndarray | None
  novelty: np.ndarray | None
  features: np.ndarray


class MeanColours:
  """What `predictor.load` gives, as far as predicting needs it."""
  task, columns, crop = "classes", ("red", "green", "blue"), None

  def __init__(self, name="colours", size=8, batch_size=4, scale=1.0):
    self.name, self.size, self.batch_size, self.variables = name, size, batch_size, {"scale": np.float32(scale)}

  def decode(self, data):
    return decode.decode_image(data, crop=self.crop, size=self.size)

  def answers(self, pixels):
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (self.size, self.size, 3)
    means = pixels.mean((1, 2)).astype(np.float32) * self.variables["scale"] / 255
    return Answers(means, means - 0.1, means + 0.1, means.max(1), means)

  def table(self, answers):
    table = {name: pa.array(answers.fractions[:, i]) for i, name in enumerate(self.columns)}
    if answers.lower is not None:
      table["red_low"] = pa.array(answers.lower[:, 0])
    return table | {"predicted": pa.array([self.columns[i] for i in answers.fractions.argmax(1)], pa.string()),
                    "novelty": pa.array(answers.novelty)}


def expected(*numbers, size=8):
  """The answers to the images that `folder` writes, (N, 3)."""
  return np.stack([decode.decode_image(encoded(colours(n), "PNG"), crop=None, size=size).mean((0, 1)) / 255
                   for n in numbers]).astype(np.float32)


def folder(path, count, name="{:03d}.png"):
  """A folder with images 000.png, 001.png, … of different colours."""
  path.mkdir(parents=True, exist_ok=True)
  for number in range(count):
    (path / name.format(number)).write_bytes(encoded(colours(number), "PNG"))
  return path
