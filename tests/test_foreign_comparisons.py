"""Results that somebody changed or wrote: refused with the place, or shown as text."""

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from comparisons import comparison, result
from mutations import mutated
from rich.console import Console
from test_comparison_files import odd

import gradxform as gx
from gradxform.comparison import command
from gradxform.comparison.record import ARRAYS
from gradxform.comparison.report import table
from gradxform.comparison.result import Comparison, Reference

COUNT = 120
HOSTILE = (
    "[red]x[/foo] :smile: \x1b]0;title\x07\x1b[2J\u202e $\\frac <script>alert(1)</script> {{ 1 }}"
)


def changed(data: dict[str, Any], random: Random) -> Any:
    """One file with changes; four in five of them outside of the arrays, which are most of it."""
    if random.random() < 0.2:
        return mutated(data, random)
    data = copy.deepcopy(data)
    arrays = [{key: c.pop(key) for key in ARRAYS} for c in data["candidates"]]
    data = mutated(data, random)
    candidates = data.get("candidates") if isinstance(data, dict) else None
    for candidate, own in zip(
        candidates if isinstance(candidates, list) else (), arrays, strict=False
    ):
        if isinstance(candidate, dict):
            candidate.update(own)
    return data


@pytest.mark.filterwarnings("ignore")  # such as NumPy's, for numbers near the largest
def test_a_changed_file_is_refused_or_can_be_used(tmp_path: Path) -> None:
    random, path, again = Random(0), tmp_path / "a.json", tmp_path / "b.json"
    odd().save(path)
    data = json.loads(path.read_text())
    used, messages = 0, []
    for _ in range(COUNT):
        path.write_text(json.dumps(changed(data, random)))
        try:
            found = gx.load_comparison(path)
        except ValueError as error:
            messages.append(str(error))
            continue
        used += 1
        found.save(again)
        assert gx.load_comparison(again) == found
        if used % 5 == 0:
            assert_text(str(found))
            assert_text(str(gx.diagnose_comparison(found)))
        if used % 20 == 0:
            found.save_html(tmp_path / "a.html")
            found.save_figure(tmp_path / "a.svg")
    assert min(used, len(messages)) > COUNT / 5
    for message in messages:
        assert message.startswith("`load_comparison(")
        assert len(message) < 800
        assert_text(message)


def assert_text(text: str) -> None:
    """Nothing that a terminal would obey."""
    hidden = {c for c in text if not c.isprintable()} - {"\n", "\xa0"}
    assert not hidden


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A comparison in which each name is one that nobody should have."""
    scores = [[0.9, 0.8, 0.7]]
    made = [result(f"{i} {HOSTILE}", validation=scores, test=scores) for i in range(2)]
    path = tmp_path / "a.json"
    comparison(
        *made,
        task=HOSTILE,
        metric_name=HOSTILE,
        references=(Reference(HOSTILE, 0.5, 0.5, HOSTILE),),
        details={HOSTILE: HOSTILE},
        environment={"date": HOSTILE, "versions": {HOSTILE: HOSTILE}},
    ).save(path)
    return path


def test_names_are_shown_as_they_are_and_obeyed_by_nobody(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = gx.load_comparison(hostile)
    assert command.main(["report", str(hostile)]) == 0
    printed = capsys.readouterr().out
    terminal = Console(width=2000, force_terminal=True, color_system=None)
    with terminal.capture() as capture:
        terminal.print(table(found, 2000))
    for text in (printed, repr(found), capture.get(), str(gx.diagnose_comparison(found))):
        assert "\x07" not in text
        assert "\x1b]" not in text
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
    assert "[red]x[/foo] :smile: \\x1b]0;title\\x07\\x1b[2J\\u202e $\\frac" in capture.get()
    page = (tmp_path / "a.html").read_text()
    assert "<script>alert" not in page
    assert "\\x1b]0;title\\x07" in page
    assert_text(page.replace("\t", ""))
    assert_text(found._repr_html_() or "")
    found.save_figure(tmp_path / "a.svg")
    assert "script>alert" not in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("name", ["loss [nats]", "acc [top-1]", "x [/foo]"])
def test_square_brackets_in_names_are_no_markup(name: str) -> None:
    scores = [[0.9, 0.8, 0.7]]
    one: Comparison = comparison(
        result("a", validation=scores, test=scores), task=name, metric_name=name
    )
    text = repr(one)
    assert text.count(name) >= 3


def test_loading_runs_nothing_that_a_file_names(tmp_path: Path) -> None:
    """A name of a schedule or of a function in the place of an optimizer stays text."""
    path, called = tmp_path / "a.json", []
    odd().save(path)
    data = json.loads(path.read_text())
    for factory in ("cosine_decay", "mine", "os.system"):
        data["candidates"][1]["factory"] = factory
        path.write_text(json.dumps(data))
        found = gx.load_comparison(path, functions={"mine": lambda **_: called.append(1)})
        assert repr(found)
        assert not called
