"""Tables come back as they were written, in every format; what a format or a file cannot hold is said."""
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from galaxy_jax import tables

TABLE = pa.table({
    "id": pa.array([587722981742084144, -5, 2**62], pa.int64()), "count": pa.array([1, None, 999999], pa.int32()),
    "byte": pa.array([0, 200, None], pa.uint8()), "ra": pa.array([0.1, 1e-300, -2.5]),
    "fraction": pa.array([0.1, 0.2, 1 / 3], pa.float32()), "name": pa.array(["a, \"b\"", "line\nbreak", "c"]),
    "known": pa.array([True, False, True])})


def whole(catalogue, size=2):
  parts = list(catalogue.parts(size))
  assert [len(part) for part in parts] == [size] * (catalogue.count // size) + [catalogue.count % size] * bool(
      catalogue.count % size)
  return pa.concat_tables(parts)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".fits", ".vot"])
def test_what_is_written_comes_back(tmp_path, ending):
  if ending in (".fits", ".vot"):
    pytest.importorskip("astropy")
  path = tmp_path / f"table{ending}"
  tables.write(path, TABLE.schema, (TABLE.slice(row, 1) for row in range(3)))
  assert [file.name for file in tmp_path.iterdir()] == [path.name]
  read = tables.read(path)
  assert (read.count, read.schema.names) == (3, TABLE.schema.names)
  found = whole(read)
  for name in TABLE.schema.names:
    values, theirs = TABLE[name].to_pylist(), found[name].to_pylist()
    if name == "fraction":
      np.testing.assert_array_equal(np.float32(values), np.float32(theirs))
    elif name == "known" and ending == ".csv":
      assert theirs == ["true", "false", "true"]
    else:
      assert values == theirs
  kept = {".parquet": TABLE.schema}.get(ending)
  assert kept is None or found.schema == kept


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".fits", ".vot"])
def test_a_table_without_rows(tmp_path, ending):
  if ending in (".fits", ".vot"):
    pytest.importorskip("astropy")
  path = tmp_path / f"table{ending}"
  tables.write(path, TABLE.schema, [])
  read = tables.read(path)
  assert (read.count, read.schema.names, list(read.parts(5))) == (0, TABLE.schema.names, [])


def test_other_readers_read_what_is_written(tmp_path):
  astropy = pytest.importorskip("astropy.table")
  for ending in (".fits", ".vot"):
    tables.write(tmp_path / f"table{ending}", TABLE.schema, [TABLE])
    read = astropy.Table.read(tmp_path / f"table{ending}")
    assert read["count"].tolist() == [1, None, 999999] and read["id"].tolist() == TABLE["id"].to_pylist()
    assert [str(name) for name in read["name"]] == TABLE["name"].to_pylist()
  tables.write(tmp_path / "table.csv", TABLE.schema, [TABLE])
  assert (tmp_path / "table.csv").read_text().startswith("id,count,byte,ra,fraction,name,known\n")
  assert csv.read_csv(tmp_path / "table.csv", parse_options=csv.ParseOptions(newlines_in_values=True))["count"] \
      .to_pylist() == [1, None, 999999]


def test_letters_that_fits_does_not_have(tmp_path, caplog):
  pytest.importorskip("astropy")
  tables.write(tmp_path / "t.fits", pa.schema([("who", pa.string())]), [pa.table({"who": ["é", None]})])
  assert whole(tables.read(tmp_path / "t.fits"))["who"].to_pylist() == ["\\xe9", ""]
  assert "column 'who'" in caplog.text


@pytest.mark.parametrize("groups", [1, 4, 100])
def test_parquet_is_read_from_any_row(tmp_path, groups):
  table = pa.table({"n": pa.array(range(11)), "kind": pa.array(list("abcabcabcab")).dictionary_encode()})
  parquet.write_table(table, tmp_path / "t.parquet", row_group_size=groups)
  read = tables.read(tmp_path / "t.parquet")
  assert read.schema.field("kind").type == pa.string()
  for start in range(12):
    found = [value for part in read.parts(3, start) for value in part["n"].to_pylist()]
    assert found == list(range(start, 11))


