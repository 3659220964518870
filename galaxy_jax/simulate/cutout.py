"""One galaxy as Galaxy Zoo shows it: the sky around it, through the instrument, with its votes, classes and outline."""
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.simulate import instrument, labels, light, population, volunteers
from galaxy_jax.simulate.instrument import CUTOUT_PIXELS, CUTOUT_SCALE, NATIVE_PIXEL

#: The colour image: what g, r, i are multiplied by, and Q of the stretch, both fitted; the photo-electrons that a
#: nanomaggy gives in the survey's 54 s.
SCALES, SOFTENING, GAIN = (5.4, 3.5, 3.17), 2.6, (800.0, 980.0, 650.0)
#: How soft the enlargement is (see instrument.resample), and how coarsely tiles code colour.
SMOOTH, TILE_CHROMA_QUALITY = 0.5, 52.0
#: Counts that the published images lack in red, green and blue.
BLACK = (0.4, 0.0, 1.0)
#: The largest side of an image, pixels: what is rendered fills the memory with its square.
LARGEST = 8192
#: The isophote of outlines: r-band magnitudes per square arcsec.
ISOPHOTE = 24.0
#: The same in nanomaggies per native pixel.
ISOPHOTE_FLUX = 10 ** (0.4 * (22.5 - ISOPHOTE)) * NATIVE_PIXEL**2


