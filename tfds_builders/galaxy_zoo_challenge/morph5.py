"""The five-class subset of the challenge: which class a galaxy's votes give it, and which split its place does.

Reference: Zhu et al. 2019, Ap&SS 364, 55; class_lists.FIVE_CLASS_RULE.
"""
import logging

import numpy as np

from tfds_builders.class_lists import FIVE_CLASS_RULE
from tfds_builders.gz2_tree import COLUMNS

#: Training galaxies of the challenge, and how many of them are in each class.
GALAXIES = 61_578
COUNTS = (8436, 8069, 579, 3903, 7806)

_log = logging.getLogger("tfds_builders")


def five_class(vote_fractions) -> np.ndarray:
  """Zhu et al.'s class of vote fractions as the challenge publishes them, cumulative; the first that applies is taken.

  Thresholds are rounded to the precision of the fractions, so that a published 0.602, which float32 stores as
  0.60199999…, reaches the threshold of 0.602 in float32 too. Fractions with more digits than float32 holds can fall on
  the other side there: the published counts are those of the table's own digits.

  Args:
    vote_fractions: (N, 37) float64, as the table has them, or float32; in the order of gz2_tree.COLUMNS.

  Returns:
    (N,) int64: the class's place in class_lists.FIVE_CLASSES, or -1 where none applies and where votes are NaN.
  """
  fractions = np.asarray(vote_fractions)
  c = np.moveaxis(fractions if fractions.dtype.kind == "f" else fractions.astype(np.float64), -1, 0)
  applies = [np.logical_and.reduce([c[COLUMNS.index(name)] >= c.dtype.type(least) for name, least in rule.items()])
             for rule in FIVE_CLASS_RULE]
  return np.select(applies, range(len(applies)), -1)


def in_test(labels) -> np.ndarray:
  """Which galaxies are the test split's: of each class the 5th, 15th, 25th, … .

  That is a tenth of each class, rounded: in the full data 844, 807, 58, 390 and 781 galaxies.

  Args:
    labels: (N,) classes of galaxies in ascending order of their ids.

  Returns:
    (N,) bool.
  """
  labels = np.asarray(labels)
  chosen = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    chosen[np.flatnonzero(labels == label)[4::10]] = True
  return chosen


def check_counts(labels) -> bool:
  """Whether a table of the challenge's size gives the published number of galaxies in each class; if not, it is logged.

  No error: simulated tables are as large, and mean no harm.

  Args:
    labels: (N,) classes of all galaxies of the table, -1 where there is none.

  Returns:
    Whether the counts are the published ones; True where N is not the challenge's number of galaxies.
  """
  labels = np.asarray(labels)
  counts = tuple(int(count) for count in np.bincount(labels[labels >= 0], minlength=len(COUNTS)))
  if len(labels) != GALAXIES or counts == COUNTS:
    return True
  _log.warning("The table has the %d rows of the published one, but its five classes have %s galaxies, not %s: it is "
               "another table.", GALAXIES, counts, COUNTS)
  return False
