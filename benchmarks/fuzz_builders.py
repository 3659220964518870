"""Mutates the files that the builders' parsers read, at random: nothing but DataError may come out.

  python benchmarks/fuzz_builders.py --seconds=600            all parsers, in turn
  python benchmarks/fuzz_builders.py --only=via --cases=1000 --seed=7

Starts from small good files; a case is one of them with one to five mutations, of its bytes or of its JSON. Prints how
many cases each parser took, how many it refused, and the longest time; ends with the traceback and a file of the input
where anything else came out, or where one case took longer than `--slowest` seconds.
"""
import copy
import io
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from absl import app, flags

from tfds_builders import outlines
from tfds_builders.contents import Faults
from tfds_builders.csv_tables import CsvTable
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge.kaggle_files import Table
from tfds_builders.galaxy_zoo_challenge.validation import ID_COLUMN, read_solutions
from tfds_builders.gz2_tree import COLUMNS
from tfds_builders.mask_galaxy.annotations import read_annotations
from tfds_builders.mask_galaxy.catalogue import read_catalogue
from tfds_builders.mask_galaxy.regions import AnnotationError
from tfds_builders.mask_galaxy.validation import arrange

FLAGS = flags.FLAGS
flags.DEFINE_float("seconds", 60, "How long, over all parsers.")
flags.DEFINE_integer("cases", 0, "How many cases of each parser instead.")
flags.DEFINE_integer("seed", 0, "Of the mutations.")
flags.DEFINE_list("only", [], "These parsers only.")
flags.DEFINE_float("slowest", 5, "Seconds that one case may take.")

#: What parsers stumble over: put in among bytes, and in the place of values.
TOKENS = (b"", b"\0", b'"', b"\n", b"\r", b",", b"{", b"[", b"]}", b"NaN", b"Infinity", b"1e999", b"-1", b"null",
          b"true", b"9" * 30, b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800",
          b"\\u0000", "é".encode(), b"../", b"0.1", b"1e-320", b"-0")
VALUES = (None, True, False, 0, -1, 1, 2.5, -1e-9, 1e308, float("nan"), float("inf"), 2**31, 2**63, -2**64, 10**400, "",
          "S", "../x.jpg", "/x", "\ud800", "\0", "9" * 40, "é" * 100_000, [], {}, [[]], [None], {"a": None}, "polygon",
          "ellipse", [1, 2, 3, 4, 5, 6], [[1, 2, 3, 4, 5, 6]], {"size": [32, 40], "counts": "0"}, list(range(2000)))


class Parser(NamedTuple):
  """Something that reads a file of others.

  Attributes:
    read: takes the bytes of a file; raises nothing but DataError.
    files: good ones to begin with.
  """
  read: Callable[[bytes], None]
  files: tuple[bytes, ...]


def annotations(data: bytes) -> None:
  """What a build does with annotations, but for the images, which are taken to be 32 x 40 pixels."""
  for skip_bad in (True, False):
    faults = Faults(skip_bad)
    for image in read_annotations(data, "annotations.json", faults):
      try:
        if image.regions:
          arrange(image, 32, 40, 1)
      except AnnotationError:
        continue
      for region in image.regions:
        outlines.mask(outlines.to_text(region.outline), 32, 40)
    for fault in faults.found:
      str(fault).encode()  # can be printed, and written to left_out.csv


def catalogue(data: bytes) -> None:
  for skip_bad in (True, False):
    read_catalogue(CsvTable("catalogue.csv", io.BytesIO(data)), {587722981746540704}, Faults(skip_bad))


def solutions(data: bytes) -> None:
  for skip_bad in (True, False):
    read_solutions(Table("solutions.csv", data), Faults(skip_bad))


def _via() -> tuple[bytes, ...]:
  shapes = [{"name": name, "all_points_x": [3, 9, 12.5, 5], "all_points_y": [4, 4, 20, 18.25], "x": 3, "y": 4,
             "width": 5, "height": 6, "cx": 9, "cy": 8.5, "r": 3, "rx": 4, "ry": 2, "theta": 0.5}
            for name in ("polygon", "polyline", "rect", "circle", "ellipse", "point")]
  regions = [{"shape_attributes": shape, "region_attributes": {"object_name": label}}
             for shape, label in zip(shapes, ("S", "E", "U", "spiral", "SBc2m", ""), strict=True)]
  image = {"filename": "Dr7_587722981746540704.jpg", "size": 7, "regions": regions, "file_attributes": {}}
  other = image | {"filename": "b.jpg", "regions": {str(i): region for i, region in enumerate(regions[:2])}}
  documents = ({"a7": image, "b7": other}, {"_via_settings": {}, "_via_img_metadata": {"a7": image}})
  return tuple(json.dumps(document).encode() for document in documents)


