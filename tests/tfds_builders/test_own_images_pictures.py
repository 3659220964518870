"""Images of a survey that are made: FITS and TIFF of one and three bands, cut-outs, orientation, missing pixels."""
import logging

import numpy as np
import pytest
from own_survey import build, by_id, colours, encoded, write_csv

from tfds_builders.errors import DataError
from tfds_builders.images import decode
from tfds_builders.own_images.survey import Survey
from tfds_builders.own_images.validation import validate
from tfds_builders.scaling import Scaling, to_rgb

fits = pytest.importorskip("astropy.io.fits", reason="FITS files need astropy: pip install 'galaxy_jax[survey]'")
LINEAR = "[scaling]\nmethod = 'linear'\nlimits = [0, 255]\n"


def folder_of(path, settings: str, rows: list[list], **files):
  """A survey of arrays, which are written as FITS, and of bytes."""
  path.mkdir()
  for name, data in files.items():
    if isinstance(data, np.ndarray):
      data = fits.HDUList([fits.PrimaryHDU(data)])
    if isinstance(data, fits.HDUList):
      data.writeto(path / f"{name}.fits")
    else:
      (path / name).write_bytes(data)
  write_csv(path / "t.csv", rows)
  (path / "own_images.toml").write_text(f"table = 't.csv'\n{settings}")
  return path


def one(folder, galaxy_id: int = 1):
  """The record of a galaxy, and its pixels."""
  record = by_id(build(folder))[galaxy_id]
  return record, decode(record["image"])


PICTURE = np.arange(60, dtype=np.float32).reshape(6, 10)
ROWS = [["id", "path"], [1, "a.fits"]]


def test_a_fits_image_is_turned_upright_and_lossless(tmp_path):
  record, pixels = one(folder_of(tmp_path / "s", LINEAR, ROWS, a=PICTURE))
  np.testing.assert_array_equal(pixels, np.repeat(PICTURE[::-1, :, None], 3, -1))
  assert record["image"][:4] == b"\x89PNG" and int(record["nan_pixels"]) == 0


def test_rows_stay_where_the_origin_is_above(tmp_path):
  _, pixels = one(folder_of(tmp_path / "s", "[image]\norigin = 'upper'\n" + LINEAR, ROWS, a=PICTURE))
  np.testing.assert_array_equal(pixels[..., 0], PICTURE)


@pytest.mark.parametrize("how", ["files", "hdus", "planes"])
def test_three_bands_are_red_green_and_blue(how, tmp_path):
  red, green, blue = PICTURE, PICTURE + 100, 2 * PICTURE
  if how == "files":
    folder = folder_of(tmp_path / "s", '[image]\nfile = ["{r}", "{g}", "b{id}.fits"]\n' + LINEAR,
                       [["id", "r", "g"], [1, "r.fits", "g.fits"]], r=red, g=green, b1=blue)
  elif how == "hdus":
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(blue, name="B"), fits.ImageHDU(green), fits.ImageHDU(red)])
    folder = folder_of(tmp_path / "s", '[image]\nhdu = [3, 2, "B"]\n' + LINEAR, ROWS, a=hdus)
  else:
    folder = folder_of(tmp_path / "s", "[image]\nplane = [2, 0, 1]\n" + LINEAR, ROWS, a=np.stack([green, blue, red]))
  np.testing.assert_array_equal(one(folder)[1], np.stack([red, green, blue], -1)[::-1])


def test_lupton_is_the_default_of_three_bands(tmp_path):
  bands = list(np.random.default_rng(0).normal(0, 1, (3, 8, 8)).astype(np.float32))
  folder = folder_of(tmp_path / "s", "[image]\nplane = [0, 1, 2]\n[scaling]\nstretch = 2\nfactors = [1, 2, 3]", ROWS,
                     a=np.stack(bands))
  expected = to_rgb(bands, Scaling("lupton", stretch=2, factors=(1, 2, 3)))[::-1]
  np.testing.assert_array_equal(one(folder)[1], expected)


def test_missing_pixels_are_filled_and_counted(tmp_path, caplog):
  holed = PICTURE.copy()
  holed[0, :3], holed[5, 5] = np.nan, np.inf
  folder = folder_of(tmp_path / "s", LINEAR + "fill = 77", [["id", "path"], [1, "a.fits"], [2, "b.fits"]], a=holed,
                     b=PICTURE)
  with caplog.at_level(logging.WARNING, "tfds_builders"):
    record, pixels = one(folder)
  assert "1 of 2 images have pixels without a number, 4 in all" in caplog.text
  assert int(record["nan_pixels"]) == 4
  np.testing.assert_array_equal(pixels[..., 0], np.where(np.isfinite(holed), holed, 77)[::-1])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_tiff_is_scaled_and_not_turned(dtype, tmp_path):
  folder = folder_of(tmp_path / "s", LINEAR, [["id", "path"], [1, "a.tif"]],
                     **{"a.tif": encoded(PICTURE.astype(dtype), "TIFF")})
  np.testing.assert_array_equal(one(folder)[1], np.repeat(PICTURE[..., None], 3, -1))


