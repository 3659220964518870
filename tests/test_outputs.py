"""Tables of predictions as files: the format that the name says, and headers that can be read back."""
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from galaxy_jax import outputs


def test_a_table_is_written_as_the_name_ends(tmp_path):
  names = ["galaxy_id", "probability_spiral, barred", 'probability_"odd"', "label"]
  ids = np.array([587_722_981_746_540_704, 1])
  table = pa.table(dict(zip(names, (ids, [0.25, 1e-9], [0.5, 0.75], ["a, b", None]), strict=True)))
  for name, read in (("a.csv", csv.read_csv), ("b.CSV", csv.read_csv), ("c.parquet", pq.read_table)):
    outputs.table_writer(str(tmp_path / name), "--output")(tmp_path / name, table)
    found = read(tmp_path / name)
    assert found.column_names == names and found["galaxy_id"].to_pylist() == ids.tolist()
    assert [found[column].to_pylist() for column in names[1:3]] == [[0.25, 1e-9], [0.5, 0.75]]
    assert found["label"].to_pylist()[0] == "a, b"
  header = (tmp_path / "a.csv").read_text().splitlines()[0]
  assert header == 'galaxy_id,"probability_spiral, barred","probability_""odd""",label'


@pytest.mark.parametrize("name, reason", [
    ("out.txt", r"--output is .*out\.txt; a file that ends in \.parquet or \.csv was expected"),
    ("out", "was expected"), ("absent/out.csv", "its folder does not exist")])
def test_other_places_are_refused(name, reason, tmp_path):
  with pytest.raises(ValueError, match=reason):
    outputs.table_writer(tmp_path / name, "--output")


def test_a_table_of_votes_says_which_fractions_they_are():
  votes, images = np.full((2, 37), 0.5), np.zeros((2, 4, 4, 3), np.uint8)
  debiased = outputs.VoteResult("train", np.arange(2), votes, votes, images, target="debiased")
  assert debiased.table()["target"].to_pylist() == ["debiased"] * 2
  assert debiased.submission() is None  # the challenge asks for cumulative ones
  plain = debiased._replace(target="vote_fractions")
  assert plain.table()["target"].to_pylist() == ["vote_fractions"] * 2 and plain.submission().num_rows == 2
