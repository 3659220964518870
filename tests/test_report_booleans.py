"""The report's part on answers by themselves: what is right and wrong, and the curves by epoch."""
import numpy as np
import pytest
from test_report import drawn

from galaxy_jax import report
from galaxy_jax.report import booleans, epochs


@pytest.fixture
def fractions():
  """Four galaxies: all right, three answers wrong, one wrong and one unknown, none voted on."""
  voted = np.random.default_rng(0).uniform(size=(4, 37)).astype(np.float32)
  predicted = np.where(voted > 0.5, 0.9, 0.1).astype(np.float32)
  predicted[1, [3, 8, 20]] = np.where(voted[1, [3, 8, 20]] > 0.5, 0.2, 0.8)
  predicted[2, 5] = np.where(voted[2, 5] > 0.5, 0.2, 0.8)
  voted[2, 6] = np.nan
  voted[3] = np.nan
  return predicted, voted


def test_answers_are_compared_where_they_were_voted_on(fractions):
  comparison = booleans.compare(*fractions)
  np.testing.assert_array_equal(comparison.wrong, [0, 3, 1, -1])
  assert (comparison.right, comparison.galaxies) == (1, 3)
  assert comparison.answers == pytest.approx(1 - 4 / (37 + 37 + 36))
  # No galaxy is of both kinds.
  groups = booleans.chosen(comparison, count=8)
  np.testing.assert_array_equal(groups["Most answers right"], [0, 2])
  np.testing.assert_array_equal(groups["Most answers wrong"], [1])
  assert list(booleans.chosen(booleans.compare(fractions[1][:1], fractions[1][:1]), 8)) == ["Most answers right"]


def test_answers_given_are_named():
  vector = np.zeros(37)
  vector[[0, 13]] = 0.6
  assert booleans.in_words(vector) == "smooth or features, smooth; anything odd, yes"
  assert booleans.in_words(np.full(37, 0.5)) == "none of the answers"


def test_curves_by_epoch():
  # Ten steps an epoch but for the second, 9 of them; rows of the log every five, evaluations at each tenth.
  history = {"epoch": [(5, 0.5), (10, 1.0), (15, 1.5), (19, 2.0)],
             "train/loss": [(5, 4.0), (10, 2.0), (15, 1.0), (19, 0.5)], "eval/loss": [(10, 3.0), (15, 2.5), (19, 2.0)]}
  curves = epochs.by_epoch(history, "loss")
  np.testing.assert_array_equal(curves["train"], ([1, 2], [3.0, 0.75]))
  np.testing.assert_array_equal(curves["eval"], ([1, 2], [3.0, 2.0]))
  assert epochs.by_epoch(history, "rmse") == {}
  assert epochs.by_epoch({"train/loss": [(1, 1.0)]}, "loss") == {}


def test_epochs_have_names_apart_and_a_logarithmic_axis_where_the_first_is_large(monkeypatch):
  made = drawn(monkeypatch, epochs)
  history = {"epoch": [(1, 1.0), (2, 2.0), (3, 3.0)], "train/loss": [(1, 50.0), (2, 0.6), (3, 0.5)],
             "eval/loss": [(1, 0.7), (2, 0.52), (3, 0.501)], "train/rmse": [(1, 0.2), (3, 0.1)]}
  epochs.charts(history)
  loss, error = (figure.axes[0] for figure in made)
  assert (loss.get_yscale(), error.get_yscale()) == ("log", "linear")
  heights = {text.get_text(): text.get_position()[1] for text in loss.texts}
  assert heights.keys() == {"train", "eval"} and heights["eval"] - heights["train"] > 0.07


def test_the_page_has_the_part_where_it_is_asked_for(fractions, tmp_path):
  predicted, voted = fractions
  history = {"epoch": [(1, 1.0), (2, 2.0)], "train/loss": [(1, 20.0), (2, 10.0)], "eval/rmse": [(1, 0.5), (2, 0.2)]}
  run = report.Run(name="alone", facts={}, data={}, results={}, history=history, ids=np.arange(4), predicted=predicted,
                   voted=voted, images=np.zeros((4, 32, 32, 3), np.uint8), notes=[], booleans=True)
  text = report.write(run, tmp_path / "with").read_text()
  assert "all of a galaxy’s for 1 of 3 galaxies" in text
  assert text.index("Most answers right") < text.index("1 of 36 wrong") < text.index("Most answers wrong")
  assert text.index("Most answers wrong") < text.index("3 of 37 wrong")
  # The mean squared error is the square of the RMSE.
  assert "eval ends at 0.04, lowest 0.04 in epoch 2" in text
  assert {path.stem for path in (tmp_path / "with" / "figures").glob("epochs_*.png")} == {"epochs_loss", "epochs_rmse"}
  without = report.write(run._replace(booleans=False), tmp_path / "without").read_text()
  assert "Answers right and wrong" not in without
  assert not list((tmp_path / "without" / "figures").glob("epochs_*"))
