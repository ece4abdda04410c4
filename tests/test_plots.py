"""Pictures of schedules, read back from the lines that are drawn."""

import importlib.util

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest
from matplotlib import pyplot

import gradxform as gx
from gradxform import select
from gradxform.inspection.curves import curve, evaluator, thinned
from gradxform.inspection.live import live_hyperparams
from gradxform.inspection.schedule_lengths import horizon

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def lines(ax):
    return {line.get_label(): np.array(line.get_data()) for line in ax.lines}


WARMUP = gx.warmup(gx.cosine_decay(1e-3, 900), 100)


def test_a_schedule_is_drawn_through_its_values():
    ax = gx.plot_schedule(WARMUP, steps=1200)
    ((x, y),) = (line.get_data() for line in ax.lines)
    assert (x[0], x[-1]) == (0, 1200)
    np.testing.assert_allclose(y, WARMUP(jnp.asarray(x)), rtol=1e-6)
    assert {99, 100, 101, 1000} <= {*x}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "value")
    assert ax.get_legend() is None
    assert gx.plot_schedule(WARMUP, ax=ax) is ax
    assert len(ax.lines) == 2


@pytest.mark.parametrize("last", [1_000_000, 10_000_000])
def test_a_long_run_is_drawn_by_a_few_points_with_each_corner_where_it_is(last):
    warm, hold = last // 7 + 3, last // 2 + 1
    schedule = gx.join_schedules(
        [gx.linear_schedule(0.0, 1e-3, warm), gx.constant_schedule(1e-3), 1e-5], [warm, hold]
    )
    evaluate = evaluator(schedule)
    x, y = curve(evaluate, last)
    assert {0, warm, hold - 1, hold, last} <= {*x}
    assert len(x) < 4000
    every = np.linspace(0, last, 10_001).astype(int)
    np.testing.assert_allclose(np.interp(every, x, y), evaluate(every), atol=2e-9)


def test_cycles_keep_their_tops_and_bottoms():
    x, y = curve(evaluator(gx.cyclic(1e-4, 1e-3, 250)), 200_000)
    tops, bottoms = (x[np.isclose(y, value, rtol=1e-6)] for value in (1e-3, 1e-4))
    assert {*range(125, 200_000, 250)} <= {*tops}
    assert {*range(0, 200_001, 250)} <= {*bottoms}


def test_small_values_are_right_on_a_logarithmic_axis():
    schedule = gx.exponential_decay(1.0, 10_000, 0.1)
    steps = np.arange(50_001)
    values = evaluator(schedule)(steps)
    kept = thinned(steps, values)
    assert len(kept) < 5000
    drawn = np.exp(np.interp(steps, steps[kept], np.log(values[kept])))
    np.testing.assert_allclose(drawn, values, rtol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "end", "settles"),
    [
        (WARMUP, 1000, True),
        (gx.join_schedules([WARMUP, gx.cosine_decay(1e-4, 500)], [1000]), 1500, True),
        (gx.step_decay(0.1, boundaries=gx.epochs([30, 60, 90], 391)), 90 * 391, True),
        (gx.cyclic(1e-4, 1e-3, 100), 400, False),
        (gx.exponential_decay(1.0, 10, 0.5, end=0.01), 67, True),
        (gx.reduce_on_plateau(gx.linear_schedule(1.0, 0.0, 700)), 700, True),
        (gx.constant_schedule(0.1), 1, True),
        (0.1, 1, True),
        (optax.linear_schedule(1e-3, 0.0, 300), 300, True),
        (lambda step: 1e-3 * 0.99**step, 459, False),  # 0.99^458.2 = 0.01
        (lambda step: 1.01**step, 1000, False),
    ],
)
def test_without_a_number_of_steps_all_of_a_schedule_is_seen(schedule, end, settles):
    assert horizon(schedule, evaluator(schedule)) == (end, settles)


def test_the_axis_goes_on_a_little_where_the_schedule_stays():
    ax = gx.plot_schedule(WARMUP, gx.constant_schedule(1e-3))
    assert all(x[-1] == 1050 for x, _ in lines(ax).values())
    ax = gx.plot_schedule(WARMUP, gx.cyclic(1e-4, 1e-3, 500))
    assert all(x[-1] == 2000 for x, _ in lines(ax).values())


def test_numbers_functions_and_labels():
    def _half(step):
        return 0.5

    ax = gx.plot_schedule(0.25, lambda step: step / 10, _half, gx.tunable(2.0), steps=10)
    found = lines(ax)
    assert [*found] == [
        "0.25",
        "<lambda>",
        "test_numbers_functions_and_labels._half",
        "tunable(2.0)",
    ]
    np.testing.assert_array_equal(found["0.25"][1], 0.25)
    np.testing.assert_allclose(found["<lambda>"][1], np.arange(11) / 10)
    assert len(ax.get_legend().get_texts()) == 4
    assert [*lines(gx.plot_schedule(1, 2, labels=["$a", "_b"]))] == [r"\$a", "b"]


