"""Small sources of encoded galaxies for the tests of the data path."""
import io

import numpy as np
import pytest
from PIL import Image


def galaxy(seed, width, height):
  """A smooth blob, off the centre, as (H, W, 3) uint8."""
  x0, y0, r0, g0, b0 = np.random.default_rng(seed).uniform((-.1, -.1, .6, .6, .6), (.1, .1, 1, 1, 1))
  y, x = np.mgrid[:height, :width]
  squared = ((x + .5) / width - .5 - x0) ** 2 * 20 + ((y + .5) / height - .5 - y0) ** 2 * 40
  return np.uint8(np.round(np.exp(-squared)[..., None] * np.array([r0, g0, b0]) * 230 + 10))


def jpeg(pixels):
  """The bytes of a JPEG file of (H, W, 3) uint8 pixels."""
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "JPEG", quality=95)
  return file.getvalue()


@pytest.fixture(scope="session")
def make_records():
  """A function that makes a source, a list of records."""
  def make(count, width=64, height=64):
    return [{"image": jpeg(galaxy(i, width, height)), "galaxy_id": 1000 + 7 * i,
             "vote_fractions": np.random.default_rng(i).random(37, np.float32)} for i in range(count)]
  return make


@pytest.fixture(scope="session")
def records(make_records):
  """21 records with images of 64 x 64 pixels."""
  return make_records(21)
