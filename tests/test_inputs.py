"""Whatever a user hands over becomes the same galaxies in the same order, and every format the pixels it shows."""
import gzip
import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from own_survey import build, colours, encoded, survey, write_csv
from PIL import Image
from predictions import MeanColours, folder
from pyarrow import parquet

from galaxy_jax import inputs, pictures, tables
from tfds_builders.images import ImageError

MODEL = MeanColours(size=12)


def rows_of(given, size=2, start=0):
  """(id, bytes) of an input's galaxies from a part on."""
  parts = list(given.parts(size, start))
  assert all(len(part.ids) == len(part.places) for part in parts)
  assert [len(part.ids) for part in parts[:-1]] == [size] * (len(parts) - 1)
  return [(galaxy_id, given.read(place)) for part in parts
          for galaxy_id, place in zip(part.ids.to_pylist(), part.places, strict=True)]


def sample(path):
  """Names and what is in them: two with one name, a hidden one, and others that are no images."""
  files = {"b.png": encoded(colours(0), "PNG"), "a.JPG": encoded(colours(1), "JPEG"), "x/c.tif": b"tiff",
           "x/y/d.fits.gz": b"fits", "x/b.jpg": b"other b", "notes.txt": b"", "x/.b.png": b"", "x/._c.tif": b""}
  for name, data in files.items():
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)
  return files


SAMPLE = ["a.JPG", "b.png", "x/b.jpg", "x/c.tif", "x/y/d.fits.gz"]
SAMPLE_IDS = ["a", "b.png", "x/b.jpg", "c", "d"]


def test_a_folder_and_a_pattern(tmp_path):
  files = sample(tmp_path)
  for text in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/**"):
    given = inputs.find(text)
    assert (given.count, given.ids, given.columns.names) == (5, pa.string(), [])
    assert rows_of(given) == [(i, files[name]) for i, name in zip(SAMPLE_IDS, SAMPLE, strict=True)]
    assert rows_of(given, 2, 2) == [("d", b"fits")] and rows_of(given, 5, 1) == []
    assert given.shown("x/b.jpg") == str(tmp_path / "x/b.jpg")
  assert rows_of(inputs.find(f"{tmp_path}/*/*.tif")) == [("c", b"tiff")]


def test_links_to_folders_are_followed_once(tmp_path):
  sample(tmp_path / "survey")
  folder(tmp_path / "elsewhere/deep", 2)
  try:
    (tmp_path / "survey/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
  except OSError:
    pytest.skip("this file system has no links")
  (tmp_path / "elsewhere/round").symlink_to(tmp_path / "survey", target_is_directory=True)
  (tmp_path / "elsewhere/deep/self").symlink_to("..", target_is_directory=True)
  (tmp_path / "survey/x/again").symlink_to(tmp_path / "elsewhere/deep", target_is_directory=True)
  names = [place for part in inputs.find(str(tmp_path / "survey")).parts(100, 0) for place in part.places]
  assert names == ["a.JPG", "b.png", "link/deep/000.png", "link/deep/001.png", *SAMPLE[2:]]


def test_a_folder_is_another_with_other_files(tmp_path):
  folder(tmp_path, 3)
  first = inputs.find(str(tmp_path)).identity
  assert inputs.find(str(tmp_path)).identity == first
  (tmp_path / "003.png").write_bytes(b"")
  assert inputs.find(str(tmp_path)).identity != first


def test_a_zip(tmp_path):
  files = sample(tmp_path / "f")
  with zipfile.ZipFile(tmp_path / "i.zip", "w") as archive:
    for name, data in {**files, "__MACOSX/a.JPG": b""}.items():
      archive.writestr(name, data)
  given = inputs.find(str(tmp_path / "i.zip"))
  assert sorted(rows_of(given)) == sorted((i, files[name]) for i, name in zip(SAMPLE_IDS, SAMPLE, strict=True))
  part = next(given.parts(5, 0))
  assert {given.shown(place) for place in part.places} == {f"{tmp_path}/i.zip/{name}" for name in SAMPLE}


def test_a_member_of_a_zip_is_read_by_its_path(tmp_path):
  files = sample(tmp_path / "f")
  with zipfile.ZipFile(tmp_path / "i.ZIP", "w") as archive:
    for name, data in files.items():
      archive.writestr(name, data)
  for name in SAMPLE:
    assert inputs.read_file(tmp_path / "i.ZIP" / name) == files[name]
  (tmp_path / "bad.zip").write_text("no zip")
  for name, what in (("i.ZIP/none.jpg", "is not in .*i.ZIP"), ("bad.zip/a.jpg", "cannot be read .*no complete zip"),
                     ("f/a.JPG/b", "is not there"), ("none.zip/a.jpg", "is not there")):
    with pytest.raises(ImageError, match=what):
      inputs.read_file(tmp_path / name)
  # As a table of failures names them, once the archive is mended.
  write_csv(tmp_path / "t.csv", [["id", "path"], ["b.png", f"{tmp_path}/i.ZIP/b.png"], ["new", "i.ZIP/new.png"]])
  with zipfile.ZipFile(tmp_path / "i.ZIP", "a") as archive:
    archive.writestr("new.png", b"new")
  assert rows_of(inputs.find(str(tmp_path / "t.csv"))) == [("b.png", files["b.png"]), ("new", b"new")]


def test_one_image(tmp_path):
  files = sample(tmp_path)
  assert rows_of(inputs.find(str(tmp_path / "a.JPG"))) == [("a", files["a.JPG"])]
  (tmp_path / "[1].png").write_bytes(b"brackets")
  assert rows_of(inputs.find(str(tmp_path / "[1].png"))) == [("[1]", b"brackets")]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".fits", ".vot"])
