"""Outlines by SEP: what is found, the project, and the way from images to the builder's masks."""
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from galaxy_jax import annotate, inputs, sep_outlines
from galaxy_jax.command import SOME_FAILED
from tfds_builders import outlines
from tfds_builders.masks import polygon_mask
from tfds_builders.prepare import prepare

pytest.importorskip("sep", reason="pip install 'galaxy_jax[annotate]'")
SIDE = 64
EXACT = annotate.Settings(tolerance=0.0)


def sky(places, *, noise=3.0, level=12.0, seed=0, side=SIDE):
  """An image (side, side, 3) uint8 of round objects: (y, x, scale, peak) each."""
  y, x = np.mgrid[:side, :side]
  light = level + np.random.default_rng(seed).normal(0, noise, (side, side))
  for row, column, scale, peak in places:
    light += peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * scale**2))
  return np.repeat(np.clip(np.rint(light), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


CENTRAL, OTHER = (33, 30, 5, 160), (11, 13, 3, 120)


def write(path, pixels):
  path.parent.mkdir(parents=True, exist_ok=True)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG" if path.suffix == ".png" else "JPEG", **({} if path.suffix == ".png" else {
      "quality": 95}))
  path.write_bytes(file.getvalue())


def run(source, output, settings=EXACT, classes=None, **options):
  return annotate.annotate(inputs.find(str(source)), source, output, settings, classes, progress=False, **options)


def test_objects_are_where_the_light_is():
  """Against the pixels in which the noiseless light is above the threshold."""
  found = sep_outlines.find(sky([CENTRAL, OTHER]), threshold=2.0, min_area=10)
  y, x = np.mgrid[:SIDE, :SIDE]
  assert len(found.flux) == 2 and found.noise == pytest.approx(3.0, rel=0.15)
  assert found.masks().sum(0).max() == 1
  for row, column, scale, peak in (CENTRAL, OTHER):
    bright = peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * scale**2)) > 2.0 * 3.0
    overlaps = [(mask & bright).sum() / (mask | bright).sum() for mask in found.masks()]
    best = int(np.argmax(overlaps))
    assert overlaps[best] > 0.75
    assert found.flux[best] == pytest.approx(2 * np.pi * scale**2 * peak, rel=0.1)


def test_a_flat_sky_has_no_objects_of_single_counts(monkeypatch):
  """A sky of noughts with a one here and there, and a patch of ones as JPEG leaves them."""
  black = sky([CENTRAL], noise=0.0, level=0.0)
  black[np.random.default_rng(0).random((SIDE, SIDE)) < 0.2] += 1
  black[4:14, 44:54] = np.maximum(black[4:14, 44:54], 1)
  found = sep_outlines.find(black, min_area=20)
  assert len(found.flux) == 1 and found.noise == sep_outlines.LEAST_NOISE
  assert len(sep_outlines.find(np.full((SIDE, SIDE, 3), 7, np.uint8)).flux) == 0
  monkeypatch.setattr(sep_outlines, "LEAST_NOISE", 0.0)
  assert len(sep_outlines.find(black, min_area=20).flux) == 2


def test_what_is_blended_is_parted_by_its_contrast():
  pair = sky([(32, 24, 4, 150), (32, 38, 4, 150)])
  assert len(sep_outlines.find(pair).flux) == 2
  together = sep_outlines.find(pair, deblend_contrast=1.0)
  assert len(together.flux) == 1 and together.labels[32, 24] == together.labels[32, 38] == 1


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"min_area": 0}, {"deblend_contrast": 1.5}])
def test_settings_outside_their_ranges_are_refused(wrong):
  with pytest.raises(ValueError, match="expected a threshold above 0"):
    sep_outlines.find(sky([CENTRAL]), **wrong)


def test_without_sep_the_error_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, "sep", None)
  with pytest.raises(ValueError, match=r"Finding outlines needs sep: pip install 'galaxy_jax\[annotate\]'"):
    sep_outlines.find(sky([CENTRAL]))


