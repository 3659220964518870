"""A field of many galaxies and stars, overlapping as they do on the sky, with the outline of each."""
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import decision_tree
from galaxy_jax.simulate import instrument, labels, light, neighbourhood, population, volunteers
from galaxy_jax.simulate.cutout import ISOPHOTE_FLUX, LARGEST, develop, finish, seen
from galaxy_jax.simulate.draws import Draws
from galaxy_jax.simulate.instrument import NATIVE_PIXEL

#: Pixels of the patch that a galaxy's light is computed on: 57″.
PATCH = 144
#: Half-light radii that the patch holds without a visible edge, arcsec, and the faintest magnitude.
_SMALLEST, _LARGEST, _FAINTEST = 0.9, 7.0, 18.5
#: Pixels inside the isophote below which an object does not count.
_FEWEST = 12
#: Shares of votes, features or smooth, from which a galaxy counts as spiral or elliptical.
_SPIRAL, _ELLIPTICAL = 0.5, 0.6
#: Pixels around the image in which galaxies are placed as well, so that its edges cut some off; and the share of an
#: outline that must be seen for one to count.
_AROUND, _SHOWN = 36, 0.3
#: Stars and faint galaxies on a square arcmin, as many as on a cut-out of usual size; and the most of them.
_DENSITY, _MOST = 34, 1024


