"""The galaxies that are compared: the real ones with what is known of their votes, and simulated ones to match.

Real images are the 424-pixel JPEGs of Galaxy Zoo (quality 75, colour at half resolution), decoded at half scale by the
decoder itself. Simulated ones are rendered at 424 pixels, coded by the same coder with the same settings, and decoded
in the same way; or, three times as quickly, rendered at 212 pixels, and then both sides pass the coder at 212 pixels.
"""
import csv
import functools
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfds_builders.galaxy_sim.rendering import jpeg
from tfds_builders.galaxy_zoo_challenge.kaggle_files import KaggleFiles
from tfds_builders.galaxy_zoo_challenge.validation import validate
from tfds_builders.gz2_tree import COLUMNS

#: Pixels of the compared images, and of the published ones.
SIDE, PUBLISHED = 212, 424
#: How many real galaxies with votes, by ascending id, settings may be tuned on; the same as splits, and the others.
TUNING = 635
TRAIN, TEST = f"train[:{TUNING}]", f"train[{TUNING}:]+validation"
#: Columns that can hold the largest of all 37 fractions.
LARGEST = tuple(COLUMNS.index(name) for name in ("Class1.1", "Class1.2", "Class1.3", "Class6.1", "Class6.2"))
STRATA = ("smooth", "features", "features, odd spiral", "artifact", "odd", "odd, odd spiral", "not odd")


class Galaxies(NamedTuple):
  """Some galaxies.

  Attributes:
    images: (N, 212, 212, 3) uint8.
    votes: (N, 37) float32; NaN where unknown.
    strata: (N,) int, an index into `STRATA`.
  """
  images: np.ndarray
  votes: np.ndarray
  strata: np.ndarray


def samples() -> Path:
  """The folder of real galaxies.

  Raises:
    SystemExit: the environment names none.
  """
  folder = os.environ.get("GALAXY_JAX_SAMPLES")
  if not folder or not Path(folder).is_dir():
    raise SystemExit("GALAXY_JAX_SAMPLES names no folder with the real samples; nothing is measured.")
  return Path(folder)


def voted(folder: Path) -> tuple[np.ndarray, list[bytes]]:
  """The labelled sample by ascending id: votes (N, 37) and JPEG files."""
  with KaggleFiles(folder / "kaggle_format_sample") as files:
    splits = validate(files).splits
    records = [*splits["train"], *splits["validation"]]
    return np.stack([record.vote_fractions for record in records]), [
        record.images.read(record.member) for record in records]


def real(folder: Path, *, exclude_held_out: bool = False) -> Galaxies:
  """All real galaxies: the labelled sample by ascending id, then the challenge's, whose votes are known coarsely.

  Args:
    folder: of the samples.
    exclude_held_out: leave out those of the labelled sample that nothing may be tuned on, all after `TUNING`.
  """
  votes, files = voted(folder)
  if exclude_held_out:
    votes, files = votes[:TUNING], files[:TUNING]
  strata = stratum(votes)
  partial = folder / "kaggle_partial"
  coarse = []
  with open(partial / "labels.csv", newline="") as file:
    for row in csv.DictReader(file):
      files.append((partial / "images" / f"{row['GalaxyID']}.jpg").read_bytes())
      largest = COLUMNS.index(row["largest_answer"].split("_")[0])
      coarse.append(_stratum(LARGEST.index(largest), row["odd_spiral_folder"] == "spirals"))
  votes = np.concatenate([votes, np.full((len(coarse), len(COLUMNS)), np.nan, np.float32)])
  return Galaxies(decoded(files), votes, np.concatenate([strata, np.array(coarse, int)]))


def _stratum(largest, spiral):
  return (0, 2 if spiral else 1, 3, 5 if spiral else 4, 6)[largest]


def stratum(votes: np.ndarray) -> np.ndarray:
  """The stratum of each galaxy: which answer is the largest of all 37, and whether it is voted an odd spiral.

  An odd spiral has more than half its votes for features, for spiral arms and for odd, as in the challenge's
  published subset.

  Args:
    votes: (N, 37) fractions.
  """
  largest = votes[:, LARGEST].argmax(1)
  spiral = (votes[:, [COLUMNS.index(name) for name in ("Class1.2", "Class4.1", "Class6.1")]] > 0.5).all(1)
  return np.array([_stratum(*pair) for pair in zip(largest, spiral, strict=True)], int)


def decoded(files: list[bytes], side: int = SIDE) -> np.ndarray:
  """JPEG files as (N, side, side, 3) uint8, scaled by the decoder where it can."""
  def decode(content):
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (side, side))
    if image.size != (side, side):
      raise ValueError(f"A JPEG decodes to {image.size} pixels where ({side}, {side}) were expected.")
    return np.asarray(image.convert("RGB"))
  with ThreadPoolExecutor(2) as pool:
    return np.stack(list(pool.map(decode, files)))