def test_from_images_to_the_builders_masks(tmp_path):
  """JPEG, PNG and FITS of which the builder then has SEP's own segments, without holes; and an image of nothing."""
  fits = pytest.importorskip("astropy.io.fits")
  source, output = tmp_path / "images", tmp_path / "survey/train/via_region_data.json"
  write(source / "Dr7_587722981746540001.jpg", sky([CENTRAL, OTHER]))
  write(source / "b/Dr7_587722981746540002.png", sky([CENTRAL], seed=1))
  write(source / "empty.png", np.zeros((SIDE, SIDE, 3), np.uint8))
  fits.PrimaryHDU(sky([OTHER], seed=2)[::-1, :, 0].astype(np.float32)).writeto(source / "deep.fits")
  (tmp_path / "zoo.csv").write_text("dr7objid,gz2_class\n587722981746540001,SBc2m\n587722981746540009,Er\n")
  names = [name for part in inputs.find(str(source)).parts(9, 0) for name in part.places]
  done = run(source, output, classes=annotate.read_classes(tmp_path / "zoo.csv", names))
  assert done._replace(outlines=0) == (4, 0, 1, 0)
  assert sorted(path.name for path in output.parent.rglob("*.*")) == [
      "Dr7_587722981746540001.jpg", "Dr7_587722981746540002.png", "deep.png", "empty.png", "via_region_data.json"]

  builder = prepare("mask_galaxy", manual_dir=tmp_path / "survey", data_dir=tmp_path / "data", progress=False)
  names = builder.info.features["classes"].feature.names
  records = {record["image_id"].decode(): record for record in builder.as_data_source("train")}
  assert len(records) == 3
  for name, record in records.items():
    pixels = np.asarray(Image.open(output.parent / name))
    segments = sep_outlines.find(pixels).masks()
    made = [outlines.mask(text, SIDE, SIDE) for text in record["polygons"]]
    assert len(made) == len(segments) > 0
    for mask, segment in zip(made, segments, strict=True):
      np.testing.assert_array_equal(mask, ndimage.binary_fill_holes(segment))
  record = records["Dr7_587722981746540001.jpg"]
  spiral = [mask for mask, label in zip(record["polygons"], record["classes"], strict=True) if names[label] == "spiral"]
  assert len(spiral) == 1 and outlines.mask(spiral[0], SIDE, SIDE)[CENTRAL[:2]]
  assert all(names[label] == "unknown" for label in records["deep.png"]["classes"])
  # A FITS file's rows go upwards.
  assert max(outlines.mask(text, SIDE, SIDE)[OTHER[:2]] for text in records["deep.png"]["polygons"])


def test_the_project_is_one_of_via(tmp_path):
  """The keys without which VIA 2 opens nothing; an entry's key is its name and size."""
  output = tmp_path / "images/via_region_data.json"
  write(tmp_path / "images/one.png", sky([CENTRAL, OTHER]))
  run(tmp_path / "images", output)
  project = json.loads(output.read_text())
  key = f"one.png{(tmp_path / 'images/one.png').stat().st_size}"
  assert {"_via_settings", "_via_img_metadata", "_via_attributes"} < project.keys()
  assert project["_via_image_id_list"] == [key] == list(project["_via_img_metadata"])
  assert set(project["_via_attributes"]["region"]["object_name"]["options"]) == {"S", "E", "U"}
  assert project["_via_settings"]["core"]["default_filepath"].endswith("/images/")
  labels = [region["region_attributes"]["object_name"] for region in project["_via_img_metadata"][key]["regions"]]
  assert labels == ["U", "U"]


def test_one_outline_of_fewer_corners():
  pixels = sky([CENTRAL, OTHER])
  exact = annotate.regions(pixels, EXACT, "E")
  assert [region["region_attributes"]["object_name"] for region in exact].count("E") == 1
  only, = annotate.regions(pixels, EXACT._replace(centre_only=True, tolerance=1.0), "E")
  whole = next(region for region in exact if region["region_attributes"]["object_name"] == "E")
  one, other = (polygon_mask(np.transpose([region["shape_attributes"][f"all_points_{axis}"] for axis in "xy"]), SIDE,
                             SIDE) for region in (only, whole))
  assert one[CENTRAL[:2]] and (one & other).sum() / (one | other).sum() > 0.9
  assert len(only["shape_attributes"]["all_points_x"]) < len(whole["shape_attributes"]["all_points_x"])


def test_a_corrected_project_is_not_overwritten(tmp_path):
  source, output = tmp_path / "images", tmp_path / "p/via_region_data.json"
  write(source / "one.png", sky([CENTRAL]))
  run(source, output)
  output.write_text("corrected")
  with pytest.raises(ValueError, match="is there already, perhaps corrected by hand"):
    run(source, output)
  assert output.read_text() == "corrected"
  write(source / "one.png", sky([CENTRAL], seed=5))
  output.unlink()
  with pytest.raises(ValueError, match="is another image than"):
    run(source, output)
  run(source, output, overwrite=True)
  assert (tmp_path / "p/one.png").read_bytes() == (source / "one.png").read_bytes() and output.exists()


def test_where_a_project_would_find_its_own_images(tmp_path):
  write(tmp_path / "images/one.png", sky([CENTRAL]))
  with pytest.raises(ValueError, match="a folder in --input, where the next call would find its images again"):
    run(tmp_path / "images", tmp_path / "images/train/via_region_data.json")
  Image.fromarray(sky([CENTRAL])).convert("CMYK").save(tmp_path / "images/ink.jpg")
  with pytest.raises(ValueError, match=r"would become ink\.png beside it"):
    run(tmp_path / "images", tmp_path / "images/via_region_data.json")
  Image.fromarray(sky([CENTRAL])).save(tmp_path / "images/ink.png")
  with pytest.raises(ValueError, match=r"ink\.png and ink\.jpg would both be the image ink\.png"):
    run(tmp_path / "images", tmp_path / "p/via_region_data.json")


