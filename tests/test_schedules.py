"""What holds for every schedule of the catalog, and what each refuses."""

import functools
import json
import pickle
from fractions import Fraction
from itertools import accumulate, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import PUBLIC, SCHEDULES

import gradxform as gx

LAST = 2**31 - 1
TICKS = (*range(130), 10**4, 10**6, 2**24 + 1, LAST - 1, LAST)
LENGTHS = ("steps", "every", "boundaries", "warmup_steps", "decay_steps")
every_schedule = pytest.mark.parametrize("row", SCHEDULES, ids=str)


@functools.cache
def values(schedule, ticks=TICKS):
    return np.asarray(jax.jit(schedule)(jnp.asarray(ticks, jnp.int32)), np.float64)


# As data


@every_schedule
def test_it_prints_as_its_call_and_equals_what_that_builds(row):
    one, other = row.build(), row.build()
    assert one == other
    assert hash(one) == hash(other)
    assert eval(repr(one), PUBLIC) == one
    assert pickle.loads(pickle.dumps(one)) == one
    first = next(iter(row.arguments))
    if isinstance(row.arguments[first], float):
        assert row.build(**{first: 0.123}) != one


# As functions of the step


@every_schedule
@pytest.mark.usefixtures("strict_dtypes")
@pytest.mark.parametrize("x64", [False, True], ids=["x32", "x64"])
def test_it_takes_steps_of_every_type(row, x64):
    kinds = ("int32", "uint16", "int64") if x64 else ("int32", "int8", "uint32")
    with jax.enable_x64(x64):
        schedule, dtype = row.build(), jnp.result_type(float)

        @jax.jit
        def found():
            ticks = {kind: jnp.asarray([0, 5, 100, jnp.iinfo(kind).max], kind) for kind in kinds}
            numbers = [0, 2**40, -5, jnp.int16(5)]
            return jax.tree.map(schedule, ticks), [schedule(t) for t in numbers]

        of_kinds, of_numbers = found()
        assert schedule(jnp.zeros((2, 0), jnp.int32)).shape == (2, 0)
    first, _, before, fifth = of_numbers
    for value in of_numbers:
        assert (value.shape, value.dtype, value.weak_type) == ((), dtype, False)
        assert np.isfinite(value)
    assert before == first
    np.testing.assert_allclose(fifth, of_kinds["int32"][1], rtol=1e-6)
    for value in of_kinds.values():
        assert (value.shape, value.dtype) == ((4,), dtype)
        assert np.all(np.isfinite(value))
        np.testing.assert_allclose(value[:3], of_kinds["int32"][:3], rtol=1e-6)


@every_schedule
def test_it_is_finite_and_never_negative_at_every_step(row):
    found = values(row.build())
    assert np.all(np.isfinite(found))
    assert np.all(found >= 0)


@every_schedule
def test_it_is_the_same_for_a_grid_and_in_vmap_and_scan(row):
    schedule = row.build()

    @jax.jit
    def found():
        ticks = jnp.arange(100)
        _, scanned = jax.lax.scan(lambda t, _: (t + 1, schedule(t)), jnp.int32(0), length=100)
        return schedule(ticks.reshape(4, 25)).ravel(), jax.vmap(schedule)(ticks), scanned

    for other in found():
        np.testing.assert_allclose(other, values(schedule)[:100], rtol=1e-5, atol=1e-8)


@every_schedule
def test_it_jumps_only_where_it_says(row):
    """A hundred times as slow, the steps are small everywhere else."""
    found = values(slowed(row.build()), tuple(range(13_000)))
    changes = abs(np.diff(found)) / max(found)
    jumps = [100 * t - 1 for t in row.jumps if t < 130]
    assert max(np.delete(changes, jumps)) < 0.11
    assert all(changes[t] > 5 * np.median(changes) for t in jumps)


def slowed(value):
    """A schedule, and those inside of it, with lengths a hundred times as long."""
    if isinstance(value, tuple):
        return tuple(map(slowed, value))
    if not hasattr(value, "recipe"):
        return value
    arguments = {name: slowed(x) for name, x in value.recipe.arguments.items()}
    lengths = {name: arguments[name] for name in {*LENGTHS} & {*arguments}}
    return value.recipe.factory(**arguments | jax.tree.map(lambda n: 100 * n, lengths))


