"""A comparison as a value: it prints, is shown, equals another, and comes back from its file."""

import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from comparisons import BEST, NEAR, comparison, result, three

import gradxform as gx
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.environment import environment
from gradxform.comparison.record import ARRAYS
from gradxform.comparison.result import Comparison, Reference


def kernels(params: Any) -> Any:
    return {name: name == "kernel" for name in params}


MASKED = gx.adamw(gx.tunable(0.1), mask=kernels)
LIVE = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(gx.tunable(0.1), b1=0.95))


def odd() -> Comparison:
    """One with every kind of number, optimizer and extra that there is."""
    grid = {"learning_rate": [0.01]}
    broken = {
        "train_loss": np.full((1, 5, 11), math.inf),
        "final_loss": np.float32([[math.nan, math.inf, -math.inf, 1e-45, 0.1]]),
        "milliseconds": 0.125,
        "program_hash": "abc",
    }
    trials = ({"setting": {"learning_rate": 0.3}, "steps": 5, "score": math.nan},)

    def made(name: str, transformation: Any, **changes: Any) -> Any:
        candidate = Candidate(name, transformation, changes.pop("grid", grid))
        ours = result(name, validation=[NEAR], test=[NEAR], **changes)
        return type(ours)(**{**vars(ours), "candidate": candidate})

    return comparison(
        made("live", LIVE, **broken),
        made("function", gx.sgd, trials=trials),
        made("theirs", optax.sgd(0.1), grid={}),
        made("masked", MASKED),
        result("wide", validation=[BEST], test=[BEST], final_loss=np.full((1, 5), 1 / 3)),
        planned=("live", "function", "theirs", "masked", "wide", "never"),
        target=0.95,
        percent=True,
        metric_name="accuracy",
        references=(Reference("other", 0.5, math.nan, "Model()"),),
        details={"data": "a <b>", "odd": math.inf, "sizes": (1, 2)},
        search={"method": "none"},
        environment=environment(),
        task_hash="0123",
    )


def test_what_was_saved_comes_back_equal(tmp_path: Path) -> None:
    c = odd()
    c.save(tmp_path / "a.json")
    again = gx.load_comparison(tmp_path / "a.json")
    assert isinstance(again, Comparison)
    assert again == c
    assert again.names == ("live", "function", "theirs", "masked", "wide")
    assert not again.complete
    for ours, theirs in zip(c.results, again.results, strict=True):
        for attribute in ARRAYS.values():
            array, read = getattr(ours, attribute), getattr(theirs, attribute)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
        assert theirs.settings == ours.settings
        assert theirs.milliseconds == ours.milliseconds
    assert [r.name for r in again.ranking] == [r.name for r in c.ranking]
    assert repr(again) == repr(c)
    assert again["wide"].final_loss.dtype == np.float64
    again.save(tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_recipes_come_back_live_where_they_can(tmp_path: Path) -> None:
    odd().save(tmp_path / "a.json")
    again = gx.load_comparison(tmp_path / "a.json")
    assert again["live"].candidate.transformation == LIVE
    assert again["function"].candidate.transformation is gx.sgd
    for name in ("theirs", "masked"):
        written = again[name].candidate.transformation
        assert isinstance(written, optax.GradientTransformation)
        with pytest.raises(TypeError, match=r"holds only its text.*load_comparison\(path, func"):
            written.init(jnp.zeros(2))
    assert repr(again["masked"].candidate.transformation) == repr(MASKED).split(" at ")[0]
    with_functions = gx.load_comparison(tmp_path / "a.json", functions={"kernels": kernels})
    assert with_functions["masked"].candidate.transformation == MASKED


@pytest.mark.parametrize(
    "changes",
    [{"steps": 11}, {"task": "other"}, {"environment": {"date": ""}}, {"lower_is_better": True}],
)
def test_what_differs_is_not_equal(changes: dict[str, Any]) -> None:
    assert three() == three()
    assert three(**changes) != three()
    assert three() != "by hand"


def test_one_number_makes_a_difference() -> None:
    scores = np.float32([NEAR])
    nudged = np.nextafter(scores, np.float32(1.0))
    same, other = (result("a", validation=[NEAR], test=test) for test in (scores, nudged))
    assert comparison(same) == comparison(result("a", validation=[NEAR], test=scores.copy()))
    assert comparison(same) != comparison(other)


def test_it_prints_as_the_table() -> None:
    text = repr(three())
    assert "by hand: 10 steps of 4 examples, 5 seeds" in text
    rows = [line.split()[0] for line in text.splitlines()[4:7]]
    assert rows == ["best", "near", "worse"]
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert repr(three(planned=("worse", "best", "near", "a"))).endswith("3 of 4 candidates.")
    none = repr(Comparison(**{**vars(three()), "results": (), "planned": ("a", "b")}))
    assert "0 of 2 candidates finished (a, b)" in none


def test_without_its_packages_it_still_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    c = three()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert repr(c).startswith("<Comparison on by hand")
    assert c._repr_html_() is None


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    three().save(tmp_path / "a.json")
    return tmp_path / "a.json"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_refused(saved: Path, share: float) -> None:
    text = saved.read_bytes().rstrip()
    saved.write_bytes(text[: int(share * len(text))])
    with pytest.raises(ValueError, match=r"load_comparison\('.*a\.json'\)`: .*is cut off: .* line"):
        gx.load_comparison(saved)


@pytest.mark.parametrize("foreign", ["{}", "[1]", "3", '{"format": "other", "task": {}}', "\x00"])
def test_a_file_of_another_kind_is_refused(saved: Path, foreign: str) -> None:
    saved.write_text(foreign)
    with pytest.raises(ValueError, match=r"load_comparison\(.*(no comparison|no JSON).*\."):
        gx.load_comparison(saved)


def test_bytes_that_are_no_text_are_refused(saved: Path) -> None:
    saved.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ValueError, match="the file is no JSON"):
        gx.load_comparison(saved)
    with pytest.raises(FileNotFoundError):
        gx.load_comparison(saved.with_name("b.json"))


