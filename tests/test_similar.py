"""Galaxies that are alike, odd, and on a map: against plain numpy, invariances, and galaxies put there to be found."""
import base64
import csv
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from conftest import blob
from PIL import Image
from predictions import MeanColours
from pyarrow import parquet

from galaxy_jax import embed, feature_map, inputs, neighbours, pictures, predictor, similar

ROOT = Path(__file__).parent.parent


@pytest.fixture
def points():
  """400 points of unequal and correlated directions."""
  rng = np.random.default_rng(0)
  return (rng.normal(size=(400, 6)) * [9, 5, 2, 1, 1, 0.5]) @ rng.normal(size=(6, 6)) + 7


def test_neighbours_are_those_of_brute_force(points):
  distances, rows = neighbours.nearest(points, points[:5], 7)
  unit = points / np.linalg.norm(points, axis=1, keepdims=True)
  expected = 1 - unit[:5] @ unit.T
  np.testing.assert_array_equal(rows, np.argsort(expected, axis=1, kind="stable")[:, :7])
  np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :7], atol=1e-6)
  alone, others = neighbours.nearest_to_row(points, 3, 6)
  np.testing.assert_array_equal(others, rows[3, 1:])
  np.testing.assert_allclose(alone, distances[3, 1:], atol=1e-6)
  assert len(neighbours.nearest_to_row(points[:4], 0, 10)[1]) == 3


def test_a_copy_is_nearest_and_the_galaxy_itself_left_out(points):
  copies = np.concatenate([points, points[:1]])
  for row, copy in ((0, 400), (400, 0)):
    distances, rows = neighbours.nearest_to_row(copies, row, 3)
    assert rows[0] == copy and row not in rows and distances[0] == pytest.approx(0, abs=1e-6)


def test_whitened_features_have_no_scale_nor_direction(points):
  white = neighbours.principal(points, 1.0, whiten=True).of(points)
  np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=1e-3)
  np.testing.assert_allclose(white.mean(0), 0, atol=1e-3)
  # Any other way to write the same features gives the same distances.
  mixed = points @ (np.random.default_rng(1).normal(size=(6, 6)) + 2 * np.eye(6)) - 3
  other = neighbours.principal(mixed, 1.0, whiten=True).of(mixed)
  (distances, rows), (others, same) = (neighbours.nearest(values, values, 4) for values in (white, other))
  np.testing.assert_allclose(distances, others, atol=1e-3)
  assert np.mean(rows == same) > 0.98  # but for those that are as near as each other


def test_the_share_of_variance_says_how_many_directions_count():
  rng = np.random.default_rng(0)
  values = rng.normal(size=(2000, 4)) * [10, 3, 1, 1e-5]
  shapes = [neighbours.principal(values, share).matrix.shape[1] for share in (0.8, 0.95, 1.0)]
  assert shapes == [1, 2, 3]  # the last direction is rounding
  np.testing.assert_allclose(neighbours.principal(values).of(values).std(0), [10, 3], rtol=0.05)


@pytest.mark.parametrize(("values", "message"), [
    (np.ones((3, 2)), "do not differ"), (np.ones((1, 2)), "at least two"),
    (np.array([[1, 2], [np.nan, 1], [0, 0]]), "Row 1 .* not finite")])
def test_features_that_say_nothing_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    neighbours.principal(values)


def test_an_outlier_is_the_oddest(points):
  points[17] = points.mean(0) + 12 * points.std(0)
  odd = neighbours.oddness(neighbours.principal(points, 1.0, whiten=True).of(points))
  assert np.argmax(odd) == 17 and odd.max() == 1 and odd.min() == 0


@pytest.fixture
def sky():
  """300 ordinary galaxies; 10 at one far place, 10 at another that is not as far."""
  rng = np.random.default_rng(0)
  return np.concatenate([rng.normal(size=(300, 3)), rng.normal([12, -12, 0], 0.5, (10, 3)),
                         rng.normal([0, 7, 0], 0.5, (10, 3))]).astype(np.float32)


def features_of(values, folder=""):
  names = [f"g{row:03d}" for row in range(len(values))]
  return embed.Features(names, [f"{folder}/{name}.jpg" for name in names], values,
                        {"model": "colours", "crop": None, "size": 8, "checkpoint": 7, "looks": [2, True, [1.0]],
                         "planes": [2, 1, 0], "fingerprint": predictor.fingerprint(MeanColours().variables)})


