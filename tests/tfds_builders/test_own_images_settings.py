"""The settings file: what it may say, and the one error for each thing that it may not."""
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_survey import colours, encoded, write_csv

from tfds_builders.errors import DataError
from tfds_builders.gz2_tree import ANSWER_NAMES, COLUMNS
from tfds_builders.own_images import columns
from tfds_builders.own_images.settings import _SECTIONS, _TOP, Settings, parse
from tfds_builders.own_images.survey import Survey
from tfds_builders.own_images.tables import TableFile
from tfds_builders.own_images.validation import validate


def test_nothing_said_is_the_default():
  assert parse(b"") == Settings()


def test_everything_that_can_be_said():
  found = parse(b"""
    table = "a.fits"
    table_hdu = "CAT"
    id = "objid"
    id_type = "text"
    keep = ["ra"]
    missing = [-99, "null"]
    allow_outside = true
    [image]
    file = ["{a}.fits", "{b}.fits", "c.fits"]
    hdu = [1, 2, "SCI"]
    plane = 0
    [scaling]
    method = "asinh"
    limits = [[0, 1], [0, 2], [-1, 3]]
    factors = [1, 2, 3]
    [cutout]
    size_arcsec = 30
    ra = "ra"
    dec = "dec"
    edge = "fill"
    [labels]
    vote_fractions = { "Class1.2" = "disk", smooth_or_features_smooth = "smooth" }
    label = "kind"
    names = ["a", "b"]
    [splits]
    fractions = { train = 0.9, test = 0.1 }
    [match]
    table = "b.csv"
    radius_arcsec = 1.5
    columns = ["Class*"]
  """)
  assert found.missing == (-99.0, "null") and found.image.bands == 3
  assert found.labels.vote_fractions[:3] == ("smooth", "disk", None)
  assert found.scaling.limits == ((0, 1), (0, 2), (-1, 3)) and found.cutout.size_arcsec == 30
  assert found.match.radius_arcsec == 1.5 and found.splits.fractions == (("train", 0.9), ("test", 0.1))


@pytest.mark.parametrize("text,reason", [
    ("table = catalogue.csv", "no TOML file"), ("\xff", "no TOML file"), ("a = 1\na = 2", "no TOML file"),
    ("tabel = 'a.csv'", "no key 'tabel'; is 'table' meant"), ("table = 3", "table is 3; expected is"),
    ("table = 'a.txt'", "path of a table, ending in .csv"), ("image = 'a.png'", "a section was expected"),
    ("[imge]\nfile = 'a'", "no key 'imge'; is 'image' meant"), ("[image]\nfiel = 'a'", "is 'file' meant"),
    ("[image]\nfile = ['a', 'b']", "a list of 3, not 2"), ("[image]\nfile = 'a{b'", r"\{column\} stands"),
    ("[image]\nfile = '{}'", "stands for"), ("[image]\nhdu = -1", "whole number from 0"),
    ("[image]\nhdu = true", "whole"),
    ("[image]\norigin = 'left'", '"lower" or "upper"'), ("[scaling]\nmethod = 'log'", '"linear" or "asinh"'),
    ("[scaling]\npercentiles = [99, 1]", "second larger"), ("[scaling]\npercentiles = [1, 101]", "at most 100"),
    ("[scaling]\nlimits = [1, 1]", "second larger"), ("[scaling]\nQ = 0", "above 0"),
    ("[scaling]\nfill = nan", "a number"),
    ("[scaling]\nmethod = 'linear'\nQ = 3", "Q has no meaning with method = \"linear\""),
    ("[scaling]\nstretch = 3", "no meaning with method = \"asinh\""),
    ("[image]\nplane = [0, 1, 2]\n[scaling]\nlimits = [0, 1]", "no meaning with method = \"lupton\""),
    ("[scaling]\nlimits = [0, 1]\npercentiles = [0, 1]", "both limits and percentiles"),
    ("[scaling]\nfactors = [1, 2, 3]", "three bands, but"), ("[cutout]\nx = 'x'\ny = 'y'", "either size"),
    ("[cutout]\nsize = 3\nsize_arcsec = 3\nx = 'x'\ny = 'y'", "either size"),
    ("[cutout]\nsize = 3\nx = 'x'", "either x and y"),
    ("[cutout]\nsize = 3\nx = 'x'\ndec = 'y'", "either x and y"),
    ("[cutout]\nsize = 9000\nx = 'x'\ny = 'y'", "to 8192"),
    ("[cutout]\nsize = 3\nra = 'x'\ndec = 'y'\nfirst_pixel = 1", "first_pixel has no meaning"),
    ("[labels]\nvote_fractions = ['a']", "a list of 37, not 1"), ("[labels]\nvote_counts = true", "expected is false"),
    ("[labels]\nvote_fractions = { Class1.1 = 'a' }", "a table such as"),
    ("[labels]\nvote_fractions = { spirl = 'a' }", "no answer 'spirl'"),
    ("[labels]\nnames = ['a']", "names but no label"),
    ("[labels]\nvote_fractions = { \"Class1.1\" = 'a', smooth_or_features_smooth = 'b' }", "each answer once"),
    ("[labels]\nlabel = 'a'\nnames = ['a', 'a']", "without repetitions"),
    ("[labels]\nconditional = 1", "true or false"),
    ("[labels]\nlabel = 'a'\nnames = ['a ']", "without spaces"),
    ("[labels]\nvote_fractions = false\nconditional = true", "turned off"),
    ("[splits]\nfractions = { train = 0.5, test = 0.4 }", "sum to 1, not to 0.9"),
    ("[splits]\nfractions = { all = 1 }", "not \"all\""), ("[splits]\nfractions = { 'a b' = 1 }", "letters, digits"),
    ("[splits]\nfractions = { a = 0, b = 1 }", "above 0"), ("[splits]\nfractions = 0.8", "a table such as"),
    ("[splits]\ncolumn = 'a'\nfractions = { a = 1 }", "both column and fractions"),
    ("[match]\ntable = 'a.csv'", "lacks radius_arcsec and columns"),
    ("[match]\ntable = 'a.csv'\ncolumns = []\nradius_arcsec = 1", "one or more, not 0"),
    ("[match]\ntable = 'a.csv'\ncolumns = ['a']\nradius_arcsec = 4000", "at most 3600"),
    ("keep = ['image']", "a feature of its own"), ("keep = ['a']\nkeep_text = ['a']", "kept twice"),
    ("keep = ['a/b']", "slash"),
    ("keep = 'ra'", "a list of one or more"), ("missing = [[1]]", "a list of one or more"),
    ("id_type = 'int'", '"integer" or')])
