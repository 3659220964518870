"""A field of any size is found as if it were looked at at once: each object once, wherever it lies."""
import numpy as np
import pytest
from blob_finder import BlobFinder, crowd, paint, sky_of
from scipy import ndimage

from galaxy_jax import fields, merging
from tfds_builders.images import ImageError


def seen_at_once(field):
  """What is in a field, by a look at all of it."""
  side = max(field.shape[:2])
  full = np.zeros((side, side, 3), np.uint8)
  full[:field.shape[0], :field.shape[1]] = field
  labels, _ = ndimage.label(full[:, :, 0] > 50)
  boxes = [(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(labels)]
  return sorted((*box, int(full[labels == number, 0].max())) for number, box in enumerate(boxes, 1))


def rows_of(found):
  return sorted((*one.box, round(one.score * 255)) for one in found)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 112, 113, 500, 1984])
@pytest.mark.parametrize("overlap", [fields.LEAST_OVERLAP, 0.25, 0.9])
def test_tiles_cover_a_line(length, overlap):
  first = fields.starts(length, 64, overlap)
  if length <= 64:
    assert len(first) == 1 and first[0] <= 0 and first[0] + 64 >= length
  else:
    steps = np.diff(first)
    assert first[0] == 0 and first[-1] + 64 == length and steps.min() > 0
    assert steps.max() <= 64 - round(overlap * 64) and np.ptp(steps) <= 1


@pytest.mark.parametrize(("overlap", "batch_size", "seen"), [(0.25, 4, 64), (0.5, 7, 64), (0.25, 1, 48)])
def test_a_field_is_found_as_if_seen_at_once(overlap, batch_size, seen):
  side = round(overlap * seen) - 2 * round(np.ceil(seen * fields.TOUCHES))
  field, count = crowd(180, 233, 50, largest=side)
  found = fields.find(BlobFinder(64, seen, batch_size), field, overlap=overlap)
  assert len(found) == count == 50
  assert rows_of(found) == seen_at_once(field)
  assert not any(one.cut_off for one in found)
  assert [one.label for one in found] == [round(one.score * 255) % 2 for one in found]
  scores = [one.score for one in found]
  assert scores == sorted(scores, reverse=True)


def test_masks_are_those_of_one_look():
  field, count = crowd(150, 150, 12, largest=13, seed=3)
  at_once, by_tiles = (fields.find(BlobFinder(size), field) for size in (150, 64))
  assert count == len(at_once) == len(by_tiles) == 12
  for one, other in zip(at_once, by_tiles, strict=True):
    assert one.box == other.box and one.label == other.label
    np.testing.assert_array_equal(one.mask, other.mask)
  # A mask has 28 x 28 cells; objects of fewer pixels lose none.
  np.testing.assert_array_equal(fields.segmentation(by_tiles, 150, 150) > 0, field[:, :, 0] > 50)


def test_an_object_is_whole_and_once_wherever_it_lies():
  """Of a size that the overlap just holds, along a seam and across the corner of four tiles."""
  for place in range(40, 70):
    for y in (30, place):
      field = paint(sky_of(112, 112), (y, place, y + 13, place + 14))
      one, = fields.find(BlobFinder(64), field)
      assert one.box == (y, place, y + 13, place + 14) and one.mask.all() and not one.cut_off


@pytest.mark.parametrize("length", [40, 70, 150, 290])
@pytest.mark.parametrize("place", [3, 40, 77])
def test_of_an_object_that_no_tile_holds_the_largest_part_is_kept(length, place):
  """A bar as long as many tiles is one row, and one beside it is another."""
  field = paint(paint(sky_of(64, 400), (20, place, 30, place + length)), (40, place, 50, place + 8), score=90)
  bar, small = fields.find(BlobFinder(64), field, overlap=0.25)
  windows = [range(start, start + 64) for start in fields.starts(400, 64, 0.25)]
  parts = [len(set(window) & set(range(place, place + length))) for window in windows]
  assert bar.cut_off == (max(parts) < length) and bar.mask.sum() == 10 * max(parts)
  assert small.box == (40, place, 50, place + 8) and not small.cut_off


class Ghosts(BlobFinder):
  """Takes the right edge of every image for an object."""

  def find(self, images):
    outputs = super().find(images)
    outputs["boxes"][:, -1] = 30, self.size - 8, 36, self.size
    outputs["masks"][:, -1], outputs["scores"][:, -1], outputs["valid"][:, -1] = 1, 0.9, True
    return outputs


