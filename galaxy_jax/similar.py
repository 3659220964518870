"""Finds galaxies that are alike, galaxies that are odd, and lays all of them out on a map, by a model's features.

  python -m galaxy_jax.similar --features=features.parquet --id=588017703996096547 --count=10 --sheet=alike.png
  python -m galaxy_jax.similar --features=features.parquet --image=mine.jpg --workdir=runs/gz2
  python -m galaxy_jax.similar --features=features.parquet --anomalies --count=50 --relabel
  python -m galaxy_jax.similar --features=features.parquet --map=map.html

Needs: pip install 'galaxy_jax[similar]'; for --method=umap also 'galaxy_jax[umap]'. The features come from
galaxy_jax.embed. Alike is what is near by the cosine of the features' principal components, searched exactly; --whiten
has each component count the same. Odd is what an isolation forest finds odd; --relabel asks of the oddest, one after
the other, whether they are interesting, and what is like the dull ones moves back (Astronomaly, Lochner & Bassett
2021). The answers are kept in FEATURES.labels.csv, or --labels, after each: stop and go on at any time. Pictures are
read from where the table says; where that is no file, or the files have moved, --input names them as it did for
galaxy_jax.embed.
"""
import csv
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from galaxy_jax import embed, feature_map, inputs, neighbours, pictures, tables
from galaxy_jax.command import run_command
from galaxy_jax.files import write_whole
from tfds_builders.images import ImageError

logger = logging.getLogger(__name__)

#: What a user may say of a galaxy, by its first letter, and what it is worth; a skipped one only is not asked again.
ANSWERS = {"y": "yes", "n": "no", "s": "skip"}
_WORTH = {"yes": 1.0, "no": 0.0}


def read_labels(path: Path, ids: list[str]) -> dict[int, str]:
  """What was said of galaxies before: their rows and 'yes', 'no' or 'skip'; nothing where there is no file.

  Raises:
    ValueError: no such table, an answer that is none, or an id that is not among the features.
  """
  if not path.exists():
    return {}
  rows, labels = {name: row for row, name in enumerate(ids)}, {}
  with open(path, newline="", encoding="utf-8") as file:
    reader = csv.DictReader(file)
    if not {"id", "interesting"} <= set(reader.fieldnames or ()):
      raise ValueError(f"{path} is no table of labels: it needs the columns id and interesting.")
    for line in reader:
      if line["id"] not in rows:
        raise ValueError(f"{path}, line {reader.line_num}: the galaxy {line['id']!r} is not among the features. Name "
                         "another file with --labels.")
      if line["interesting"] not in ANSWERS.values():
        raise ValueError(f"{path}, line {reader.line_num}: interesting is {line['interesting']!r}; expected "
                         f"{', '.join(ANSWERS.values())}.")
      labels[rows[line["id"]]] = line["interesting"]
  return labels


def write_labels(path: Path, ids: list[str], labels: dict[int, str]) -> None:
  """Writes what `read_labels` reads, whole or not at all."""
  _write_csv(path, ("id", "interesting"), [(ids[row], said) for row, said in labels.items()])


def ranked(points: np.ndarray, odd: np.ndarray, labels: dict[int, str]) -> np.ndarray:
  """(N,) how much each galaxy is worth a look, from its oddness and what was said of others."""
  said = {row: _WORTH[word] for row, word in labels.items() if word in _WORTH}
  return neighbours.modulated(points, odd, np.array(list(said), int), np.array(list(said.values())))


def relabel(features: embed.Features, points: np.ndarray, odd: np.ndarray, path: Path, count: int,
            ask: Callable[[str], str] = input) -> dict[int, str]:
  """Asks of the galaxies most worth a look whether they are interesting, until `count` answers or 'q'.

  Every answer is kept in `path` at once and the rest is ranked anew.

  Args:
    features: of all galaxies.
    points: (N, K), their components.
    odd: (N,), see neighbours.oddness.
    path: of the labels; those that are there count.
    count: how many answers to ask for.
    ask: shows a text and returns what is typed; EOFError ends.

  Returns:
    All labels, by row.
  """
  labels = read_labels(path, features.ids)
  for number in range(count):
    scores = ranked(points, odd, labels)
    row = next((row for row in np.argsort(-scores, kind="stable") if row not in labels), None)
    if row is None:
      break
    shown = f"{number + 1} of {count}: {features.ids[row]}, score {scores[row]:.3f}, {features.paths[row] or 'no path'}"
    said = ""
    while said[:1] not in (*ANSWERS, "q"):
      try:
        said = ask(f"{shown}\n  interesting? [y]es, [n]o, [s]kip, [q]uit: ").strip().lower() or " "
      except EOFError:
        said = "q"
    if said[0] == "q":
      break
    labels[int(row)] = ANSWERS[said[0]]
    write_labels(path, features.ids, labels)
  return labels


