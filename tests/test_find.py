"""Catalogues, maps, regions and pictures of what is found; and the command, with a run that learnt to."""
import csv
import io
import json
import re
import shutil
import zipfile

import instances as small
import numpy as np
import pyarrow.parquet as pq
import pytest
from blob_finder import BlobFinder, paint, sky_of
from own_survey import encoded, write_csv
from PIL import Image
from test_class_run import flags_of
from test_instance_run import config_of

from galaxy_jax import (
  datasets,
  evaluation,
  experiment,
  field_files,
  field_places,
  fields,
  find,
  finder,
  inputs,
  outputs,
  packed,
  tables,
)
from galaxy_jax.command import SOME_FAILED
from galaxy_jax.detection import masks
from galaxy_jax.files import write_json
from tfds_builders import masks as raster

CLASSES = ("spiral", "elliptical")
BOXES = ((10, 12, 22, 30), (70, 100, 78, 106), (60, 60, 68, 62))


def picture():
  field = sky_of(90, 130)
  for number, box in enumerate(BOXES):
    paint(field, box, score=200 - 10 * number, label=number % 2)
  return field


def run(folder, given, places=None, model=None, output="t.parquet", source="elsewhere", **options):
  """Finds; (the written table as rows, how many images failed)."""
  given = inputs.find(str(given))
  where = field_places.Places({flag: str(folder / name) for flag, name in (places or {}).items()}, given,
                              folder / output, source=source, overwrite=False)
  _, failed = find.find(model or BlobFinder(), given, folder / output, where, progress=False, **options)
  return [row for part in tables.read(folder / output).parts(1000) for row in part.to_pylist()], failed


def test_a_pictures_catalogue_map_regions_and_overlay(tmp_path):
  field = picture()
  (tmp_path / "field.png").write_bytes(encoded(field, "PNG"))
  rows, failed = run(tmp_path, tmp_path / "field.png", {"regions": "r.reg", "overlays": "pictures"}, rle=True)
  assert failed == 0 and [row["id"] for row in rows] == [1, 2, 3] and not set(field_files.SKY) & rows[0].keys()
  for row, box, name in zip(rows, BOXES, ("round", "long", "round"), strict=True):
    y0, x0, y1, x1 = box
    assert tuple(row[key] for key in ("y0", "x0", "y1", "x1")) == box and row["file"] == "field"
    assert (row["x"], row["y"]) == ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2) and row["area"] == (y1 - y0) * (x1 - x0)
    assert row["class"] == name and row["model"] == "blobs" and row["cut_off"] is False
    mask = masks.decode_rle({"size": [row["height"], row["width"]], "counts": row["segmentation"]})
    assert mask.shape == (90, 130) and mask[y0:y1, x0:x1].all() and mask.sum() == row["area"]
  assert rows[0]["axis_ratio"] == pytest.approx(12 / 18) and rows[0]["position_angle"] == 0
  assert rows[2]["position_angle"] == 90 and rows[0]["score"] == pytest.approx(200 / 255)
  polygons = regions_of(tmp_path / "r.reg")
  assert [about[:2] for _, *about in polygons] == [["#56b4e9", "1 round 0.78"], ["#e69f00", "2 long 0.75"],
                                                   ["#56b4e9", "3 round 0.71"]]
  drawn = np.asarray(Image.open(tmp_path / "pictures/field.outlines.png"))
  assert drawn.shape == field.shape and tuple(drawn[10, 20]) == (0x56, 0xb4, 0xe9)
  assert tuple(drawn[16, 20]) == tuple(field[16, 20])


def regions_of(path):
  """[(corners (N, 2) x, y; colour; text)] of a region file."""
  first, _, coordinates, *lines = path.read_text().splitlines()
  assert first == "# Region file format: DS9 version 4.1" and coordinates == "image"
  found = [re.fullmatch(r"polygon\((.+)\) # color=(\S+) text=\{(.*)\} tag=\{\w+\}", line).groups() for line in lines]
  return [(np.float64(points.split(",")).reshape(-1, 2), *about) for points, *about in found]


