"""A ResNet-18 that is asked to tell real galaxies from simulated ones, and where it looks.

Images of 64 pixels; a width and a stem that two CPU cores train in a few minutes. Where it looks is the gradient of its
logit with respect to the image: where a small change would make a galaxy look more simulated, and in which colour.
"""
import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image
from sklearn.metrics import roc_auc_score

from galaxy_jax.models import create

from .judges import interval

SIDE = 64
#: Outer radii of the rings in which gradients are averaged, in units of the image's side.
RINGS = (0.04, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.43, 0.5)
#: Edges of the bands of frequency, cycles a pixel of 64.
BANDS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_BATCH = 64


class Verdict(NamedTuple):
  """What the network finds on the held-out galaxies.

  Attributes:
    auc: area under the curve.
    interval: the middle 95 % of it under a bootstrap of the galaxies.
    rows: (T,) indices of the held-out galaxies among the real ones followed by the simulated ones.
    scores: (T,) logits of being simulated.
    losses: mean training loss of each epoch.
    by_radius: (2, 3, rings): mean and mean absolute gradient of 256 held-out simulated galaxies, by channel and ring.
    by_frequency: (3, bands): share of the gradient's power by channel and band of frequency.
    ablations: {what was taken out of both sides: the AUC that is left}.
    fakest: indices among the simulated galaxies, the most evident first.
    saliency: (k, 64, 64, 3) gradients of those.
  """
  auc: float
  interval: tuple[float, float]
  rows: np.ndarray
  scores: np.ndarray
  losses: list[float]
  by_radius: np.ndarray
  by_frequency: np.ndarray
  ablations: dict[str, float]
  fakest: np.ndarray
  saliency: np.ndarray


def reduced(images: np.ndarray) -> np.ndarray:
  """Images (N, S, S, 3) uint8 scaled to (N, 64, 64, 3) uint8."""
  return np.stack([np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images])


def judge(real: np.ndarray, simulated: np.ndarray, *, seed: int = 0, epochs: int = 6, width: int = 32,
          shown: int = 12) -> Verdict:
  """Trains on three quarters of the galaxies and judges the others.

  Args:
    real: (N, S, S, 3) uint8.
    simulated: (M, S, S, 3) uint8.
    seed: of the split, the first weights, the order and the turns.
    epochs: passes over the training part.
    width: filters of the network's first stage.
    shown: for how many galaxies the saliency is kept.
  """
  images = np.concatenate([reduced(real), reduced(simulated)])
  truth = np.repeat([0, 1], [len(real), len(simulated)])
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(images))
  test, train = np.sort(order[:len(order) // 4]), order[len(order) // 4:]
  model = create("resnet18", outputs=1, width=width, stem=(3, 2), stem_pool=False)
  variables, losses = _train(model, images, truth, train, rng, epochs, seed)
  logits = jax.jit(lambda variables, x: model.apply(variables, _scaled(x), train=False)[0][:, 0])
  predict = lambda pixels: _batched(partial(logits, variables), pixels)
  scores = predict(images[test])
  gradient = jax.jit(jax.grad(lambda x, variables: model.apply(variables, _scaled(x), train=False)[0].sum()))
  fake = test[truth[test] == 1]
  slopes = _slopes(gradient, variables, images[fake][:256])
  by_radius, by_frequency = _summary(slopes)
  sure = np.argsort(-scores[truth[test] == 1])[:shown]
  saliency = _slopes(gradient, variables, images[fake[sure]])
  ablations = {name: float(roc_auc_score(truth[test], predict(change(images[test]))))
               for name, change in _ablations(images[train]).items()}
  return Verdict(float(roc_auc_score(truth[test], scores)), interval(truth[test], scores), test, scores, losses,
                 by_radius, by_frequency, ablations, fake[sure] - len(real), saliency)


def _scaled(pixels):
  return pixels.astype(jnp.float32) / 255


def _train(model, images, truth, train, rng, epochs, seed):
  variables = model.init(jax.random.key(seed), jnp.zeros((1, SIDE, SIDE, 3)), train=False)
  steps = epochs * (len(train) // _BATCH)
  optimizer = optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3, pct_start=0.2), weight_decay=1e-2)
  state = optimizer.init(variables["params"])

  @partial(jax.jit, donate_argnums=(0, 1))
  def step(variables, state, pixels, labels):
    def loss(params):
      (logits, _), new = model.apply(variables | {"params": params}, _scaled(pixels), train=True,
                                     mutable=["batch_stats"])
      return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels).mean(), new["batch_stats"]
    (value, batch_stats), slope = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    updates, state = optimizer.update(slope, state, variables["params"])
    params = optax.apply_updates(variables["params"], updates)
    return {"params": params, "batch_stats": batch_stats}, state, value

  losses = []
  for _ in range(epochs):
    rows = rng.permutation(train)
    values = []
    for start in range(0, len(rows) - _BATCH + 1, _BATCH):
      part = rows[start:start + _BATCH]
      pixels = images[part]
      if rng.random() < 0.5:
        pixels = pixels[:, :, ::-1]
      pixels = np.rot90(pixels, rng.integers(4), axes=(1, 2))
      variables, state, value = step(variables, state, np.ascontiguousarray(pixels), truth[part].astype(np.float32))
      values.append(value)
    losses.append(float(np.mean(jax.device_get(values))))
  return variables, losses


