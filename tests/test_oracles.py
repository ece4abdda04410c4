"""Every row of the catalog against its twin in NumPy float64.

Tolerances, in units of an array's largest element:

  float64   1e-12, some thousand roundings of 1e-16: any other formula, constant or order shows
  float32   1e-5, a few roundings of 6e-8 that cancellation makes larger where a sum is near zero
  bfloat16  2^-8 and a little: one rounding to the nearest of 8 digits at the end, and no other

Operation by operation: compiled, it is the same (`test_laws_types.py`), and slower to test.
"""

import inspect
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG, SCHEDULES, Row
from oracle import SCHEDULE_TWINS, TWINS, Twin, defaults, schedule_twin
from rows import adam_family, adam_successors
from steps import STEPS, distance, inputs, updates_of, widened

import gradxform as gx

# Arguments that no row of the catalog needs for its laws.
FURTHER = (
    *adam_family.FURTHER,
    *adam_successors.FURTHER,
    Row("rmsprop", {"learning_rate": 0.1}, variant="plain"),
    Row("rmsprop", {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True}, variant="nesterov"),
    *(
        Row(name, {"learning_rate": 0.1, "mask": mask}, variant=variant)
        for name in ("adamw", "lion")
        for variant, mask in [
            ("everything", None),
            ("tree", {"kernel": True, "bias": False, "temperature": True}),
        ]
    ),
)


class Precision(NamedTuple):
    x64: bool
    grads: str
    params: str
    tolerance: float
    steps: int = STEPS


# Where only the rounding differs, the first steps show it: all leaves have gradients from the
# fourth on, and clipping has set in and let go.
PRECISIONS = {
    "float64": Precision(True, "float64", "float64", 1e-12),
    "float32": Precision(False, "float32", "float32", 1e-5),
    "bfloat16": Precision(False, "bfloat16", "bfloat16", 2**-8 + 1e-5, steps=4),
    "bfloat16-gradients-under-x64": Precision(True, "bfloat16", "float32", 1e-5, steps=4),
    "complex128": Precision(True, "complex128", "complex128", 1e-12),
}
EXACT = PRECISIONS["float64"]


def error_of(row, changes, twins_changes, precision=EXACT, between=None):
    """How far the steps of a row, with other arguments, are from its twin."""
    grads, params = (x[: precision.steps] for x in inputs(precision.grads, precision.params))
    with jax.enable_x64(precision.x64):
        tx = row.build(**changes)
        updates = updates_of(tx, grads, params, between, jit=False, **row.extra)
    twin = Twin(row.name, *row.positional, **{**row.arguments, **twins_changes})
    steps = zip(widened(grads), widened(params), strict=True)
    return distance(updates, [twin(g, w, **row.extra) for g, w in steps])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("row", CATALOG, ids=str)
def test_step_by_step(row, precision):
    if precision == "complex128" and not row.complex:
        pytest.skip("complex parameters have no meaning here")
    if precision == "bfloat16" and row.wide_updates:
        pytest.skip("its updates lead to parameters in bfloat16, and are not rounded themselves")
    precision = PRECISIONS[precision]
    assert error_of(row, {}, {}, precision) <= precision.tolerance


@pytest.mark.parametrize("row", FURTHER, ids=str)
def test_step_by_step_with_further_arguments(row):
    assert error_of(row, {}, {}) <= 1e-12


# Hyperparameters that change from step to step


def scalars_of(row):
    """The arguments of a row that may be schedules or tunables."""
    parameters = inspect.signature(row.factory).parameters
    return {
        name: value
        for name, value in row.arguments.items()
        if "Schedule" in str(parameters[name].annotation)
    }


CHANGING = EXACT._replace(steps=7)  # some before a change and some after it
WITH_SCALARS = [row for row in CATALOG if scalars_of(row)]


def falling(value):
    """A schedule in full precision, for JAX's steps and for Python's."""
    return lambda t: value * (1.0 - 0.05 * (float(t) if isinstance(t, int) else t.astype(float)))


@pytest.mark.parametrize("row", WITH_SCALARS, ids=str)
def test_every_hyperparameter_as_a_schedule(row):
    schedules = {name: falling(value) for name, value in scalars_of(row).items()}
    assert error_of(row, schedules, schedules, CHANGING) <= 1e-12


