"""The folder of the command line: what was there before, what cannot be written, and `report`."""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison, result, three

import gradxform as gx
from gradxform.comparison import command, files, output
from gradxform.comparison.output import Output
from gradxform.comparison.result import Comparison
from gradxform.comparison.resume import Differs
from gradxform.comparison.tune import Search

FIRST = result("sgd", validation=[[0.9, 0.8]], test=[[0.9, 0.8]])
SECOND = result("adam", validation=[[0.7, 0.6]], test=[[0.7, 0.6]])


def found(*results: Any) -> Comparison:
    return comparison(*results, planned=("sgd", "adam"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Results made by hand in the place of training; what `resume` was given."""
    resumed: list[Any] = []

    def compare(*_: object, on_result: Any, resume: Any, **__: object) -> Comparison:
        resumed.append(resume)
        on_result(found(FIRST))
        on_result(found(FIRST, SECOND))
        return found(FIRST, SECOND)

    monkeypatch.setattr(command, "compare", compare)
    return resumed


def run(folder: Path, *words: str) -> int:
    return command.main(["compare", "--out", str(folder), *words])


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(folder, *words)
    assert stopped.value.code == 2


@pytest.mark.usefixtures("trained")
def test_no_run_changes_the_files_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.json").write_text("not one of ours")
    before: dict[Path, bytes] = {}
    for number in (2, 3):
        assert run(tmp_path) == 0
        files = {path: path.read_bytes() for path in tmp_path.iterdir()}
        assert before.items() <= files.items()
        before = files
        new = [tmp_path / f"comparison-{number}.{kind}" for kind in ("html", "png", "json")]
        assert {*new} <= {*files}
        assert f"Written: {new[0]}, {new[1]} and {new[2]}" in capsys.readouterr().out
    # Its own folder has the report that belongs to it, another what is there and one more.
    assert command.main(["report", str(tmp_path)]) == 0
    assert f"Written: {tmp_path}/comparison-3.html" in capsys.readouterr().out
    for number in ("", "-2"):
        words = ["report", str(tmp_path / "comparison-2.json"), "--out", str(tmp_path / "new")]
        assert command.main(words) == 0
        assert f"Written: {tmp_path}/new/comparison-2{number}.html" in capsys.readouterr().out


def test_two_runs_at_once_take_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Output(tmp_path), Output(tmp_path)
    names = iter("aab")
    monkeypatch.setattr(output, "free_name", lambda *_: next(names))
    one.keep(found(FIRST))
    other.keep(found(SECOND))
    assert gx.load_comparison(one.json) == found(FIRST)
    assert gx.load_comparison(other.json) == found(SECOND)


def test_what_is_to_be_resumed_is_the_last(
    tmp_path: Path, trained: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in ("", "-2", "-10"):
        found(FIRST).save(tmp_path / f"comparison{number}.json")
    assert run(tmp_path, "--resume") == 0
    assert trained == [found(FIRST)]
    assert f"Written: {tmp_path}/comparison-10.html" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 5
    refused(tmp_path / "new", "--resume")
    assert "argument --resume: nothing to resume: no run has kept" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{}", "{", '[1, "a"]'])
def test_a_file_of_another_kind_is_left_as_it_is(
    content: str, tmp_path: Path, trained: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(content)
    refused(tmp_path, "--resume")
    assert path.read_text() == content
    assert trained == []
    assert f"argument --out: {path} cannot be read as a comparison: " in capsys.readouterr().err


def test_an_interrupted_search_goes_on(
    tmp_path: Path,
    trained: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each batch of trials is trained once, whatever comes between."""
    made: list[tuple[str, int]] = []
    stop_after = 1

    def scores(search: Search, name: str, settings: Any, steps: int) -> list[float]:
        if len(made) == stop_after:
            raise KeyboardInterrupt
        made.append((name, steps))
        return [0.1 * i if i else math.nan for i, _ in enumerate(settings)]

    monkeypatch.setattr(Search, "_scores", scores)
    words = ["--tune", "--budget", "3", "--steps", "300", "--optimizers", "sgd,adam"]
    assert run(tmp_path, *words) == 130
    err = capsys.readouterr().err
    assert f"no optimizer had finished; what there is, is in {tmp_path}. Go on with:" in err
    assert [p.name for p in tmp_path.iterdir()] == ["comparison.search.json"]
    for stop_after in (3, 99):
        assert run(tmp_path, *words, "--resume") == (130 if stop_after == 3 else 0)
    assert made == [(name, steps) for name in ("sgd", "adam") for steps in (100, 300)]
    assert trained == [None]
    assert "Search on digits" in capsys.readouterr().out
    # All of it is there: nothing is tried again.
    stop_after = 0
    assert run(tmp_path, *words, "--resume") == 0
    refused(tmp_path, *words, "--budget", "4", "--resume")
    assert "holds another comparison: search of the search: " in capsys.readouterr().err
    path = tmp_path / "comparison.search.json"
    path.write_text(path.read_text().replace('"scores"', '"score"'))
    refused(tmp_path, *words, "--resume")
    err = capsys.readouterr().err
    assert "cannot be read as a search: Object missing required field `scores` - at `$.bat" in err


def test_another_comparison_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(*_: object, **__: object) -> None:
        raise Differs(["the steps: 7 then, 8 now"])

    monkeypatch.setattr(command, "compare", compare)
    three().save(tmp_path / "comparison.json")
    refused(tmp_path, "--resume")
    err = capsys.readouterr().err
    assert "argument --resume: " in err
    assert "holds another comparison: the steps: 7 then, 8 now. Ask for what was asked for" in err
    assert gx.load_comparison(tmp_path / "comparison.json") == three()


def full_disk(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """No space is left for files of these kinds."""

    def fsync(number: int) -> None:
        if any(f".comparison.{kind}." in os.readlink(f"/proc/self/fd/{number}") for kind in kinds):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.usefixtures("trained")
def test_without_space_for_the_report_the_results_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full_disk(monkeypatch, "png", "html")
    assert run(tmp_path) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"{tmp_path}/comparison.{kind} cannot be written: No space left on device."
        for kind in ("png", "html")
    ]
    assert "Written: " in out
    assert [p.name for p in tmp_path.iterdir()] == ["comparison.json"]
    monkeypatch.undo()
    assert command.main(["report", str(tmp_path)]) == 0
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.usefixtures("trained")
def test_without_space_for_the_results_the_table_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full_disk(monkeypatch, "json", "png", "html")
    assert run(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "comparison.json cannot be written: No space left on device." in err
    assert {"sgd", "adam"} <= {line.split()[0] for line in out.splitlines() if line.split()}
    assert "Written: nothing" in out
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_behind_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(*_: object, on_result: Any, **__: object) -> Comparison:
        on_result(found(FIRST))
        full_disk(monkeypatch, "json", "png", "html")
        on_result(found(FIRST, SECOND))
        return found(FIRST, SECOND)

    monkeypatch.setattr(command, "compare", compare)
    assert run(tmp_path) == 1
    path = tmp_path / "comparison.json"
    assert f"Written: {path}, which holds 1 of 2 optimizers" in capsys.readouterr().out
    assert gx.load_comparison(path) == found(FIRST)


def test_an_interruption_on_a_full_disk_shows_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(*_: object, on_result: Any, **__: object) -> None:
        on_result(found(FIRST))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", compare)
    full_disk(monkeypatch, "json")
    assert run(tmp_path) == 130
    out, err = capsys.readouterr()
    assert "sgd" in out
    assert "1 of 2 optimizers had finished; their results are in the table, since " in err


def test_the_report_is_made_again_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    found(FIRST).save(path)
    assert command.main(["report", str(path), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "sgd" in out
    assert f"Written: {tmp_path}/out/a.html and {tmp_path}/out/a.png" in out
    assert "This comparison is unfinished: 1 of 2" in (tmp_path / "out" / "a.html").read_text()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.html", "a.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("{", "is cut off"),
        (json.dumps({"format": "other"}), "no comparison"),
    ],
)
def test_a_file_that_cannot_be_reported_is_refused(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    assert command.main(["report", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gradxform report: error: ")
    assert message in line


def test_words_of_the_report_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["report", "a.json", "--put", "b"])
    assert "unknown option `--put`. Did you mean `--out`? Known are: --help, --out." in (
        capsys.readouterr().err
    )
