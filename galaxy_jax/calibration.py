"""What galaxies held out say of a model's answers: intervals, a temperature, and how unlike the known ones an image is.

A calibration lies beside the run it belongs to, in `calibration.json` and `familiar.npz`.
"""
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from galaxy_jax import novelty, temperature, uncertainty
from galaxy_jax.files import write_json, write_whole

_NUMBERS, _FAMILIAR = "calibration.json", "familiar.npz"


class Calibration(NamedTuple):
  """What was measured on galaxies held out.

  Attributes:
    intervals: of vote fractions; None of classes, and where there were too few galaxies with votes.
    temperature: that classes' probabilities are to be divided by, see `temperature`; 1 of votes.
    familiar: what the model knows, or None.
    origin: where the galaxies come from, as plain JSON values.
  """
  intervals: uncertainty.Intervals | None = None
  temperature: float = 1.0
  familiar: novelty.Familiar | None = None
  origin: dict[str, Any] = {}


def write(folder: Path, calibration: Calibration) -> None:
  """Leaves a calibration in a run's folder, in the place of an older one."""
  folder = Path(folder)
  (folder / _FAMILIAR).unlink(missing_ok=True)
  if calibration.familiar:
    def save(fresh):
      with open(fresh, "wb") as file:
        np.savez(file, **calibration.familiar._asdict())
    write_whole(folder / _FAMILIAR, save)
  write_json(folder / _NUMBERS, {
      "intervals": calibration.intervals.as_json() if calibration.intervals else None,
      "temperature": calibration.temperature, "origin": calibration.origin})


def read(folder: Path) -> Calibration:
  """The calibration that lies in a run's folder; an empty one where there is none."""
  folder = Path(folder)
  if not (folder / _NUMBERS).exists():
    return Calibration()
  values = json.loads((folder / _NUMBERS).read_text())
  familiar = None
  if (folder / _FAMILIAR).exists():
    with np.load(folder / _FAMILIAR, allow_pickle=False) as arrays:
      familiar = novelty.Familiar(**{name: arrays[name] if arrays[name].ndim else float(arrays[name])
                                     for name in novelty.Familiar._fields})
  intervals = uncertainty.from_json(values["intervals"]) if values["intervals"] else None
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