def test_each_wrong_key_has_its_error(text, reason):
  with pytest.raises(DataError, match=reason) as error:
    parse(text.encode("latin-1"))
  assert "own_images.toml" in str(error.value) and len(str(error.value)) < 600


VALUES = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
                                st.sampled_from(["path", "id", "kind", "t.csv", "{path}", "asinh", "Class1.1"])),
                      lambda inner: st.lists(inner, max_size=4), max_leaves=8)
KEYS = {"": [*_TOP, "x"], **{section: [*checks, "x"] for section, checks in _SECTIONS.items()}}


def toml(sections: dict) -> bytes:
  """Values as TOML: JSON is nearly that."""
  lines = []
  for section, values in sections.items():
    lines += [f"[{section}]"] * bool(section) + [f"{key} = {json.dumps(value)}" for key, value in values.items()]
  return "\n".join(lines).encode()


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={section: st.dictionaries(st.sampled_from(keys), VALUES, max_size=4)
                                           for section, keys in KEYS.items()}))
def test_any_values_raise_nothing_else(sections):
  try:
    assert isinstance(parse(toml(dict(sorted(sections.items())))), Settings)
  except DataError as error:
    assert len(str(error)) < 1500


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode),
                 st.text("[]{}='\"a.1,\n", max_size=60).map(str.encode)))
def test_any_bytes_raise_nothing_else(data):
  try:
    parse(data)
  except DataError:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("survey")
  for number in range(3):
    (path / f"{number}.png").write_bytes(encoded(colours(number), "PNG"))
  return path


SOUND = [["id", "path", "kind", "x", "Class1.1"], ["1", "0.png", "a", "0.5", "0.25"], ["2", "1.png", "b", "1", "1"]]
CELLS = st.one_of(st.sampled_from(["", "nan", "1", "-1", "1e400", "0.png", "../0.png", "/", ".", "a\0b", "9" * 30, "0",
                                   '"']),
                  st.text(max_size=8))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), CELLS), max_size=4), skip_bad=st.booleans(),
       raw=st.one_of(st.none(), st.binary(max_size=40)), text=st.booleans())