def grouped():
    return gx.partition(
        {
            "embed": (select.path("embed"), gx.adam(gx.cosine_decay(1e-3, 100))),
            "rest": (
                select.all,
                gx.chain(
                    gx.clip_by_global_norm(gx.linear_schedule(1.0, 0.5, 80)),
                    gx.adamw(gx.reduce_on_plateau(1e-2), b1=gx.linear_schedule(0.9, 0.95, 10)),
                ),
            ),
        },
        default=gx.sgd(gx.tunable(0.1)),
    )


def test_of_a_transformation_all_that_is_scheduled_is_drawn_by_name():
    ax = gx.plot_schedule(grouped())
    left, right = ax.figure.axes
    assert left is ax
    found = lines(left)
    assert {*found} == {"embed/learning_rate", "rest/learning_rate", "default/learning_rate"}
    np.testing.assert_allclose(found["embed/learning_rate"][1][[0, -1]], [1e-3, 0.0])
    np.testing.assert_allclose(found["rest/learning_rate"][1], 1e-2)  # before any reduction
    np.testing.assert_allclose(found["default/learning_rate"][1], 0.1)
    assert {*lines(right)} == {"max_norm (right)", "b1 (right)"}
    assert (left.get_ylabel(), right.get_ylabel()) == ("learning rate", "max norm, b1")
    assert len(ax.get_legend().get_texts()) == 5


@pytest.mark.parametrize(
    "tx",
    [
        grouped(),
        gx.chain(gx.sgd(0.1), gx.adam(0.1)),
        gx.named_chain(("one", gx.sgd(0.1)), ("two", gx.adam(0.2))),
        gx.sam(gx.adam(0.1), rho=gx.linear_schedule(0.1, 0.2, 10)),
        gx.sgd(gx.one_cycle(0.1, 10), momentum=gx.one_cycle_momentum(10)),
        gx.ema_params(gx.adamw(gx.tunable(0.1)), decay=gx.tunable(0.9)),
    ],
    ids=lambda tx: tx.recipe.name,
)
def test_the_names_are_those_of_the_state(tx):
    params = {"embed": np.ones(3, np.float32), "w": np.ones((2, 2), np.float32)}
    assert {*live_hyperparams(tx)} == {*gx.hyperparams(jax.eval_shape(tx.init, params))}


def test_several_transformations_are_told_apart():
    a = gx.adam(gx.cosine_decay(1e-3, 10), b1=gx.linear_schedule(0.9, 0.95, 10))
    found = gx.plot_schedule(a, gx.sgd(0.1)).figure.axes
    assert [[*lines(ax)] for ax in found] == [
        ["adam: learning_rate", "sgd"],
        ["adam: b1 (right)"],
    ]
    assert [*lines(gx.plot_schedule(gx.adam(0.1), gx.lion(0.1), labels=["x", "y"]))] == ["x", "y"]
    only = gx.plot_schedule(gx.scale_by_momentum(gx.linear_schedule(0.8, 0.9, 10)))
    assert [only.get_ylabel(), len(only.figure.axes)] == ["momentum", 1]


def test_what_cannot_be_drawn_is_answered_in_a_sentence():
    at_seven = r"`plot_schedule\(\.\.\.\)`: `<lambda>` must be a finite number.* nan at step 7"
    with pytest.raises(ValueError, match=at_seven):
        gx.plot_schedule(lambda step: jnp.where(step == 7, jnp.nan, 0.1), steps=100_000)
    with pytest.raises(ValueError, match="inf at step 3"):
        gx.plot_schedule(0.1, gx.adam(lambda step: jnp.where(step < 3, 0.1, jnp.inf)), steps=10)
    with pytest.raises(ValueError, match=r"a number for a step that is traced.*Tracer"):
        gx.plot_schedule(lambda step: 0.1 if step < 3 else 0.01)
    with pytest.raises(ValueError, match="must return a number for a step"):
        gx.plot_schedule(lambda step: jnp.ones(3))
    with pytest.raises(ValueError, match="at least one schedule"):
        gx.plot_schedule()
    with pytest.raises(ValueError, match=r"no learning rate and no schedule.*pass their"):
        gx.plot_schedule(optax.adam(0.1))
    with pytest.raises(TypeError, match=r"schedules\[1\].*must be a number"):
        gx.plot_schedule(0.1, "fast")
    with pytest.raises(ValueError, match="`labels` must be a list of 1 strings"):
        gx.plot_schedule(0.1, labels="ab")
    with pytest.raises(ValueError, match="`steps` must be a whole number of at least 1; got 0"):
        gx.plot_schedule(0.1, steps=0)
    with pytest.raises(ValueError, match="`steps` must be at most 2147483647"):
        gx.plot_schedule(0.1, steps=2**31)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
    )
    for call in (lambda: gx.plot_schedule(0.1), lambda: gx.plot_run([{"loss": 1.0}])):
        with pytest.raises(ImportError, match=r'pip install "gradxform\[plot\]"'):
            call()