def draw_map(features: embed.Features, points: np.ndarray, path: Path, *, method: str, count: int,
             images: feature_map.Pictures) -> None:
  """Writes the map of at most `count` galaxies, drawn evenly from all where there are more."""
  rows = np.arange(len(points))
  if len(rows) > count:
    rows = np.sort(np.random.default_rng(0).choice(len(rows), count, replace=False))
    logger.info("The map shows %d of %d galaxies.", count, len(points))
  thumbnails = images.thumbnails(rows, feature_map.thumbnail_side(len(rows)))
  by = "the first two principal components" if method == "pca" else "UMAP"
  of_all = f"{len(rows):,}" if len(rows) == len(points) else f"{len(rows):,} of {len(points):,}"
  feature_map.write_map(path, neighbours.plane(points[rows], method), thumbnails, [features.ids[row] for row in rows],
                    title="Galaxies by their features",
                    about=f"{of_all} galaxies by {by} of the features of {features.about['model']}: what is near is "
                    "alike. Scroll to zoom, drag to move.")


FLAGS = flags.FLAGS


def main(_) -> int:
  """Answers one question of a table of features."""
  asked = [name for name in ("image", "id", "anomalies", "map") if FLAGS[name].value]
  if len(asked) != 1:
    raise ValueError(f"Asked for: {', '.join(f'--{name}' for name in asked) or 'nothing'}. Give one of --id, --image, "
                     "--anomalies and --map.")
  if FLAGS.relabel and not FLAGS.anomalies:
    raise ValueError("--relabel goes with --anomalies.")
  for flag, ending in (("output", ".csv"), ("sheet", ".png"), ("map", ".html"), ("labels", ".csv")):
    if FLAGS[flag].value:
      tables.check_place(_path(flag), [ending], f"--{flag}")
  features = embed.read(_path("features"))
  components = neighbours.principal(features.values, FLAGS.variance, whiten=FLAGS.whiten)
  points = components.of(features.values)
  given = FLAGS.input and inputs.find(FLAGS.input, data_dir=FLAGS.data_dir, manual_dir=FLAGS.manual_dir)
  images = feature_map.Pictures(features.ids, features.paths, features.about["crop"], features.about["planes"],
                                given or None)
  if FLAGS.map:
    draw_map(features, points, _path("map"), method=FLAGS.method, count=FLAGS.points, images=images)
    logger.info("The map is %s; it opens in a browser.", _path("map"))
  elif FLAGS.anomalies:
    _anomalies(features, points, images)
  else:
    _alike(features, points, components, images)
  return 0


def _alike(features, points, components, images):
  """Prints, and keeps as the flags say, what is nearest."""
  if FLAGS.id:
    query = features.row(FLAGS.id)
    distances, rows = neighbours.nearest_to_row(points, query, FLAGS.count)
    face, name = images.thumbnails([query], feature_map.TILE)[0], FLAGS.id
  else:
    path = _path("image")
    model = embed.load_model(features, FLAGS.workdir)
    pixels = _image(path, model, features.about["planes"])
    queries = components.of(model.features(pixels[None]))
    distances, rows = (values[0] for values in neighbours.nearest(points, queries, FLAGS.count))
    face, name = feature_map.scaled(pixels, feature_map.TILE), path.name
  for distance, row in zip(distances, rows, strict=True):
    print(f"{distance:.4f}  {features.ids[row]}  {features.paths[row]}")
  if FLAGS.output:
    _write_csv(_path("output"), ("id", "distance", "path"),
               [(features.ids[row], f"{distance:.6f}", features.paths[row])
                for distance, row in zip(distances, rows, strict=True)])
  if FLAGS.sheet:
    faces = np.concatenate([face[None], images.thumbnails(rows, feature_map.TILE)])
    captions = [(name, "asked for"), *((features.ids[row], f"distance {distance:.3f}")
                                       for distance, row in zip(distances, rows, strict=True))]
    feature_map.write_sheet(_path("sheet"), faces, captions, marked=1)


