"""The parsers of Galaxy Zoo 2's tables: each fault names file and row, and nothing but DataError comes out."""
import csv
import gzip
import io
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="needs hypothesis: pip install 'galaxy_jax[test]'")
from hypothesis import given, settings
from hypothesis import strategies as st

from tfds_builders import csv_tables
from tfds_builders.contents import Faults
from tfds_builders.csv_tables import CsvTable, whole_number
from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_2.gz2_files import VOTES, GZ2Files
from tfds_builders.galaxy_zoo_2.hart16 import ANSWERS, read_votes
from tfds_builders.galaxy_zoo_2.mapping import read_mapping
from tfds_builders.galaxy_zoo_2.morph8 import read_labels
from tfds_builders.prepare import prepare

DUMMY = Path(__file__).resolve().parents[2] / "tfds_builders" / "galaxy_zoo_2" / "dummy_data"
OBJID = 587722981746540704
SMOOTH, FEATURED = (f"{answer}_weighted_fraction" for answer in ANSWERS[:2])
VOTES_HEADER = ["dr7objid", "ra", "dec", "sample", "gz2_class", "total_votes", SMOOTH, f"{ANSWERS[0]}_debiased",
                f"{ANSWERS[0]}_count", f"{ANSWERS[0]}_flag", f"{ANSWERS[0]}_weight"]
GOOD_ROW = [str(OBJID), "10.5", "-5.25", "original", "Sc", "99", "0.25", "", "7", "1", "6.5"]


def opened(data: bytes | list, label="a.csv") -> CsvTable:
  """A table of rows, or of bytes."""
  if not isinstance(data, bytes):
    text = io.StringIO()
    csv.writer(text).writerows(data)
    data = text.getvalue().encode()
  return CsvTable(label, io.BytesIO(data))


def labels_of(table, faults):
  labels = {}
  read_labels(table, "train", labels, set(), faults)
  return labels


#: Parser -> its header and a good row.
PARSERS = {
    "mapping": (read_mapping, ["objid", "sample", "asset_id"], [str(OBJID), "original", "68"]),
    "votes": (read_votes, VOTES_HEADER, GOOD_ROW),
    "labels": (labels_of, ["galaxyID", "label1"], ["68", "3"]),
}
LONG = "9" * 5000
#: Values that have broken parsers before, with any text at all.
NASTY = st.one_of(st.sampled_from(["", " ", "nan", "NaN", "inf", "-inf", "1e999", "-1", "0x10", "1_0", "٣", "²", "1e3",
                                   LONG, str(2**63), str(OBJID), f"{float(OBJID)}", "0.5", "68", "\x00",
                                   "\ufeff", '"']),
                  st.text(max_size=8), st.integers().map(str), st.floats().map(str))


def test_a_table_in_another_encoding_is_named():
  file = io.BytesIO("id,name\n1,Ångström\n".encode("latin-1"))
  with pytest.raises(DataError, match=r"^names\.csv, after row \d, is not in UTF-8 .*Save the table again as UTF-8"):
    list(CsvTable("names.csv", file).rows())


@pytest.mark.parametrize("separator, shown", [(";", "';'"), ("\t", "tabs"), ("|", r"'\|'")])
@pytest.mark.parametrize("parser", PARSERS)
def test_other_separators_are_named(parser, separator, shown):
  read, header, row = PARSERS[parser]
  data = "\n".join(separator.join(values) for values in (header, row)).encode()
  with pytest.raises(DataError, match=rf"^a\.csv, row 1: the values are separated by {shown}; commas were expected\."):
    read(opened(data), Faults(True))


def cells(header):
  """Tables that have the header and rows of nasty values, sometimes too short or too long."""
  return st.lists(st.one_of(st.lists(NASTY, min_size=len(header), max_size=len(header)),
                            st.lists(NASTY, max_size=len(header) + 2)), max_size=4)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_only_data_errors_come_out(name, data):
  parse, header, good = PARSERS[name]
  rows = [header, good, *data.draw(cells(header))]
  for skip_bad in (False, True):
    faults = Faults(skip_bad)
    try:
      parse(opened(rows), faults)
    except DataError as error:
      assert str(error).startswith("a.csv")
    for fault in faults.found:
      assert fault.file == "a.csv" and fault.row > 1 and fault.reason


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=80), where=st.integers(0, 80))
def test_only_data_errors_come_out_of_bytes(name, data, where):
  parse, header, good = PARSERS[name]
  whole = ",".join(header).encode() + b"\n" + ",".join(good).encode() + b"\n"
  for spoilt in (data, whole[:where] + data + whole[where:]):
    try:
      parse(opened(spoilt), Faults(skip_bad=True))
    except DataError as error:
      assert str(error).startswith("a.csv")


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 400), flip=st.integers(0, 4000))
def test_only_data_errors_come_out_of_a_damaged_gz(tmp_path_factory, cut, flip):
  folder = tmp_path_factory.mktemp("gz")
  (folder / "images").mkdir()
  whole = bytearray((DUMMY / "gz2_hart16.csv.gz").read_bytes())
  whole[flip % len(whole)] ^= 0x55
  (folder / "gz2_hart16.csv.gz").write_bytes(whole[:-cut] if cut else whole)
  with GZ2Files(folder, (VOTES,)) as files:
    try:
      with files.table(VOTES) as table:
        read_votes(table, Faults(skip_bad=True))
    except DataError as error:
      assert str(error).startswith("gz2_hart16.csv.gz")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_ids_are_exact(number):
  assert whole_number(f" {number} ", "objid") == number
  mapping = read_mapping(opened([["objid", "sample", "asset_id"], [str(number), "extra", "7"]]), Faults(False))
  assert mapping.by_asset == {7: number} and mapping.asset_id(number, "extra") == 7