def test_tiff_of_eight_bits_keeps_its_colours(tmp_path):
  grey = colours(1)[..., 0]
  folder = folder_of(tmp_path / "s", "", [["id", "path"], [1, "a.tif"], [2, "b.tif"]],
                     **{"a.tif": encoded(colours(1), "TIFF"), "b.tif": encoded(grey, "TIFF")})
  np.testing.assert_array_equal(one(folder)[1], colours(1))
  np.testing.assert_array_equal(one(folder, 2)[1], np.repeat(grey[..., None], 3, -1))


def sky(data: np.ndarray) -> fits.HDUList:
  """An image with north up and east left, 0.5 arcsec a pixel, its first pixel's centre being at ra 150, dec 2."""
  hdu = fits.PrimaryHDU(data)
  hdu.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 1.0,
                     "CRPIX2": 1.0, "CD1_1": -0.5 / 3600, "CD2_2": 0.5 / 3600})
  return fits.HDUList([hdu])


FIELD = np.random.default_rng(1).integers(0, 255, (40, 50)).astype(np.float32)
CUT = FIELD[18:23, 8:13][::-1]  # 5 pixels around x 10, y 20


@pytest.mark.parametrize("settings,columns,values", [
    ("x = 'x'\ny = 'y'\nsize = 5", ["x", "y"], [10, 20]),
    ("x = 'x'\ny = 'y'\nsize = 5\nfirst_pixel = 1", ["x", "y"], [11.3, 20.8]),
    ("ra = 'ra'\ndec = 'dec'\nsize_arcsec = 2.5", ["ra", "dec"],
     [150 - 5 / 3600 / np.cos(np.radians(2 + 10 / 3600)), 2 + 10 / 3600]),
    ("ra = 'ra'\ndec = 'dec'\nsize = 5", ["ra", "dec"], [150 - 5 / 3600 / np.cos(np.radians(2)), 2 + 10 / 3600])])
def test_cutouts_are_where_they_should_be(settings, columns, values, tmp_path):
  folder = folder_of(tmp_path / "s", f"[image]\nfile = 'f.fits'\n[cutout]\n{settings}\n{LINEAR}",
                     [["id", *columns], [1, *values]], f=sky(FIELD))
  np.testing.assert_array_equal(one(folder)[1][..., 0], CUT)


def test_cutouts_of_pictures_count_rows_from_the_top(tmp_path):
  picture = colours(3, 30)
  folder = folder_of(tmp_path / "s", "[image]\nfile = 'f.png'\n[cutout]\nx = 'x'\ny = 'y'\nsize = 4",
                     [["id", "x", "y"], [1, 9.5, 3.5]], **{"f.png": encoded(picture, "PNG")})
  np.testing.assert_array_equal(one(folder)[1], picture[2:6, 8:12])


def test_cutouts_at_the_edge(tmp_path):
  rows = [["id", "x", "y"], [1, 0, 39], [2, 20, 20]]
  settings = "[image]\nfile = 'f.fits'\n[cutout]\nx = 'x'\ny = 'y'\nsize = 5\n"
  folder = folder_of(tmp_path / "s", settings + LINEAR, rows, f=FIELD)
  with pytest.raises(DataError, match=r"row 2 .*reaches beyond"):
    build(folder)
  (folder / "own_images.toml").write_text(f"table = 't.csv'\n{settings}edge = 'fill'\n{LINEAR}fill = 9")
  record, pixels = one(folder)
  expected = np.full((5, 5), 9.0)
  expected[2:, 2:] = FIELD[::-1][:3, :3]
  np.testing.assert_array_equal(pixels[..., 0], expected)
  assert int(record["nan_pixels"]) == 25 - 9
  write_csv(folder / "t.csv", [["id", "x", "y"], [1, -3, 39], [2, 20, 20]])
  with pytest.raises(DataError, match=r"row 2 .*beyond them wholly"):
    validate(Survey(folder), skip_bad=False, progress=False)
  write_csv(folder / "t.csv", [["id", "x", "y"], [1, "", 39], [2, 20, 20]])
  with pytest.raises(DataError, match=r"row 2 has no position"):
    validate(Survey(folder), skip_bad=False, progress=False)


@pytest.mark.parametrize("settings,data,reason", [
    ("", fits.HDUList([fits.PrimaryHDU()]), "has no image"),
    ("", np.full((4, 4), np.nan, np.float32), "no pixel that is a number"),
    ("", np.zeros((3, 4, 4), np.float32), "plane ="),
    ("[image]\nhdu = 4", PICTURE, "has no HDU 4"),
    ("[image]\nplane = [0, 1, 5]", np.zeros((3, 4, 4), np.float32), "no plane 5"),
    ("[image]\nfile = ['{path}', '{path}', 'b.fits']", PICTURE, "the first band 10 x 6"),
    ("[image]\nfile = ['{path}', '{path}', 'c.png']", PICTURE, "is in colour"),
    ("[cutout]\nsize = 2\nra = 'id'\ndec = 'id'", PICTURE, "no coordinates"),
    ("[cutout]\nsize_arcsec = 1e5\nra = 'id'\ndec = 'id'", sky(np.zeros((4, 4))), "no pixel|too large|beyond")])
