"""Each kind of bad input: an error that names the file and row, or a galaxy left out."""
import numpy as np
import pytest

from tfds_builders.errors import DataError
from tfds_builders.galaxy_zoo_challenge.kaggle_files import KaggleFiles
from tfds_builders.galaxy_zoo_challenge.validation import validate


def row_of(challenge, galaxy_id):
  """(index, line number in the file) of a galaxy's row."""
  index = next(i for i, row in enumerate(challenge.rows) if row[0] == galaxy_id)
  return index, index + 1


def set_value(challenge, galaxy_id, column, value):
  index, line = row_of(challenge, galaxy_id)
  challenge.rows[index][column] = value
  return line


def repeat_row(challenge, galaxy_id):
  challenge.rows.append(challenge.rows[row_of(challenge, galaxy_id)[0]])
  return len(challenge.rows)


def shorten_row(challenge, galaxy_id):
  index, line = row_of(challenge, galaxy_id)
  challenge.rows[index].pop()
  return line


def drop_image(challenge, galaxy_id):
  del challenge.images[f"{galaxy_id}.jpg"]
  return row_of(challenge, galaxy_id)[1]


def drop_row(challenge, galaxy_id):
  del challenge.rows[row_of(challenge, galaxy_id)[0]]


def set_image(challenge, galaxy_id, change):
  challenge.images[f"{galaxy_id}.jpg"] = change(challenge.images[f"{galaxy_id}.jpg"])


def second_image(challenge, galaxy_id):
  challenge.images[f"0{galaxy_id}.jpg"] = challenge.images[f"{galaxy_id}.jpg"]


#: What is done to galaxy 101 -> what the error says; the row that `spoil` returns is looked for too.
FAULTS = {
    "above one": (lambda c: set_value(c, "101", 4, "1.5"), "'1.5' in column Class2.1"),
    "below zero": (lambda c: set_value(c, "101", 1, "-0.01"), "'-0.01' in column Class1.1"),
    "nan": (lambda c: set_value(c, "101", 37, "nan"), "'nan' in column Class11.6"),
    "infinite": (lambda c: set_value(c, "101", 37, "inf"), "'inf' in column Class11.6"),
    "no number": (lambda c: set_value(c, "101", 2, "n/a"), "'n/a' in column Class1.2"),
    "empty": (lambda c: set_value(c, "101", 2, ""), "'' in column Class1.2"),
    "short row": (lambda c: shorten_row(c, "101"), "has 37 values where the header has 38"),
    "repeated id": (lambda c: repeat_row(c, "101"), "repeats galaxy 101 of row"),
    "image absent": (lambda c: drop_image(c, "101"), "names galaxy 101, but there is no image 101.jpg"),
    "row absent": (lambda c: drop_row(c, "101"), "images_training_rev1/101.jpg has no row in"),
    "truncated": (lambda c: set_image(c, "101", lambda data: data[:-20]), "images_training_rev1/101.jpg .*truncated"),
    "no JPEG": (lambda c: set_image(c, "101", lambda data: b"<html>"), "images_training_rev1/101.jpg is no JPEG"),
    "empty file": (lambda c: set_image(c, "101", lambda data: b""), "images_training_rev1/101.jpg is no JPEG"),
    "second image": (lambda c: second_image(c, "101"), "is a second image of galaxy 101"),
}


@pytest.fixture(params=FAULTS)
def fault(request):
  return FAULTS[request.param]


def test_a_fault_is_an_error_with_file_row_and_remedy(challenge, fault, tmp_path):
  spoil, message = fault
  row = spoil(challenge)
  with KaggleFiles(challenge.pack(tmp_path)) as files, pytest.raises(DataError, match=message) as error:
    validate(files)
  if row is not None:
    assert f"training_solutions_rev1.zip/training_solutions_rev1.csv, row {row} " in str(error.value)
  assert "--skip_bad" in str(error.value) and "\n" not in str(error.value)


