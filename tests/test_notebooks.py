"""Every notebook runs from top to bottom, and what is stored in it is small and clean."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
OUTPUT_LIMIT = 100_000
FILE_LIMIT = 400_000
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|var|opt|work|mnt|usr)/|[A-Z]:\\\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def require_clean(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", (cell.source, output.text)  # a warning


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.notebooks
@every_notebook
def test_it_runs_from_top_to_bottom(path):
    notebook = read(path)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    require_clean(notebook)


@every_notebook
def test_it_was_stored_after_a_clean_run(path):
    notebook = read(path)
    require_clean(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_what_it_stores_is_small(path):
    assert path.stat().st_size <= FILE_LIMIT
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            assert len(json.dumps(output)) <= OUTPUT_LIMIT, cell.source


@every_notebook
def test_it_names_no_place_on_a_machine(path):
    texts = []
    for cell in read(path).cells:
        texts.append(cell.source)
        for output in cell.get("outputs", ()):
            texts.append(output.get("text", ""))
            texts += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    found = [text for text in texts if MACHINE_PATH.search(text)]
    assert not found