def test_what_touches_an_edge_counts_only_where_no_other_tile_shows_it():
  """Others see nothing there, and theirs is the better view; at the edge of the field there is no other."""
  one, = fields.find(Ghosts(64), sky_of(64, 200))
  assert one.box == (30, 192, 36, 200) and not one.cut_off
  assert fields.starts(200, 64, fields.LEAST_OVERLAP) == (0, 45, 91, 136)
  wide = fields.find(Ghosts(64), sky_of(64, 125), overlap=fields.LEAST_OVERLAP)
  assert [(one.box, one.cut_off) for one in wide] == [((30, 56, 36, 64), True), ((30, 117, 36, 125), False)]


@pytest.mark.parametrize("overlap", [0.0, 0.04, 1.0, -0.5])
def test_tiles_that_share_nothing_are_refused(overlap):
  """Nothing would tell that two parts which abut are of one object."""
  with pytest.raises(ValueError, match=r"overlap of tiles is .*; expected a share from 0\.05 to less than 1"):
    fields.find(BlobFinder(64), sky_of(64, 128), overlap=overlap)


@pytest.mark.parametrize("y", [30, 50])
def test_what_the_least_overlap_cuts_is_one_object(y):
  """Along the seam of two tiles, and across the corner of four."""
  for x in range(32, 66):
    field = paint(sky_of(125, 125), (y, x, y + 30, x + 30))
    one, = fields.find(BlobFinder(64), field, overlap=fields.LEAST_OVERLAP)
    assert one.cut_off == (y == 50 or (x + 30 > 63 and x < 62)) and one.box[3] - one.box[1] >= 15


@pytest.mark.parametrize("scale", [1.0, 3.0, 16.0])
def test_neighbours_share_pixels_of_the_field_at_any_scale(scale):
  tiles = [tile for tile, _ in fields.tiles(sky_of(12, 150), scale, size=64, seen=48, overlap=fields.LEAST_OVERLAP)]
  starts, ends = zip(*sorted({tile.shown()[1::2] for tile in tiles}), strict=True)
  assert len(starts) > 2 and all(np.array(ends[:-1]) > starts[1:])


