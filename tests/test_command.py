"""The command line: what it leaves, and what it answers to bad input."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparisons import comparison, result

import gradxform as gx
from gradxform.comparison import command
from gradxform.comparison.record import ARRAYS

TINY = ["--seeds", "2", "--steps", "20", "--batch-size", "32", "--learning-rates", "0.01,0.1", "1"]


# Programs that a test beside this one is writing are compiled here, too; see `conftest.py`.
WARNINGS = ["-W", "error", "-W", "ignore:Error reading persistent compilation cache"]


def started(*code: str, **settings: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *WARNINGS, *code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def assert_progress(err: str) -> None:
    """Lines that say how far it is, where there is no terminal for a bar."""
    lines = err.splitlines()
    assert all(re.fullmatch(r" *\d+ %  .+", line) for line in lines), err
    assert 2 < len(lines) < 30
    assert lines[-1].startswith("100 %")


def test_a_whole_run_leaves_a_table_a_picture_and_a_json(tmp_path: Path) -> None:
    words = ["compare", *TINY, "--optimizers", "Adam,", "SGD", "--out", "new/folder"]
    process = started("-m", "gradxform", *words, cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert_progress(err)
    rows = [line.split()[0] for line in out.splitlines() if line.split()]
    for name in ("sgd", "adam", "logistic", "nearest"):
        assert name in rows
    assert "digits: 20 steps of 32 examples, 2 seeds" in out
    paths = [f"new/folder/comparison.{kind}" for kind in ("html", "png", "json")]
    assert f"Written: {paths[0]}, {paths[1]} and {paths[2]}" in out
    folder = tmp_path / "new" / "folder"
    assert sorted(str(p.relative_to(tmp_path)) for p in folder.iterdir()) == sorted(paths)
    assert gx.load_comparison(folder / "comparison.json").complete
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((folder / "comparison.json").read_text())
    assert found["complete"] is True
    assert [c["name"] for c in found["candidates"]] == ["sgd", "adam"]
    assert found["candidates"][1]["recipe"] == "adam(learning_rate=tunable(0.001))"
    assert found["candidates"][0]["grid"] == {"learning_rate": [0.01, 0.1, 1.0]}
    assert found["training"]["batch_size"] == 32
    assert [r["name"] for r in found["references"]] == ["logistic regression", "nearest neighbours"]


# A signal to itself when the first optimizer has finished, as a scheduler sends it.
INTERRUPTED = """
import os, signal, sys
from gradxform.comparison import command
whole = command.compare

def interrupted(*args, on_result, **kwargs):
    def keep_and_stop(comparison):
        on_result(comparison)
        os.kill(os.getpid(), signal.SIGTERM)
    return whole(*args, on_result=keep_and_stop, **kwargs)

