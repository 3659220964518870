"""A model that finds every bright blob of an image exactly, and fields of blobs."""
import numpy as np
from scipy import ndimage

SLOTS, CELLS = 12, 28


class BlobFinder:
  """Outlines what is brighter than 50; red says its score, green its class. See fields.Finds and finder.Finder."""
  name, classes, scale = "blobs", ("round", "long"), 1.0

  def __init__(self, size=64, seen=None, batch_size=4):
    self.size, self.seen, self.batch_size, self.calls = size, seen or size, batch_size, []

  def find(self, images):
    assert images.shape[1:] == (self.size, self.size, 3) and len(images) <= self.batch_size
    self.calls.append(images)
    rows = len(images)
    outputs = {"boxes": np.zeros((rows, SLOTS, 4), np.float32), "scores": np.zeros((rows, SLOTS), np.float32),
               "classes": np.zeros((rows, SLOTS), np.int32), "masks": np.zeros((rows, SLOTS, CELLS, CELLS), np.float32),
               "valid": np.zeros((rows, SLOTS), bool)}
    margin = (self.size - self.seen) // 2
    for row, image in enumerate(images):
      bright = np.zeros(image.shape[:2], bool)
      inner = slice(margin, self.size - margin)
      bright[inner, inner] = image[inner, inner, 0] > 50
      labels, count = ndimage.label(bright)
      assert count <= SLOTS
      for slot, place in enumerate(ndimage.find_objects(labels)):
        mask = labels[place] == slot + 1
        (y0, y1), (x0, x1) = ((part.start, part.stop) for part in place)
        outputs["boxes"][row, slot] = y0, x0, y1, x1
        # A cell takes the pixel below its centre; 0.6 as no interpolated value is then one half.
        cells = [((np.arange(CELLS) + 0.5) / CELLS * side).astype(int) for side in mask.shape]
        outputs["masks"][row, slot] = 0.05 + 0.75 * mask[np.ix_(*cells)]
        red, green, _ = image[place][mask].max(axis=0)
        outputs["scores"][row, slot], outputs["classes"][row, slot] = red / 255, green > 127
        outputs["valid"][row, slot] = True
    return outputs


def paint(field, box, score=200, label=0):
  """Paints a rectangle, field[y0:y1, x0:x1]."""
  y0, x0, y1, x1 = box
  field[y0:y1, x0:x1] = score, 255 * label, 0
  return field


def sky_of(height, width):
  return np.full((height, width, 3), 10, np.uint8)


def crowd(height, width, count, *, largest, seed=0):
  """A field of ellipses that do not touch, of different scores; and the number of them."""
  rng, field, taken, made = np.random.default_rng(seed), sky_of(height, width), np.zeros((height, width), bool), 0
  rows, columns = np.mgrid[:height, :width]
  for _ in range(count * 20):
    a, b = rng.uniform(2, largest / 2, 2)
    y, x = rng.uniform(-2, height + 2), rng.uniform(-2, width + 2)
    mask = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
    if made < count and mask.sum() > 4 and not taken[mask].any():
      field[mask] = 60 + made, 255 * (made % 2), 0
      taken |= ndimage.binary_dilation(mask, iterations=2)
      made += 1
  return field, made
