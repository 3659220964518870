"""Several finished runs beside each other: their results, what they cost, which settings differ, their curves.

Figures share a row or a chart only where the runs learn the same, and losses only where they are of one name.
Plain values in, files out, as in `report.write`; the command, `__main__`, reads them.
"""
import json
from collections.abc import Sequence
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
    classes: the names of its classes; None where it learns none.
  """
  label: str
  settings: dict[str, Any]
  metrics: dict[str, Any]
  facts: dict[str, Any]
  history: dict[str, list[tuple[int, float]]]
  classes: tuple[str, ...] | None = None


class Group(NamedTuple):
  """Runs that learn the same.

  Attributes:
    learnt: what, in a few words.
    classes: the names of the classes, sorted; none where no classes are learnt.
    runs: in the order they were given.
  """
  learnt: str
  classes: tuple[str, ...]
  runs: list[Finished]


def groups(runs: Sequence[Finished]) -> list[Group]:
  """The runs by what they learn: the task, of votes the target, and else the classes in whatever order."""
  found = {}
  for run in runs:
    task, classes = run.settings["task"], tuple(sorted(run.classes or ()))
    count = f"{len(classes)} {'class' if len(classes) == 1 else 'classes'}"
    target = measures.words(run.settings["data.target"])
    learnt = {"votes": target if "fractions" in target else f"{target} vote fractions", "classes": count,
              "instances": f"outlines of {count}"}.get(task, task)
    found.setdefault((learnt, classes), []).append(run)
  return [Group(*key, members) for key, members in found.items()]


def differing(runs: list[Finished]) -> dict[str, list[Any]]:
  """The settings that are not the same in all runs, with each run's value or None."""
  keys = dict.fromkeys(key for run in runs for key in run.settings)
  values = {key: [run.settings.get(key) for run in runs] for key in keys}
  return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def _quantity(name: str, run: Finished, runs: list[Finished]) -> str:
  """A figure's name, that of a loss with which one it is where the runs have different ones."""
  several = len({other.settings["loss.name"] for other in runs}) > 1
  return f"{name}, {run.settings['loss.name']}" if several and name in ("loss", "training_loss") else name


def overlaid(runs: list[Finished]) -> dict[str, list[tuple[int, float]]]:
  """The runs' curves under names that report.figures draws together: the evaluations, and the loss in training.

  Args:
    runs: that learn the same.
  """
  curves = {}
  for run in runs:
    label = run.label.replace("/", " ")
    for name, points in run.history.items():
      series, _, quantity = name.partition("/")
      if series == "eval" and quantity != "error":
        curves[f"{label}/{_quantity(quantity, run, runs)}"] = points
      elif name == "train/loss":
        curves[f"{label}/{_quantity('training_loss', run, runs)}"] = points
  return curves


def _results(group: Group, unlike: bool) -> str:
  """The table of a group's final metrics."""
  from galaxy_jax.report import page

  metrics = [{_quantity(name, run, group.runs): value for name, value in run.metrics.items()} for run in group.runs]
  names = sorted(dict.fromkeys(name for found in metrics for name in found), key=lambda name: "/" in name)
  rows = [(measures.words(name), *(_shown(found.get(name)) for found in metrics)) for name in names]
  title = f"Final metrics, {group.learnt}," if unlike else "Final metrics,"
  return page.table(("", *(run.label for run in group.runs)), rows, title,
                    "as each run's evaluation computed them on its own evaluated split.")


def _shown(value) -> str:
  from galaxy_jax.report import page

  return _NOTHING if value is None else page.value(value)


def _notes(together: list[Group]) -> list[str]:
  """What must be known before runs are compared: what they learn, and on what they were evaluated."""
  notes = []
  if len(together) > 1:
    described = []
    for group in together:
      names = f" ({', '.join(map(measures.words, group.classes))})" if group.classes else ""
      described.append(f"{measures.capital(group.learnt)}{names}: {_listed(group.runs)}.")
    notes.append("The runs learn different things; their figures stand beside each other only where they learn the "
                 "same. " + " ".join(described))
  for group in together:
    evaluated = {str(run.facts["data"].get("evaluated on")) + str(run.facts["data"].get("source fingerprint"))
                 for run in group.runs}
    if len(evaluated) > 1:
      subject = "The runs" if len(together) == 1 else _listed(group.runs)
      notes.append(f"{subject} were not evaluated on the same galaxies.")
  return notes


def _listed(runs: list[Finished]) -> str:
  *others, last = (run.label for run in runs)
  return f"{', '.join(others)} and {last}" if others else last


def write(runs: list[Finished], path: str | Path) -> Path:
  """Writes the comparison as one HTML page, with its figures in a folder beside it.

  Returns:
    The page's path.
  """
  from galaxy_jax.report import figures, page

  path = Path(path)
  head = ("", *(run.label for run in runs))
  together = groups(runs)
  rate = [[value for _, value in run.history.get("images_per_second", [])] for run in runs]
  cost = [(fact, *(_shown(run.facts["run"].get(fact)) for run in runs))
          for fact in ("model", "parameters", "steps", "training time", "test-time views", "hardware")]
  cost.append(("images a second in training", *(_shown(float(np.median(r)) if r else None) for r in rate)))
  data = [(fact, *(_shown(run.facts["data"].get(fact)) for run in runs))
          for fact in ("data set", "learnt", "trained on", "evaluated on", "source fingerprint")]
  settings = [(key, *(_NOTHING if value is None else json.dumps(value) for value in values))
              for key, values in differing(runs).items()]
  tables = (page.table(head, cost, "Cost.", "Images a second are the median over the run's log.")
            + page.table(head, data, "Data.", "Results on different galaxies do not compare."))
  charts = figures.curves(overlaid(runs)) if len(together) == 1 else [
      chart for number, group in enumerate(together, 1)
      for chart in figures.curves(overlaid(group.runs), of=group.learnt, suffix=f"_{number}")]
  sections = [
      page.Section("results", "Results", "".join(_results(group, len(together) > 1) for group in together)),
      page.Section("cost", "Cost and data", tables),
      page.Section("settings", "Settings that differ",
                   page.table(head, settings, "Settings", "whose values are not the same in all runs.") if settings
                   else "<p>The settings are the same.</p>"),
      page.Section("curves", "Learning curves", page.figures(charts)),
  ]
  notes = _notes(together)
  notes += dict.fromkeys(f"{run.label}: {note}" for run in runs for note in run.facts["notes"])
  text = page.page(" · ".join(run.label for run in runs), f"{len(runs)} runs beside each other.", notes, [], sections,
                   kicker="galaxy_jax comparison of runs", figures_folder=f"{path.stem}_figures")
  return page.leave(path.parent, text, charts, name=path.name, figures_folder=f"{path.stem}_figures")