@pytest.mark.parametrize("row", WITH_SCALARS, ids=str)
def test_every_hyperparameter_as_a_tunable_that_changes_once(row):
    before = scalars_of(row)
    after = {name: 0.9 * value for name, value in before.items()}
    tunables = {name: gx.tunable(value) for name, value in before.items()}

    def between(t, state):
        return gx.set_hyperparams(state, **after) if t == 4 else state

    def until_4(name):
        return lambda t: before[name] if t < 4 else after[name]

    changes = {name: until_4(name) for name in before}
    assert error_of(row, tunables, changes, CHANGING, between) <= 1e-12


# Schedules

TICKS = [*range(130), 10**4, 10**6, 2**31 - 1]


def values(schedule):
    """What a schedule gives, which is the same for one step at a time and under `jit`."""
    together = schedule(jnp.asarray(TICKS, jnp.int32))
    compiled = jax.jit(schedule)(jnp.asarray(TICKS, jnp.int32))
    np.testing.assert_allclose(compiled, together, rtol=1e-5, atol=1e-7)
    for i in (0, 10, 60):
        np.testing.assert_allclose(schedule(TICKS[i]), together[i], rtol=1e-6)
    return np.asarray(compiled, np.float64)


@pytest.mark.parametrize("row", SCHEDULES, ids=str)
def test_a_schedule_in_float32(row):
    twin = np.array([schedule_twin(row.name, **row.arguments)(t) for t in TICKS])
    actual = values(row.build())
    # Relative to each value; to the largest one where a value is the small rest of a sum.
    np.testing.assert_allclose(actual, twin, rtol=3e-6, atol=1e-7 * twin.max())


@pytest.mark.parametrize("row", SCHEDULES, ids=str)
def test_a_schedule_in_float64(row):
    twin = np.array([schedule_twin(row.name, **row.arguments)(t) for t in TICKS])
    with jax.enable_x64(True):
        actual = values(row.build())
    np.testing.assert_allclose(actual, twin, rtol=1e-12, atol=1e-14 * twin.max())


def to_zero(steps):
    """Schedules that are zero from some step on, by name."""
    line = gx.linear_schedule(0.1, 0.0, steps)
    return {
        "linear_schedule": line,
        "cosine_decay": gx.cosine_decay(0.1, steps),
        "warmup": gx.warmup(line, 5),
        "join_schedules": gx.join_schedules([0.1, line], [5]),
    }


@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize("name", ["cosine_decay", "linear_schedule", "warmup", "join_schedules"])
def test_a_schedule_to_zero_ends_there_and_never_below(name, jit):
    for steps in (1, 3, 7, 10, 97, 1000):
        schedule = to_zero(steps)[name]
        ticks = jnp.asarray([steps + 5, steps + 6, steps + 10**6], jnp.int32)
        ends = np.asarray((jax.jit(schedule) if jit else schedule)(ticks))
        assert np.all(ends >= 0), steps
        assert np.all(ends <= 1e-15), steps


# The twins themselves


def test_everything_has_a_twin():
    assert {row.name for row in CATALOG} - TWINS.keys() == set()
    assert {row.name for row in SCHEDULES} - SCHEDULE_TWINS.keys() == set()


@pytest.mark.parametrize("name", [*TWINS, *SCHEDULE_TWINS])
def test_defaults_are_the_twins(name):
    """What the twin has no word for (a unit of time, a storage dtype) is off by default."""
    theirs = defaults({**TWINS, **SCHEDULE_TWINS}[name])
    for argument, parameter in inspect.signature(getattr(gx, name)).parameters.items():
        if parameter.default is not parameter.empty:
            assert parameter.default == theirs.pop(argument, None), argument
    assert not theirs


def test_every_row_is_away_from_its_defaults():
    """Each hyperparameter of each factory is given another value than its default in some row."""
    for name in {row.name for row in CATALOG}:
        rows = [row for row in (*CATALOG, *FURTHER) if row.name == name]
        for argument, default in defaults(TWINS[name]).items():
            given = [row.arguments.get(argument, default) for row in rows]
            assert any(value is not default and value != default for value in given), (
                f"{name}({argument}=...)"
            )


def test_the_data_reach_both_sides_of_every_decision():
    grads, _ = inputs()
    norms = [np.sqrt(sum(np.sum(x**2) for x in g.values())) for g in grads]
    assert len(grads) == STEPS
    assert min(norms) < 0.7 < max(norms)
    for g in grads:
        assert g["bias"][0] == 0
    means = []  # the number whose sign Lion takes must not be within rounding of zero
    for key in ("kernel", "temperature"):
        m = 0.0
        for g in grads:
            means.append(np.min(abs(0.85 * m + 0.15 * g[key])))
            m = 0.95 * m + 0.05 * g[key]
    assert min(means) > 1e-4 * 0.15 * 0.01
