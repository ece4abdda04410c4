"""The documents say what is so: code runs, tables are fresh, links lead somewhere."""

import re
import tomllib
from pathlib import Path

import jax
import pytest
import tables
import yaml
from test_layers import FOLDERS

import gradxform as gx

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


def test_a_commit_runs_what_ci_runs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    before = {" ".join([hook["entry"], *hook.get("args", [])]) for hook in hooks}
    ci = (ROOT / ".ci/run").read_text().replace("ruff format --check .", "ruff format .")
    assert before == {*re.findall(r"^(?:ruff .*|mypy)$", ci, re.M)}


def test_the_contributors_commands_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.S))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert {*re.findall(r"\.\[(\w+)\]", blocks)} == {"test", "lint"} <= {*extras}
    ci = (ROOT / ".ci/run").read_text()
    for line in ("ruff check .", "mypy", "pytest", "pytest -m notebooks"):
        assert line in blocks.splitlines()
        assert line in ci.splitlines()
    spans = re.findall(r"`([^`\n]+)`", text) + blocks.split()
    files = [
        word for span in spans for word in span.split() if re.match(r"[\w./]+\.(?:py|md)$", word)
    ]
    invented = {"gradxform/transforms/my_block.py"}
    assert [file for file in {*files} - invented if not (ROOT / file).exists()] == []
    folders = re.search(r"in this order: (.*?)\. `", text, re.S)[1]
    assert re.findall(r"`(\w+)`", folders) == [*FOLDERS]


def test_a_citation_names_the_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == gx.__version__
    assert cited["license"] == project["license"]
    assert [author["name"] for author in cited["authors"]] == [
        author["name"] for author in project["authors"]
    ]
