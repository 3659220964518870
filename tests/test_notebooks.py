"""The notebooks of docs/ run from their first cell to their last, and say what they are stored with."""
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
#: Printed lines that hold fractions, which the last bits of other processors change.
NUMBERS = "novelty"


def printed(notebook):
  return [output["text"] for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
          if output.output_type == "stream" and output["name"] == "stdout" and not output["text"].startswith(NUMBERS)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_prints_what_it_shows(path, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  stored = nbformat.read(path, as_version=4)
  assert printed(stored)
  fresh = nbformat.read(path, as_version=4)
  NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
  assert printed(fresh) == printed(stored)


def test_there_are_notebooks():
  assert NOTEBOOKS
