"""Training's side of a user's own survey: ids that are texts, and galaxies without labels among those with."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
from own_survey import build, colours, encoded, write_csv

from galaxy_jax import datasets, evaluation, outputs
from galaxy_jax.data import decode, sources
from tfds_builders.gz2_tree import COLUMNS


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
  """Four galaxies to train on, of which only the last has votes, and two without any."""
  folder = tmp_path_factory.mktemp("survey") / "s"
  folder.mkdir()
  (folder / "a.png").write_bytes(encoded(colours(0), "PNG"))
  rows = [[f"J{n}", "a.png", "test" if n > 3 else "train", *([0.25 if n == 3 else ""] * 37)] for n in range(6)]
  write_csv(folder / "t.csv", [["id", "path", "where", *COLUMNS], *rows])
  (folder / "own_images.toml").write_text('[splits]\ncolumn = "where"')
  return build(folder)


def test_a_split_is_labelled_if_one_of_its_galaxies_is(builder):
  datasets.check_labelled(builder, "train", ("vote_fractions",))
  with pytest.raises(ValueError, match=r"'test' of own_images/survey/1.0.0 has no labels"):
    datasets.check_labelled(builder, "test", ("vote_fractions",))
  with pytest.raises(ValueError, match=r"has no five_class to learn from; it has .*vote_fractions"):
    datasets.check_labelled(builder, "train", ("five_class",))


def test_every_label_must_be_there(monkeypatch):
  records = [{"vote_fractions": np.full(37, value), "debiased": np.full(37, np.nan)} for value in (np.nan, 0.5)]
  monkeypatch.setattr(sources, "split_source", lambda builder, split: records)
  builder = SimpleNamespace(info=SimpleNamespace(full_name="survey", features=records[0]))
  datasets.check_labelled(builder, "train", ("vote_fractions",))
  with pytest.raises(ValueError, match=r"'train' of survey has no labels, as its debiased is empty"):
    datasets.check_labelled(builder, "train", ("vote_fractions", "debiased"))


def test_galaxies_of_a_data_set_without_votes_can_be_predicted():
  data = decode.Decoded(np.zeros((3, 8, 8, 3), np.uint8), {"galaxy_id": np.arange(3)})
  absent = {"vote_fractions": np.full(37, np.nan, np.float32), "label": np.int32(-1)}
  given = evaluation._with_labels(data, absent).labels
  np.testing.assert_array_equal(given["label"], [-1, -1, -1])
  assert given["vote_fractions"].shape == (3, 37) and np.isnan(given["vote_fractions"]).all()
  np.testing.assert_array_equal(given["galaxy_id"], np.arange(3))
  votes = {"vote_fractions": np.ones((3, 37), np.float32)}
  assert evaluation._with_labels(data._replace(labels=votes), {"vote_fractions": np.zeros(37)}).labels is votes


def test_ids_may_be_texts(builder):
  found = sources.fingerprint(builder, "train")
  assert found == json.loads(json.dumps(found)) and (found["first_id"], found["last_id"]) == ("J0", "J3")
  ids, values = np.array(["J1", "J0"]), np.full((2, 37), 0.5, np.float32)
  assert outputs.vote_table("train", ids, values, values, "vote_fractions")["galaxy_id"].to_pylist() == ["J1", "J0"]
  assert outputs.submission_table(ids, values)["GalaxyID"].to_pylist() == ["J0", "J1"]
