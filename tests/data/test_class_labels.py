"""How often the galaxies of rare classes come."""
import numpy as np
import pytest

from galaxy_jax.data import class_labels

LABELS = np.array([0] * 10 + [2] * 3 + [-1, -1] + [3] + [0] * 2)


@pytest.mark.parametrize(("share", "times"), [
    (1.0, {0: 1, 2: 4, 3: 12, -1: 1}), (0.5, {0: 1, 2: 2, 3: 6, -1: 1}), (0.05, {0: 1, 2: 1, 3: 1, -1: 1})])
def test_rare_classes_come_as_often_as_the_share_says(share, times):
  """Twelve galaxies of the most frequent class, none of class 1."""
  rows = class_labels.repeated_rows(LABELS, share)
  assert (np.diff(rows) >= 0).all()
  found, number = np.unique(rows, return_counts=True)
  np.testing.assert_array_equal(found, np.arange(len(LABELS)))
  np.testing.assert_array_equal(number, [times[label] for label in LABELS])


def test_the_classes_of_a_split_are_read_once(tmp_path):
  class Source(list):
    read = 0

    def __getitem__(self, index):
      Source.read += 1
      return super().__getitem__(index)

  source = Source({"image": b"", "label": label} for label in LABELS)
  for _ in range(2):
    found = class_labels.of_split(source, "label", cache_dir=tmp_path, key={"split": "train"})
    np.testing.assert_array_equal(found, LABELS)
  assert Source.read == len(LABELS)
  class_labels.of_split(source, "label", cache_dir=tmp_path, key={"split": "validation"})
  assert Source.read == 2 * len(LABELS)
  np.testing.assert_array_equal(class_labels.counts(found, 5), [12, 0, 3, 1, 0])


def test_without_any_class_every_galaxy_comes_once():
  np.testing.assert_array_equal(class_labels.repeated_rows(np.full(3, -1), 1.0), [0, 1, 2])
