"""Makes the example figure of each builder's README: simulated galaxies, in the form of the published files.

  python benchmarks/dataset_examples.py [--only=galaxy10]

The published images may not be redistributed. Simulated ones are written as each data set's source files are, built,
and shown by the builders' own preview; so what the figures show is what a build holds.
"""
import csv
import functools
import io
import json
import tempfile
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from galaxy_jax import simulate
from galaxy_jax.decision_tree import gz2_class
from tfds_builders.class_lists import TEN_CLASSES
from tfds_builders.galaxy_sim.rendering import Recipe, jpeg
from tfds_builders.galaxy_sim.write_challenge import write_challenge
from tfds_builders.galaxy_zoo_2.hart16 import ANSWERS
from tfds_builders.gz2_tree import QUESTIONS
from tfds_builders.prepare import prepare
from tfds_builders.preview import write_preview

FLAGS = flags.FLAGS
flags.DEFINE_string("only", None, "One data set.")
flags.DEFINE_integer("galaxies", 60, "Simulated galaxies to make the files of.")
BUILDERS = Path(__file__).resolve().parents[1] / "tfds_builders"


@functools.cache
def galaxies(size):
  """What the simulator gives, as arrays with N rows."""
  draw = jax.jit(jax.vmap(lambda i: simulate.galaxy(jax.random.fold_in(jax.random.key(7), i), size=size,
                                                    mix="balanced")))
  return {name: np.asarray(values) for name, values in draw(np.arange(FLAGS.galaxies)).items()}


def challenge(folder):
  """galaxy_zoo_challenge: the three zips."""
  recipe = Recipe(seed=7, size=424, rendered=212, mix="balanced")
  write_challenge(folder, training=FLAGS.galaxies, test=0, recipe=recipe)


def galaxy_zoo_2(folder):
  """galaxy_zoo_2: images by asset id, the mapping, and the answers' counts and fractions."""
  made = galaxies(212)
  (folder / "images_gz2/images").mkdir(parents=True)
  first = 587_722_981_746_540_704
  with open(folder / "gz2_filename_mapping.csv", "w") as mapping, open(folder / "gz2_hart16.csv", "w") as table:
    mapping, table = csv.writer(mapping), csv.writer(table)
    mapping.writerow(["objid", "sample", "asset_id"])
    table.writerow(["dr7objid", "sample", "gz2_class", "total_classifications", "total_votes",
                    *(f"{stem}_{kind}" for stem in ANSWERS for kind in ("count", "weighted_fraction"))])
    for row, counts in enumerate(made["vote_counts"]):
      (folder / f"images_gz2/images/{row + 1}.jpg").write_bytes(jpeg(made["image"][row], 424))
      mapping.writerow([first + row, "original", row + 1])
      asked = np.concatenate([np.full(len(q.answers), counts[q.columns].sum()) for q in QUESTIONS])
      fractions = counts / np.maximum(asked, 1)
      table.writerow([first + row, "original", gz2_class(fractions), counts[:3].sum(), counts.sum(),
                      *(value for pair in zip(counts, fractions, strict=True) for value in pair)])


def galaxy10(folder):
  """galaxy10: the HDF5 file, of those galaxies that have one of the ten classes."""
  import h5py
  made = galaxies(256)
  known = np.flatnonzero(made["ten_class"] >= 0)
  folder.mkdir()
  with h5py.File(folder / "Galaxy10_DECals.h5", "w") as file:
    file["images"] = made["image"][known]
    file["ans"] = made["ten_class"][known].astype(np.uint8)
    for name, value in (("ra", 150.0), ("dec", 2.0), ("redshift", 0.05), ("pxscale", 0.262)):
      file[name] = np.full(len(known), value)
  assert set(made["ten_class"][known]) <= set(range(len(TEN_CLASSES)))


def mask_galaxy(folder):
  """mask_galaxy: VIA's polygons, from the simulator's own masks."""
  made = galaxies(256)
  names = {0: "E", 1: "E", 2: "S", 3: "S"}
  for split, rows in (("train", range(48)), ("val", range(48, FLAGS.galaxies))):
    (folder / split).mkdir(parents=True)
    project = {}
    for row in rows:
      name = f"Dr7_{587_722_981_746_540_704 + row}.jpg"
      (folder / split / name).write_bytes(jpeg(made["image"][row], 256))
      ys, xs = _outline(made["mask"][row])
      project[name] = {"filename": name, "size": -1, "file_attributes": {}, "regions": [{
          "shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys},
          "region_attributes": {"object_name": names.get(int(made["kind"][row]), "U")}}] if len(xs) > 2 else []}
    (folder / split / "via_region_data.json").write_text(json.dumps(project))


def _outline(mask):
  """Rows and columns of a polygon around a mask: its farthest pixel in each of 48 directions from its middle."""
  ys, xs = np.nonzero(mask)
  if len(ys) == 0:
    return [], []
  angle, radius = np.arctan2(ys - ys.mean(), xs - xs.mean()), np.hypot(ys - ys.mean(), xs - xs.mean())
  sector = np.floor((angle + np.pi) / (2 * np.pi) * 48).astype(int)
  farthest = [np.flatnonzero(sector == k)[radius[sector == k].argmax()] for k in range(48) if (sector == k).any()]
  return ys[farthest].tolist(), xs[farthest].tolist()


def own_images(folder):
  """own_images: a table with classes, and PNG files."""
  made = galaxies(212)
  folder.mkdir()
  with open(folder / "survey.csv", "w") as table:
    table = csv.writer(table)
    table.writerow(["id", "path", "label"])
    for row, kind in enumerate(made["kind"]):
      file = io.BytesIO()
      Image.fromarray(made["image"][row]).save(file, "PNG")
      (folder / f"galaxy{row}.png").write_bytes(file.getvalue())
      table.writerow([1000 + row, f"galaxy{row}.png", simulate.KINDS[kind]])
  (folder / "own_images.toml").write_text('table = "survey.csv"\nid = "id"\n[image]\nfile = "{path}"\n'
                                          '[labels]\nlabel = "label"\n')


SOURCES = {"galaxy_zoo_challenge": challenge, "galaxy_zoo_2": galaxy_zoo_2, "galaxy10": galaxy10,
           "mask_galaxy": mask_galaxy, "own_images": own_images, "galaxy_sim": None}


def main(_):
  for name, write in SOURCES.items():
    if FLAGS.only not in (None, name):
      continue
    with tempfile.TemporaryDirectory() as folder:
      manual_dir = None
      if write is not None:
        write(manual_dir := Path(folder) / "files")
      builder = prepare(name, manual_dir=manual_dir, data_dir=Path(folder) / "data", progress=False)
      write_preview(builder, Path(folder) / "sheet.png")
      with Image.open(Path(folder) / "sheet.png") as sheet:
        sheet.save(BUILDERS / name / "example.jpg", quality=85)  # a tenth of the sheet's bytes
    print(f"tfds_builders/{name}/example.jpg")


if __name__ == "__main__":
  app.run(main)
