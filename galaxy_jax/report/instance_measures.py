"""What a report says of found galaxies in numbers: curves, and the score to show them from."""
from collections.abc import Sequence

import numpy as np

from galaxy_jax.detection.matching import Matches
from galaxy_jax.report.class_measures import Curve

#: What is measured of a matched galaxy's shape: its key in shape_errors.MatchedObjects.errors, in words, and its unit.
SHAPES = (("centroid", "distance of centroids", "pixels"), ("area", "area, found less outlined", "of the outlined"),
          ("axis_ratio", "axis ratio, found less outlined", ""))


def _together(matches: Sequence[Matches]):
  """Scores, the best first, and hits of all detections that count, and how many objects there are."""
  scores = np.concatenate([np.zeros(0), *(one.scores[~one.excused] for one in matches)])
  hits = np.concatenate([np.zeros(0, bool), *(one.hit[~one.excused] for one in matches)])
  order = np.argsort(-scores, kind="stable")
  return scores[order], hits[order], sum(one.objects for one in matches)


def precision_recall(matches: Sequence[Matches], value: float) -> Curve:
  """The precision (y) against the recall (x) from each score on; `value` is what the curve's legend says of it."""
  _, hits, objects = _together(matches)
  found = np.cumsum(hits)
  return Curve(found / max(objects, 1), found / np.arange(1, len(hits) + 1), value)


def operating_score(matches: Sequence[Matches]) -> float:
  """The score from which on precision and recall are best together (F1); 0 where nothing is found."""
  scores, hits, objects = _together(matches)
  if not hits.any():
    return 0.0
  return float(scores[np.argmax(2 * np.cumsum(hits) / (np.arange(1, len(hits) + 1) + objects))])
