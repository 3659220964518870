"""Several finished runs beside each other: their results, what they cost, which settings differ, their curves.

Plain values in, files out, as in `report.write`; the command, `__main__`, reads them.
"""
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from galaxy_jax.report import measures

_NOTHING = "–"


class Finished(NamedTuple):
  """A finished run.

  Attributes:
    label: what it is called on the page.
    settings: its config as flat keys, without those that say where things lie.
    metrics: its final metrics.
    facts: how it was made: `run`, `data`, `notes`, as outputs.write_all leaves them in facts.json.
    history: its curves, as of report.Run.
  """
  label: str
  settings: dict[str, Any]
  metrics: dict[str, Any]
  facts: dict[str, Any]
  history: dict[str, list[tuple[int, float]]]


def differing(runs: list[Finished]) -> dict[str, list[Any]]:
  """The settings that are not the same in all runs, with each run's value or None."""
  keys = dict.fromkeys(key for run in runs for key in run.settings)
  values = {key: [run.settings.get(key) for run in runs] for key in keys}
  return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def overlaid(runs: list[Finished]) -> dict[str, list[tuple[int, float]]]:
  """The runs' curves under names that report.figures draws together: the evaluations, and the loss in training."""
  curves = {}
  for run in runs:
    label = run.label.replace("/", " ")
    for name, points in run.history.items():
      series, _, quantity = name.partition("/")
      if series == "eval" and quantity != "error":
        curves[f"{label}/{quantity}"] = points
      elif name == "train/loss":
        curves[f"{label}/training_loss"] = points
  return curves


def write(runs: list[Finished], path: str | Path) -> Path:
  """Writes the comparison as one HTML page, with its figures in a folder beside it.

  Returns:
    The page's path.
  """
  from galaxy_jax.report import figures, page

  path = Path(path)
  head = ("", *(run.label for run in runs))
  shown = lambda value: _NOTHING if value is None else page.value(value)
  names = dict.fromkeys(name for run in runs for name in run.metrics)
  results = [(measures.words(name), *(shown(run.metrics.get(name)) for run in runs))
             for name in sorted(names, key=lambda name: "/" in name)]
  rate = [[value for _, value in run.history.get("images_per_second", [])] for run in runs]
  cost = [(fact, *(shown(run.facts["run"].get(fact)) for run in runs))
          for fact in ("model", "parameters", "steps", "training time", "test-time views", "hardware")]
  cost.append(("images a second in training", *(shown(float(np.median(r)) if r else None) for r in rate)))
  data = [(fact, *(shown(run.facts["data"].get(fact)) for run in runs))
          for fact in ("data set", "learnt", "trained on", "evaluated on", "source fingerprint")]
  settings = [(key, *(_NOTHING if value is None else json.dumps(value) for value in values))
              for key, values in differing(runs).items()]
  tables = (page.table(head, cost, "Cost.", "Images a second are the median over the run's log.")
            + page.table(head, data, "Data.", "Results on different galaxies do not compare."))
  charts = figures.curves(overlaid(runs))
  sections = [
      page.Section("results", "Results", page.table(
          head, results, "Final metrics,", "as each run's evaluation computed them on its own evaluated split.")),
      page.Section("cost", "Cost and data", tables),
      page.Section("settings", "Settings that differ",
                   page.table(head, settings, "Settings", "whose values are not the same in all runs.") if settings
                   else "<p>The settings are the same.</p>"),
      page.Section("curves", "Learning curves", page.figures(charts)),
  ]
  evaluated = {str(run.facts["data"].get("evaluated on")) + str(run.facts["data"].get("source fingerprint"))
               for run in runs}
  notes = ["The runs were not evaluated on the same galaxies."] if len(evaluated) > 1 else []
  notes += dict.fromkeys(f"{run.label}: {note}" for run in runs for note in run.facts["notes"])
  text = page.page(" · ".join(run.label for run in runs), f"{len(runs)} runs beside each other.", notes, [], sections,
                   kicker="galaxy_jax comparison of runs", figures_folder=f"{path.stem}_figures")
  return page.leave(path.parent, text, charts, name=path.name, figures_folder=f"{path.stem}_figures")