def test_a_faulty_galaxy_is_left_out_once_and_the_others_stay(challenge, fault, layout, tmp_path):
  fault[0](challenge)
  with KaggleFiles(challenge.pack(tmp_path, layout)) as files:
    found = validate(files, skip_bad=True)
  assert [left_out.item for left_out in found.left_out] == [101]
  ids = [record.galaxy_id for record in found.splits["train"] + found.splits["validation"]]
  assert ids == [7, 88, 99, 100, *range(102, 110), 1000, 2000, 3000, 4000, 5000, 6000, 7000]


def test_a_row_whose_id_is_no_number(challenge, tmp_path):
  line = set_value(challenge, "101", 0, "10l")
  message = f"row {line} has '10l' for a GalaxyID"
  with KaggleFiles(challenge.pack(tmp_path)) as files, pytest.raises(DataError, match=message):
    validate(files)


def test_a_damaged_member_of_a_zip(challenge, tmp_path):
  path = challenge.pack(tmp_path) / "images_training_rev1.zip"
  data = bytearray(path.read_bytes())
  data[data.index(challenge.images["101.jpg"]) + 400] ^= 255
  path.write_bytes(data)
  with KaggleFiles(tmp_path) as files, pytest.raises(DataError, match=r"101.jpg cannot be unpacked .*CRC"):
    validate(files)


def test_a_bad_test_image(challenge, tmp_path):
  challenge.test["30.jpg"] = b""
  with KaggleFiles(challenge.pack(tmp_path)) as files:
    with pytest.raises(DataError, match=r"images_test_rev1/30.jpg"):
      validate(files)
    found = validate(files, skip_bad=True)
  assert [record.galaxy_id for record in found.splits["test"]] == [9, 200]


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("spoil,message", [
    (lambda row: row.remove("Class7.2"), "lacks 'Class7.2'"),
    (lambda row: row.append("Class12.1"), "has the extra 'Class12.1'"),
    (lambda row: row.append("Class7.2"), "has the extra 'Class7.2'"),
    (lambda row: row.__setitem__(0, "id"), "lacks 'GalaxyID' and has the extra 'id'"),
    (lambda row: row.clear(), "lacks 'GalaxyID'"),
], ids=["missing", "extra", "twice", "no id", "no header"])
def test_wrong_columns_are_an_error_in_any_case(challenge, tmp_path, spoil, message, skip_bad):
  spoil(challenge.rows[0])
  with KaggleFiles(challenge.pack(tmp_path)) as files, pytest.raises(DataError, match=message):
    validate(files, skip_bad=skip_bad)


def test_columns_in_another_order_are_read_by_name(challenge, tmp_path):
  with KaggleFiles(challenge.pack(tmp_path / "a")) as files:
    expected = validate(files)
  for row in challenge.rows:
    row.reverse()
  with KaggleFiles(challenge.pack(tmp_path / "b")) as files:
    found = validate(files)
  np.testing.assert_array_equal([record.vote_fractions for record in found.splits["train"]],
                                [record.vote_fractions for record in expected.splits["train"]])


def test_too_few_galaxies(challenge, tmp_path):
  del challenge.rows[10:]
  with KaggleFiles(challenge.pack(tmp_path)) as files, pytest.raises(DataError, match=r"9 usable .* at least 10"):
    validate(files, skip_bad=True)


def test_answers_that_do_not_sum_to_their_parent_are_counted_in_the_log(challenge_dir, challenge, tmp_path, caplog):
  with KaggleFiles(challenge_dir) as source:
    validate(source)
  assert "do not sum" not in caplog.text
  for row in challenge.rows[1:]:
    row[1:] = ["0"] * 37
    row[3] = row[15] = "1"  # star or artifact, nothing odd
  set_value(challenge, "101", 3, "0.5")
  with KaggleFiles(challenge.pack(tmp_path / "off")) as source:
    contents = validate(source)
  assert "in 1 of 20 rows, that of galaxy 101 for one" in caplog.text
  assert not contents.left_out