def test_several_scales_are_one_catalogue():
  """A bar that no tile holds at the one scale is whole at the other, and small ones are there once."""
  field = paint(sky_of(128, 256), (40, 20, 60, 120))
  for x in range(4, 244, 24):
    paint(field, (90, x, 98, x + 8), score=100 + x // 4, label=1)
  (cut,) = (one for one in fields.find(BlobFinder(64), field) if not one.label)
  assert cut.cut_off
  found = fields.find(BlobFinder(64), field, scales=(1.0, 0.5))
  whole, *small = sorted(found, key=lambda one: one.label)
  assert whole.box == (40, 20, 60, 120) and not whole.cut_off and len(small) == 10
  assert sorted(one.box[1] for one in small) == list(range(4, 244, 24))


def test_nothing_is_found_around_a_small_image():
  """It stands in the middle of its tile; what its edge cuts goes on in the tile and not in the catalogue."""
  field = paint(paint(sky_of(20, 31), (0, 0, 6, 8)), (8, 20, 12, 31), score=100)
  finder = BlobFinder(64)
  first, second = fields.find(finder, field)
  np.testing.assert_array_equal(finder.calls[0][0, 22:42, 16:47], field)
  assert first.box == (0, 0, 6, 8) and second.box == (8, 20, 12, 31)
  assert not first.cut_off and not second.cut_off and first.mask.all() and second.mask.all()


def test_a_scaled_image_is_found_in_its_own_pixels():
  field = paint(sky_of(96, 128), (30, 50, 46, 70))
  for scale in (0.5, 2.0, fields.FIT):
    one, = fields.find(BlobFinder(64), field, scales=(scale,))
    np.testing.assert_allclose(one.box, (30, 50, 46, 70), atol=1.6)


def test_an_image_that_fits_is_as_large_as_the_models_images():
  """Not as a tile, which is the part of such an image in which the model finds anything."""
  field = paint(sky_of(96, 128), (30, 50, 46, 70))
  tiles = [tile for tile, _ in fields.tiles(field, fields.FIT, size=64, seen=48, overlap=0.25)]
  assert {(tile.size, tile.side) for tile in tiles} == {((64, 85), 48)} and {tile.top for tile in tiles} == {0, 16}
  one, = fields.find(BlobFinder(64, 48), field, scales=(fields.FIT,))
  np.testing.assert_allclose(one.box, (30, 50, 46, 70), atol=1.6)


def test_tiles_of_many_images_share_calls():
  """What is found, and its order, does not depend on how many tiles a call takes."""
  images = [(n, crowd(40 + 30 * (n % 3), 64 + 20 * (n % 2), 6, largest=10, seed=n)[0]) for n in range(7)]
  found = []
  for batch_size in (1, 5, 64):
    finder, told = BlobFinder(64, batch_size=batch_size), []
    made = list(fields.find_all(finder, iter(images), advance=told.append))
    assert [key for key, _, _ in made] == list(range(7)) and sum(told) == sum(map(len, finder.calls))
    assert all(len(call) == batch_size for call in finder.calls[:-1])
    found.append([[(*one.box, one.score, one.mask.tobytes()) for one in objects] for _, _, objects in made])
  assert found[0] == found[1] == found[2] and sum(map(len, found[0])) == 42


def test_images_that_no_scale_fits(monkeypatch):
  refused, good = [], paint(sky_of(64, 64), (10, 10, 20, 20))
  made = fields.find_all(BlobFinder(64), [("thin", sky_of(6, 100)), ("good", good)],
                         refused=lambda key, why: refused.append((key, why)))
  assert [key for key, _, _ in made] == ["good"]
  assert refused[0][0] == "thin" and "100 x 6 pixels" in refused[0][1]
  monkeypatch.setattr(fields.Image, "MAX_IMAGE_PIXELS", 10_000)
  with pytest.raises(ImageError, match="64 x 64 pixels, which the scale 2 makes 128 x 128"):
    fields.find(BlobFinder(64), good, scales=(1.0, 2.0))


def found_in(box, shown, score=0.5, cut_off=False, label=0):
  y0, x0, y1, x1 = box
  return merging.Found(score, label, y0, x0, np.ones((y1 - y0, x1 - x0), bool), cut_off, shown)


LEFT, RIGHT = (0, 0, 64, 64), (0, 48, 64, 112)


def test_merging():
  whole = found_in((10, 40, 30, 60), LEFT, 0.8)
  shifted = found_in((11, 49, 31, 61), RIGHT, 0.9, label=1)
  inner = found_in((15, 50, 20, 55), RIGHT, 0.95)
  boxes = lambda *detections: [one.box for one in merging.merge(detections)]
  assert boxes(whole, shifted, inner) == [inner.box, shifted.box]  # they share 209 of 431 pixels
  assert boxes(whole, found_in((10, 54, 30, 74), RIGHT)) == [(10, 40, 30, 60), (10, 54, 30, 74)]
  middle, aside = found_in((17, 47, 23, 53), RIGHT, 0.9), found_in((12, 41, 18, 47), LEFT, 0.9)
  assert boxes(whole, middle, aside) == [aside.box, middle.box]
  assert boxes(whole, middle._replace(score=0.7)) == [whole.box]
  assert boxes(whole, aside._replace(top=14, left=37)) == [(14, 37, 20, 43), whole.box]
  part = found_in((10, 48, 30, 60), RIGHT, 0.99, cut_off=True)
  other = found_in((10, 58, 12, 90), RIGHT, 0.7, cut_off=True)
  assert boxes(part, whole, other) == [whole.box, other.box]
  head, tail = found_in((0, 10, 9, 64), LEFT, 0.9, True), found_in((0, 48, 9, 112), RIGHT, 0.3, True)
  assert boxes(head, tail) == [tail.box] and boxes() == []


def test_the_order_of_detections_does_not_matter():
  rng = np.random.default_rng(0)
  detections = []
  for _ in range(120):
    y, x = rng.integers(0, 90, 2).tolist()
    detections.append(found_in((y, x, y + int(rng.integers(2, 20)), x + int(rng.integers(2, 20))),
                               [LEFT, RIGHT, (0, 0, 112, 112)][int(rng.integers(3))], float(rng.integers(3)) / 4,
                               bool(rng.integers(2))))
  wanted = [(one.box, one.score, one.cut_off) for one in merging.merge(detections)]
  assert 10 < len(wanted) < 120
  for _ in range(4):
    rng.shuffle(detections)
    assert [(one.box, one.score, one.cut_off) for one in merging.merge(detections)] == wanted


def test_a_map_shows_the_better_of_two_and_turns_with_its_objects():
  below, above = found_in((2, 2, 8, 8), LEFT, 0.4), found_in((6, 4, 12, 6), LEFT, 0.6)
  numbers = fields.segmentation([above, below], 20, 10)
  assert numbers.dtype == np.int32 and (numbers == 1).sum() == 12 and (numbers == 2).sum() == 32
  turned = [one.upside_down(20) for one in (above, below)]
  np.testing.assert_array_equal(fields.segmentation(turned, 20, 10), numbers[::-1])
  assert turned[0].upside_down(20).box == above.box
  part = found_in((2, 2, 8, 8), (1, 0, 15, 9))
  assert part.upside_down(20).shown == (5, 0, 19, 9) and part.upside_down(20).upside_down(20).shown == part.shown
  assert turned[0].shape().y == 20 - above.shape().y
