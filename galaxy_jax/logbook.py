"""What a run writes down as it goes: `metrics.csv`, and the same numbers as TensorBoard events."""
import csv
import math
from collections import defaultdict
from pathlib import Path

import tensorboardX

from galaxy_jax.files import write_whole


class Logbook:
  """Writes scalars to `metrics.csv` (step,name,value) and TensorBoard events below a folder.

  A resumed run goes on where its checkpoint stands: rows of later steps are cut off first, so that no step is
  written twice. Use as a context manager.
  """

  def __init__(self, folder: str | Path, *, resume_step: int = 0, active: bool = True):
    """Opens the files; with `active` False (all processes but the first) it writes nothing."""
    self._active = active
    if not active:
      return
    folder = Path(folder)
    self._path = folder / "metrics.csv"
    rows = [row for row in read_rows(self._path) if row[0] <= resume_step] if self._path.exists() else []

    def write_rows(fresh):
      with open(fresh, "w", newline="") as file:
        csv.writer(file).writerows([("step", "name", "value"), *rows])
    write_whole(self._path, write_rows)
    self._file = open(self._path, "a", newline="")
    self._rows = csv.writer(self._file)
    self._events = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._active:
      self._file.close()
      self._events.close()

  def write(self, step: int, scalars: dict[str, float]) -> None:
    """Appends scalars, named `train/loss` for instance, and flushes; a NaN, which says nothing, is left out."""
    if not self._active:
      return
    for name, value in scalars.items():
      if math.isnan(value):
        continue
      self._rows.writerow((step, name, repr(float(value))))
      self._events.add_scalar(name, value, step)
    self._file.flush()


def read_rows(path: str | Path) -> list[tuple[int, str, float]]:
  """The whole rows of a metrics.csv; a last line that a kill cut short is left out."""
  text = Path(path).read_text()
  lines = text[:text.rfind("\n") + 1].splitlines()[1:]
  return [(int(step), name, float(value)) for step, name, value in csv.reader(lines)]


def read_history(path: str | Path) -> dict[str, list[tuple[int, float]]]:
  """The curves of a metrics.csv: name → [(step, value), …]."""
  history = defaultdict(list)
  for step, name, value in read_rows(path):
    history[name].append((step, value))
  return dict(history)