@pytest.mark.parametrize("row", [row for row in SCHEDULES if row.end is not None], ids=str)
def test_it_is_constant_from_its_end_on(row):
    """To the last bit; and it is not constant before."""
    found = values(row.build())
    assert len(set(found[row.end :])) == 1
    assert not row.end or found[row.end - 1] != found[row.end]


@pytest.mark.parametrize("steps", [7, 10, 97, 194, 1000])
def test_the_end_is_the_number_that_was_given(steps):
    """And the start too, compiled: XLA's steps / steps may be 1 - 6e-8."""
    half = steps // 2
    schedules = {
        "linear": gx.linear_schedule(0.3, 0.1, steps),
        "cosine": gx.cosine_decay(0.3, steps, end=0.1),
        "polynomial": gx.polynomial_decay(0.3, steps, 2.5, end=0.1),
        "interpolated": gx.piecewise_interpolate((0.3, 0.7, 0.1), (half, steps)),
        "interpolated, cosine": gx.piecewise_interpolate((0.3, 0.7, 0.1), (half, steps), "cosine"),
        "warmup": gx.warmup(0.1, steps, start=0.3),
        "exponential warmup": gx.warmup(0.1, steps, start=0.3, shape="exponential"),
        "trapezoid": gx.warmup_stable_decay(0.7, steps, half, 1, start=0.3, end=0.1),
        "trapezoid, sqrt": gx.warmup_stable_decay(0.3, steps, 0, half, end=0.1, shape="sqrt"),
        "cycle": gx.one_cycle(0.7, steps, start=0.3, end=0.1),
    }

    @jax.jit
    def compiled(ticks):  # an argument: a constant would be divided before XLA compiles
        return {name: schedule(ticks) for name, schedule in schedules.items()}

    for name, found in compiled(jnp.array([0, steps])).items():
        np.testing.assert_array_equal(found, np.float32([0.3, 0.1]), err_msg=name)


@every_schedule
def test_what_has_no_end_goes_on(row):
    found = values(row.build())
    ticks = np.array(TICKS)
    assert (row.end is None) == (len(set(found[(ticks >= 100) & (ticks <= 10**4)])) > 1)


@every_schedule
def test_its_numbers_may_be_traced(row):
    """Batched by `vmap`, differentiated, and under x64 with float32 numbers."""
    numbers = {
        name: value
        for name, value in row.arguments.items()
        if isinstance(value, float) and name not in ("rise", "multiplier")
    }

    def built(numbers):
        return row.build(**numbers)(jnp.asarray(TICKS, jnp.int32))

    @jax.jit
    def found(numbers):
        batch = jax.tree.map(lambda x: jnp.stack([x, x]), numbers)
        return jax.vmap(built)(batch), jax.jacfwd(built)(numbers)

    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
    if not arrays:
        pytest.skip("its numbers are in sequences or in other schedules")
    together, slopes = found(arrays)
    for member in together:
        np.testing.assert_allclose(member, values(row.build()), rtol=2e-5, atol=1e-7)
    for name, slope in slopes.items():
        assert np.all(np.isfinite(slope)), name
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        assert jax.eval_shape(built, arrays).dtype == np.float64


# Lengths


def with_lengths(row):
    """The arguments of a row that are lengths."""
    return {name: value for name, value in row.arguments.items() if name in LENGTHS}


@pytest.mark.parametrize("row", [row for row in SCHEDULES if with_lengths(row)], ids=str)
@pytest.mark.parametrize("size", [10, 200])
def test_lengths_in_any_unit(row, size):
    unit = gx.epochs if size == 10 else gx.fraction
    other = row.build(**jax.tree.map(lambda x: unit(x / size, size), with_lengths(row)))
    assert other != row.build()
    assert eval(repr(other), PUBLIC) == other == pickle.loads(pickle.dumps(other))
    assert hash(other) == hash(pickle.loads(pickle.dumps(other)))
    tx = gx.sgd(other)
    assert gx.from_config(json.loads(json.dumps(gx.to_config(tx)))) == tx
    np.testing.assert_array_equal(values(other), values(row.build()))