def test_what_is_like_a_dull_galaxy_moves_back_and_what_is_like_an_interesting_one_up(sky, tmp_path):
  features, odd = features_of(sky), neighbours.oddness(sky)
  place = lambda scores: np.argsort(np.argsort(-scores))
  before = place(odd)
  labels = similar.relabel(features, sky, odd, tmp_path / "labels.csv", 15,
                           lambda text: "yes" if int(re.search(r"g(\d{3})", text)[1]) >= 310 else "no")
  after = place(similar.ranked(sky, odd, labels))
  dull, interesting = ([row for row in rows if row not in labels] for rows in (range(300, 310), range(310, 320)))
  assert dull and interesting
  assert before[dull].max() < before[interesting].min()
  assert after[interesting].max() < after[dull].min()
  assert after[interesting].mean() < before[interesting].mean()


def test_the_score_is_that_of_astronomaly(sky):
  """With one label the regression is constant, so that the formula can be followed by hand."""
  odd = neighbours.oddness(sky)
  distance = np.linalg.norm(sky - sky[7], axis=1)
  for said, opinion in (("yes", 0.95), ("no", 0.1)):
    expected = odd * np.tanh(np.exp(distance / distance.mean()) - 1 + np.arctanh(opinion))
    np.testing.assert_allclose(similar.ranked(sky, odd, {7: said}), expected, rtol=1e-4, atol=1e-6)
  for labels in ({}, {7: "skip"}):
    np.testing.assert_array_equal(similar.ranked(sky, odd, labels), odd)


def test_labelling_can_be_left_and_gone_on_with(sky, tmp_path):
  features, odd, path = features_of(sky), neighbours.oddness(sky), tmp_path / "labels.csv"
  asked, kept = [], []

  def answers(*given):
    given = iter(given)

    def ask(text):
      asked.append(re.search(r"g\d{3}", text)[0])
      kept.append(len(similar.read_labels(path, features.ids)))
      return next(given)
    return ask
  similar.relabel(features, sky, odd, path, 10, answers("y", "what?", "No", "skip", "q"))
  first = [asked[0], asked[1], asked[3]]  # the second was asked twice
  assert asked[1] == asked[2] and kept == [0, 1, 1, 2, 3]
  assert path.read_text() == f"id,interesting\n{first[0]},yes\n{first[1]},no\n{first[2]},skip\n"
  labels = similar.relabel(features, sky, odd, path, 1, answers("n"))
  assert len(labels) == 4 and list(labels.values()) == ["yes", "no", "skip", "no"]
  assert features.ids[list(labels)[3]] not in first
  assert similar.read_labels(path, features.ids) == labels


@pytest.mark.parametrize(("text", "message"), [
    ("id,interesting\nnobody,yes\n", "line 2: the galaxy 'nobody' is not among"),
    ("id,interesting\ng001,perhaps\n", "interesting is 'perhaps'"), ("a,b\n1,2\n", "needs the columns")])
def test_labels_that_are_none_are_refused(tmp_path, text, message):
  (tmp_path / "labels.csv").write_text(text)
  with pytest.raises(ValueError, match=message):
    similar.read_labels(tmp_path / "labels.csv", ["g000", "g001"])


@pytest.fixture
def images(tmp_path):
  folder = tmp_path / "images"
  folder.mkdir()
  rng = np.random.default_rng(0)
  for number in range(6):
    (folder / f"g{number:03d}.jpg").write_bytes(blob(rng, number / 5))
  return folder


def test_pictures_come_from_files_archives_and_inputs(images, tmp_path):
  names = [path.stem for path in sorted(images.iterdir())]
  with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
    for name in names:
      archive.write(images / f"{name}.jpg", f"in/{name}.jpg")
  thumbnails = lambda paths, given=None: feature_map.Pictures(names, paths, None, (), given).thumbnails([4, 1], 24)
  of_files = thumbnails([f"{images}/{name}.jpg" for name in names])
  of_zip = thumbnails([f"{tmp_path}/all.zip/in/{name}.jpg" for name in names])
  of_input = thumbnails(["elsewhere"] * 6, inputs.find(str(images)))
  np.testing.assert_array_equal(of_files, of_zip)
  np.testing.assert_array_equal(of_files, of_input)
  assert of_files.shape == (2, 24, 24, 3) and np.ptp(of_files) > 100
  assert np.ptp(thumbnails(["elsewhere"] * 6)) == 0