def test_any_table_raises_nothing_else(folder, changes, skip_bad, raw, text):
  rows = [list(row) for row in SOUND]
  for row, column, value in changes:
    rows[row][column] = value
  try:
    write_csv(folder / "t.csv", rows)
  except UnicodeEncodeError:  # Half a character, which no file holds.
    return
  if raw is not None:
    (folder / "t.csv").write_bytes((folder / "t.csv").read_bytes() + raw)
  (folder / "own_images.toml").write_text(
      'table = "t.csv"\nkeep = ["x"]\nkeep_text = ["kind"]\n[labels]\nlabel = "kind"\n'
      'vote_fractions = { "Class1.1" = "Class1.1" }\n' + ('[cutout]\nsize = 2\nx = "x"\ny = "x"' if text else ""))
  try:
    contents, _, _ = validate(Survey(folder), skip_bad=skip_bad, progress=False)
    for split in contents.splits.values():
      list(contents.examples(split))
  except DataError:
    pass


def table_bytes(kind: str) -> bytes:
  """A small table in a binary format."""
  file = io.BytesIO()
  if kind == "parquet":
    pa.parquet.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), file)
  else:
    pytest.importorskip("astropy.table").Table({"a": [1, 2], "b": ["x", "y"]}).write(
        file, format="votable" if kind == "vot" else "fits")
  return file.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "fits", "vot"])
def test_damaged_tables_raise_nothing_else(kind, tmp_path):
  sound, rng, path = table_bytes(kind), np.random.default_rng(0), tmp_path / f"t.{kind}"
  path.write_bytes(sound)
  assert TableFile(path, "t").read(["a", "b"]).columns["b"].to_pylist() == ["x", "y"]
  for _ in range(40):
    data = bytearray(sound[:rng.integers(len(sound))] if rng.random() < 0.3 else sound)
    for place in rng.integers(0, max(1, len(data)), rng.integers(1, 6)):
      data[place:place + 1] = rng.bytes(1)
    path.write_bytes(data)
    try:
      table = TableFile(path, "t")
      table.read(table.names)
    except DataError as error:
      assert str(error).startswith("t ") or str(error).startswith("t:")


def test_a_votable_does_not_fetch(tmp_path):
  elsewhere = b'<STREAM href="http://localhost/x"/><TABLEDATA>'
  (tmp_path / "t.vot").write_bytes(table_bytes("vot").replace(b"<TABLEDATA>", elsewhere))
  with pytest.raises(DataError, match="another place"):
    TableFile(tmp_path / "t.vot", "t.vot")


@pytest.mark.parametrize("hide", [
    gzip.compress, lambda data: data.decode().replace("utf-8", "utf-16").encode("utf-16"),
    lambda data: data.replace(b"?>", b'?><!DOCTYPE VOTABLE [<!ENTITY a "&#60;STREAM href=\'http://a\'/>">]>', 1),
])
def test_a_votable_hides_no_address(hide, tmp_path):
  (tmp_path / "t.vot").write_bytes(hide(table_bytes("vot")))
  with pytest.raises(DataError, match=r"UTF-8|in another place"):
    TableFile(tmp_path / "t.vot", "t.vot")


def test_a_number_that_python_does_not_write():
  with pytest.raises(DataError, match="missing is a number that is too long to show"):
    parse(b"missing = [0x" + b"f" * 5000 + b"]")


def test_columns_are_exact():
  texts = pa.chunked_array([["1", " 2 ", "", None],
                            ["nan", "x", "-99", "587722981746540704", "9223372036854775808", "007"]])
  values, there, bad = columns.integers(texts, (-99.0,))
  assert values.tolist() == [1, 2, 0, 0, 0, 0, 0, 587722981746540704, 0, 0]
  assert there.tolist() == [True, True, *[False] * 5, True, False, False]
  assert bad == {5: "x", 8: "9223372036854775808", 9: "007"}
  values, bad = columns.floats(texts, (-99.0, "x"))
  np.testing.assert_array_equal(values, [1, 2, *[np.nan] * 5, 587722981746540704.0, 9223372036854775808.0, 7])
  assert not bad
  whole = pa.chunked_array([pa.array([587722981746540704, None])])
  assert columns.texts(whole, ()) == ["587722981746540704", None]
  assert columns.texts(pa.chunked_array([[1.0, None, float("nan")]]), ()) == ["1", None, None]
  with pytest.raises(columns.Inexact):
    columns.texts(pa.chunked_array([[0.5]]), ())
  with pytest.raises(columns.Inexact):
    columns.integers(pa.chunked_array([[1.0]]), ())


def test_all_37_answers_have_one_name():
  assert len(set(COLUMNS) | set(ANSWER_NAMES)) == 74