def scene(key: jax.Array, *, size: int, objects: int = 24, mix: str = "natural", quality: int = 0) -> dict:
  """Simulates a field at the survey's own pixels; pure, as `galaxy`.

  Stars, and galaxies too faint and small for a shape, have no outline.

  Args:
    key: a typed PRNG key.
    size: pixels of the image's side, of 0.396″.
    objects: K, how many galaxies with an outline are placed, in the image and up to 36 pixels around it.
    mix: the population, a name in MIXES.
    quality: JPEG coding of the result, 1 … 100; 0: none.

  Returns:
    image: (size, size, 3) uint8.
    masks: (K, size, size) bool, each galaxy's light inside its isophote, whatever lies before or behind it.
    boxes: (K, 4) float32 y0, x0, y1, x1, pixels, ends exclusive; zeros where not valid.
    classes: (K,) int32, index into SCENE_CLASSES by the votes, as mask_galaxy has them: spiral where half see features
      or a disc, edge-on ones included, elliptical where six in ten see a smooth galaxy, else other.
    valid: (K,) bool: at least three tenths of the galaxy's outline are in the image, and enough pixels.

  Raises:
    ValueError: an unknown mix, or sizes that make no field.
  """
  if mix not in population.MIXES:
    raise ValueError(f"the mix is {mix!r}; expected one of {', '.join(population.MIXES)}")
  whole = all(isinstance(number, int | np.integer) for number in (size, objects, quality))
  if not whole or not 32 <= size <= LARGEST or objects < 1 or not 0 <= quality <= 100:
    raise ValueError(f"expected, in whole numbers, a size of 32 to {LARGEST}, at least 1 object and a quality of 0 to "
                     f"100; got size {size!r}, {objects!r} objects and quality {quality!r}")
  for_galaxies, for_places, for_frame, for_noise = jax.random.split(key, 4)
  number = min(_MOST, math.ceil(_DENSITY * (size * NATIVE_PIXEL / 60) ** 2) + neighbourhood.FIELD_OBJECTS)
  drawn = Draws(for_frame, size=160 + 6 * number)
  frame = neighbourhood.frame(drawn)
  rest = neighbourhood.around(drawn, size * NATIVE_PIXEL, 16.0, objects=number)
  # Galaxies with a shape are those that have an outline, and nothing is wrong with the frame.
  rest |= {"companion_flux": jnp.zeros_like(rest["companion_flux"]), "star_flux": 0.0, "trail_strength": 0.0,
           "trail_angle": 0.0, "trail_offset": 0.0, "trail_band": jnp.zeros(3)}

  # Four in ten lie beside another place, so that galaxies overlap more often than by chance.
  places_drawn = Draws(for_places, size=3 * objects)
  free = places_drawn.uniform(-_AROUND, size + _AROUND, 2 * objects).reshape(objects, 2)
  beside = jnp.roll(free, 1, axis=0) + places_drawn.normal(0.0, 24.0, 2 * objects).reshape(objects, 2)
  places = jnp.where((places_drawn.uniform(count=objects) < 0.4)[:, None], beside, free)
  near = jnp.all((places >= -_AROUND) & (places < size + _AROUND), axis=1)
  corners, within = _patches_at(places, size)

  kinds = jnp.asarray(population.MIXES[mix]).at[population.ARTIFACT].set(0.0)
  one = functools.partial(_patch, weights=kinds, frame=frame)
  patches, outlines, classes = jax.vmap(one)(jax.random.split(for_galaxies, objects), within)

  margin = PATCH // 2 + _AROUND
  pixels = -(-(size + 2 * margin) // 16) * 16

  def add(canvas, part):
    patch, corner = part
    start = (0, corner[0], corner[1])
    before = jax.lax.dynamic_slice(canvas, start, patch.shape)
    return jax.lax.dynamic_update_slice(canvas, before + patch, start), None

  canvas = jnp.zeros((3, pixels, pixels))
  canvas, _ = jax.lax.scan(add, canvas, (patches * near[:, None, None, None], corners))
  x, y = light.grid(pixels, NATIVE_PIXEL)
  offset = (pixels - size - 2 * margin) / 2 * NATIVE_PIXEL
  canvas += light.surroundings(rest, x + offset, y + offset, NATIVE_PIXEL) * NATIVE_PIXEL**2
  sky = instrument.saturate(seen(canvas, NATIVE_PIXEL, frame), instrument.FULL_PIXEL)
  picture = develop(for_noise, sky, frame, 1.0)
  shown = slice(margin, margin + size)
  image = finish(picture[:, shown, shown], quality)

  def place(outline, corner):
    canvas = jax.lax.dynamic_update_slice(jnp.zeros((size + 2 * margin,) * 2, bool), outline, (corner[0], corner[1]))
    return canvas[shown, shown]

  masks = jax.vmap(place)(outlines, corners)
  seen_pixels, pixels_of_outline = jnp.sum(masks, axis=(1, 2)), jnp.sum(outlines, axis=(1, 2))
  valid = near & (seen_pixels >= _FEWEST) & (seen_pixels >= _SHOWN * pixels_of_outline)
  masks &= valid[:, None, None]
  return {"image": image, "masks": masks, "boxes": labels.bounding_box(masks), "classes": classes, "valid": valid}


def _patches_at(places, size):
  """Where the patches of galaxies go: the pixel of the canvas that each begins at (K, 2), rows and columns, and the
  galaxies' places on them (K, 2), arcsec from the middle, x and y.

  `places` (K, 2) are rows and columns counted in pixels from the image's edge; the canvas begins a margin before it. A
  patch has an even number of pixels, so its middle is an edge between two.
  """
  whole = jnp.clip(jnp.floor(places), -_AROUND, size + _AROUND - 1)
  return whole.astype(jnp.int32) + _AROUND, (places - whole)[:, ::-1] * NATIVE_PIXEL


def _patch(key, centre, *, weights, frame):
  """A galaxy on its own, `centre` (2,) arcsec from the middle: light before the telescope (3, P, P), outline (P, P) and
  class.
  """
  for_galaxy, for_crowd = jax.random.split(key)
  g = population.draw(for_galaxy, weights, faintest=_FAINTEST, smallest=_SMALLEST, largest=_LARGEST) | frame
  g["centre"] = centre
  x, y = light.grid(PATCH, NATIVE_PIXEL)
  own = light.target(g, x, y, NATIVE_PIXEL) * NATIVE_PIXEL**2
  # The window ends what would be cut off at the patch's edge.
  r = jnp.sqrt(x * x + y * y) / (PATCH / 2 * NATIVE_PIXEL)
  own = own * jax.nn.sigmoid((0.9 - r) / 0.025)
  r_band = instrument.see(own[1:2], NATIVE_PIXEL, g["seeing"][None], g["band_shift"][1:2])[0]
  shares = decision_tree.cumulative(volunteers.answer_probabilities(for_crowd, g))
  kind = jnp.where(shares[1] >= _SPIRAL, 0, jnp.where(shares[0] >= _ELLIPTICAL, 1, 2)).astype(jnp.int32)
  return own, labels.outline(r_band, ISOPHOTE_FLUX), kind