def test_a_file_of_a_later_format_is_refused(saved: Path) -> None:
    data = json.loads(saved.read_text())
    data["format_version"] = 2
    data["environment"] = {"versions": {"gradxform": "9.9"}}
    saved.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"version 2 of the format.*reads version 1.*version 9\.9"):
        gx.load_comparison(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("planned"), "missing required field `planned`"),
        (lambda d: d["candidates"][0].pop("dtypes"), r"field `dtypes` - at `\$.candidates\[0\]`"),
        (
            lambda d: d["candidates"][1]["test"].pop(),
            r"`\$.candidates\[1\].test` of `best` must have",
        ),
        (lambda d: d["candidates"][1]["test"][0].pop(), "1\\].test` must be of one length"),
        (lambda d: d["training"]["seeds"].append(9), r"must have the shape \(3, 6, 11\)"),
        (lambda d: d["training"]["seeds"].append(0), "`.*seeds` must hold each value once"),
        (lambda d: d["training"].update(steps=10**400), r"`int` <= .* - at `\$.training.steps`"),
        (lambda d: d["candidates"][0].update(test=[["a"]]), r"'a' - at `\$.*\[0\].test\[0\]\[0\]`"),
        (lambda d: d["candidates"][0].update(name=5), r"Expected `str`, got `int` - at `\$.cand"),
        (lambda d: d["candidates"][0].update(trials="x"), r"got `str` - at `\$.*\[0\].trials`"),
        (
            lambda d: d["candidates"][0]["dtypes"].update(test="9" * 999),
            r"Invalid enum.*dtypes.test`",
        ),
        (lambda d: d["candidates"][0]["evaluated_after_steps"].reverse(), "must rise"),
        (lambda d: d["candidates"][0]["grid"].update(a=[1.0, 1.0]), "finite numbers, each once"),
        (lambda d: d["candidates"].reverse(), "in their order, each once"),
        (lambda d: d["task"].update(metric=False), r"got `bool` - at `\$.task.metric`"),
        (lambda d: d["task"].update(details=3), r"got `int` - at `\$.task.details`"),
        (lambda d: d["task"]["examples"].pop("test"), r"field `test` - at `\$.task.examples`"),
        (lambda d: d["task"]["details"].update(a=json.loads("[" * 200 + "]" * 200)), "100 deep"),
        (lambda d: d.update(task=None), "changed"),
    ],
)
def test_a_file_that_was_changed_is_refused(saved: Path, change: Any, message: str) -> None:
    data = json.loads(saved.read_text())
    change(data)
    saved.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        gx.load_comparison(saved)


def test_pictures_are_of_the_kind_that_the_file_is_called(tmp_path: Path) -> None:
    c = three()
    c.save_figure(tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert len(c.plot().axes) == 2
    with pytest.raises(ValueError, match="Format 'what' is not supported"):
        c.save_figure(tmp_path / "a.what")
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]