@pytest.mark.parametrize("text", ["5.877229817465407e+17", "587722981746540704.0", "-1", "", "12a", "١٢", "1_0", LONG,
                                  str(2**63)])
def test_an_id_that_does_not_parse(text):
  for name, (parse, header, good) in PARSERS.items():
    with pytest.raises(DataError, match=rf"^a.csv, row 3 has '.*' for a {header[0]}; a whole number was expected"):
      parse(opened([header, good, [text, *good[1:]]]), Faults(False))
    faults = Faults(skip_bad=True)
    parse(opened([header, good, [text, *good[1:]]]), faults)
    assert [fault.row for fault in faults.found] == [3], name


@pytest.mark.parametrize("column,text,message", [
    (SMOOTH, "1.1", "'1.1' in column .*a01_smooth_weighted_fraction; a number from 0 to 1"),
    (SMOOTH, "-0.1", "'-0.1' in column"), (SMOOTH, "", "'' in column"), (SMOOTH, "nan", "'nan' in column"),
    (SMOOTH, "x", "'x' in column"), (VOTES_HEADER[7], "x", "'x' in column .*_debiased"),
    (VOTES_HEADER[7], "inf", "'inf' in column"), (VOTES_HEADER[8], "1.5", "'1.5' in column .*_count; a whole number"),
    (VOTES_HEADER[8], "1e9", "'1e9' in column .*_count"), (VOTES_HEADER[9], "2", "'2' in column .*_flag; 0 or 1"),
    (VOTES_HEADER[10], "-1", "'-1' in column .*_weight; a number that is not negative"),
    (VOTES_HEADER[10], "inf", "'inf' in column .*_weight"), ("ra", "361", "'361' in column ra; degrees from 0 to 360"),
    ("dec", "nan", "'nan' in column dec"), ("total_votes", "-3", "'-3' for a total_votes"),
])
def test_a_value_out_of_range(column, text, message):
  row = GOOD_ROW.copy()
  row[VOTES_HEADER.index(column)] = text
  with pytest.raises(DataError, match=f"^a.csv, row 2 has {message}"):
    read_votes(opened([VOTES_HEADER, row]), Faults(False))


def test_a_good_row_is_read():
  galaxies, faulty = read_votes(opened([VOTES_HEADER, GOOD_ROW]), Faults(False))
  galaxy, arrays = galaxies[OBJID], galaxies[OBJID].arrays()
  assert (galaxy.row, galaxy.ra, galaxy.dec, galaxy.sample, galaxy.gz2_class) == (2, 10.5, -5.25, "original", "Sc")
  assert (galaxy.total_votes, galaxy.total_classifications, faulty) == (99, -1, set())
  assert [arrays[suffix][0] for suffix in ("weighted_fraction", "count", "flag", "weight")] == [0.25, 7, 1, 6.5]
  assert np.isnan(arrays["debiased"]).all() and (arrays["count"][1:] == -1).all()


def test_columns_are_read_by_name():
  order = np.random.default_rng(0).permutation(len(VOTES_HEADER))
  galaxies, _ = read_votes(opened([[VOTES_HEADER[i] for i in order], [GOOD_ROW[i] for i in order]]), Faults(False))
  expected, _ = read_votes(opened([VOTES_HEADER, GOOD_ROW]), Faults(False))
  np.testing.assert_equal(galaxies[OBJID], expected[OBJID])


def test_repeated_rows_are_used_in_no_case():
  faults = Faults(skip_bad=True)
  galaxies, faulty = read_votes(opened([VOTES_HEADER, GOOD_ROW, GOOD_ROW, GOOD_ROW]), faults)
  assert (galaxies, faulty, [fault.row for fault in faults.found]) == ({}, {OBJID}, [3, 4])
  header = ["objid", "sample", "asset_id"]
  for repeated in (["1", "extra", "68"], [str(OBJID), "original", "5"]):
    faults = Faults(skip_bad=True)
    mapping = read_mapping(opened([header, [str(OBJID), "original", "68"], repeated, ["3", "extra", "9"]]), faults)
    assert mapping.by_asset == {9: 3} and mapping.asset_id(OBJID, "original") is None
    assert [fault.row for fault in faults.found] == [3]
  labels, faulty = {}, set()
  for split, other in (("train", "8"), ("test", "9")):
    read_labels(opened([["galaxyID", "label1"], ["68", "1"], [other, "2"]]), split, labels, faulty, faults)
  assert set(labels) == {8, 9} and faulty == {68} and "repeats galaxy 68 of a.csv, row 2" in faults.found[-1].reason