def detector(size: int, width) -> tuple[int, jax.Array]:
  """The grid that a view is first seen on: pixels a side, and arcsec per pixel.

  Native pixels where the view is enlarged; where it has fewer pixels than the sky, its own. A margin lies around the
  view, as the edges wrap, and whole JPEG blocks fill it.
  """
  return -(-(size + 16) // 16) * 16, jnp.maximum(NATIVE_PIXEL, width / size)


def view_width(g: dict, crop: int) -> jax.Array:
  """Arcsec that the central `crop` of the 424 pixels show; 0 counts as all."""
  return (crop or CUTOUT_PIXELS) * CUTOUT_SCALE * g["r90"]


def seen(sky, pitch, frame: dict) -> jax.Array:
  """A sky (3, M, M) through a frame's seeing, with its bands displaced; `pitch` in arcsec per pixel."""
  return instrument.see(sky, pitch, frame["seeing"] * jnp.asarray(instrument.SEEING_RATIO), frame["band_shift"])


def parts(g: dict, *, size: int, crop: int = CUTOUT_PIXELS):
  """The noiseless light on the detector: of the galaxy and of its surroundings.

  Args:
    g: parameters, from `population.draw`.
    size: pixels of the view that follows.
    crop: as `galaxy`.

  Returns:
    Two (3, M, M) arrays, g, r, i, in nanomaggies per native pixel, seeing included, and the pitch, arcsec.
  """
  pixels, pitch = detector(size, view_width(g, crop))
  x, y = light.grid(pixels, pitch)
  own = light.target(g, x, y, pitch)
  others = light.surroundings(g, x, y, pitch)
  unit = NATIVE_PIXEL**2
  return seen(own * unit, pitch, g), seen(others * unit, pitch, g), pitch


def photograph(key, g: dict, sky, pitch, *, size: int, crop: int, quality: int) -> jax.Array:
  """Noise, colour stretch, JPEG tile and cut-out of what the detector sees: (3, M, M) → (size, size, 3) uint8."""
  binning = pitch / NATIVE_PIXEL
  columns = jnp.arange(sky.shape[-1])
  bad = (columns == jnp.round((sky.shape[-1] - 1) / 2 + g["column_offset"] / pitch)) * g["column_strength"] / binning
  sky = instrument.saturate(sky, instrument.FULL_PIXEL)
  picture = develop(key, sky + g["column_band"][:, None, None] * bad, g, binning)
  # Only where the service enlarges the sky does it soften it.
  smooth = SMOOTH * jnp.clip(2.0 - binning, 0.0, 1.0)
  return finish(instrument.resample(picture, pitch, size, view_width(g, crop) / size, smooth), quality)


def develop(key, sky, frame: dict, binning) -> jax.Array:
  """What the survey's colour tile shows of a sky: noise, stretch and JPEG coding.

  Args:
    key: of the noise.
    sky: (3, M, M) nanomaggies per native pixel, seeing included; M a multiple of 16.
    frame: parameters, from `neighbourhood.frame`.
    binning: how many native pixels wide a pixel of the grid is, at least 1.

  Returns:
    (3, M, M) red, green, blue, about 0 … 255.
  """
  level = frame["sky_offset"][:, None, None]
  noisy = instrument.expose(key, sky + level, frame["sky_noise"], jnp.asarray(GAIN), binning)
  picture = instrument.colours(noisy, frame["sky_noise"], binning, jnp.asarray(SCALES), SOFTENING)
  # Tiles are coded at native pixels, in blocks that lie anywhere; coarser pixels average the coder's marks away.
  phase = frame["tile_phase"].astype(jnp.int32)
  tile = instrument.jpeg(jnp.roll(picture, phase, (1, 2)), frame["tile_quality"], TILE_CHROMA_QUALITY)
  picture = jnp.where(binning < 1.5, jnp.roll(tile, -phase, (1, 2)), picture)
  return picture - jnp.asarray(BLACK)[:, None, None]


def finish(picture, quality: int) -> jax.Array:
  """(3, S, S) counts to (S, S, 3) uint8, through a JPEG coder of that quality where it is not 0."""
  if quality:
    size = picture.shape[-1]
    side = -(-size // 16) * 16
    padded = jnp.pad(picture, ((0, 0), (0, side - size), (0, side - size)), mode="edge")
    picture = instrument.jpeg(jnp.clip(padded, 0.0, 255.0), quality, quality)[:, :size, :size]
  return jnp.round(jnp.clip(picture, 0.0, 255.0)).astype(jnp.uint8).transpose(1, 2, 0)


def galaxy(key: jax.Array, *, size: int, crop: int = CUTOUT_PIXELS, mix: str = "natural", quality: int = 0) -> dict:
  """Simulates one galaxy, its image and what volunteers say of it; pure, so jit, vmap and shard it at will.

  Args:
    key: a typed PRNG key; the same key gives the same galaxy at any size and crop.
    size: pixels of the image's side.
    crop: how many of the cut-out's 424 pixels, about the centre, the image shows; 0 counts as all.
    mix: the population, a name in MIXES.
    quality: JPEG coding of the result, 1 … 100; 0: none.

  Returns:
    image: (size, size, 3) uint8.
    vote_fractions: (37,) float32, cumulative, columns as `tfds_builders.gz2_tree.COLUMNS`.
    vote_counts: (37,) int32.
    expected_fractions: (37,) float32, what the vote fractions of ever more volunteers of this kind would come to.
    five_class, ten_class: () int32, by number in FIVE_CLASSES and TEN_CLASSES, -1 for none.
    kind: () int32, index into KINDS.
    mask: (size, size) bool, the galaxy inside the isophote of 24 mag per square arcsec in r; a merger's partner
      belongs to it.
    box: (4,) float32 y0, x0, y1, x1 around the mask, pixels, ends exclusive.

  Raises:
    ValueError: an unknown mix, or sizes that make no image.
  """
  _check(size, crop, mix, quality)
  for_galaxy, for_crowd, for_votes, for_noise = jax.random.split(key, 4)
  g = population.draw(for_galaxy, population.MIXES[mix])
  own, others, pitch = parts(g, size=size, crop=crop)
  image = photograph(for_noise, g, own + others, pitch, size=size, crop=crop, quality=quality)
  probabilities = volunteers.answer_probabilities(for_crowd, g)
  counts = volunteers.vote(for_votes, probabilities)
  fractions = counts / jnp.maximum(jnp.sum(counts[:3]), 1)
  r_band = instrument.resample(own[1:2], pitch, size, view_width(g, crop) / size, 0.0)[0]
  mask = labels.outline(r_band, ISOPHOTE_FLUX)
  return {"image": image, "vote_fractions": fractions.astype(jnp.float32), "vote_counts": counts,
          "expected_fractions": decision_tree.cumulative(probabilities),
          "five_class": labels.five_class(fractions), "ten_class": labels.ten_class(fractions), "kind": g["kind"],
          "mask": mask, "box": labels.bounding_box(mask)}


def _check(size, crop, mix, quality):
  if mix not in population.MIXES:
    raise ValueError(f"the mix is {mix!r}; expected one of {', '.join(population.MIXES)}")
  whole = all(isinstance(number, int | np.integer) for number in (size, crop, quality))
  if not whole or not 8 <= size <= LARGEST or not 0 <= crop <= CUTOUT_PIXELS or not 0 <= quality <= 100:
    raise ValueError(f"expected, in whole numbers, a size of 8 to {LARGEST}, a crop of 0 to {CUTOUT_PIXELS} and a "
                     f"quality of 0 to 100; got size {size!r}, crop {crop!r}, quality {quality!r}")
