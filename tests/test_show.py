"""`gradxform show`: what it prints, and what it answers to bad files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
import yaml

import gradxform as gx
from gradxform.comparison import command
from gradxform.inspection.show import schedule_table

TX = gx.chain(
    gx.clip_by_global_norm(1.0),
    gx.adamw(gx.warmup(gx.cosine_decay(1e-3, 900), 100), mask=gx.select.decayed),
)
SHAPES = {"layer/kernel": [8, 4], "layer": {"bias": "bfloat16[4]"}, "scale": []}


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(gx.to_config(TX)))
    return str(path)


@pytest.fixture
def shapes(tmp_path: Path) -> str:
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(SHAPES))
    return str(path)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command.main(["show", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_call_and_its_schedules(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, config)
    call, table = out.split("\n\n")
    assert call == repr(TX)
    assert [re.split(" {2,}", line) for line in table.splitlines()] == [
        ["schedule", "start", "peak", "end"],
        ["learning_rate", "0 at 0", "0.001 at 100", "0 at 1,000"],
    ]
    assert "0 at 0  0.001 at 100  0.0005885 at 499" in shown(capsys, config, "--steps", "500")


def test_with_shapes_who_gets_what_and_what_is_wrong(
    config: str, shapes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [config, "--params", shapes, "--steps", "1000", "--model", "transformer"]
    out = shown(capsys, *words)
    _, _, table, found = out.split("\n\n")[:4]
    assert "layer/bias    bfloat16[4]" in table
    assert "layer/kernel  float32[8, 4]" in table
    assert "37 parameters in 3 arrays" in table
    assert "nothing found by" in found
    out = shown(capsys, *words, "--memory-budget", "10", "--batch-size", "8", "--examples", "80")
    assert "error: state over memory budget" in out
    assert "schedule ends after run" in shown(capsys, config, "--params", shapes, "--steps", "500")


def test_yaml_says_the_same(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(gx.to_config(TX)))
    assert shown(capsys, str(path)) == shown(capsys, config)
    for text, message in (
        ("a: [", "is not YAML: while parsing"),
        ("[" * 3000, "is nested too deeply"),
        ("a: &a {b: *a}", "at `a/b`: the data contains itself"),
        (f"a: {'9' * 6000}", "is not YAML: Exceeds the limit"),
        ("a: 2020-13-45", "is not YAML: month must be"),
    ):
        path.write_text(text)
        assert command.main(["show", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"gradxform show: error: {path}")
        assert message in line
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert command.main(["show", str(path)]) == 2
    assert 'pip install "gradxform[yaml]"' in capsys.readouterr().err


def test_rates_in_yaml_are_written_as_people_write_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PyYAML reads `1e-3` as text. A byte order mark comes from editors."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "version: 1\ntransformation: {chain(): [{sgd(): [1e-3]}, {adam(): {learning_rate: "
        "{piecewise_constant(): {values: [1e-3, 1E-4], boundaries: [1e2]}}}}, "
        "{sgd(): {learning_rate: {tunable(): {value: 2e-3}}}}, "
        "{masked(): [{sgd(): [1.]}, {select.path(): [1e-3]}]}]}",
        encoding="utf-8-sig",
    )
    values = "piecewise_constant(values=(0.001, 0.0001), boundaries=(100,))"
    out = shown(capsys, str(path))
    for part in ("sgd(learning_rate=0.001)", values, "tunable(0.002)", "select.path('1e-3')"):
        assert part in out


def test_the_example_of_the_help_works_when_it_is_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(["show", "--help"])
    script = capsys.readouterr().out.partition("cat > ")[1:]
    text = "".join(script).replace("gradxform show", f"{sys.executable} -m gradxform show")
    ran = subprocess.run(
        ["bash", "-ec", text], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stderr
    assert "layer_0/kernel  float32[512, 512]" in ran.stdout


def test_the_schedules_are_drawn(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "schedule.png"
    assert f"Written: {picture}" in shown(capsys, config, "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert command.main(["show", config, "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "x.png cannot be written: " in capsys.readouterr().err
    assert command.main(["show", config, "--plot", str(tmp_path / "x.what")]) == 2
    assert "x.what cannot be written: " in capsys.readouterr().err


def test_a_closed_pipe_ends_it_quietly(config: str, shapes: str) -> None:
    words = [sys.executable, "-m", "gradxform", "show", config, "--params", shapes]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_nothing_to_draw_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(gx.to_config(gx.sgd(0.1))))
    out = shown(capsys, str(path), "--plot", str(tmp_path / "x.png"))
    assert out.startswith("sgd(learning_rate=0.1)\n\nNo schedule to draw: ")
    assert not (tmp_path / "x.png").exists()


def test_every_hyperparameter_that_changes_has_a_row() -> None:
    tx = gx.partition(
        {
            "a": (gx.select.ndim(1), gx.sgd(gx.one_cycle(1.0, 50), gx.one_cycle_momentum(50))),
            "b": (gx.select.ndim(2), gx.adam(gx.reduce_on_plateau(0.1), b1=gx.tunable(0.9))),
        }
    )
    names = [line.split()[0] for line in schedule_table(tx, steps=50).splitlines()]
    assert sorted(names) == ["a/learning_rate", "b/learning_rate", "momentum", "schedule"]
    assert schedule_table(gx.adam(gx.tunable(0.1))) == ""
    assert "1 at 0" in schedule_table(gx.sgd(lambda step: jnp.exp(-step / 100)))


CASES = {
    "nothing": ("", "is not JSON: Expecting value in line 1, column 1"),
    "words": ("hello", "is not JSON"),
    "a list": ("[1]", "a configuration is a dict with `version` and `transformation`; got [1]."),
    "a future version": ('{"version": 99, "transformation": {}}', "reads version 1"),
    "an unknown name": (
        '{"version": 1, "transformation": {"chain()": [{"adamm()": {"learning_rate": 1}}]}}',
        "at `transformation/chain()/0/adamm()`: no `adamm`. Did you mean `adam`?",
    ),
    "a bad number": (
        '{"version": 1, "transformation": {"sgd()": {"learning_rate": -1}}}',
        "at `transformation/sgd()`: `sgd(learning_rate=-1)`: `learning_rate` must be at least 0",
    ),
    "too deep": ("[" * 100_000, "is nested too deeply"),
    "deep": (
        '{"version": 1, "transformation": ' + "[" * 200 + "]" * 200 + "}",
        "more than 100 deep",
    ),
    "a long number": ("9" * 6000, "is not JSON: Exceeds the limit"),
    "control codes": ('{"version": 1, "transformation": {"\\u001b[2J()": {}}}', r"no `\x1b[2J`"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_configurations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = CASES[name]
    path = tmp_path / "c.json"
    path.write_text(text)
    assert command.main(["show", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gradxform show: error: {path}")
    assert message in err
    assert len(err.splitlines()) == 1


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, message in (
        (tmp_path / "none", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "binary", "is no text file"),
    ):
        assert command.main(["show", str(path)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the shapes of the parameters are a JSON object"),
        ("{}", "the shapes of the parameters are a JSON object"),
        ('{"a": "x"}', "at `a`: a shape is a list of whole numbers, or text such as"),
        ('{"a": {"b": [1.5]}}', "at `a/b`: a shape is"),
        ('{"a": [-1]}', "at `a`: a shape is a list"),
        ('{"a": "float31[3]"}', "at `a`: a shape is a list of whole"),
        ('{"a": null}', "at `a`: a shape"),
        ('{"a": [1], "a/b": [2]}', "at `a/b`: `a` is a parameter and holds others"),
        ('{"a/b": [1], "a": {"b": [2]}}', "at `a/b`: it is there already"),
    ],
    ids=range(9),
)
def test_bad_shapes(
    text: str, message: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    assert command.main(["show", config, "--params", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: CONFIG"),
        (["c", "--stesp", "3"], "unknown option `--stesp`. Did you mean `--steps`? Known are: --b"),
        (["c", "--steps", "0"], "argument --steps: must be a whole number of at least 1; got '0'"),
        (["c", "--examples", "x"], "argument --examples: must be a whole number"),
        (["c", "--examples", "8"], "argument --examples: has an effect only with --params"),
        (["c", "--model", "llm"], "argument --model: invalid choice: 'llm'"),
    ],
)
def test_bad_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["show", *words])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert "gradxform show" in err