def test_csv_is_read_from_any_row_and_its_types_hold_to_the_end(tmp_path):
  rows = 60_000  # several of pyarrow's blocks; what each column is, its last row decides
  lines = [f"{n},{n},0,{n},x" for n in range(rows)] + ["7,0.5,007,nan,", "1,2,3,,0x1F", "2,,,12345678901234567890,y"]
  (tmp_path / "t.csv").write_text("\n".join(["int,float,zeros,long,text", *lines]))
  read = tables.read(tmp_path / "t.csv")
  assert read.count == rows + 3
  assert [str(kind) for kind in read.schema.types] == ["int64", "double", "string", "string", "string"]
  last = pa.concat_tables(read.parts(1000, rows - 1)).to_pydict()
  assert last["int"] == [rows - 1, 7, 1, 2] and last["float"] == [rows - 1, 0.5, 2.0, None]
  assert last["zeros"][1] == "007" and last["long"][-1] == "12345678901234567890" and last["text"][2] == "0x1F"


def test_a_file_that_is_no_table(tmp_path):
  for name, data, what in (("a.csv", b"a,b\n1\n", "Expected 2 columns, got 1"), ("b.csv", b"", "Empty CSV"),
                           ("c.parquet", b"PAR1 not at all", "Parquet"), ("d.csv", b"a\n\xff\n", "UTF8|UTF-8"),
                           ("e.csv", b"x,x\n1,2\n", "column 'x' 2 times"), ("f.vot", b"<x/>", "no .vot table"),
                           ("g.csv", b"x,\n1,2\n", "without a name")):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=what) as error:
      tables.read(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)
  with pytest.raises(FileNotFoundError, match="There is no table"):
    tables.read(tmp_path / "z.csv")


def test_columns_of_arrays(tmp_path, caplog):
  astropy = pytest.importorskip("astropy.table")
  astropy.Table({"id": [1, 2], "flux": np.zeros((2, 3))}).write(tmp_path / "t.fits")
  assert tables.read(tmp_path / "t.fits").schema.names == ["id"]
  assert "neither numbers nor texts: flux" in caplog.text
  arrays = pa.schema([("flux", pa.list_(pa.float32()))])
  tables.check_writable(tmp_path / "t.parquet", arrays)
  for name in ("t.csv", "t.fits", "t.vot"):
    with pytest.raises(ValueError, match=r"column 'flux' holds values of type list<.*Write .parquet"):
      tables.check_writable(tmp_path / name, arrays)


def test_where_no_table_can_be_written(tmp_path):
  (tmp_path / "folder.csv").mkdir()
  for name, what in (("t.xlsx", "ends in .parquet or .csv or .fits or .vot"), ("none/t.csv", "no folder .*none"),
                     ("folder.csv", "it is a folder")):
    with pytest.raises(ValueError, match=what):
      tables.check_writable(tmp_path / name)


def test_where_no_file_can_be_written(tmp_path):
  (tmp_path / "folder.png").mkdir()
  for name, what in (("t.csv", "ends in .png"), ("none/t.png", "there is no folder"), ("folder.png", "it is a folder")):
    with pytest.raises(ValueError, match=f"^--sheet is .*{what}"):
      tables.check_place(tmp_path / name, [".png"], "--sheet")
  tables.check_place(tmp_path / "t.PNG", [".png"], "--sheet")


def test_astropy_is_asked_for(tmp_path, monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "astropy.table", None)
  with pytest.raises(ValueError, match=r"pip install 'galaxy_jax\[survey\]'"):
    tables.check_writable(tmp_path / "t.fits")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_part_or_a_chunk_without_rows_leaves_nothing(tmp_path, ending):
  """pyarrow's writer of CSV would fill it with zero bytes."""
  table = pa.table({"name": ["a", "b"], "value": [1.5, 2.5]})
  empty = table.schema.empty_table()
  tables.write(tmp_path / f"t.{ending}", table.schema, [empty, pa.concat_tables([empty, table, empty]), empty, table])
  if ending == "csv":
    assert (tmp_path / "t.csv").read_bytes() == b'name,value\n"a",1.5\n"b",2.5\n"a",1.5\n"b",2.5\n'
  assert sum(len(part) for part in tables.read(tmp_path / f"t.{ending}").parts(10)) == 4
