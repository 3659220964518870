"""Small images of blobs with outlines, and a small network that finds them."""
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from galaxy_jax import models
from galaxy_jax.detection import bit_planes
from galaxy_jax.tasks import instances

SIDE, SLOTS = 64, 9
NETWORK = {"backbone": "resnet18", "width": 4, "stage_sizes": (1, 1, 1, 1), "norm": "group", "fpn_width": 8,
           "rpn_width": 8, "box_width": 16, "mask_convs": 1, "scales": (8, 16, 32, 64, 128), "canonical_size": 32.0,
           "pre_nms": 24, "post_nms": 16, "max_detections": 6, "candidates": 12, "min_score": 0.05}


def task(*, axis_name=None, network=None, **changes):
  """The task with the small network; `network`: its options, `changes`: settings of instances.make, that differ."""
  options = NETWORK | (network or {})
  settings = {
      "model": lambda classes: models.create_detector("mask_rcnn", classes=classes, axis_name=axis_name, **options),
      "names": ("round", "long"), "slots": SLOTS, "loss": "mask_rcnn", "label_smoothing": 0.0,
      "rotations": 1, "flips": False, "zooms": (1.0,),
      "anchor_samples": {"num_samples": 32, "positive_share": 0.5, "positive": 0.6, "negative": 0.3},
      "region_samples": {"num_samples": 16, "positive_share": 0.34, "positive": 0.5, "negative": 0.5},
      "loss_weights": (1.0,) * 5, "size": SIDE, "working_size": SIDE, "view": 1.0, "greyscale": False,
      "normalise": "none", "geometry": {"rotation": 360.0, "rotation_step": 90.0, "flip": True}, "colour": {}}
  return instances.make(**settings | changes)


def ellipse(y, x, a, b, angle=0.0, side=SIDE):
  """A mask (side, side) bool."""
  rows, columns = np.mgrid[:side, :side] - np.array([y, x]).reshape(2, 1, 1)
  u, v = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
  return (u / a) ** 2 + (v / b) ** 2 <= 1


def picture(masks, classes, rng):
  """Blobs (side, side, 3) uint8, round ones red and long ones blue."""
  image = rng.normal(20, 4, (*masks[0].shape, 3)) if len(masks) else rng.normal(20, 4, (SIDE, SIDE, 3))
  for mask, label in zip(masks, classes, strict=True):
    image[mask] += (150, 60, 20) if label == 0 else (20, 60, 150)
  return np.clip(image, 0, 255).astype(np.uint8)


def draw(rng, objects):
  """The masks and classes of an image."""
  classes = rng.integers(0, 2, objects)
  masks = [ellipse(*rng.uniform(14, SIDE - 14, 2), *((9, 8) if label == 0 else (12, 5)), rng.uniform(0, np.pi))
           for label in classes]
  return np.array(masks).reshape(-1, SIDE, SIDE), classes


def batch(objects=(2, 0, 1, 3), *, seed=0):
  """A batch of images with so many objects each; the last of all slots is a region to ignore."""
  rng = np.random.default_rng(seed)
  rows = []
  for number in objects:
    masks, classes = draw(rng, number)
    slots = np.zeros((SLOTS, SIDE, SIDE), bool)
    slots[:number] = masks
    slots[-1, :6, :6] = True
    used = np.isin(np.arange(SLOTS), [*range(number), SLOTS - 1])
    rows.append({"image": picture(masks, classes, rng), "masks": bit_planes.pack(slots), "valid": used,
                 "classes": np.pad(classes, (0, SLOTS - number)).astype(np.int32), "mask": np.float32(1),
                 "ignore": np.arange(SLOTS) == SLOTS - 1})
  return {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]}


def variables(made, seed=0):
  """First variables, drawn in numpy: to compile `init` takes longer."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(made.init, jax.random.key(0))

  def one(path, leaf):
    if path[-1].key != "kernel":
      return np.full(leaf.shape, float(path[-1].key == "scale"), np.float32)
    fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 1
    return (rng.normal(size=leaf.shape) / np.sqrt(fan_in)).astype(np.float32)
  return jax.tree_util.tree_map_with_path(one, shapes)


def write_survey(folder, *, train=8, validation=4, seed=0):
  """Writes files as mask_galaxy has them: images with outlines, of which each has an unknown one too."""
  rng = np.random.default_rng(seed)
  for split, count in (("train", train), ("val", validation)):
    (folder / split).mkdir(parents=True)
    entries = {}
    for number in range(count):
      masks, classes = draw(rng, 1 + number % 2)
      regions = [_region(mask, "SE"[label]) for mask, label in zip(masks, classes, strict=True)]
      regions.append(_region(ellipse(4, 4, 4, 4), "U"))
      name = f"Dr7_58772298174654{split == 'val':d}{number:03d}.jpg"
      file = io.BytesIO()
      Image.fromarray(picture(masks, classes, rng)).save(file, "JPEG", quality=95)
      (folder / split / name).write_bytes(file.getvalue())
      entries[name] = {"filename": name, "size": len(file.getvalue()), "regions": regions, "file_attributes": {}}
    (folder / split / "via_region_data.json").write_text(json.dumps(entries))
  return folder


def _region(mask, name):
  from galaxy_jax.detection.masks import outlines
  points = outlines(mask)[0].astype(int)
  return {"shape_attributes": {"name": "polygon", "all_points_x": points[:, 0].tolist(),
                               "all_points_y": points[:, 1].tolist()}, "region_attributes": {"object_name": name}}
