"""Fields of galaxies: outlines, boxes and classes agree with the image and with each other."""
import functools

import jax
import numpy as np
import pytest

from galaxy_jax import simulate
from galaxy_jax.simulate import field, instrument, light

SIZE, OBJECTS = 128, 10


@functools.cache
def fields():
  make = jax.jit(jax.vmap(functools.partial(simulate.scene, size=SIZE, objects=OBJECTS)))
  return jax.tree.map(np.asarray, make(jax.random.split(jax.random.key(0), 8)))


def test_shapes_and_types():
  batch = fields()
  assert batch["image"].shape == (8, SIZE, SIZE, 3) and batch["image"].dtype == np.uint8
  assert batch["masks"].shape == (8, OBJECTS, SIZE, SIZE) and batch["masks"].dtype == bool
  assert batch["boxes"].shape == (8, OBJECTS, 4) and batch["classes"].shape == batch["valid"].shape == (8, OBJECTS)
  assert batch["valid"].sum() > 30


def test_boxes_bound_the_masks_and_are_empty_where_not_valid():
  batch = fields()
  for number in range(8):
    for mask, box, valid in zip(batch["masks"][number], batch["boxes"][number], batch["valid"][number], strict=True):
      assert mask.any() == valid
      if valid:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        np.testing.assert_array_equal(box, [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
      else:
        np.testing.assert_array_equal(box, 0)


def test_inside_an_outline_it_is_brighter_than_the_sky():
  batch = fields()
  for number in range(8):
    image = batch["image"][number].astype(float).mean(-1)
    sky = np.median(image[~batch["masks"][number].any(0)])
    for mask, valid in zip(batch["masks"][number], batch["valid"][number], strict=True):
      if valid:
        assert np.median(image[mask]) > sky + 8


def test_outlines_overlap_as_they_do_on_the_sky():
  masks = fields()["masks"]
  assert (masks.sum(1) > 1).any(axis=(1, 2)).sum() >= 2


def test_classes_are_among_those_named():
  batch = fields()
  assert set(batch["classes"][batch["valid"]]) <= set(range(len(simulate.SCENE_CLASSES)))
  assert len(set(batch["classes"][batch["valid"]])) > 1


def test_patches_put_galaxies_where_they_belong():
  places = np.array([[0.0, 0.0], [100.3, 50.9], [-20.5, 130.2], [163.9, -35.1]])
  corners, within = field._patches_at(places, SIZE)
  middle = np.asarray(corners) + field.PATCH / 2  # of the canvas, which begins a margin before the image
  margin = field.PATCH / 2 + field._AROUND
  np.testing.assert_allclose(middle - margin + np.asarray(within)[:, ::-1] / instrument.NATIVE_PIXEL, places, atol=1e-4)
  assert (np.asarray(within) >= 0).all() and (np.asarray(within) < instrument.NATIVE_PIXEL).all()
  x, _ = light.grid(field.PATCH, instrument.NATIVE_PIXEL)
  assert float(x[..., field.PATCH // 2].min()) == pytest.approx(instrument.NATIVE_PIXEL / 2)  # so is the patch's middle


def test_edges_cut_galaxies_off():
  boxes = fields()["boxes"][fields()["valid"]]
  assert ((boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == SIZE).any(1)).sum() >= 3


def test_bad_settings_are_named():
  with pytest.raises(ValueError, match="at least 1 object"):
    simulate.scene(jax.random.key(0), size=64, objects=0)