def _coco() -> tuple[bytes, ...]:
  segmentations = ([[3, 4, 9, 4, 12.5, 20]], {"size": [32, 40], "counts": [100, 30, 1150]},
                   {"size": [32, 40], "counts": "X10d0"}, [[0, 0, 5, 0, 5, 5], [8, 8, 12, 8, 12, 12, 8, 12]])
  document = {"images": [{"id": i, "file_name": f"{i}.jpg", "height": 32, "width": 40} for i in range(2)],
              "categories": [{"id": 1, "name": "S"}, {"id": 2, "name": "elliptical"}],
              "annotations": [
                  {"id": i, "image_id": i % 2, "category_id": 1 + i % 2, "iscrowd": i % 2, "segmentation": segmentation}
                  for i, segmentation in enumerate(segmentations)]}
  return (json.dumps(document).encode(),)


def _solutions() -> bytes:
  rows = [[ID_COLUMN, *COLUMNS]] + [[str(100000 + i), *(f"{j / 40:.6f}" for j in range(37))] for i in range(3)]
  return "\n".join(map(",".join, rows)).encode()


#: By name; another builder's parser is one more line.
PARSERS = {
    "via": Parser(annotations, _via()),
    "coco": Parser(annotations, _coco()),
    "catalogue": Parser(catalogue, (
        b"dr7objid,gz2_class\n587722981746540704,SBc2m\n587722981746540705,Ei\n",
        b"OBJID,RA,SPIRAL,ELLIPTICAL,UNCERTAIN\n587722981746540704,00:00:00.41,1,0,0\n")),
    "solutions": Parser(solutions, (_solutions(),)),
}


def mutated(data: bytes, rng: random.Random) -> bytes:
  """A file with one to five mutations, of the values in it where it is JSON, or of its bytes."""
  if data[:1] == b"{" and rng.random() < 0.6:
    document = json.loads(data)
    for _ in range(rng.randint(1, 5)):
      document = _with_a_value_changed(document, rng)
    data = json.dumps(document).encode()
    if rng.random() < 0.8:
      return data
  for _ in range(rng.randint(1, 5)):
    start = rng.randrange(len(data) + 1)
    stop = min(len(data), start + rng.choice((0, 1, 1, 2, 8, 100)))
    piece = rng.choice((rng.choice(TOKENS), rng.randbytes(1), data[stop:stop + rng.randrange(40)]))
    data = data[:start] + piece + data[stop:]
  return data if rng.random() < 0.95 else data[:rng.randrange(len(data) + 1)]


def _with_a_value_changed(document, rng: random.Random):
  """A JSON document with one value, at any depth, replaced, removed or repeated, or a key renamed."""
  places, todo = [], [document]
  while todo:
    part = todo.pop()
    for key in part if isinstance(part, dict) else range(len(part) if isinstance(part, list) else 0):
      places.append((part, key))
      todo.append(part[key])
  if not places:
    return copy.deepcopy(rng.choice(VALUES))
  part, key = rng.choice(places)
  kind = rng.random()
  if kind < 0.6:
    part[key] = copy.deepcopy(rng.choice(VALUES))
  elif kind < 0.75:
    del part[key]
  elif isinstance(part, list):
    part.insert(key, copy.deepcopy(part[key]))
  else:
    part[rng.choice(("", "filename", "regions", "id", key + "x"))] = part.pop(key)
  return document


def fuzz(name: str, parser: Parser, *, seconds: float, cases: int) -> bool:
  """Tries one parser for some time, or on a number of cases; whether it held."""
  rng = random.Random(f"{FLAGS.seed} {name}")
  start, number, refused, slowest = time.monotonic(), 0, 0, 0.0
  while number < cases if cases else time.monotonic() - start < seconds:
    data = mutated(rng.choice(parser.files), rng)
    begin, wrong = time.monotonic(), None
    try:
      parser.read(data)
    except DataError:
      refused += 1
    except Exception:
      wrong = traceback.format_exc()
    took = time.monotonic() - begin
    number, slowest = number + 1, max(slowest, took)
    if wrong or took > FLAGS.slowest:
      with tempfile.NamedTemporaryFile(prefix=f"fuzz_{name}_", delete=False) as file:
        file.write(data)
      print(f"{name}: case {number} took {took:.1f} s; it is in {file.name}\n{wrong or ''}")
      return False
  print(f"{name}: {number} cases, {refused} refused with one error, {number - refused} read; slowest {slowest:.3f} s",
        flush=True)
  return True


def main(argv):
  names = FLAGS.only or list(PARSERS)
  held = [fuzz(name, PARSERS[name], seconds=FLAGS.seconds / len(names), cases=FLAGS.cases) for name in names]
  sys.exit(not all(held))


if __name__ == "__main__":
  app.run(main)