def test_names_are_checked_before_anything_is_done(tmp_path, monkeypatch):
  """Whatever is wrong with the last image, nothing is looked at or written; what is no image takes no place."""
  source = tmp_path / "images"
  write(source / "a.png", sky([CENTRAL]))
  before = sorted(tmp_path.rglob("*"))
  ink = Image.fromarray(sky([CENTRAL])).convert("CMYK")
  for place, message in ((tmp_path / "p", "would both be the image z.png"), (source, "would become z.png beside it"),
                         (tmp_path / "full", "is another image than")):
    if place.name == "full":
      write(place / "z.png", sky([OTHER]))
    ink.save(source / "z.jpg")
    if place.name == "p":
      write(source / "z.png", sky([OTHER]))
    with monkeypatch.context() as patched:
      patched.setattr(sep_outlines, "find", None)
      with pytest.raises(ValueError, match=message):
        run(source, place / "via_region_data.json")
    (source / "z.jpg").unlink()
    (source / "z.png").unlink(missing_ok=True)
    (tmp_path / "full/z.png").unlink(missing_ok=True)
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "full") == before
  (source / "z.jpg").write_bytes(ink.tobytes()[:50])
  assert run(source, source / "via_region_data.json")._replace(outlines=0) == (1, 0, 0, 1)


def test_an_image_is_left_as_it_is_where_it_lies(tmp_path):
  """One with a palette, in the folder of the project."""
  path = tmp_path / "images/a.png"
  write(path, sky([CENTRAL]))
  Image.open(path).quantize(16).save(path)
  before = path.read_bytes()
  assert run(tmp_path / "images", tmp_path / "images/via_region_data.json").images == 1 and path.read_bytes() == before


class Watched(np.ndarray):
  """Labels that know how many of them were compared."""

  compared = 0

  def __eq__(self, other):
    Watched.compared += self.size
    return np.asarray(self) == other


def test_outlines_of_many_objects_look_at_the_map_once(monkeypatch):
  """One of them is in two parts, of which the larger is outlined, around another."""
  monkeypatch.setattr(Watched, "compared", 0)
  labels = np.zeros((120, 120), np.int32)
  for number in range(100):
    row, column = 12 * (number // 10), 12 * (number % 10)
    labels[row:row + 5, column:column + 7] = number + 1
  labels[0:2, 115:117], labels[8:11, 0:9] = 45, 45
  labels[48:53, 48:55] = 0
  found = sep_outlines.Objects(labels.view(Watched), np.ones(100), 1.0)
  polygons = sep_outlines.polygons(found)
  assert Watched.compared < 3 * labels.size and len(polygons) == 100
  for number, polygon in enumerate(polygons, 1):
    wanted = labels == number
    if number == 45:
      wanted[:8] = False
    np.testing.assert_array_equal(polygon_mask(polygon, 120, 120), wanted)
  assert sep_outlines.polygons(sep_outlines.Objects(np.zeros((9, 9), np.int32), np.zeros(0), 1.0)) == []


def test_classes_of_any_table(tmp_path):
  table = tmp_path / "t.csv"
  names = ["a/M31.jpg", "Dr7_587722981746540001.jpg", "other.jpg"]
  table.write_text("object,kind\nM31,spiral\n587722981746540001,E\nunseen,no class at all\n")
  found = annotate.read_classes(table, names, "object", "kind")
  assert found == {"a/M31.jpg": "S", "Dr7_587722981746540001.jpg": "E"}
  with pytest.raises(FileNotFoundError, match="There is no table"):
    annotate.read_classes(tmp_path / "other.csv", names)
  with pytest.raises(ValueError, match="go together"):
    annotate.read_classes(table, names, "object")
  with pytest.raises(ValueError, match=r"no column 'name' \(--id_column\)"):
    annotate.read_classes(table, names, "name", "kind")
  table.write_text("object,kind\nM31,spiral\nM31,E\n")
  with pytest.raises(ValueError, match=r"gives a/M31\.jpg the class S and, in row 2 below the header, E"):
    annotate.read_classes(table, names, "object", "kind")
  table.write_text("object,kind\nM31,round\n")
  with pytest.raises(ValueError, match=r"row 1 below the header has a class 'round'"):
    annotate.read_classes(table, names, "object", "kind")
  table.write_text("dr7objid,gz2_class\n587722981746540001,Er\n587722981746540001,Sb\n")
  with pytest.raises(ValueError, match="repeats galaxy 587722981746540001"):
    annotate.read_classes(table, names)


def test_the_command_goes_on_after_a_damaged_image(tmp_path):
  write(tmp_path / "images/good.png", sky([CENTRAL]))
  (tmp_path / "images/bad.jpg").write_bytes(b"\xff\xd8\xffnothing")
  ended = subprocess.run([sys.executable, "-m", "galaxy_jax.annotate", f"--input={tmp_path / 'images'}",
                          f"--output={tmp_path / 'p/via_region_data.json'}", "--min_area=20"],
                         cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=120)
  assert ended.returncode == SOME_FAILED, ended.stderr
  assert "bad.jpg" in ended.stderr and "1 images could not be used" in ended.stderr
  entries = json.loads((tmp_path / "p/via_region_data.json").read_text())["_via_img_metadata"]
  assert [entry["filename"] for entry in entries.values()] == ["good.png"]
