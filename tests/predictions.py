"""A model that answers at once with an image's mean colours, and folders of images for it."""
import numpy as np
import pyarrow as pa
from own_survey import colours, encoded

from galaxy_jax import calibration
from galaxy_jax.data import decode
from galaxy_jax.predictor import Answers


class MeanColours:
  """What `predictor.load` gives, as far as predicting and embedding need it; its features are the mean colours."""
  task, columns, crop = "classes", ("red", "green", "blue"), None
  calibration, facts = calibration.Calibration(), {"step": 7}

  def __init__(self, name="colours", size=8, batch_size=4, scale=1.0, looks=(1, False, (1.0,)), step=7):
    self.name, self.size, self.batch_size, self.variables = name, size, batch_size, {"scale": np.float32(scale)}
    self.looks, self.step = looks, step

  def with_views(self, rotations, flips, zooms=(1.0,)):
    return MeanColours(self.name, self.size, self.batch_size, self.variables["scale"], (rotations, flips, zooms),
                       self.step)

  def decode(self, data):
    return decode.decode_image(data, crop=self.crop, size=self.size)

  def features(self, pixels):
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (self.size, self.size, 3)
    return pixels.mean((1, 2)).astype(np.float32)

  def answers(self, pixels):
    means = self.features(pixels)
    fractions = means * self.variables["scale"] / 255
    return Answers(fractions, fractions - 0.1, fractions + 0.1, fractions.max(1), means)

  def table(self, answers):
    table = {name: pa.array(answers.fractions[:, i]) for i, name in enumerate(self.columns)}
    if answers.lower is not None:
      table["red_low"] = pa.array(answers.lower[:, 0])
    table["predicted"] = pa.array([self.columns[i] for i in answers.fractions.argmax(1)], pa.string())
    return table | ({"novelty": pa.array(answers.novelty)} if answers.novelty is not None else {})


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
