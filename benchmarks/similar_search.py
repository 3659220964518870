"""How alike the nearest galaxies are: the share of each one's ten nearest that have its published class.

  GALAXY_JAX_SAMPLES=FOLDER python benchmarks/similar_search.py --workdirs=runs/gz2,runs/morph8

Of the galaxies of the real sample with one of the eight published classes, all splits together; each one's nearest are
looked for among all others, by the cosine of the features' principal components, as galaxy_jax.similar does, and of
these whitened. Beside the features of the given models: pixels, 32 × 32 of the central half, in colour and grey.
Of a model that learnt from these very galaxies the share says less.

Then, of --answers galaxies that a user is asked about, how many are of the classes --wanted: the oddest in their order,
those that come first where every answer changes the order (galaxy_jax.similar --relabel), and as many drawn by chance.
"""
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags
from looks import sets
from PIL import Image

from galaxy_jax import neighbours, predictor, similar
from galaxy_jax.data import decode, sources
from tfds_builders.class_lists import EIGHT_CLASSES
from tfds_builders.prepare import prepare

FLAGS = flags.FLAGS
flags.DEFINE_list("workdirs", [], "Runs, or names of models that come with the package.")
flags.DEFINE_float("variance", 0.99, "As for galaxy_jax.similar.")
flags.DEFINE_list("wanted", ["irregular", "merger"], "The classes that a user looks for.")
flags.DEFINE_integer("answers", 60, "How many galaxies a user is asked about.")

#: How many of the nearest count, and the sides and crop of the compared pixels.
_NEAREST, _SIDE, _CROP = 10, 32, 212


def galaxies(folder: Path) -> tuple[list[bytes], np.ndarray]:
  """The sample's images with a class: files, and classes (N,)."""
  files = sets.samples().absolute()
  manual = folder / "published"
  manual.mkdir()
  for path in (path for part in ("gz2_sample", "gz2_eight_classes") for path in (files / part).iterdir()):
    (manual / path.name).symlink_to(path)
  builder = prepare("galaxy_zoo_2/morph8", data_dir=str(folder / "data"), manual_dir=str(manual))
  source = sources.split_source(builder, "train+validation+test")
  records = [source[row] for row in range(len(source))]
  return [record["image"] for record in records], np.array([record["label"] for record in records])


def precision(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """(N,) the share of each galaxy's nearest, itself left out, that have its class."""
  _, rows = neighbours.nearest(values, values, _NEAREST + 1)
  others = [row[row != own][:_NEAREST] for own, row in enumerate(rows)]
  return (labels[np.array(others)] == labels[:, None]).mean(1)


def found(values: np.ndarray, wanted: np.ndarray) -> tuple[int, int]:
  """How many wanted galaxies are among the first: of the oddest, and of those that are asked about in turn."""
  odd = neighbours.oddness(values)
  labels = {}
  for _ in range(FLAGS.answers):
    row = next(row for row in np.argsort(-similar.ranked(values, odd, labels), kind="stable") if row not in labels)
    labels[int(row)] = "yes" if wanted[row] else "no"
  return int(wanted[np.argsort(-odd)[:FLAGS.answers]].sum()), sum(said == "yes" for said in labels.values())


def main(_):
  with tempfile.TemporaryDirectory() as folder:
    files, labels = galaxies(Path(folder))
  shares = np.bincount(labels, minlength=len(EIGHT_CLASSES)) / len(labels)
  wanted = np.isin(labels, [EIGHT_CLASSES.index(name) for name in FLAGS.wanted])
  mix = ", ".join(f"{name} {share:.2f}" for name, share in zip(EIGHT_CLASSES, shares, strict=True))
  print(f"{len(labels)} galaxies: {mix}; by chance {np.sum(shares**2):.3f} of the nearest are of the same class. Of "
        f"{FLAGS.answers} drawn by chance {FLAGS.answers * wanted.mean():.1f} are {' or '.join(FLAGS.wanted)}.")
  print(f"| features | of them | precision@{_NEAREST} | whitened | {' | '.join(EIGHT_CLASSES)} | "
        f"wanted among the oddest {FLAGS.answers} | by answers |\n|{'---|' * (6 + len(EIGHT_CLASSES))}", flush=True)
  pixels = np.stack([decode.decode_image(data, crop=_CROP, size=_SIDE) for data in files])
  kinds = {f"pixels, {_SIDE} × {_SIDE}": lambda: pixels.reshape(len(pixels), -1).astype(np.float32),
           f"pixels, {_SIDE} × {_SIDE}, grey": lambda: np.stack([
               np.asarray(Image.fromarray(image).convert("L"), np.float32).ravel() for image in pixels])}
  for name in FLAGS.workdirs:
    kinds[name] = lambda name=name: of_model(predictor.load(name), files)
  for name, make in kinds.items():
    values = make()
    points, white = (neighbours.principal(values, FLAGS.variance, whiten=whiten).of(values) for whiten in (False, True))
    shared, of_white = precision(points, labels), precision(white, labels).mean()
    by_class = [f"{shared[labels == number].mean():.2f}" for number in range(len(EIGHT_CLASSES))]
    mean = f"{shared.mean():.3f} ± {shared.std() / len(shared)**0.5:.3f}"
    cells = (name, points.shape[1], mean, f"{of_white:.3f}", *by_class, *found(points, wanted))
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def of_model(model: predictor.Predictor, files: list[bytes]) -> np.ndarray:
  """The features (N, D) of image files."""
  return model.features(np.stack([model.decode(data) for data in files]))


if __name__ == "__main__":
  app.run(main)
