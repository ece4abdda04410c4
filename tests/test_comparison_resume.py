"""An interrupted comparison goes on where it stopped, or says why it cannot."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from comparisons import line_task, squared_error

import gradxform as gx
from gradxform.comparison import compare as compare_module
from gradxform.comparison.candidate import Candidate
from gradxform.comparison.compare import Progress
from gradxform.comparison.record import ARRAYS
from gradxform.comparison.result import Comparison

SETTINGS: dict[str, Any] = {
    "seeds": 2,
    "steps": 7,
    "batch_size": 6,
    "evaluate_every": 3,
    "measure_milliseconds": False,
}
RATES = {"learning_rate": [0.01, 0.1]}


def weights_only(params: Any) -> Any:
    return {name: name == "w" for name in params}


def candidates(mask: Any = weights_only) -> list[Candidate]:
    decayed = gx.sgd(gx.tunable(0.1))
    return [
        Candidate("adam", gx.adam(gx.tunable(0.1)), RATES),
        Candidate("masked", gx.chain(gx.add_l2_regularization(0.1, mask=mask), decayed), RATES),
        Candidate("theirs", optax.sgd(0.1)),
        Candidate("function", gx.sgd, RATES),
    ]


@pytest.fixture(scope="module")
def whole() -> Comparison:
    return gx.compare(line_task(), candidates(), **SETTINGS)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a comparison that was stopped after three of four candidates."""
    path = tmp_path_factory.mktemp("stopped") / "a.json"

    def keep(comparison: Comparison) -> None:
        comparison.save(path)
        if len(comparison.results) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gx.compare(line_task(), candidates(), on_result=keep, **SETTINGS)
    return path.read_bytes()


@pytest.fixture
def interrupted(stopped: bytes, tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_bytes(stopped)
    return tmp_path / "a.json"


def resumed(path: Path, **changes: Any) -> tuple[Comparison, list[str]]:
    """The comparison that went on, and the names that it trained."""
    seen: list[Progress] = []
    settings = {"task": line_task(), "candidates": candidates(), **SETTINGS, **changes}
    earlier = gx.load_comparison(path)
    found = gx.compare(**settings, resume=earlier, on_progress=seen.append)
    assert {p.done for p in seen} <= set(range(seen[0].total + 1) if seen else ())
    return found, list(dict.fromkeys(p.candidate for p in seen))


def test_the_results_are_those_of_an_uninterrupted_run(
    whole: Comparison, interrupted: Path
) -> None:
    found, trained = resumed(interrupted)
    assert trained == ["function"]
    assert found.complete
    assert found.names == whole.names
    for ours, theirs in zip(found.results, whole.results, strict=True):
        for attribute in ARRAYS.values():
            np.testing.assert_array_equal(getattr(ours, attribute), getattr(theirs, attribute))
        assert ours.candidate == theirs.candidate or ours.name in ("theirs", "masked")
        assert ours.program_hash == theirs.program_hash != ""
    # What came as text is live again.
    assert found["theirs"].candidate.transformation.init({"w": np.zeros(2)}) is not None
    assert found.environment["date"] == gx.load_comparison(interrupted).environment["date"]
    assert len(found.environment["resumed"]) == 1
    found.save(interrupted)
    again, trained = resumed(interrupted)
    assert trained == []
    assert again.names == whole.names


def other_loss(params: Any, batch: Any) -> jax.Array:
    return squared_error(params, batch) * 1.5


def noisy() -> Any:
    task = line_task()
    x, y = task.train
    return line_task(train=(x, y + np.float32(1e-3)))


def everything(params: Any) -> Any:
    return dict.fromkeys(params, True)


def with_rates(*rates: float) -> list[Candidate]:
    adam, *others = candidates()
    return [Candidate("adam", adam.transformation, {"learning_rate": rates}), *others]


def with_adam(tx: Any) -> list[Candidate]:
    return [Candidate("adam", tx, RATES), *candidates()[1:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 8}, "the steps: 7 then, 8 now"),
        ({"seeds": 3}, "the seeds: 0, 1 then, 0, 1, 2 now"),
        ({"batch_size": 5}, "the batch size: 6 then, 5 now"),
        ({"evaluate_every": 2}, "the steps between evaluations: 3 then, 2 now"),
        ({"task": line_task(name="plane")}, "the task: line then, plane now"),
        ({"task": line_task(loss=other_loss)}, "the data, the model, the loss or the metric"),
        ({"task": noisy()}, "the data, the model, the loss or the metric"),
        ({"candidates": candidates()[:3]}, "the candidates: adam, masked, theirs, function then"),
        ({"candidates": with_rates(0.1, 1.0)}, "the grid of `adam`:"),
        (
            {"candidates": with_adam(gx.adam(gx.tunable(0.1), b1=0.8))},
            r"`adam`: adam\(learning_rate=tunable\(0.1\)\) then, adam\(.*b1=0.8\) now",
        ),
        ({"candidates": candidates(mask=everything)}, "`masked`: "),
    ],
)
def test_what_differs_is_named_and_nothing_is_mixed(
    changes: dict[str, Any], message: str, interrupted: Path
) -> None:
    before = interrupted.read_bytes()
    with pytest.raises(ValueError, match=rf"`compare\(resume=...\)`: .*{message}.*start anew"):
        resumed(interrupted, **changes)
    assert interrupted.read_bytes() == before


def test_a_function_that_changed_behind_its_name_is_seen(interrupted: Path) -> None:
    changed = {"candidates": candidates(mask=everything)}
    everything.__qualname__ = weights_only.__qualname__
    everything.__name__ = weights_only.__name__
    with pytest.raises(ValueError, match="`masked` prints as it did and does not compute the same"):
        resumed(interrupted, **changed)


@pytest.mark.parametrize(
    ("part", "name"), [("versions", "jax"), ("machine", "device"), ("machine", "float")]
)
def test_other_versions_and_devices_are_named(
    part: str, name: str, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = compare_module.environment()
    there = {**here, part: {**here[part], name: "other"}}
    monkeypatch.setattr(compare_module, "environment", lambda: there)
    with pytest.raises(ValueError, match=f"{name}: {here[part][name]} then, other now"):
        resumed(interrupted)


def test_another_name_of_the_machine_is_no_difference(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = compare_module.environment()
    there = {**here, "machine": {**here["machine"], "platform": "other", "cpus": 99}}
    monkeypatch.setattr(compare_module, "environment", lambda: there)
    assert resumed(interrupted)[0].complete
