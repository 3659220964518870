"""Which fractions are learnt, and where the numbers of votes come from."""
import logging

import numpy as np
import pytest
from conftest import valid_votes

from galaxy_jax.data import vote_labels
from tfds_builders.gz2_tree import QUESTIONS

NAN = np.nan


@pytest.fixture
def split():
  """Four galaxies: counted, with a total, with neither, without labels."""
  fractions = valid_votes(np.random.default_rng(0), 4).astype(np.float32)
  fractions[3] = NAN
  count = np.full((4, 37), -1, np.int32)
  count[0] = np.arange(37)
  return {"vote_fractions": fractions, "count": count, "total_classifications": np.array([50, 30, -1, -1]),
          "debiased": np.where(np.isnan(fractions), NAN, 0.25).astype(np.float32), "image_name": np.array(list("abcd"))}


def test_votes_are_counted_or_follow_from_the_volunteers_down_the_tree(split):
  counts, origin = vote_labels.vote_counts(split, volunteers=40)
  np.testing.assert_array_equal(origin, [0, 1, 2, -1])
  np.testing.assert_array_equal(counts[0], np.arange(37))
  assert np.isnan(counts[3]).all()
  for galaxy, volunteers in ((1, 30), (2, 40)):
    for question in QUESTIONS:
      came = volunteers if question.parent is None else counts[galaxy, question.parent]
      np.testing.assert_allclose(counts[galaxy, question.columns].sum(), came, rtol=1e-5)
  missing = split | {"count": np.where(np.arange(37) == 5, -1, split["count"])}
  assert vote_labels.vote_counts(missing, volunteers=40)[1][0] == 1


def test_a_record_alone_gives_what_the_split_gives(split):
  settings = {"target": "debiased", "counts": True, "volunteers": 40.0}
  whole = vote_labels.of_split(split, "train", **settings)
  records = vote_labels.Learned([{name: values[i] for name, values in split.items()} for i in range(4)], **settings)
  assert len(records) == 4
  for i in range(4):
    record = records[i]
    assert record.keys() == whole.keys()
    for name in ("vote_counts", "vote_fractions"):
      np.testing.assert_array_equal(record[name], whole[name][i])
  np.testing.assert_array_equal(whole["vote_fractions"], split["debiased"])


def test_a_data_set_without_the_target_has_no_labels(split):
  learned = vote_labels.learned({"vote_fractions": split["vote_fractions"]}, target="debiased", counts=False,
                                volunteers=40)
  assert learned == {}
  assert vote_labels.needed(("vote_fractions", "vote_counts"), target="debiased") == ("debiased", "vote_fractions")
  assert vote_labels.needed(("label",), target="vote_fractions") == ("label",)


def test_the_log_says_where_votes_come_from(split, caplog):
  caplog.set_level(logging.INFO)
  vote_labels.of_split(split, "train[:4]", target="vote_fractions", counts=True, volunteers=40.0)
  assert ("Votes of train[:4], by galaxies: 1 counted; 1 from total_classifications and the fractions down the tree; "
          "1 from 40 volunteers assumed and the fractions down the tree; 1 unknown.") in caplog.text
  caplog.clear()
  vote_labels.of_split(split, "train", target="vote_fractions", counts=False, volunteers=40.0)
  assert not caplog.text


def test_the_log_names_answers_that_no_galaxy_has(split, caplog):
  lacking = split | {"debiased": np.where(np.isin(np.arange(37), [3, 4]), NAN, split["debiased"])}
  vote_labels.of_split(lacking, "train", target="debiased", counts=False, volunteers=40.0)
  assert ("No galaxy of train has the debiased of Class2.1, Class2.2: these answers are neither learnt nor judged."
          ) in caplog.text