def cube_file(path, seed):
  """A FITS cube, the first of its three planes the faintest."""
  fits = pytest.importorskip("astropy.io.fits")
  cube = np.random.default_rng(seed).exponential(10, (3, 12, 12)) * np.array([1, 2, 4])[:, None, None]
  fits.PrimaryHDU(cube.astype(np.float32)).writeto(path)
  return path


def test_pictures_of_cubes_are_of_their_planes(tmp_path):
  path = cube_file(tmp_path / "c.fits", 0)
  pictures = lambda planes: feature_map.Pictures(["c"], [str(path)], None, planes).thumbnails([0], 12)[0]
  np.testing.assert_array_equal(pictures((2, 1, 0)), pictures((0, 1, 2))[..., ::-1])
  assert pictures((2, 1, 0))[..., 0].mean() > pictures((2, 1, 0))[..., 2].mean() > 0
  assert np.ptp(pictures(())) == 0  # grey: nobody said which


def test_the_page_holds_every_thumbnail_and_asks_for_nothing(tmp_path):
  rng = np.random.default_rng(0)
  colours = rng.integers(0, 256, (23, 1, 1, 3), np.uint8)
  thumbnails = np.broadcast_to(colours, (23, 16, 16, 3))
  labels = [f"galaxy {i}" for i in range(22)] + ["</script><b>&"]
  positions = rng.normal(size=(23, 2))
  feature_map.write_map(tmp_path / "map.html", positions, thumbnails, labels, title="A <map>", about="All & more")
  page = (tmp_path / "map.html").read_text()
  assert not re.search(r"(?:https?:)?//[a-z]|url\(|@import|fetch\(|XMLHttp|@[A-Z]+@", re.sub("base64,[^\"]+", "", page))
  assert "default-src 'none'" in page and "<h1>A &lt;map&gt;</h1>" in page and page.count("</script>") == 2
  data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
  assert data["labels"] == labels
  np.testing.assert_array_equal(np.argsort(data["x"]), np.argsort(positions[:, 0]))
  np.testing.assert_array_equal(np.argsort(data["y"]), np.argsort(-positions[:, 1]))
  sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(re.search(r"data:image/jpeg;base64,([^\"]+)", page)[1]))))
  for number in range(23):
    y, x = (16 * part + 8 for part in divmod(number, data["columns"]))
    np.testing.assert_allclose(sheet[y, x].astype(int), colours[number, 0, 0].astype(int), atol=12)


def test_a_map_of_too_many_or_of_nowhere_is_refused(tmp_path):
  thumbnails = np.zeros((2, 4, 4, 3), np.uint8)
  with pytest.raises(ValueError, match="1 to 5000"):
    feature_map.write_map(tmp_path / "m.html", np.zeros((0, 2)), thumbnails[:0], [], title="", about="")
  with pytest.raises(ValueError, match="finite"):
    feature_map.write_map(tmp_path / "m.html", np.array([[0, 1], [np.inf, 0]]), thumbnails, "ab", title="", about="")


def test_a_layout_has_two_coordinates_and_room_for_all(points):
  points[0] = 1e4
  white = neighbours.principal(points, 1.0, whiten=True).of(points)
  flat = neighbours.plane(white)
  assert flat.shape == (400, 2) and np.isfinite(flat).all()
  np.testing.assert_array_equal(np.argsort(flat, axis=0), np.argsort(white[:, :2], axis=0))
  assert np.ptp(flat[1:], axis=0).min() > 0.1 * np.ptp(flat, axis=0).max()
  assert neighbours.plane(white[:, :1]).shape == (400, 2)
  with pytest.raises(ValueError, match="pca or umap"):
    neighbours.plane(white, "tsne")


def test_a_sheet_shows_its_images(tmp_path):
  faces = np.stack([np.full((feature_map.TILE, feature_map.TILE, 3), 40 * i, np.uint8) for i in range(1, 4)])
  feature_map.write_sheet(tmp_path / "s.png", faces, [("name " * 20, "asked for"), ("b", "c"), ("d", "")], marked=1)
  sheet = np.asarray(Image.open(tmp_path / "s.png"))
  for i in range(3):
    assert (sheet == 40 * (i + 1)).all(-1).sum() >= 0.99 * feature_map.TILE**2