command.compare = interrupted
sys.exit(command.main(sys.argv[1:]))
"""


def test_a_terminated_run_leaves_what_had_finished_and_the_way_on(tmp_path: Path) -> None:
    few = ["--optimizers", "sgd,adam", "--seeds", "2", "--learning-rates", "0.01", "--steps", "20"]
    process = started("-c", INTERRUPTED, "compare", *few, "--out", str(tmp_path))
    path = tmp_path / "comparison.json"
    out, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert out == ""
    *_, line, again = err.splitlines()
    found = json.loads(path.read_text())
    assert found["complete"] is False
    assert [candidate["name"] for candidate in found["candidates"]] == ["sgd"]
    assert line == (
        f"Terminated: 1 of 2 optimizers had finished; their results are in {path}. Go on with:"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["comparison.json"]

    program, *words = shlex.split(again)
    assert program == "gradxform"
    out, err = started("-m", program, *words).communicate(timeout=300)
    assert_progress(err)
    assert "Written: " in out
    whole = tmp_path / "whole"
    words = ["-m", "gradxform", "compare", *few, "--out", str(whole)]
    with started(*words) as process:
        assert process.stdout is not None
        process.stdout.close()  # as `| head` does
        assert process.stderr is not None
        assert_progress(process.stderr.read())
    assert process.returncode == 0
    assert {p.suffix for p in whole.iterdir()} == {".html", ".png", ".json"}
    ours, theirs = gx.load_comparison(path), gx.load_comparison(whole / "comparison.json")
    assert ours.names == theirs.names == ("sgd", "adam")
    for one, other in zip(ours.results, theirs.results, strict=True):
        for name in ARRAYS.values():
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_results_of_a_new_run_do_not_stand_beside_an_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "comparison.png").write_text("old")

    def interrupted(*_: object, on_result: Any, **__: object) -> None:
        first = result("sgd", validation=[[0.9, 0.8]], test=[[0.9, 0.8]])
        on_result(comparison(first, planned=("sgd", "adam")))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", interrupted)
    assert command.main(["compare", "--out", str(tmp_path)]) == 130
    err = capsys.readouterr().err
    assert f"1 of 2 optimizers had finished; their results are in {tmp_path}/comparison-2" in err
    assert err.splitlines()[-1] == f"  gradxform compare --out {tmp_path} --resume"
    assert {p.name for p in tmp_path.iterdir()} == {"comparison.png", "comparison-2.json"}
    assert (tmp_path / "comparison.png").read_text() == "old"


def test_an_interruption_before_anything_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "compare", interrupted)
    (tmp_path / "comparison.png").write_text("old")
    assert command.main(["compare", "--out", str(tmp_path)]) == 130
    assert "no optimizer had finished; nothing is written." in capsys.readouterr().err
    assert (tmp_path / "comparison.png").read_text() == "old"


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad input is refused before any training."""

    def compare(*_: object, **__: object) -> None:
        raise AssertionError("the training has started")

    monkeypatch.setattr(command, "compare", compare)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizers", "adamx"], "unknown optimizer `adamx`. Did you mean `adam"),
        (
            ["--optimizers", "sgd,what"],
            "unknown optimizer `what`. Known are: adabelief, adadelta, ",
        ),
        (["--optimizers", ","], "argument --optimizers: no name. Known are: adabelief, adadelta, "),
        (["--optimizers"], "argument --optimizers: expected at least one argument"),
        (
            ["--seed", "3"],
            "unknown option `--seed`. Did you mean `--seeds`? Known are: --batch-size, --budget, "
            "--help, --learning-rates, --optimizers, --out, --resume, --seeds, --steps, --task, "
            "--tune.",
        ),
        (["--quick=yes"], "unknown option `--quick`. Known are: --batch-size"),
        (["--seeds", "0"], "argument --seeds: must be a whole number of at least 1; got '0'"),
        (["--steps", "-5"], "argument --steps: must be a whole number of at least 1; got '-5'"),
        (["--steps", "many"], "argument --steps: must be a whole number of at least 1"),
        (["--steps", "1.5"], "argument --steps: must be a whole number of at least 1"),
        (["--seeds", "nan"], "argument --seeds: must be a whole number of at least 1"),
        (["--batch-size", "inf"], "argument --batch-size: must be a whole number of at least 1"),
        (["--batch-size", "1078"], "must be at most 1077, the number of training examples"),
        (["--learning-rates", "0.1,-0.1"], "must be numbers above 0, such as 0.01 or 1e-3; got '-"),
        (["--learning-rates", "0"], "argument --learning-rates: must be numbers above 0"),
        (["--learning-rates", "nan"], "argument --learning-rates: must be numbers above 0"),
        (["--learning-rates", "1e999"], "argument --learning-rates: must be numbers above 0"),
        (["--learning-rates", "fast"], "argument --learning-rates: must be numbers above 0"),
        (["--tune", "halve"], "unknown method `halve`. Did you mean `halving`? Known are: "),
        (["--budget", "3"], "argument --budget: has an effect only with --tune"),
        (["--resume"], "argument --resume: nothing to resume: no run has kept anything in gradx"),
        (["--budget", "0"], "argument --budget: must be a whole number of at least 1; got '0'"),
        (["--task", "txt"], "unknown task `txt`. Did you mean `text`? Known are: digits, rnn, spa"),
        (["--learning-rates", ","], "argument --learning-rates: no number"),
    ],
)
def test_bad_words_end_with_code_2_and_say_why(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        command.main(["compare", *words])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert "--learning-rates RATE" in err  # the usage
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_a_folder_that_cannot_be_written_is_refused(
    below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        command.main(["compare", "--out", str(tmp_path / below)])
    assert stopped.value.code == 2
    assert f"argument --out: cannot write to {tmp_path / below}: " in capsys.readouterr().err


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("package", ["sklearn", "scipy", "rich", "matplotlib", "jinja2", "msgspec"])
def test_without_the_extra_the_command_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert command.main(["compare"]) == 2
    err = capsys.readouterr().err
    assert f"{package} cannot be imported" in err
    assert 'pip install "gradxform[compare]"' in err


def test_without_a_command_the_known_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main([])
    assert stopped.value.code == 2
    assert "{show,report,compare}" in capsys.readouterr().err


def test_importing_the_library_leaves_the_extra_alone() -> None:
    code = (
        "import sys, gradxform, gradxform.comparison.command\n"
        "extra = ('sklearn', 'scipy', 'rich', 'matplotlib', 'jinja2', 'msgspec')\n"
        "print([m for m in extra if m in sys.modules])"
    )
    out, err = started("-c", code).communicate(timeout=100)
    assert (out.strip(), err) == ("[]", "")