def test_a_table(tmp_path, ending):
  if ending in (".fits", ".vot"):
    pytest.importorskip("astropy")
  folder(tmp_path / "images", 5)
  table = pa.table({"ra": [0.5, 1.5, 2.5, 3.5, 4.5], "File": [f"images/{n:03d}.png" for n in range(5)],
                    "objID": pa.array([587722981742084144 + n for n in range(5)]), "name": list("abcde")})
  tables.write(tmp_path / f"t{ending}", table.schema, [table])
  given = inputs.find(str(tmp_path / f"t{ending}"))
  assert (given.count, given.columns.names) == (5, ["ra", "File", "objID", "name"])
  assert rows_of(given) == [(587722981742084144 + n, encoded(colours(n), "PNG")) for n in range(5)]
  assert [part.carried["ra"].to_pylist() for part in given.parts(2, 1)] == [[2.5, 3.5], [4.5]]
  assert given.shown("images/000.png") == str(tmp_path / "images/000.png")
  given = inputs.find(str(tmp_path / f"t{ending}"), id_column="name", path_column="File")
  assert [row[0] for row in rows_of(given)] == list("abcde")


def test_columns_of_a_table(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text("path,file,name\n1.png,2.png,x\n")
  given = inputs.find(str(path))  # `file` comes first, and without an id the path is one
  assert next(given.parts(1, 0))[:2] == (pa.array(["2.png"]), ["2.png"])
  path.write_text("id,path,model\nx7,1.png,m\n")
  assert inputs.find(str(path)).columns.names == ["path", "model"]
  assert inputs.find(str(path), id_column="model").columns.names == ["id", "path", "model"]
  for header, options, what in (("a,b", {}, "no column of paths"), ("path,b", {"path_column": "c"}, "no column 'c'"),
                                ("path,b", {"id_column": "c"}, r"no column 'c' \(--id_column\)"),
                                ("path,b", {"path_column": "b"}, "holds values of type int64")):
    path.write_text(f"{header}\nx,2\n")
    with pytest.raises(ValueError, match=what):
      inputs.find(str(path), **options)


def test_ids_are_integers_or_texts(tmp_path):
  values = {"bytes": [b"a", None, b"\xc3\xa9"], "fixed": pa.array([b"ab", b"cd", None], pa.binary(2)),
            "large": pa.array(["x", "y", None], pa.large_string()), "count": pa.array([7, None, 9], pa.uint16()),
            "day": pa.array([1, 2, 3], pa.date32()), "money": pa.array([1, 2, 3], pa.decimal128(5, 2)),
            "float": [0.5, 1.5, 2.5], "known": [True, False, None], "bad": [b"\xff", b"b", b"c"]}
  path = tmp_path / "t.parquet"
  parquet.write_table(pa.table({**values, "path": [f"{n}.png" for n in range(3)]}), path)
  for name, ids in (("bytes", ["a", None, "é"]), ("fixed", ["ab", "cd", None]), ("large", ["x", "y", None]),
                    ("count", [7, None, 9])):
    given = inputs.find(str(path), id_column=name)
    [part] = given.parts(5, 0)
    assert part.ids.to_pylist() == ids and part.ids.type == given.ids
  for name in ("day", "money", "float", "known"):
    with pytest.raises(ValueError, match=f"column '{name}' is to say what .*expected integers or texts.*--id_column"):
      inputs.find(str(path), id_column=name)
  with pytest.raises(ValueError, match="'bad', of the galaxies' ids, holds bytes that are no text"):
    next(inputs.find(str(path), id_column="bad").parts(5, 0))


def test_paths_that_lead_nowhere(tmp_path):
  (tmp_path / "t.csv").write_text('id,path\n1,none.png\n2,\n3,.\n4,"bad\0name.png"\n')
  given = inputs.find(str(tmp_path / "t.csv"))
  part = next(given.parts(9, 0))
  for place, what in zip(part.places, ("is not there", "has no path in column path", "cannot be read", "cannot be"),
                         strict=True):
    with pytest.raises(ImageError, match=what):
      given.read(place)


def test_a_split(tmp_path):
  images = survey(tmp_path / "s", 4)
  build(images, tmp_path / "data")
  given = inputs.find("own_images:train", data_dir=str(tmp_path / "data"), manual_dir=str(images))
  found = dict(rows_of(given, 3))
  assert given.count == 4 and given.ids == pa.int64()
  assert found == {100 + n: (images / f"images/{n}.{'jpg' if n % 2 else 'png'}").read_bytes() for n in range(4)}
  assert given.shown(2) == "own_images/survey/1.0.0:train, record 2"
  with pytest.raises(ValueError, match="no records for the split 'nothing'"):
    inputs.find("own_images/survey:nothing", data_dir=str(tmp_path / "data"))


def test_ids_that_are_texts_in_a_split(tmp_path):
  (tmp_path / "s").mkdir()
  (tmp_path / "s/a.png").write_bytes(encoded(colours(0), "PNG"))
  write_csv(tmp_path / "s/t.csv", [["id", "path", "where"], ["J1", "a.png", "test"]])
  (tmp_path / "s/own_images.toml").write_text('[splits]\ncolumn = "where"')
  build(tmp_path / "s", tmp_path / "data")
  assert rows_of(inputs.find("own_images:test", data_dir=str(tmp_path / "data")))[0][0] == "J1"


def test_nothing_to_predict(tmp_path):
  (tmp_path / "empty").mkdir()
  (tmp_path / "text").mkdir()
  (tmp_path / "text/notes.txt").write_text("")
  (tmp_path / "t.csv").write_text("id,path\n")
  with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
    archive.writestr("notes.txt", b"")
  for text in ("empty", "text", "text/*", "t.csv", "z.zip"):
    with pytest.raises(ValueError, match="holds no image to predict") as error:
      inputs.find(str(tmp_path / text))
    assert str(tmp_path / text) in str(error.value)
  for text in ("none", "none.jpg", "galaxies:test"):
    with pytest.raises(FileNotFoundError, match=f"There is no {text}"):
      inputs.find(text)
  with pytest.raises(ValueError, match="--data_dir and --manual_dir are of data sets"):
    inputs.find(str(tmp_path / "t.csv"), data_dir="data")
  with pytest.raises(ValueError, match="are of tables"):
    inputs.find(str(tmp_path / "empty"), path_column="x")


def fits_of(*arrays, table=False):
  """A FITS file of images, or of a table."""
  fits = pytest.importorskip("astropy.io.fits")
  file = io.BytesIO()
  more = [fits.BinTableHDU.from_columns([fits.Column("path", "5A", array=["a.png"])])] if table else []
  fits.HDUList([fits.PrimaryHDU(*arrays), *more]).writeto(file)
  return file.getvalue()


def test_a_fits_file_is_an_image_or_a_table(tmp_path):
  (tmp_path / "image.fits").write_bytes(fits_of(np.ones((12, 12), np.float32)))
  (tmp_path / "table.fits").write_bytes(fits_of(table=True))
  assert rows_of(inputs.find(str(tmp_path / "image.fits")))[0][0] == "image"
  assert next(inputs.find(str(tmp_path / "table.fits")).parts(1, 0)).places == ["a.png"]


def test_pictures_are_decoded_as_in_training():
  for format in ("JPEG", "PNG"):
    data = encoded(colours(3, 24), format)
    np.testing.assert_array_equal(pictures.pixels_of(data, "a", MODEL), MODEL.decode(data))
  rgb = colours(4)
  np.testing.assert_array_equal(pictures.pixels_of(encoded(rgb, "TIFF"), "a.tif", MODEL), rgb)
  grey = np.repeat(rgb[..., :1], 3, -1)
  np.testing.assert_array_equal(pictures.pixels_of(encoded(rgb[..., 0], "TIFF"), "a.tif", MODEL), grey)


def test_numbers_become_colours_as_the_builder_makes_them(tmp_path):
  """The builder own_images is the second path: what it stores of a file are the pixels that a model sees."""
  light = np.random.default_rng(0).normal(100, 30, (12, 12)).astype(np.float32)
  light[2, 3] = np.nan
  deep = (light[::-1].clip(0, 600) * 100)
  files = {"f.fits": fits_of(light), "g.fits": gzip.compress(fits_of(light * 2)),
           "t.tif": encoded(light, "TIFF"), "d.png": encoded(np.nan_to_num(deep).astype(np.uint16), "PNG")}
  (tmp_path / "s").mkdir()
  for name, data in files.items():
    (tmp_path / "s" / name).write_bytes(data)
  write_csv(tmp_path / "s/t.csv", [["id", "path", "where"], *([n[0], n, "test"] for n in files)])
  (tmp_path / "s/own_images.toml").write_text('[splits]\ncolumn = "where"')
  build(tmp_path / "s", tmp_path / "data")
  stored = dict(rows_of(inputs.find("own_images:test", data_dir=str(tmp_path / "data"))))
  for name, data in files.items():
    seen = pictures.pixels_of(data, name, MODEL)
    np.testing.assert_array_equal(seen, np.asarray(Image.open(io.BytesIO(stored[name[0]]))))
    assert seen.std() > 30


def test_planes_of_a_cube():
  cube = np.random.default_rng(1).exponential(10, (3, 12, 12)).astype(np.float32)
  cube[2] *= 3
  data = fits_of(cube)
  with pytest.raises(ImageError, match="cube of 3 planes; say which to take: planes 2,1,0 make the third red"):
    pictures.pixels_of(data, "c.fits", MODEL)
  red_first, blue_first = (pictures.pixels_of(data, "c.fits", MODEL, planes) for planes in ((2, 1, 0), (0, 1, 2)))
  np.testing.assert_array_equal(red_first, blue_first[..., ::-1])
  assert red_first[..., 0].mean() > red_first[..., 2].mean()
  np.testing.assert_array_equal(pictures.pixels_of(data, "c.fits", MODEL, (1,)),
                                pictures.pixels_of(fits_of(cube[1]), "c.fits", MODEL))
  with pytest.raises(ImageError, match="there is no plane 3"):
    pictures.pixels_of(data, "c.fits", MODEL, (3, 1, 0))


def test_bytes_that_are_no_image():
  jpeg = encoded(colours(0, 64), "JPEG")
  for data, name, what in ((b"", "a.jpg", "0 bytes"), (b"once upon a time", "a.jpg", "is no JPEG or PNG or TIFF"),
                           (jpeg[:len(jpeg) // 2], "a.jpg", "cannot be decoded.*truncated"),
                           (jpeg[:20], "a.jpg", "damaged|no JPEG"), (b"GIF89a" + bytes(50), "a.gif", "is no JPEG"),
                           (encoded(colours(0), "PNG")[:90], "a.png", "cannot be decoded|damaged")):
    with pytest.raises(ImageError, match=what):
      pictures.pixels_of(data, name, MODEL)


def test_bytes_that_are_no_fits_image():
  for data, name, what in ((b"text", "a.fits", "is no FITS file"), (fits_of(table=True), "a.fits", "has no image"),
                           (fits_of(np.full((12, 12), np.nan)), "a.fits", "no pixel that is a number"),
                           (fits_of(np.ones((99, 99)))[:9000], "a.fits", "truncated")):
    with pytest.raises(ImageError, match=what):
      pictures.pixels_of(data, name, MODEL)


def test_fits_without_astropy(monkeypatch):
  data = fits_of(np.ones((12, 12)))
  monkeypatch.setitem(__import__("sys").modules, "astropy.io.fits", None)
  with pytest.raises(ValueError, match=r"pip install 'galaxy_jax\[survey\]'") as error:
    pictures.pixels_of(data, "a.fits", MODEL)
  assert not isinstance(error.value, ImageError)