def test_regions_draw_the_masks_in_the_rows_of_fits(tmp_path):
  """Counted from 1 and from the lowest row, as DS9 has FITS images and pictures."""
  field = sky_of(60, 60)
  rows, columns = np.mgrid[:60, :60]
  field[np.hypot((rows - 20.3) / 9, (columns - 30.6) / 14) < 1] = 200, 0, 0
  field[50, 5:9] = 150, 0, 0
  found = fields.find(BlobFinder(), field)
  field_files.write_regions(tmp_path / "a.reg", found, field_files.outlines(found), height=60, file="a",
                            classes=("{odd} class", "b"))
  lines = (tmp_path / "a.reg").read_text().splitlines()
  assert "text={1 (odd) class 0.78} tag={(odd) class}" in lines[3]
  numbers = fields.segmentation([one.upside_down(60) for one in found], 60, 60)
  corners = [np.float64(re.match(r"polygon\((.+?)\)", line)[1].split(",")).reshape(-1, 2) - 1 for line in lines[3:]]
  drawn = raster.polygon_mask(corners[0], 60, 60)
  assert np.sum(drawn & (numbers == 1)) > 0.95 * np.sum(drawn | (numbers == 1))
  # A line has no outline: its box is drawn, edges included.
  np.testing.assert_array_equal(corners[1], [(4.5, 9.5), (8.5, 9.5), (8.5, 8.5), (4.5, 8.5)])
  assert (numbers[9, 5:9] == 2).all()


def write_fits(path, pixels, *, wcs=True):
  """A FITS image of one band, its first row the lowest; with coordinates, turned and not square."""
  fits = pytest.importorskip("astropy.io.fits")
  header = fits.Header()
  if wcs:
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 197.86, "CRVAL2": -1.41, "CRPIX1": 40.0,
                   "CRPIX2": 50.0, "CD1_1": -2e-4, "CD1_2": 3e-5, "CD2_1": 2e-5, "CD2_2": 1e-4})
  fits.writeto(path, pixels.astype(np.float32), header)


def test_a_fits_field_on_the_sky(tmp_path):
  wcs = pytest.importorskip("astropy.wcs")
  from astropy.io import fits
  pixels = np.random.default_rng(0).normal(1, 0.01, (90, 130))
  for y0, x0, y1, x1 in BOXES:
    pixels[y0:y1, x0:x1] = 100
  write_fits(tmp_path / "f.fits", pixels)
  rows, failed = run(tmp_path, tmp_path / "f.fits", {"segmentation": "s.fits", "regions": "r.reg"}, output="t.csv")
  with fits.open(tmp_path / "s.fits") as opened, fits.open(tmp_path / "f.fits") as first:
    numbers, header, own = opened[0].data, opened[0].header, wcs.WCS(first[0].header)
  assert failed == 0 and len(rows) == 3 and numbers.shape == (90, 130) and numbers.dtype.kind == "i"
  assert {tuple(row[key] for key in ("y0", "x0", "y1", "x1")) for row in rows} == set(BOXES)
  polygons = regions_of(tmp_path / "r.reg")
  for row, (corners, *_) in zip(rows, polygons, strict=True):
    assert (numbers == row["id"]).sum() == row["area"] and numbers[round(row["y"]), round(row["x"])] == row["id"]
    ra, dec = own.wcs_pix2world(row["x"] + 1, row["y"] + 1, 1)
    assert (row["ra"], row["dec"]) == (pytest.approx(float(ra), abs=1e-9), pytest.approx(float(dec), abs=1e-9))
    area = row["area"] * abs(2e-4 * 1e-4 - 0 - 3e-5 * 2e-5 * -1) * 3600**2
    assert row["area_arcsec2"] == pytest.approx(area, rel=1e-6)
    np.testing.assert_allclose(corners.mean(axis=0), (row["x"] + 1, row["y"] + 1))
  assert header["MODEL"] == "blobs" and header["NCLASS"] == 2 and header["CLASS2"] == "long" and header["NOBJECTS"] == 3
  np.testing.assert_allclose(wcs.WCS(header).wcs_pix2world([[7, 80]], 0), own.wcs_pix2world([[7, 80]], 0), atol=1e-9)


