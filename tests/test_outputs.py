"""Tables of predictions as files: the format that the name says, and headers that can be read back."""
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from galaxy_jax import outputs
from galaxy_jax.report import instance_figures, instance_measures


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


def test_a_table_of_instances_counts_as_catalogues_do():
  """A pixel's centre is a whole number, and a box ends with its last pixel's outer edge."""
  predicted = {"boxes": np.float32([[[2, 4, 6, 12]]]), "scores": np.float32([[0.9]]), "classes": np.array([[1]]),
               "masks": np.ones((1, 1, 28, 28), np.float32), "valid": np.array([[True]])}
  table = outputs.InstanceResult("test", np.array(["a"]), predicted, {}, np.zeros((1, 16, 16, 3), np.uint8),
                                 ("round", "long")).table()
  row, = table.to_pylist()
  assert [row[name] for name in ("y0", "x0", "y1", "x1", "y", "x", "area")] == [2, 4, 6, 12, 3.5, 7.5, 32]
  assert row["predicted"] == "long"


def test_errors_of_shape_say_from_which_score_on():
  errors = {name: np.arange(5.0) for name, *_ in instance_measures.SHAPES}
  for least, words in ((0.43, "at least 0.43, where precision and recall"), (None, "at which precision and recall")):
    assert words in instance_figures.shapes(errors, least).caption