def _slopes(gradient, variables, images):
  """Gradients averaged over shifts of the image: strided convolutions alone would draw their grid of 16 pixels."""
  total = np.zeros(images.shape, np.float32)
  shifts = [(i, 5 * i % 16) for i in range(16)]
  for shift in shifts:
    shifted = np.roll(images, shift, (1, 2)).astype(np.float32)
    total += np.roll(_batched(lambda x: gradient(x, variables), shifted), (-shift[0], -shift[1]), (1, 2))
  return total / len(shifts)


def _batched(function, pixels, batch=256):
  parts = []
  for start in range(0, len(pixels), batch):
    part = pixels[start:start + batch]
    padded = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), part.dtype)])
    parts.append(np.asarray(function(padded))[:len(part)])
  return np.concatenate(parts)


def _summary(slopes):
  axis = np.arange(SIDE) - (SIDE - 1) / 2
  radius = np.hypot(axis[:, None], axis[None]).ravel() / SIDE
  ring = np.digitize(radius, RINGS)
  flat = slopes.reshape(len(slopes), -1, 3)
  kinds = [np.stack([values[:, ring == i].mean((0, 1)) for i in range(len(RINGS))], 1)
           for values in (flat, np.abs(flat))]
  power = (np.abs(np.fft.rfft2(slopes, axes=(1, 2)))**2).mean(0)
  frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
  bands = np.stack([power[(frequency >= low) & (frequency < high)].sum(0)
                    for low, high in itertools.pairwise(BANDS)], 1)
  return np.stack(kinds), bands / bands.sum()


def _ablations(training):
  """Changes made to both sides that take one kind of evidence away."""
  axis = np.arange(SIDE) - (SIDE - 1) / 2
  radius = np.hypot(axis[:, None], axis[None]) / SIDE
  level = np.median(training[:, radius > 0.48], axis=(0, 1))
  typical = training.mean(0)

  def grey(images):
    # The typical colour of each place stays: a network that never saw grey galaxies would be lost.
    light = images.mean(-1, keepdims=True) / np.maximum(typical.mean(-1, keepdims=True), 1)
    return np.clip(light * typical, 0, 255).astype(np.uint8)

  def without(region, values):
    return lambda images: np.where(region[..., None], values, images).astype(np.uint8)

  def blurred(images):
    return np.stack([np.asarray(Image.fromarray(image).resize((SIDE // 2,) * 2, Image.Resampling.BOX)
                                .resize((SIDE,) * 2, Image.Resampling.BILINEAR)) for image in images])

  return {"colour": grey, "the centre, r < 0.1": without(radius < 0.1, typical),
          "the galaxy, r < 0.25": without(radius < 0.25, typical),
          "the surroundings, r > 0.25": without(radius > 0.25, level), "detail below 4 pixels": blurred}