def test_images_that_cannot_be(settings, data, reason, tmp_path):
  folder = folder_of(tmp_path / "s", settings, ROWS, a=data, b=np.zeros((6, 11)),
                     **{"c.png": encoded(np.zeros((6, 10, 3), np.uint8), "PNG")})
  with pytest.raises(DataError, match=f"t.csv, row 2 names the image .*a.fits.*({reason})"):
    validate(Survey(folder), skip_bad=False, progress=False)


def test_a_truncated_fits_file(tmp_path):
  folder = folder_of(tmp_path / "s", "", ROWS, a=np.zeros((100, 100)))
  (folder / "a.fits").write_bytes((folder / "a.fits").read_bytes()[:-40_000])
  with pytest.raises(DataError, match=r"row 2 .*truncated"):
    validate(Survey(folder), skip_bad=False, progress=False)


def match_survey(path, rows, second, settings=""):
  folder = folder_of(path, f"{settings}\n[match]\ntable = 'second.csv'\nradius_arcsec = 2\n"
                              "columns = ['kind', 'other*']\n[labels]\nlabel = 'kind'\n[splits]\n"
                              "fractions = { train = 1 }", rows, a=PICTURE)
  write_csv(folder / "second.csv", second)
  return folder


def test_the_nearest_counterpart_within_the_radius(tmp_path, caplog):
  pytest.importorskip("scipy")
  arcsec = 1 / 3600
  rows = [["id", "path", "ra", "dec"], *([n, "a.fits", ra, dec] for n, (ra, dec) in enumerate(
      [(10, 89.9), (0.0001, 0), (50, 10), (70, -5), ("", 3)]))]
  second = [["ra", "dec", "kind", "otherid", "unused"],
            [10 + 1.5 * arcsec / np.cos(np.radians(89.9)), 89.9, "b", 587722981746540704, ""],  # Near the pole.
            [359.9999, 0, "a", 1, ""],  # 0.72 arcsec away, over ra 0.
            [50, 10 + 2.1 * arcsec, "a", 2, ""],  # Too far.
            [70, -5 + 1.2 * arcsec, "a", 3, ""], [70, -5 - 0.8 * arcsec, "b", 4, ""],  # The second is nearer.
            ["", "", "c", 5, ""]]
  folder = match_survey(tmp_path / "s", rows, second, "keep_integer = ['otherid']")
  with caplog.at_level(logging.INFO, "tfds_builders"):
    builder = build(folder)
  found = by_id(builder)
  names = builder.info.features["label"].names
  assert [names[int(found[n]["label"])] if found[n]["label"] >= 0 else None for n in range(5)] == [
      "b", "a", None, "b", None]
  assert [int(found[n]["otherid"]) for n in range(5)] == [587722981746540704, 1, -1, 4, -1]
  assert "3 of 5 rows have a counterpart" in caplog.text and "1 of them have several" in caplog.text
  assert "2 have none" in caplog.text


def test_faults_of_a_match(tmp_path):
  pytest.importorskip("scipy")
  folder = match_survey(tmp_path / "s", [["id", "path", "ra", "dec"], [1, "a.fits", 10, 95]],
                        [["ra", "dec", "kind", "otherid"], [1, 2, "a", 3]])
  with pytest.raises(DataError, match="row 2 has ra 10, dec 95, which is no position"):
    validate(Survey(folder), skip_bad=False, progress=False)
  write_csv(folder / "t.csv", [["id", "path", "ra", "dec", "kind"], [1, "a.fits", 10, 5, "x"]])
  with pytest.raises(DataError, match=r"'kind', which both t.csv and second.csv have"):
    Survey(folder)
  write_csv(folder / "second.csv", [["ra", "dec", "kindd"], [1, 2, "a"]])
  with pytest.raises(DataError, match=r"\[match\] columns names the column 'kind', .* is 'kindd' meant"):
    Survey(folder)


def test_ids_and_positions_are_of_the_own_table(tmp_path):
  pytest.importorskip("scipy")
  rows = [["id", "path", "ra", "dec"], [1, "a.fits", 10, 5]]
  second = [["ra", "dec", "kind", "otherid", "id"], [10, 5, "a", 3, 7]]
  found = by_id(build(match_survey(tmp_path / "s", rows, second)))
  assert list(found) == [1]
  folder = match_survey(tmp_path / "both", rows, second)
  settings = (folder / "own_images.toml").read_text()
  (folder / "own_images.toml").write_text(settings.replace("'other*'", "'*'"))
  assert list(by_id(build(folder))) == [1]
  for wrong in ("id = 'otherid'\n" + settings, settings + "\n[cutout]\nsize = 2\nx = 'otherid'\ny = 'otherid'"):
    (folder / "own_images.toml").write_text(wrong)
    with pytest.raises(DataError, match=r"names the column 'otherid', which t\.csv does not have"):
      Survey(folder)
