"""The folder of the command line: what was there before, what cannot be written, and `report`."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from comparisons import comparison, result, three

import gradxform as gx
from gradxform.comparison import command, files
from gradxform.comparison.result import Comparison
from gradxform.comparison.resume import Differs

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
def test_the_comparison_that_was_there_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "comparison.json"
    three().save(path)
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert f"The comparison that was there before: {tmp_path}/comparison.previous.json" in out
    assert gx.load_comparison(tmp_path / "comparison.previous.json") == three()
    assert gx.load_comparison(path) == found(FIRST, SECOND)


def test_what_is_to_be_resumed_is_read(
    tmp_path: Path, trained: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found(FIRST).save(tmp_path / "comparison.json")
    assert run(tmp_path, "--resume") == 0
    assert trained == [found(FIRST)]
    assert not (tmp_path / "comparison.previous.json").exists()
    assert run(tmp_path / "new", "--resume") == 0
    assert trained[1:] == [None]
    assert "Nothing to resume: no " in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--resume"]])
@pytest.mark.parametrize("content", ["{}", "{", '[1, "a"]'])
def test_a_file_of_another_kind_is_left_as_it_is(
    content: str,
    words: list[str],
    tmp_path: Path,
    trained: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(content)
    refused(tmp_path, *words)
    assert path.read_text() == content
    assert trained == []
    err = capsys.readouterr().err
    assert f"argument --out: {path} is there already and cannot be read as a comparison: " in err
    assert "It is left as it is: move it away, or choose another folder" in err


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