def _path(flag):
  """The path that a flag names."""
  return Path(FLAGS[flag].value).expanduser()


def _image(path, model, planes):
  """An image file as the model takes it, (size, size, 3) uint8."""
  try:
    return pictures.pixels_of(inputs.read_file(path), path.name, model, planes)
  except ImageError as error:
    raise ValueError(f"--image={path} {error}.") from error


def _anomalies(features, points, images):
  """Prints, and keeps as the flags say, what is oddest, after asking the user where that is wanted."""
  path = _path("labels") if FLAGS.labels else Path(f"{_path('features')}.labels.csv")
  odd = neighbours.oddness(points)
  labels = (relabel(features, points, odd, path, FLAGS.count) if FLAGS.relabel
            else read_labels(path, features.ids))
  scores = ranked(points, odd, labels)
  rows = np.argsort(-scores, kind="stable")[:FLAGS.count]
  for row in rows:
    print(f"{scores[row]:.4f}  {labels.get(row, ''):4s}  {features.ids[row]}  {features.paths[row]}")
  if FLAGS.output:
    _write_csv(_path("output"), ("id", "score", "oddness", "interesting", "path"),
               [(features.ids[row], f"{scores[row]:.6f}", f"{odd[row]:.6f}", labels.get(row, ""), features.paths[row])
                for row in rows])
  if FLAGS.sheet:
    captions = [(features.ids[row], " ".join(filter(None, (f"score {scores[row]:.3f}", labels.get(row)))))
                for row in rows]
    feature_map.write_sheet(_path("sheet"), images.thumbnails(rows, feature_map.TILE), captions)


def _write_csv(path, header, rows):
  """A table of texts, whole or not at all."""
  text = io.StringIO(newline="")
  table = csv.writer(text, lineterminator="\n")
  table.writerow(header)
  table.writerows(rows)
  write_whole(path, lambda fresh: Path(fresh).write_text(text.getvalue(), encoding="utf-8"))


def _define_flags():
  flags.DEFINE_string("features", None, "A table of galaxy_jax.embed, NAME.parquet.")
  flags.DEFINE_string("id", None, "Find what is like this galaxy of the table.")
  flags.DEFINE_string("image", None, "Find what is like this image.")
  flags.DEFINE_string("workdir", None, "For --image: the model that the features are of; without it the package's own.")
  flags.DEFINE_bool("anomalies", False, "Find what is odd.")
  flags.DEFINE_bool("relabel", False, "Ask whether the oddest are interesting, and rank by the answers.")
  flags.DEFINE_string("labels", None, "Where the answers are kept; without it FEATURES.labels.csv.")
  flags.DEFINE_string("map", None, "Lay the galaxies out on a page: NAME.html.")
  flags.DEFINE_enum("method", "pca", neighbours.LAYOUTS, "How the map is laid out.")
  flags.DEFINE_integer("points", feature_map.LARGEST, "How many galaxies the map shows at most.", lower_bound=1,
                       upper_bound=feature_map.LARGEST)
  flags.DEFINE_integer("count", 10, "How many galaxies to find, or to ask for.", lower_bound=1)
  flags.DEFINE_bool("whiten", False, "Scale each component to the same variance.")
  flags.DEFINE_float("variance", 0.99, "The share of the features' variance that counts.", lower_bound=0.01,
                     upper_bound=1)
  flags.DEFINE_string("output", None, "Where to write what is found: NAME.csv.")
  flags.DEFINE_string("sheet", None, "Where to write a picture of what is found: NAME.png.")
  flags.DEFINE_string("input", None, "Where the images are now, as galaxy_jax.embed took them.")
  flags.DEFINE_string("data_dir", None, "Of a data set as --input: where it is.")
  flags.DEFINE_string("manual_dir", None, "Of a data set as --input: the folder with the published files.")
  flags.mark_flags_as_required(["features"])


if __name__ == "__main__":
  _define_flags()
  sys.exit(run_command(main))