# Two numbers of parts: what they begin with and what is left of the run.
SPLITS = [(1 / 10, 9 / 10), (0.5, 0.5), (0.01, 0.99), (1 / 3, 2 / 3)]


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_the_parts_of_a_run_add_up(split):
    """For every number of steps in which both parts are there."""
    first, last = split
    for total in range(2, 2001):
        parts = gx.fraction(first, total), gx.fraction(last, total)
        trapezoid = gx.warmup_stable_decay(1.0, total, *parts).in_steps
        assert trapezoid["warmup_steps"] + trapezoid["decay_steps"] == total
        assert min(trapezoid["warmup_steps"], trapezoid["decay_steps"]) >= 1
        if total % 7 and total > 50:  # the same by other ways, which cost more
            continue
        inside = gx.warmup(gx.cosine_decay(1.0, parts[1]), parts[0]).in_steps
        assert inside["steps"] + inside["schedule"].in_steps["steps"] == total
        joined = gx.join_schedules([1.0, gx.cosine_decay(1.0, parts[1])], [parts[0]]).in_steps
        assert joined["boundaries"] == (inside["steps"],)
        assert joined["schedules"][1].in_steps["steps"] == inside["schedule"].in_steps["steps"]


def test_many_parts_of_a_run_add_up():
    """One behind the other, and joined; each of a step at least."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        denominator = int(rng.choice([7, 12, 97, 1000]))
        few = rng.choice(np.arange(1, denominator), rng.integers(1, 5), replace=False)
        cuts = [0, *sorted(int(cut) for cut in few), denominator]
        parts = [b - a for a, b in pairwise(cuts)]
        total = int(rng.integers(-(-denominator // min(parts)), 10_000))
        lengths = gx.fraction([part / denominator for part in parts], of=total)
        behind = gx.cosine_decay(1.0, lengths[-1])
        for length in reversed(lengths[:-1]):
            behind = gx.warmup(behind, length)
        taken = []
        while behind is not None:
            taken.append(behind.in_steps["steps"])
            behind = behind.in_steps.get("schedule")
        assert sum(taken) == total
        lines = [gx.linear_schedule(0.0, 1.0, length) for length in lengths]
        limits = gx.fraction([cut / denominator for cut in cuts[1:-1]], of=total)
        joined = gx.join_schedules(lines, limits).in_steps
        assert [line.in_steps["steps"] for line in joined["schedules"]] == taken
        assert joined["boundaries"] == tuple(accumulate(taken[:-1]))


@pytest.mark.parametrize("size", [7, 97, 390.625, 1000 / 3])
def test_what_repeats_does_not_drift(size):
    """What happens every 2.4 epochs does so at the nearest step, also the thousandth time."""
    exact = Fraction(12, 5) * Fraction(size).limit_denominator(10**6)
    before, drops = (
        np.array([int(k * exact + Fraction(1, 2)) for k in (*range(n, 39 + n), 998 + n)])
        for n in (0, 1)
    )
    every = gx.epochs(2.4, size)
    stairs = gx.staircase(lambda t: t.astype(np.float32), every)
    np.testing.assert_array_equal(stairs(drops), drops)
    np.testing.assert_array_equal(stairs(drops - 1), before)
    restarts = gx.cosine_restarts(1.0, every)
    np.testing.assert_array_equal(restarts(drops), 1.0)
    down = gx.step_decay(1.0, 0.5, every=every)
    np.testing.assert_array_equal(down(drops[:39]), 0.5 ** np.arange(1.0, 40.0))
    smooth = gx.exponential_decay(1.0, every, 0.5)
    np.testing.assert_allclose(smooth(drops[:39]), 0.5 ** np.arange(1.0, 40.0), rtol=1e-5)


def test_a_length_is_a_whole_number_where_one_is_meant():
    assert [*range(gx.epochs(0.5, 5))] == [0, 1, 2]
    assert int(gx.fraction(0.01, of=30)) == 1
    assert gx.lookahead(gx.sgd(0.1), gx.epochs(1, 7)) == gx.lookahead(gx.sgd(0.1), 7)
    assert int(gx.fraction(0.5, of=gx.epochs(90, 391))) == 45 * 391
    assert gx.epochs([30, 60], 391) == (gx.epochs(30, 391), gx.epochs(60, steps_per_epoch=391.0))
    assert gx.warmup(0.1, gx.fraction(0.01, of=30)).in_steps["steps"] == 1
    assert gx.warmup(0.1, gx.fraction(0.0, of=30)).in_steps["steps"] == 0


@every_schedule
def test_steps_beyond_the_counters_are_the_last(row):
    """Of NumPy and Python, which hold them; JAX would wrap them to the start."""
    schedule = row.build()
    last = schedule(LAST)
    for step in (2**31, 10**12, 10**30, np.int64(2**31), np.uint64(2**63), np.array(3 * 10**9)):
        assert schedule(step) == last
    np.testing.assert_array_equal(schedule(np.array([0, 2**40])), [schedule(0), last])
    assert schedule(np.int64(-(2**40))) == schedule(0)


# The rules of the batch size


def test_the_scaling_rules_point_into_a_feedback():
    with pytest.raises(TypeError, match="scale the value inside"):
        gx.linear_scaling_rule(gx.reduce_on_plateau(0.1), 512, 256)


# Small things


def test_no_warmup_is_no_warmup():
    assert values(gx.warmup(gx.cosine_decay(0.1, 40), 0)) == pytest.approx(
        values(gx.cosine_decay(0.1, 40))
    )
    assert gx.warmup_stable_decay(0.1, 10, 0, 5)(0) == np.float32(0.1)


def test_an_exponential_warmup_multiplies_by_the_same():
    found = values(gx.warmup(0.1, 20, 1e-6, "exponential"), tuple(range(25)))
    np.testing.assert_allclose(found[1:21] / found[:20], 1e5 ** (1 / 20), rtol=1e-6)
    assert set(found[20:]) == {float(np.float32(0.1))}


def test_a_schedule_of_python_numbers_and_of_plain_functions():
    def half(step):
        return 0.5 * (step >= 3)

    product = gx.scale_schedule(half, lambda step: 2)
    np.testing.assert_array_equal(product(jnp.arange(5)), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(gx.warmup(half, 2)(jnp.arange(6)), [0, 0, 0, 0, 0, 0.5])


def test_values_may_be_an_array():
    one = gx.piecewise_constant(np.array([0.3, 0.2]), [10])
    assert one == gx.piecewise_constant([0.3, 0.2], (10,))
    batch = jax.vmap(lambda v: gx.piecewise_interpolate(v, [10])(5))(jnp.eye(2))
    np.testing.assert_allclose(batch, 0.5)


@pytest.mark.parametrize("steps", [2**24 + 3, 10**9])
def test_steps_that_float32_cannot_count(steps):
    """The last steps of a long run are told apart."""
    line = gx.linear_schedule(0.0, 1.0, steps)
    assert line(steps) == 1.0
    decay = values(gx.cosine_decay(1.0, steps), (steps - 2, steps - 1, steps))
    expected = [np.sin(np.pi / 2 * k / steps) ** 2 for k in (2, 1, 0)]
    np.testing.assert_allclose(decay, expected, rtol=1e-6)
    fall = gx.warmup_stable_decay(1.0, steps, 0, steps, shape="sqrt")
    expected = [0.5 * k / steps for k in (2, 1, 0)]  # 1 - sqrt(1 - x) for small x
    np.testing.assert_allclose(values(fall, (steps - 2, steps - 1, steps)), expected, rtol=1e-6)
    cut = gx.piecewise_constant((1.0, 2.0), (steps,))
    np.testing.assert_array_equal(cut(jnp.asarray([steps - 1, steps])), [1.0, 2.0])
    way = values(gx.piecewise_interpolate((1.0, 0.0), (steps,)), (steps - 1, steps))
    np.testing.assert_allclose(way, [1 / steps, 0.0], rtol=1e-6)