def test_an_object_in_two_samples_has_the_image_of_the_one_that_is_meant():
  rows = [["objid", "sample", "asset_id"], ["5", "stripe82_coadd_1", "1"], ["5", "stripe82", "2"], ["6", "extra", "3"]]
  mapping = read_mapping(opened(rows), Faults(False))
  assert (mapping.asset_id(5, "stripe82"), mapping.asset_id(6, "extra"), mapping.asset_id(6, None)) == (2, 3, 3)
  assert mapping.asset_id(6, "original") is None and mapping.asset_id(7, "extra") is None
  with pytest.raises(ValueError, match=r"'stripe82' and 'stripe82_coadd_1'$"):
    mapping.asset_id(5, None)


@pytest.mark.parametrize("text,message", [("8", "'8' in column label1; a class from 0 to 7"), ("", "'' for a label1"),
                                          ("1.0", "'1.0' for a label1"), ("-1", "'-1' for a label1")])
def test_a_class_out_of_range(text, message):
  with pytest.raises(DataError, match=f"^a.csv, row 2 has {message}"):
    labels_of(opened([["galaxyID", "label1"], ["68", text]]), Faults(False))


@pytest.mark.parametrize("name", PARSERS)
def test_a_wrong_header(name):
  parse, header, good = PARSERS[name]
  with pytest.raises(DataError, match=rf"^a.csv, row 1: the header lacks '{header[0]}'"):
    parse(opened([["x", *header[1:]], good]), Faults(True))
  with pytest.raises(DataError, match=rf"^a.csv, row 1: the header has '{header[-1]}' 2 times"):
    parse(opened([[*header, header[-1]], [*good, "1"]]), Faults(True))
  with pytest.raises(DataError, match=r"^a.csv, row 1: the header lacks"):
    parse(opened(b""), Faults(True))


def test_a_table_without_answers():
  with pytest.raises(DataError, match="none of the columns of answers"):
    read_votes(opened([["dr7objid"], ["1"]]), Faults(True))


@pytest.mark.parametrize("config,name,spoil,message", [
    ("votes", "image", lambda data: data[:-30], r"images/\d+.jpg cannot be decoded .*truncated"),
    ("morph8", "image", lambda data: b"<html>", r"images/\d+.jpg is no JPEG"),
    ("votes", "gz2_filename_mapping.csv", lambda data: data.replace(b"original", b"original,", 1),
     "row 2 has 4 values"),
    ("morph8", "gz2_valid.csv", lambda data: data.replace(b",1,", b",11,", 1),
     "gz2_valid.csv, row 3 has '11' in column"),
])
def test_a_fault_ends_a_build_or_is_left_out(tmp_path, config, name, spoil, message):
  manual = Path(shutil.copytree(DUMMY, tmp_path / "manual"))
  shutil.unpack_archive(manual / "images_gz2.zip", manual / "images_gz2")
  (manual / "images_gz2.zip").unlink()
  asset_id = (manual / "gz2_train.csv").read_text().splitlines()[1].split(",")[0]
  path = manual / ("images_gz2/images/" + asset_id + ".jpg" if name == "image" else name)
  path.write_bytes(spoil(path.read_bytes()))
  build = lambda **options: prepare(f"galaxy_zoo_2/{config}", manual_dir=manual, data_dir=tmp_path / "data",
                                    progress=False, **options)
  with pytest.raises(DataError, match=message):
    build()
  assert not list(tmp_path.glob("data/**/dataset_info.json"))
  builder = build(skip_bad=True)
  whole = {"votes": 20, "morph8": 16}[config]
  assert sum(split.num_examples for split in builder.info.splits.values()) == whole - 1
  assert message.split(" ")[-1].strip(".*") in (builder.data_path / "left_out.csv").read_text()


def test_a_truncated_table_is_an_error_that_names_it(tmp_path):
  manual = Path(shutil.copytree(DUMMY, tmp_path / "manual"))
  path = manual / "gz2_hart16.csv.gz"
  path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()))[:-500])
  with pytest.raises(DataError, match=r"^gz2_hart16.csv.gz, after row \d+, is no CSV file \(Compressed file ended"):
    prepare("galaxy_zoo_2/votes", manual_dir=manual, data_dir=tmp_path / "data", progress=False, skip_bad=True)


def test_a_line_that_never_ends_is_not_read_into_memory(monkeypatch):
  monkeypatch.setattr(csv_tables, "_LONGEST", 20)
  good = b"a,b\n" + 10 * b"x" + b"," + 8 * b"y" + b"\n"
  assert len(list(opened(good).rows())) == 1
  with pytest.raises(DataError, match=r"after row 1, is no CSV file .a line has more than 20 characters"):
    list(opened(good[:-1] + b"y\n").rows())
