"""What galaxies held out say of a model's answers: intervals, a temperature, and how unlike the known ones an image is.

A calibration lies beside the run it belongs to, in `calibration.json`, with the checkpoint and the test-time views that
it was measured with; it says nothing of others.
"""
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from galaxy_jax import novelty, temperature, uncertainty
from galaxy_jax.files import write_whole

FILE = "calibration.json"


class Calibration(NamedTuple):
  """What was measured on galaxies held out.

  Attributes:
    intervals: of vote fractions; None of classes, and where there were too few galaxies with votes.
    temperature: that classes' probabilities are to be divided by, see `temperature`; 1 of votes.
    familiar: what the model knows, or None.
    origin: `data` and `galaxies`, where the galaxies come from and how many they are; `step` and `looks`, the
      checkpoint and the (rotations, flips, zooms) that they were predicted with. Plain JSON values.
  """
  intervals: uncertainty.Intervals | None = None
  temperature: float = 1.0
  familiar: novelty.Familiar | None = None
  origin: dict[str, Any] = {}

  def differences(self, step: int, looks: tuple) -> list[str]:
    """With what this was measured where that differs from a checkpoint's step and views, in words."""
    if not self.origin:
      return []
    now = {"step": step, "looks": plain(looks)}
    names = {"step": "the checkpoint of step", "looks": "rotations, flips and zooms"}
    return [f"{names[key]} {self.origin[key]}" for key, value in now.items() if value != self.origin[key]]


def plain(looks: tuple) -> list:
  """(rotations, flips, zooms) as JSON gives them back."""
  rotations, flips, zooms = looks
  return [int(rotations), bool(flips), [float(zoom) for zoom in zooms]]


def write(folder: Path, calibration: Calibration) -> None:
  """Leaves a calibration in a run's folder, in the place of an older one."""
  in_short = np.vectorize(lambda number: float(f"{number:.7g}"))  # what float32 has
  familiar = calibration.familiar and {name: in_short(value).tolist() if isinstance(value, np.ndarray) else value
                                       for name, value in calibration.familiar._asdict().items()}
  values = calibration._asdict() | {
      "intervals": calibration.intervals and calibration.intervals.as_json(), "familiar": familiar}
  write_whole(Path(folder) / FILE, lambda fresh: Path(fresh).write_text(json.dumps(values)))


def read(folder: Path) -> Calibration:
  """The calibration that lies in a run's folder; an empty one where there is none."""
  path = Path(folder) / FILE
  if not path.exists():
    return Calibration()
  values = json.loads(path.read_text())
  familiar = values["familiar"] and novelty.Familiar(**{
      name: np.asarray(value, np.float32) if isinstance(value, list) else value
      for name, value in values["familiar"].items()})
  intervals = values["intervals"] and uncertainty.from_json(values["intervals"])
  return Calibration(intervals, values["temperature"], familiar, values["origin"])


def of_votes(predicted: np.ndarray, voted: np.ndarray) -> uncertainty.Intervals | None:
  """Intervals from predicted and voted fractions, (N, 37) each; None where too few galaxies have votes."""
  try:
    return uncertainty.fit(predicted, voted)
  except ValueError:
    return None


def of_classes(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """The temperature of (N, C) probabilities and (N,) labels, negative where unknown; 1 where all are."""
  return temperature.fit(probabilities, labels) if np.any(np.asarray(labels) >= 0) else 1.0