def write_features(path, features):
  """The table that galaxy_jax.embed writes."""
  schema = pa.schema([("id", pa.string()), ("path", pa.string()), pa.field(
      "features", pa.list_(pa.float32(), 3), metadata={"galaxy_jax": json.dumps(features.about)})])
  table = pa.table([pa.array(features.ids), pa.array(features.paths), pa.FixedSizeListArray.from_arrays(
      pa.array(features.values.reshape(-1)), 3)], schema=schema)
  parquet.write_table(table, path)


class Flags(SimpleNamespace):
  """What a command reads of its flags."""

  def __getitem__(self, name):
    return SimpleNamespace(value=getattr(self, name))


def test_an_image_is_seen_as_the_features_were_made(tmp_path, monkeypatch, capsys):
  """By the same checkpoint, views and planes; and ~ is the user's folder wherever a path is given."""
  cube_file(tmp_path / "c.fits", 0)
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("USERPROFILE", str(tmp_path))
  model, asked = MeanColours(), []
  pixels = pictures.pixels_of((tmp_path / "c.fits").read_bytes(), "c.fits", model, (2, 1, 0))
  values = np.random.default_rng(0).uniform(0, 255, (6, 3)).astype(np.float32)
  values[4] = model.features(pixels[None])
  write_features(tmp_path / "f.parquet", features_of(values))

  def load(*given):
    asked.append(given)
    return model
  monkeypatch.setattr(predictor, "load", load)
  views = []
  monkeypatch.setattr(model, "with_views", lambda *given: views.append(given) or model, raising=False)
  given = {"features": "~/f.parquet", "image": "~/c.fits", "workdir": "run", "count": 2, "variance": 1.0,
           "output": "~/found.csv", "sheet": "~/sheet.png", "method": "pca", "points": 10}
  none = dict.fromkeys(("id", "anomalies", "map", "relabel", "whiten", "input", "data_dir", "manual_dir", "labels"))
  monkeypatch.setattr(similar, "FLAGS", Flags(**none | given))
  assert similar.main(None) == 0
  assert asked == [("run", 7)] and views == [(2, True, (1.0,))]
  assert capsys.readouterr().out.split()[:2] == ["0.0000", "g004"]
  assert len((tmp_path / "found.csv").read_text().splitlines()) == 3 and Image.open(tmp_path / "sheet.png").width > 100
  monkeypatch.setattr(similar, "FLAGS", Flags(**none | given | {"image": None, "map": "~/map.html", "output": None}))
  assert similar.main(None) == 0 and (tmp_path / "map.html").exists()
  monkeypatch.setattr(similar, "FLAGS", Flags(**none | given | {"sheet": "~/none/s.png"}))
  with pytest.raises(ValueError, match=r"--sheet is .*there is no folder"):
    similar.main(None)


def command(*arguments):
  return subprocess.run([sys.executable, "-m", "galaxy_jax.similar", *arguments], cwd=ROOT, capture_output=True,
                        text=True, timeout=120)


def test_the_command_finds_what_is_alike(images, tmp_path):
  values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
  write_features(tmp_path / "f.parquet", features_of(values, images))
  result = command(f"--features={tmp_path}/f.parquet", "--id=g002", "--count=3", f"--output={tmp_path}/found.csv",
                   f"--sheet={tmp_path}/sheet.png", "--variance=1", "--whiten")
  assert result.returncode == 0, result.stderr
  white = neighbours.principal(values, 1.0, whiten=True).of(values)
  distances, rows = neighbours.nearest_to_row(white, 2, 3)
  assert [line.split()[:2] for line in result.stdout.splitlines()] == [
      [f"{distance:.4f}", f"g{row:03d}"] for distance, row in zip(distances, rows, strict=True)]
  found = list(csv.DictReader(open(tmp_path / "found.csv")))
  assert [line["id"] for line in found] == [f"g{row:03d}" for row in rows]
  assert Image.open(tmp_path / "sheet.png").width == 4 * (feature_map.TILE + 12) + 12
  result = command(f"--features={tmp_path}/f.parquet", "--id=g009")
  assert result.returncode == 1 and "'g009' is 0 times among the 6" in result.stderr.splitlines()[-1]


def test_the_command_says_what_is_wrong_with_its_flags():
  result = command("--features=f.parquet", "--id=1", "--anomalies")
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1].startswith("error: Asked for: --id, --anomalies. Give one of --id")
