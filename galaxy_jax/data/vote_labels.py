"""What the vote task learns, out of what a data set has: which of its fractions, and the numbers of votes behind them.

Works on one record as on a whole split: labels are a mapping of arrays with any leading axes.
"""
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from galaxy_jax.data.sources import Source
from tfds_builders.gz2_tree import COLUMNS

logger = logging.getLogger(__name__)

#: What may be learnt as vote fractions, and which of it are the fractions of those who were asked.
TARGETS = ("vote_fractions", "debiased")
CONDITIONAL = ("debiased",)
#: Where a data set may have counted votes, by answer: (37,), negative or NaN where missing.
_COUNTED = ("vote_counts", "count")
_VOLUNTEERS = "total_classifications"


def learned(labels: Mapping[str, Any], *, target: str, counts: bool, volunteers: float) -> dict[str, Any]:
  """Labels with `vote_fractions` and, where asked for, `vote_counts` as they are to be learnt.

  Args:
    labels: those of a record or of a split.
    target: the label that becomes `vote_fractions`, (..., 37); where the data set lacks it there are none.
    counts: whether to give `vote_counts`, see `vote_counts`.
    volunteers: as there.
  """
  result = dict(labels)
  if counts and "vote_fractions" in labels:
    result["vote_counts"] = vote_counts(labels, volunteers=volunteers)[0]
  if target in labels:
    result["vote_fractions"] = np.asarray(labels[target], np.float32)
  else:
    result.pop("vote_fractions", None)
  return result


def vote_counts(labels: Mapping[str, Any], *, volunteers: float) -> tuple[np.ndarray, np.ndarray]:
  """How many volunteers gave each answer: counted, or else estimated.

  Where a galaxy's votes were not all counted, each answer has its cumulative fraction of the galaxy's volunteers,
  so a question has as many as came to it down the tree.

  Args:
    labels: with `vote_fractions` (..., 37), cumulative; of `vote_counts` or `count`, (..., 37), and
      `total_classifications`, (...), what there is.
    volunteers: who are assumed to have seen a galaxy of which that is not known either.

  Returns:
    (..., 37) float32, NaN where a galaxy without counts has no fraction; and (...) how it was found: 0 counted,
    1 from `total_classifications`, 2 from the number assumed, -1 not at all.
  """
  fractions = np.asarray(labels["vote_fractions"], np.float32)
  named = next((name for name in _COUNTED if name in labels), None)
  counted = np.full_like(fractions, np.nan) if named is None else np.asarray(labels[named], np.float32)
  total = np.asarray(labels.get(_VOLUNTEERS, np.full(fractions.shape[:-1], -1)), np.float32)
  known, complete = total >= 0, np.all(counted >= 0, axis=-1)
  estimated = np.where(known, total, np.float32(volunteers))[..., None] * fractions
  labelled = ~np.all(np.isnan(fractions), axis=-1)
  origin = np.where(complete, 0, np.where(~labelled, -1, np.where(known, 1, 2)))
  return np.where(complete[..., None], counted, estimated), origin


def of_split(labels: Mapping[str, np.ndarray], split: str, **settings: Any) -> dict[str, Any]:
  """The `learned` labels of a split; the log says what no galaxy has, and where numbers of votes come from."""
  if settings["counts"] and "vote_fractions" in labels:
    origin = vote_counts(labels, volunteers=settings["volunteers"])[1]
    ways = ("counted", f"from {_VOLUNTEERS} and the fractions down the tree",
            f"from {settings['volunteers']:g} volunteers assumed and the fractions down the tree", "unknown")
    numbers = [int(np.sum(origin == way)) for way in (0, 1, 2, -1)]
    logger.info("Votes of %s, by galaxies: %s.", split, "; ".join(
        f"{number:,} {way}" for number, way in zip(numbers, ways, strict=True) if number))
  result = learned(labels, **settings)
  unknown = np.isnan(result.get("vote_fractions", np.nan)).all(axis=0)
  if np.any(unknown) and not np.all(unknown):
    logger.warning("No galaxy of %s has the %s of %s: these answers are neither learnt nor judged.", split,
                   settings["target"], ", ".join(name for name, none in zip(COLUMNS, unknown, strict=True) if none))
  return result


def needed(names: Sequence[str], *, target: str) -> tuple[str, ...]:
  """The features that a data set must have for the labels `names` of a task to follow."""
  follow = {"vote_fractions": (target,), "vote_counts": ("vote_fractions",)}
  return tuple(dict.fromkeys(feature for name in names for feature in follow.get(name, (name,))))


class Learned:
  """A source whose records' labels are `learned`; where votes are streamed the log says how their numbers are found."""

  def __init__(self, source: Source, **settings: Any):
    """`settings`: the arguments of `learned` but the labels."""
    self._source, self._settings = source, settings
    if settings["counts"]:
      logger.info("Votes are counted where the data set has counts; else from %s, or where that is unknown from %g "
                  "volunteers, and the fractions down the tree.", _VOLUNTEERS, settings["volunteers"])

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    return learned(self._source[index], **self._settings)