def test_of_many_images(tmp_path, caplog):
  """Some have coordinates, one has no objects, one is none; each has its own files."""
  pytest.importorskip("astropy")
  caplog.set_level("INFO")
  folder = tmp_path / "given"
  (folder / "sub").mkdir(parents=True)
  (folder / "a.png").write_bytes(encoded(picture(), "PNG"))
  (folder / "b.jpg").write_bytes(b"no picture")
  (folder / "c.png").write_bytes(encoded(sky_of(64, 64), "PNG"))
  (folder / "thin.png").write_bytes(encoded(sky_of(4, 64), "PNG"))
  write_fits(folder / "d.fits", np.where(np.arange(4900).reshape(70, 70) % 70 < 9, 50.0, 1.0))
  write_fits(folder / "sub/a.fits", np.pad(np.full((9, 9), 50.0), 30), wcs=False)
  rows, failed = run(tmp_path, folder, {flag: flag for flag in field_places.SUFFIXES})
  failures = tmp_path / "t.parquet.failures.csv"
  assert [row["file"] for row in rows] == ["a.png"] * 3 + ["d", "sub/a.fits"]
  assert [np.isfinite(row["ra"]) for row in rows] == [False] * 3 + [True, False]
  assert [row["id"] for row in rows] == [1, 2, 3, 1, 1] and failed == 2
  with open(failures, newline="") as file:
    listed = list(csv.DictReader(file))
  assert [row["id"] for row in listed] == ["b", "thin"] and "64 x 4 pixels" in listed[1]["reason"]
  assert "5 objects in 4 images; 1 images without any" in caplog.text
  for flag, suffix in field_places.SUFFIXES.items():
    made = sorted(path.relative_to(tmp_path / flag).as_posix() for path in (tmp_path / flag).rglob("*.*"))
    assert made == [name + suffix for name in ("a.png", "c", "d", "sub/a.fits")]
  assert len((tmp_path / "regions/c.reg").read_text().splitlines()) == 3
  (folder / "b.jpg").unlink()
  (folder / "thin.png").unlink()
  assert run(tmp_path, folder)[1] == 0 and not failures.exists()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".fits", ".vot"])
