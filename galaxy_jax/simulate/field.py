"""A field of many galaxies and stars, overlapping as they do on the sky, with the outline of each."""
import functools

import jax
import jax.numpy as jnp

from galaxy_jax import decision_tree
from galaxy_jax.simulate import instrument, labels, light, population, volunteers
from galaxy_jax.simulate.cutout import ISOPHOTE_FLUX, develop, finish
from galaxy_jax.simulate.draws import Draws
from galaxy_jax.simulate.instrument import NATIVE_PIXEL

#: Pixels of the patch that a galaxy's light is computed on: four fifths of a minute.
PATCH = 144
#: Half-light radii that the patch holds without a visible edge, arcsec, and the faintest magnitude.
_SMALLEST, _LARGEST, _FAINTEST = 0.9, 7.0, 18.5
#: Pixels inside the isophote below which an object does not count.
_FEWEST = 12
#: Shares of votes, features or smooth, from which a galaxy counts as spiral or elliptical.
_SPIRAL, _ELLIPTICAL = 0.5, 0.6


def scene(key: jax.Array, *, size: int, objects: int = 24, mix: str = "natural", quality: int = 0) -> dict:
  """Simulates a field at the survey's own pixels; pure, as `galaxy`.

  Args:
    key: a typed PRNG key.
    size: pixels of the image's side, of 0.396″.
    objects: K, how many galaxies with an outline are placed.
    mix: the population, a name in MIXES.
    quality: JPEG coding of the result, 1 … 100; 0: none.

  Returns:
    image: (size, size, 3) uint8.
    masks: (K, size, size) bool, each galaxy's light inside its isophote, whatever lies before or behind it.
    boxes: (K, 4) float32 y0, x0, y1, x1, pixels, ends exclusive; zeros where not valid.
    classes: (K,) int32, index into SCENE_CLASSES: what most volunteers would see.
    valid: (K,) bool: the galaxy's centre is in the image and its outline holds enough pixels.

  Raises:
    ValueError: an unknown mix, or sizes that make no field.
  """
  if mix not in population.MIXES:
    raise ValueError(f"the mix is {mix!r}; expected one of {', '.join(population.MIXES)}")
  if size < 32 or objects < 1 or not 0 <= quality <= 100:
    raise ValueError(f"expected a size of at least 32, at least 1 object and a quality of 0 to 100; got size {size}, "
                     f"{objects} objects and quality {quality}")
  for_galaxies, for_places, for_frame, for_noise = jax.random.split(key, 4)
  around = Draws(for_frame, uniforms=200, normals=200)
  frame = population.frame(around)
  rest = population.neighbours(around, size * NATIVE_PIXEL, 16.0)
  blank = {"orientation": 0.0, "star_flux": 0.0, "trail_strength": 0.0, "trail_angle": 0.0, "trail_offset": 0.0,
           "trail_band": jnp.zeros(3)}

  one = functools.partial(_patch, weights=population.MIXES[mix], frame=frame)
  patches, outlines, kinds = jax.vmap(one)(jax.random.split(for_galaxies, objects))
  # Half of the places are drawn beside an earlier one, so that galaxies overlap more often than by chance.
  draws = Draws(for_places, uniforms=3 * objects, normals=2 * objects)
  free = draws.uniform(0.0, size, 2 * objects).reshape(objects, 2)
  beside = jnp.roll(free, 1, axis=0) + draws.normal(0.0, 24.0, 2 * objects).reshape(objects, 2)
  places = jnp.where((draws.uniform(count=objects) < 0.4)[:, None], beside, free)
  corners = jnp.clip(jnp.round(places).astype(jnp.int32), 0, size - 1)
  inside = jnp.all((places >= 0) & (places < size), axis=1)

  # A margin of half a patch on each side takes what hangs over.
  pixels = -(-(size + PATCH) // 16) * 16

  def add(canvas, part):
    patch, corner = part
    start = (0, corner[0], corner[1])
    before = jax.lax.dynamic_slice(canvas, start, patch.shape)
    return jax.lax.dynamic_update_slice(canvas, before + patch, start), None

  canvas = jnp.zeros((3, pixels, pixels))
  canvas, _ = jax.lax.scan(add, canvas, (patches * inside[:, None, None, None], corners))
  x, y = light.grid(pixels, NATIVE_PIXEL)
  offset = (pixels - size - PATCH) / 2 * NATIVE_PIXEL
  canvas += light.surroundings(blank | rest, x + offset, y + offset, NATIVE_PIXEL) * NATIVE_PIXEL**2
  canvas = instrument.see(canvas, NATIVE_PIXEL, frame["seeing"] * jnp.asarray(instrument.SEEING_RATIO),
                          frame["band_shift"])
  picture = develop(for_noise, canvas, frame, 1.0)
  half = PATCH // 2
  image = finish(picture[:, half:half + size, half:half + size], quality)

  def place(outline, corner):
    whole = jax.lax.dynamic_update_slice(jnp.zeros((size + PATCH,) * 2, bool), outline, (corner[0], corner[1]))
    return whole[half:half + size, half:half + size]

  masks = jax.vmap(place)(outlines, corners)
  valid = inside & (jnp.sum(masks, axis=(1, 2)) >= _FEWEST)
  masks &= valid[:, None, None]
  return {"image": image, "masks": masks, "boxes": labels.bounding_box(masks), "classes": kinds, "valid": valid}


def _patch(key, *, weights, frame):
  """A galaxy on its own: light before the telescope (3, P, P), outline (P, P) and class."""
  for_galaxy, for_crowd = jax.random.split(key)
  g = population.draw(for_galaxy, weights, faintest=_FAINTEST, smallest=_SMALLEST, largest=_LARGEST) | frame
  g["centre"] = jnp.zeros(2)
  x, y = light.grid(PATCH, NATIVE_PIXEL)
  own = (light.target(g, x, y, NATIVE_PIXEL) + light.knots(g, x, y)) * NATIVE_PIXEL**2
  # The window ends what would be cut off at the patch's edge.
  r = jnp.sqrt(x * x + y * y) / (PATCH / 2 * NATIVE_PIXEL)
  own = own * jax.nn.sigmoid((0.9 - r) / 0.025)
  seen = instrument.see(own[1:2], NATIVE_PIXEL, g["seeing"][None], g["band_shift"][1:2])[0]
  shares = decision_tree.cumulative(volunteers.answer_probabilities(for_crowd, g))
  kind = jnp.where(shares[1] >= _SPIRAL, 0, jnp.where(shares[0] >= _ELLIPTICAL, 1, 2)).astype(jnp.int32)
  return own, labels.outline(seen, ISOPHOTE_FLUX), kind
