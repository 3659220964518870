"""What a notebook gets for tables of any kind and for images that cannot be used; tests/test_predictor.py has a run."""
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from own_survey import colours, encoded
from predictions import MeanColours, expected, folder

from galaxy_jax import api, predictor

NAMES = ["red", "green", "blue", "red_low", "predicted", "novelty"]


@pytest.fixture
def model():
  return api.Model(MeanColours())


@pytest.fixture
def paths(tmp_path):
  return [str(path) for path in sorted(folder(tmp_path / "i", 3).iterdir())]


def fractions(table):
  return np.stack([np.float32(table[name]) for name in NAMES[:3]], axis=1)


def table_of(kind, **columns):
  """A table of one of the libraries."""
  if kind == "pyarrow":
    return pa.table(columns)
  if kind == "pandas":
    return pytest.importorskip("pandas").DataFrame(columns, index=[7, 7, 9])
  return pytest.importorskip("astropy.table").Table(columns)


def names_of(table):
  return list(getattr(table, {"pyarrow": "column_names", "pandas": "columns"}.get(type(table).__module__.split(".")[0],
                                                                                  "colnames")))


@pytest.mark.parametrize("kind", ["pyarrow", "pandas", "astropy"])
def test_columns_of_the_tables_own_come_first_and_clashes_are_renamed(model, paths, kind):
  table = table_of(kind, red=[1, 2, 3], path=paths, red_input=[4, 5, 6], id=["a", "b", "c"])
  before = names_of(table)
  found = model.predict(table)
  assert type(found) is type(table) and names_of(table) == before
  assert names_of(found) == ["red_input", "path", "red_input_input", "id", *NAMES]
  assert list(map(int, found["red_input"])) == [1, 2, 3] and list(map(int, found["red_input_input"])) == [4, 5, 6]
  np.testing.assert_array_equal(fractions(found), expected(0, 1, 2))
  assert kind != "pandas" or list(found.index) == [7, 7, 9]


@pytest.mark.parametrize("kind", ["pyarrow", "pandas", "astropy"])
def test_answers_of_images_that_cannot_be_used_are_null(model, paths, kind):
  found = model.predict(table_of(kind, path=[paths[0], "none.jpg", paths[2]], error=[1, 2, 3]), on_error="null")
  assert names_of(found) == ["path", "error_input", *NAMES, "error"]
  if kind == "pyarrow":
    assert found["predicted"].null_count == found["red"].null_count == 1 and found["error"].null_count == 2
  assert found["error"][1 if kind != "pandas" else 7] is not None
  assert [str(reason) for reason in found["error"]][1] == "is not there"
  np.testing.assert_array_equal(fractions(found)[[0, 2]], expected(0, 2))
  assert np.isnan(fractions(found)[1]).all()


def test_any_number_of_images_that_cannot_be_used(model, paths, monkeypatch):
  monkeypatch.setattr(api, "_AT_ONCE", 2)
  found = model.predict([None, "", paths[1], b"text", paths[0], 3.5, np.zeros((2, 2))], on_error="null")
  assert found["error"].to_pylist() == [
      "has no path", "has no path", None, "is no JPEG or PNG or TIFF image (4 bytes, which begin with 74 65 78 74)",
      None, "is of type float; a path, bytes or an array was expected",
      "is an array (2, 2) of float64; (H, W, 3) uint8 was expected"]
  assert found["predicted"].is_valid().to_pylist() == [False, False, True, False, True, False, False]
  np.testing.assert_array_equal(fractions(found.take([2, 4])), expected(1, 0))
  assert model.predict(paths, on_error="null")["error"].null_count == 3
  assert model.predict([], on_error="null").column_names == [*NAMES, "error"]


def test_the_first_image_that_cannot_be_used_is_named(model, paths):
  for images, message in (([paths[0], None], "Image 1 has no path"), ([paths[0], ""], "Image 1 has no path"),
                          ([paths[0], "none.jpg"], r"Image 1 \(none.jpg\) is not there")):
    with pytest.raises(ValueError, match=message):
      model.predict(images)
  with pytest.raises(ValueError, match="on_error is 'skip'; expected 'raise' or 'null'"):
    model.predict(paths, on_error="skip")


def test_bytes_and_gaps_in_a_table_of_astropy(model, paths, tmp_path):
  """As astropy reads texts from FITS, and as it has a row without any."""
  astropy = pytest.importorskip("astropy.table")
  astropy.Table({"path": paths, "flux": np.zeros((3, 2))}).write(tmp_path / "t.fits")
  read = astropy.Table.read(tmp_path / "t.fits")
  assert read["path"].dtype.kind == "S"
  found = model.predict(read)
  np.testing.assert_array_equal(fractions(found), expected(0, 1, 2))
  assert found["flux"].shape == (3, 2)
  masked = astropy.Table({"path": astropy.MaskedColumn(np.array(paths, "S"), mask=[False, True, False])})
  with pytest.raises(ValueError, match="Image 1 has no path"):
    model.predict(masked)


def test_a_gap_in_a_table_of_pandas(model, paths):
  pandas = pytest.importorskip("pandas")
  for kind in ("object", "string"):
    with pytest.raises(ValueError, match="Image 1 has no path"):
      model.predict(pandas.DataFrame({"path": pandas.Series([paths[0], None], dtype=kind)}))


def test_tables_without_paths(model):
  with pytest.raises(ValueError, match="The table has no column of paths: none is called file, path"):
    model.predict(pa.table({"name": ["x"]}))
  with pytest.raises(ValueError, match=r"The table has no column 'where' \(path_column=…\). There are name"):
    model.predict(pa.table({"name": ["x"]}), path_column="where")


def test_a_member_of_a_zip(model, tmp_path):
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
    archive.writestr("in/1.png", encoded(colours(1), "PNG"))
  np.testing.assert_array_equal(fractions(model.predict(tmp_path / "a.zip/in/1.png")), expected(1))


def test_planes_of_a_cube(model, tmp_path):
  fits = pytest.importorskip("astropy.io.fits")
  cube = np.random.default_rng(1).exponential(10, (3, 12, 12)).astype(np.float32)
  fits.PrimaryHDU(cube * [[[1]], [[1]], [[3]]]).writeto(tmp_path / "c.fits")
  with pytest.raises(ValueError, match="say which to take: planes 2,1,0 make the third red"):
    model.predict(tmp_path / "c.fits")
  red, blue = (fractions(model.predict(tmp_path / "c.fits", planes=planes)) for planes in ((2, 1, 0), (0, 1, 2)))
  np.testing.assert_array_equal(red, blue[:, ::-1])
  np.testing.assert_allclose(model.features(tmp_path / "c.fits", planes=(2, 1, 0)), red * 255, rtol=1e-6)
  for planes in ((0, 1), (-1,), ("0",)):
    with pytest.raises(ValueError, match=r"The planes are .*; expected the numbers"):
      model.predict(tmp_path / "c.fits", planes=planes)


def test_views_are_chosen_when_it_is_loaded(monkeypatch):
  monkeypatch.setattr(predictor, "load", lambda *given, **options: (given, options))
  assert api.load("run", "best", tta=8).predictor == (("run", "best"), {"tta": 8})