def coded(images: np.ndarray) -> list[bytes]:
  """Images (N, S, S, 3) uint8 as JPEG files, coded as the published ones are."""
  with ThreadPoolExecutor(2) as pool:
    return list(pool.map(lambda image: jpeg(image, len(image)), images))


def recoded(images: np.ndarray) -> np.ndarray:
  """Images (N, 212, 212, 3) once more through the coder: what both sides pass where one was rendered at 212 pixels."""
  return decoded(coded(images), images.shape[1])


def render(seeds: np.ndarray, mix: str, *, size: int, batch: int = 64, names: tuple[str, ...] = ("image",)) -> dict:
  """Simulated galaxies by seed, batch by batch.

  Args:
    seeds: (N,) whole numbers; galaxy i is that of `jax.random.key(seeds[i])`.
    mix: the population.
    size: pixels.
    batch: how many at once.
    names: the outputs wanted. Without "image" among them nothing is rendered that they do not need.

  Returns:
    Arrays with N rows.
  """
  draw = _compiled(mix, size, tuple(names))
  parts = []
  for start in range(0, len(seeds), batch):
    part = np.resize(seeds[start:start + batch], batch)  # a batch of another length would compile once more
    parts.append({name: np.asarray(value)[:len(seeds) - start] for name, value in draw(part.astype(np.uint32)).items()})
  return {name: np.concatenate([part[name] for part in parts]) for name in names}


@functools.cache
def _compiled(mix, size, names):
  import jax

  from galaxy_jax import simulate

  def one(seed):
    galaxy = simulate.galaxy(jax.random.key(seed), size=size, mix=mix)
    return {name: galaxy[name] for name in names}
  return jax.jit(jax.vmap(one))


def published(images: np.ndarray) -> np.ndarray:
  """Rendered galaxies of 424 pixels as (N, 212, 212, 3), by the way of the published ones."""
  return decoded(coded(images))


def simulated(number: int, shares: np.ndarray, *, seed: int = 0, size: int = SIDE, pool: int = 50,
              log=print) -> Galaxies:
  """Simulated galaxies in the shares of the real ones' strata, coded as those are.

  Votes are drawn for a pool of candidates of the natural mix first, and of the balanced one for what that lacks; only
  those chosen are rendered. No galaxy is taken twice. What neither mix can fill is filled from the natural one.

  Args:
    number: how many.
    shares: (len(STRATA),) the share of each stratum, summing to 1.
    seed: of the draw, below 40.
    size: pixels they are rendered with: 424 for the very way of the published images, 212 for a quicker one, to be
      compared with real images that passed `recoded`.
    pool: candidates a galaxy wanted, in each mix.
    log: takes the lines that say what was drawn.
  """
  wanted = np.floor(shares * number).astype(int)
  wanted[np.argsort(wanted - shares * number)[:number - wanted.sum()]] += 1
  missing = wanted.copy()
  chosen = {"natural": [], "balanced": []}
  for place, mix in enumerate(chosen):
    candidates = (np.arange(number * pool, dtype=np.int64) + (2 * seed + place) * 50_000_000).astype(np.uint32)
    # The votes do not depend on the size, and a small image is soon drawn where they should need one.
    strata = stratum(render(candidates, mix, size=64, batch=1024, names=("vote_fractions",))["vote_fractions"])
    for index in range(len(STRATA)):
      rows = np.flatnonzero(strata == index)[:missing[index]]
      chosen[mix].append(candidates[rows])
      missing[index] -= len(rows)
    log(f"{len(candidates):,} candidates of the {mix} mix: " + ", ".join(
        f"{name} {np.mean(strata == i):.2%}" for i, name in enumerate(STRATA)))
    if not missing.sum():
      break
  left = np.arange(int(missing.sum()), dtype=np.int64) + (2 * seed) * 50_000_000 + number * pool
  chosen["natural"].append(left.astype(np.uint32))
  images, votes = [], []
  for mix, parts in chosen.items():
    seeds = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
    for start in range(0, len(seeds), 1024):
      drawn = render(seeds[start:start + 1024], mix, size=size, batch=32, names=("image", "vote_fractions"))
      images.append(published(drawn["image"]) if size == PUBLISHED else recoded(drawn["image"]))
      votes.append(drawn["vote_fractions"])
  votes = np.concatenate(votes)
  strata = stratum(votes)
  log("drawn of wanted: " + ", ".join(f"{name} {np.sum(strata == i)} of {wanted[i]}" for i, name in enumerate(STRATA)))
  return Galaxies(np.concatenate(images), votes, strata)


def shares(strata: np.ndarray) -> np.ndarray:
  """The share of each stratum."""
  return np.bincount(strata, minlength=len(STRATA)) / len(strata)
