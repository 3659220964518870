"""What the page's tests share: stand-ins for a model, galaxies, requests, and a server in a thread."""
import contextlib
import copy
import io
import threading

import jax
import numpy as np
from conftest import blob

from galaxy_jax import decision_tree, predictor
from galaxy_jax.data.decode import decode_image
from galaxy_jax.serve import server
from galaxy_jax.serve.app import create_app
from galaxy_jax.serve.uploads import Limits
from tfds_builders.gz2_tree import COLUMNS

_fractions = jax.jit(decision_tree.tree_fractions)


class StandIn:
  """What the page needs of a predictor: votes that depend on an image's pixels, at no cost."""
  name, task, columns, crop, size, batch_size = "stand-in", "votes", COLUMNS, None, 32, 8
  facts = {"model": "stand-in", "trained on": "simulated", "step": 3,
           "calibrated on": "635 galaxies of galaxy_zoo_challenge/votes/1.0.0, train[:635]"}
  table = predictor.Predictor.table

  def __init__(self, calibrated: bool = True):
    self._calibrated = calibrated
    self._weights = np.random.default_rng(3).normal(0, 0.4, (4 * 4 * 3, 37)).astype(np.float32)
    self.calls = []  # how many rows each call was of

  def with_views(self, rotations, flips):
    other = copy.copy(self)
    other.calls = []
    return other

  def with_batch_size(self, batch_size):
    other = copy.copy(self)
    other.batch_size = batch_size
    return other

  def decode(self, data):
    return decode_image(data, crop=self.crop, size=self.size)

  def features(self, pixels):
    """Means of 4 × 4 parts, as no other row changes them."""
    parts = pixels.reshape(len(pixels), 4, self.size // 4, 4, self.size // 4, 3).mean(axis=(2, 4), dtype=np.float64)
    return (parts.reshape(len(pixels), 48) / 64).astype(np.float32)

  def predict(self, pixels):
    return self.answers(pixels).fractions

  def answers(self, pixels):
    self.calls.append(len(pixels))
    features = self.features(pixels)
    fractions = np.array([_fractions(np.einsum("d,dk->k", row, self._weights)) for row in features],
                         np.float32).reshape(-1, 37)
    ends = (fractions * 0.7, np.minimum(1, fractions * 1.4)) if self._calibrated else (None, None)
    return predictor.Answers(fractions, *ends, features.max(axis=1, initial=0) / 2, features)


class ClassStandIn(StandIn):
  """The same, of three classes."""
  task, columns = "classes", ("smooth", "edge_on", "spiral")

  def answers(self, pixels):
    votes = super().answers(pixels)
    return predictor.Answers(votes.fractions[:, :3], None, None, None, votes.features)


class Blocked(StandIn):
  """A model that answers when it is told to, once it is told to wait for that."""

  def __init__(self):
    super().__init__()
    self.go, self.began = threading.Event(), threading.Event()
    self.go.set()

  def with_views(self, rotations, flips):
    return StandIn()

  def hold(self):
    self.go.clear()
    self.began.clear()

  def answers(self, pixels):
    if len(pixels):
      self.began.set()
      assert self.go.wait(20)
    return super().answers(pixels)


def jpegs():
  """JPEG files of eleven galaxies."""
  rng = np.random.default_rng(1)
  return [blob(rng, smooth) for smooth in np.linspace(0, 1, 11)]


def multipart(*files):
  """The body of a form with these files."""
  return {"data": {"images": [(io.BytesIO(data), name) for name, data in files]}}


def predict(client, *files, query=""):
  return client.post(f"/api/v1/predict{query}", **multipart(*files))


@contextlib.contextmanager
def serving(model, finder=None, **limits):
  """A server of a model in a thread; gives its address."""
  app = create_app(model, Limits(**limits), finder=finder)
  listening, url = server.bind(app, "127.0.0.1", 0, Limits(**limits))

  def run():
    with contextlib.suppress(OSError):  # its socket is closed while it waits at it
      listening.run()

  thread = threading.Thread(target=run, daemon=True)
  thread.start()
  yield url
  listening.close()
  app.close()
