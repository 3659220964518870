"""What a model says of galaxies as plain JSON values, and such values as a table.

A galaxy's result is a dict with its `id` and either an `error` or what the model says; a table has a row for each. So
whoever has the results, as the page does, gets the table without the model looking again.
"""
import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import csv, parquet

from galaxy_jax import decision_tree
from galaxy_jax.serve.where import Maps
from tfds_builders.gz2_tree import COLUMNS, QUESTIONS

#: Forms of a table by name: the type that it is sent as.
FORMATS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}

_asked = jax.jit(decision_tree.asked)


def about(model: Any) -> dict[str, Any]:
  """What there is to know of a model before it answers: its name, outputs, decision tree, and how it came to be."""
  tree = [{"name": question.name, "text": question.text, "answers": [answer.replace("_", " ").replace("cant", "can't")
                                                                     for answer in question.answers],
           "columns": list(COLUMNS[question.columns]),
           "parent": None if question.parent is None else COLUMNS[question.parent]} for question in QUESTIONS]
  return {"name": model.name, "task": model.task, "columns": list(model.columns), "crop": model.crop or None,
          "size": model.size, "questions": tree if model.task == "votes" else [],
          "facts": {name: _plain(value) for name, value in model.facts.items()}}


def results(model: Any, answers: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
  """A result for each of N answers.

  Args:
    model: a predictor.
    answers: what it said, see predictor.Answers.
    ids: N texts.
  """
  table = model.table(answers)
  found = []
  for row, name in enumerate(ids):
    result = {"id": name}
    if model.task == "votes":
      result["fractions"] = _named(model.columns, answers.fractions[row])
      result |= {end: None if bounds is None else _named(model.columns, bounds[row])
                 for end, bounds in (("low", answers.lower), ("high", answers.upper))}
      asked = np.asarray(_asked(answers.fractions[row]))
      result["asked"] = [question.name for question, was_asked in zip(QUESTIONS, asked, strict=True) if was_asked]
      words = ("description", "gz2_class")
    else:
      result["probabilities"] = _named(model.columns, answers.fractions[row])
      words = ("predicted",)
    result |= {word: table[word][row].as_py() for word in words}
    result["novelty"] = None if answers.novelty is None else _number(answers.novelty[row])
    found.append(result)
  return found


def view(pixels: np.ndarray) -> str:
  """What the model saw, (size, size, 3) uint8, as a JPEG in base64."""
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "JPEG", quality=90, subsampling=0)
  return base64.b64encode(file.getvalue()).decode("ascii")


def saliency(model: Any, maps: Maps, row: int) -> dict[str, Any]:
  """Where one galaxy's leading answer was found: the answer, by how much it falls at most, and the map in percent."""
  largest = float(maps.fall[row].max())
  shares = maps.fall[row] / (largest or 1.0)
  return {"answer": model.columns[maps.answer[row]], "fall": _number(largest),
          "map": np.round(100 * shares).astype(int).tolist()}


def schema(model: Any, empty: Any) -> pa.Schema:
  """The columns of a table of results; `empty`: the model's answers of no galaxy at all."""
  said = [pa.field(name, values.type) for name, values in model.table(empty).items()]
  return pa.schema([("galaxy_id", pa.string()), ("model", pa.string()), *said, ("error", pa.string())])


def table(columns: pa.Schema, model: str, found: Any) -> pa.Table:
  """A row for each result.

  Args:
    columns: of the table, see `schema`.
    model: its name, for every row.
    found: results, which may come from outside.

  Raises:
    ValueError: they are none of this model.
  """
  if not isinstance(found, list):
    raise ValueError("The results are to be a list.")
  rows, known = [], set(columns.names)
  for number, result in enumerate(found):
    if not isinstance(result, dict) or not isinstance(result.get("id"), str):
      raise ValueError(f"results[{number}] is to be an object with an id that is a text.")
    row = {"galaxy_id": result["id"].encode("utf-8", "replace").decode(), "model": model}
    for name, prefix, suffix in (("fractions", "", ""), ("low", "", "_low"), ("high", "", "_high"),
                                 ("probabilities", "probability_", "")):
      values = result.get(name) or {}
      if not isinstance(values, dict):
        raise ValueError(f"{name} of results[{number}] is to be an object of numbers.")
      row |= {f"{prefix}{key}{suffix}": value for key, value in values.items()}
    row |= {key: result[key] for key in ("description", "gz2_class", "predicted", "novelty", "error") if key in result}
    if unknown := [key for key, value in row.items() if key not in known and value is not None]:
      raise ValueError(f"results[{number}] has {unknown[0]!r}, which the model {model} does not say.")
    rows.append(row)
  try:
    return pa.Table.from_pylist(rows, columns)
  except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
    raise ValueError(f"The results have a value of a wrong type: {error}") from None


def written(values: pa.Table, form: str) -> bytes:
  """A table as the bytes of a file; `form`: of FORMATS."""
  sink = pa.BufferOutputStream()
  (csv.write_csv if form == "csv" else parquet.write_table)(values, sink)
  return sink.getvalue().to_pybytes()


def _named(names, values):
  return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _number(value):
  """A float32 as the shortest number that it is the nearest to; None of what JSON has no number for."""
  return float(str(np.float32(value))) if math.isfinite(value) else None


def _plain(value):
  """A fact as JSON has it."""
  if isinstance(value, (np.integer, np.floating)):
    value = value.item()
  return value if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)) else str(value)
