"""The documents say what is so: code runs, tables are fresh, links lead somewhere."""

import re
from pathlib import Path

import jax
import pytest
import tables

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("benchmarks/**/*.md"))


def test_the_readmes_code_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes files
    blocks = re.findall(r"```python\n(.*?)```", tables.README.read_text(), re.S)
    assert len(blocks) >= 5
    namespace = {"__name__": "readme"}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as users run
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)


def test_the_readmes_tables_are_those_of_the_catalog():
    text = tables.README.read_text()
    assert text == tables.inserted(text), "run `python tests/tables.py`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    missing = [
        link for link in links if "://" not in link and not (document.parent / link).exists()
    ]
    assert not missing


def test_the_readme_holds_the_two_commands():
    text = tables.README.read_text()
    assert 'pip install -e ".[compare]" && gradxform compare' in text
    assert 'pip install -e ".[test]" && pytest' in text