def test_catalogues_of_every_format(tmp_path, ending):
  """With objects, and without any."""
  if ending in (".fits", ".vot"):
    pytest.importorskip("astropy")
  for name, pixels in (("some", picture()), ("none", sky_of(64, 64))):
    (tmp_path / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
    rows, failed = run(tmp_path, tmp_path / f"{name}.png", output=f"{name}{ending}", rle=True)
    assert failed == 0 and len(rows) == (3 if name == "some" else 0)
    names = tables.read(tmp_path / f"{name}{ending}").schema.names
    assert names == [column for column in field_files.schema(rle=True).names if column not in field_files.SKY]
    for row, box in zip(rows, BOXES, strict=bool(rows)):
      assert (row["y0"], row["x1"], row["class"] in BlobFinder.classes) == (box[0], box[3], True)
      assert row["cut_off"] in (False, "false") and row["score"] > 0.7


def test_names_of_an_archive_stay_in_the_folder(tmp_path):
  file = encoded(picture(), "PNG")
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
    for name in ("../a.png", "x/../a.png"):
      archive.writestr(name, file)
  write_csv(tmp_path / "t.csv", [["id", "path"], *([name, "p.png"] for name in ("/etc/a", "../../a", "a", "a"))])
  (tmp_path / "p.png").write_bytes(file)
  rows, _ = run(tmp_path, tmp_path / "t.csv", {"regions": "in/r"})
  made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.reg"))
  assert made == ["in/r/a-2.reg", "in/r/a-3.reg", "in/r/a.reg", "in/r/etc/a.reg"] and len(rows) == 12


@pytest.mark.parametrize(("flag", "value", "message"), [
    ("segmentation", "s.fits", "one file, but --input holds 2 images. Name a folder"),
    ("regions", "a.png", "is no folder. Name one, or a file that ends in .reg"),
    ("overlays", "a.png/x", "a.png is no folder. Name one.$"),
    ("regions", "old", "b.reg is there already")])
def test_places_that_cannot_be_written(tmp_path, flag, value, message):
  for name in "ab":
    (tmp_path / f"{name}.png").write_bytes(encoded(picture(), "PNG"))
  (tmp_path / "old").mkdir()
  (tmp_path / "old/b.reg").write_text("mine")
  with pytest.raises(ValueError, match=message):
    run(tmp_path, tmp_path, {flag: value})
  assert (tmp_path / "old/b.reg").read_text() == "mine"


def test_the_one_image_is_not_written_over(tmp_path):
  write_fits(tmp_path / "f.fits", np.zeros((64, 64)))
  (tmp_path / "link.fits").symlink_to(tmp_path / "f.fits")
  write_csv(tmp_path / "t.csv", [["path"], ["f.fits"]])
  for source, output, name, which in (
      ("f.fits", "o.csv", "f.fits", "--input"), ("f.fits", "o.csv", "link.fits", "--input"),
      ("t.csv", "o.csv", "f.fits", "an image of --input"), ("f.fits", "s.fits", "s.fits", "--output")):
    with pytest.raises(ValueError, match=f"--segmentation is .*, which is {which} too. Name another file"):
      field_places.Places({"segmentation": str(tmp_path / name)}, inputs.find(str(tmp_path / source)),
                          tmp_path / output, source=str(tmp_path / source), overwrite=True)


def test_what_is_read_is_not_written_over(monkeypatch, tmp_path):
  """Neither a table, whatever it is called, nor one of many images; that is said before a model is looked for."""
  (tmp_path / "in").mkdir()
  for name in "ab":
    write_fits(tmp_path / f"in/{name}.fits", np.zeros((64, 64)))
  write_csv(tmp_path / "g.csv", [["id", "path"], ["1", "in/a.fits"], ["2", "in/b.fits"]])
  (tmp_path / "other.csv").symlink_to("g.csv")
  shutil.copy(tmp_path / "g.csv", tmp_path / "t.csv.failures.csv")
  before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
  monkeypatch.chdir(tmp_path)
  for given, output, message in (
      ("g.csv", "g.csv", "--output is .*g.csv, which is --input too"),
      ("in/../g.csv", "other.csv", "other.csv, which is --input too"),
      ("in", "in/b.fits", "b.fits, which is an image of --input too"),
      ("in/*.fits", "in/b.fits", "b.fits, which is an image of --input too"),
      ("g.csv", "in/b.fits", "b.fits, which is an image of --input too"),
      ("t.csv.failures.csv", "t.csv", "The list of failures of --output is .*, which is --input too")):
    with pytest.raises(ValueError, match=message):
      command(tmp_path / "no_run", monkeypatch, input=given, output=output, overwrite=True)
  assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_what_is_made_is_not_found_again_as_an_image(tmp_path):
  (tmp_path / "in").mkdir()
  (tmp_path / "in/a.png").write_bytes(encoded(picture(), "PNG"))
  for flag in field_places.SUFFIXES:
    with pytest.raises(ValueError, match=f"--{flag} is .* in the folder of --input, where the next call"):
      run(tmp_path, tmp_path / "in", {flag: "in/made"}, source=str(tmp_path / "in"))


def test_what_is_called_fits_and_is_a_picture_is_one(tmp_path):
  (tmp_path / "in").mkdir()
  (tmp_path / "in/a.fits").write_bytes(encoded(picture(), "JPEG"))
  rows, failed = run(tmp_path, tmp_path / "in")
  assert failed == 0 and len(rows) == 3 and "ra" not in rows[0]


@pytest.mark.parametrize("header", [
    {"RADESYS": "XYZ", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}])
def test_coordinates_that_are_none_of_the_sky_are_left_out(tmp_path, caplog, header):
  fits = pytest.importorskip("astropy.io.fits")
  image = fits.PrimaryHDU(np.asarray(picture()[:, :, 0], np.float32))
  image.header.update(header | {"CRVAL1": 0.1, "CRVAL2": 0.1, "CDELT1": -1e-4, "CDELT2": 1e-4})
  image.writeto(tmp_path / "a.fits")
  rows, failed = run(tmp_path, tmp_path / "a.fits")
  assert failed == 0 and all("ra" not in row for row in rows)
  assert "a.fits has coordinates that cannot be used" in caplog.text


def test_scales():
  assert find.scales_of(None, 0.5) == (0.5,) and find.scales_of(["1", "fit", "1.0"], 0.5) == (1.0, "fit")
  for wrong in ("0", "-1", "nan", "1e9", "half"):
    with pytest.raises(ValueError, match="--scale has"):
      find.scales_of([wrong], 1.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """What is left of a run that finds objects, packed, and its data: the folder above them."""
  folder = tmp_path_factory.mktemp("find")
  small.write_survey(folder / "survey")
  config = config_of(folder)
  (folder / "run").mkdir()
  write_json(folder / "run/config.json", json.loads(config.to_json()))
  write_json(folder / "run/data.json", {"train": {"classes": CLASSES}})
  write_json(folder / "run/packed.json", {"step": 7, "seconds": 0.0})
  task = experiment.make_task(config, axis_name=None, all_views=False, classes=CLASSES)
  packed.write_parameters(folder / "run" / evaluation.PACKED, small.variables(task))
  return folder


def command(folder, monkeypatch, **given):
  values = {"workdir": str(folder / "run"), "overlap": 0.25, "min_score": 0.05, "rle": False, "overwrite": False}
  monkeypatch.setattr(find, "FLAGS", flags_of(**dict.fromkeys(
      ("segmentation", "regions", "overlays", "scale", "checkpoint", "tta", "path_column", "id_column", "planes",
       "data_dir", "manual_dir", "batch_size")) | values | given))
  return find.main(None)


def test_the_command_finds_what_the_evaluation_does(trained, monkeypatch, tmp_path):
  """Of images of the run's own size: a tile is then one of them, wherever it comes in a batch."""
  config = config_of(trained)
  builder = datasets.open_dataset(config)
  _, results = evaluation.evaluate_splits(config, trained / "run", builder, ["validation"], "latest")
  result, data = results["validation"].predicted, results["validation"].data
  names = [name.decode() for name in data.labels["galaxy_id"]]
  own = outputs.InstanceResult("validation", np.array(names), result, data.labels, data.images,
                               CLASSES).table().to_pylist()
  shutil.copytree(trained / "survey/val", tmp_path / "given")
  (tmp_path / "given/cut.jpg").write_bytes((tmp_path / "given" / names[0]).read_bytes()[:500])
  given = {"input": str(tmp_path / "given"), "output": str(tmp_path / "t.parquet"), "rle": True}
  status = command(trained, monkeypatch, **given)
  rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
  wanted = [row for row in own if row["area"]]
  assert status == SOME_FAILED and rows
  # The evaluation keeps objects whose masks overlap, or nest, where their boxes do not; here these are one.
  key = lambda name, row: (name.removesuffix(".jpg"), row["segmentation" if "segmentation" in row else "mask"])
  by_key = {key(row["galaxy_id"], row): row for row in wanted}
  assert len(rows) > 0.5 * len(wanted)
  for row in rows:
    same = by_key[key(row["file"], row)]
    assert row["class"] == same["predicted"] and row["score"] == pytest.approx(same["score"], abs=1e-5)
    assert (row["x"], row["y"]) == (pytest.approx(same["x"], abs=1e-3), pytest.approx(same["y"], abs=1e-3))
    assert row["axis_ratio"] == pytest.approx(same["axis_ratio"], abs=1e-4) and not row["cut_off"]
    assert row["model"] == "mask_galaxy (run)"


def test_what_the_command_refuses(trained, monkeypatch, tmp_path):
  (tmp_path / "votes").mkdir()
  (tmp_path / "votes/config.json").write_text('{"task": "classes"}')
  image = str(next((trained / "survey/val").glob("*.jpg")))
  (tmp_path / "there.csv").write_text("mine")
  write_fits(tmp_path / "field.fits", np.zeros((64, 64)))
  field = str(tmp_path / "field.fits")
  for changed, message in (
      ({"input": field, "output": field, "overwrite": True}, "field.fits, which is --input too. Name another file"),
      ({"workdir": str(tmp_path / "votes")}, "finds no objects: it learnt classes .* galaxy_jax.predict"),
      ({"output": str(tmp_path / "none/t.csv")}, "there is no folder"),
      ({"output": str(tmp_path / "there.csv")}, "is there already"),
      ({"scale": ["1000"]}, "--scale has '1000'"), ({"planes": ["red"]}, "The planes are red"),
      ({"overlap": 0.0}, "The overlap of tiles is 0; expected a share from 0.05"),
      ({"tta": 3}, "--tta is 3; expected 1, 2, 4 or 8"), ({"tta": 6}, "--tta is 6; expected 1, 2, 4 or 8")):
    with pytest.raises(ValueError, match=message):
      command(trained, monkeypatch, **{"input": image, "output": str(tmp_path / "t.csv")} | changed)
  assert (tmp_path / "there.csv").read_text() == "mine" and not (tmp_path / "t.csv").exists()


def test_a_finder_of_other_settings(trained, tmp_path):
  """What it sees of its images is less than they are, and they were cut out of larger ones."""
  (tmp_path / "run").mkdir()
  for name in ("data.json", "packed.json", evaluation.PACKED):
    (tmp_path / "run" / name).symlink_to(trained / "run" / name)
  changed = config_of(trained, **{"augment.view": 0.7, "data.crop": 128})
  write_json(tmp_path / "run/config.json", json.loads(changed.to_json()))
  model = finder.load(tmp_path / "run", batch_size=5)
  assert (model.size, model.seen, model.scale, model.batch_size) == (64, 44, 0.5, 5)


def test_what_a_finder_takes(trained):
  model = finder.load(trained / "run")
  assert (model.size, model.seen, model.scale, model.classes) == (64, 64, 1.0, CLASSES)
  image = np.asarray(Image.open(io.BytesIO(next((trained / "survey/val").glob("*.jpg")).read_bytes())))
  one, three = model.find(image[None]), model.find(np.stack([image[::-1], image, image]))
  assert one["valid"].any()
  for name in one:
    np.testing.assert_allclose(one[name][0], three[name][1], atol=1e-5)
  for wrong in (np.zeros((4, 64, 64, 3), np.uint8), np.zeros((1, 32, 64, 3), np.uint8), np.zeros((1, 64, 64, 3))):
    with pytest.raises(ValueError, match=r"takes up to 3 images \(N, 64, 64, 3\) uint8"):
      model.find(wrong)
