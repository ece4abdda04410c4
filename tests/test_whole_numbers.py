"""Whole numbers from elsewhere: other types, larger than a counter, traced; and large arrays."""

import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG, SCHEDULES, Row
from problems import every_row

import gradxform as gx
from gradxform.core import check
from gradxform.core.lengths import LengthRule
from gradxform.wrappers.window import EveryRule


def whole_arguments() -> dict[str, tuple[Any, str, Any, int]]:
    """Every argument that is a whole number: what builds its value, its name, rule and a value."""
    found: dict[str, tuple[Any, str, Any, int]] = {}
    factories = [(gx.reduce_on_plateau, lambda **kw: gx.reduce_on_plateau(0.1, **kw), {})]
    factories += [(gx.early_stopping, gx.early_stopping, {})]
    factories += [
        (getattr(gx, row.name), row.build, row.arguments) for row in (*CATALOG, *SCHEDULES)
    ]
    for factory, build, arguments in factories:
        hints = typing.get_type_hints(factory.__wrapped__, include_extras=True)
        for name, hint in hints.items():
            rule = check.rule_of(hint)
            rule = rule.rule if isinstance(rule, check.Optional) else rule
            if isinstance(rule, check.Whole | LengthRule | EveryRule):
                value = arguments.get(name)
                key = f"{factory.__name__}({name})"
                if isinstance(value, int) or (value is None and key not in found):
                    found[key] = (build, name, rule, value or 3)
    del found["step_decay(every)"]  # which excludes `boundaries`
    found["step_decay(every)"] = (lambda **kw: gx.step_decay(0.1, **kw), "every", LengthRule(), 3)
    return found


WHOLE = whole_arguments()


@pytest.mark.parametrize("key", WHOLE)
def test_a_count_of_any_type_is_the_same(key: str) -> None:
    build, name, rule, number = WHOLE[key]
    expected = build(**{name: number})
    kinds = (np.int64, np.array, jnp.int32, float, np.float32, lambda n: gx.fraction(1.0, of=n))
    for kind in kinds[:-1] if isinstance(rule, LengthRule) else kinds:
        other = build(**{name: kind(number)})
        assert other == expected
        assert repr(other) == repr(expected)
    for wrong in (True, number + 0.5, np.array([number]), "3", -1, np.inf, np.nan):
        with pytest.raises((ValueError, TypeError), match=name):
            build(**{name: wrong})


@pytest.mark.parametrize("key", WHOLE)
def test_a_count_beyond_the_counters_is_refused_with_the_bound(key: str) -> None:
    build, name, rule, _ = WHOLE[key]
    if isinstance(rule, check.Whole) and rule.high is None:
        build(**{name: 2**40})  # a size counts no steps
        return
    with pytest.raises(ValueError, match=rf"`{name}` must be at most 2147483647"):
        build(**{name: 2**31})


@pytest.mark.parametrize("key", WHOLE)
def test_a_traced_count_is_used_or_refused_with_the_way_out(key: str) -> None:
    build, name, rule, number = WHOLE[key]

    def traced(n: jax.Array) -> jax.Array:
        build(**{name: n})
        return n

    if isinstance(rule, check.Whole) and rule.traced:
        jax.eval_shape(traced, jnp.int32(number))
        return
    with pytest.raises(ValueError, match=r"known when the call is made.*static_args="):
        jax.eval_shape(traced, jnp.int32(number))


def test_there_are_many() -> None:
    assert len(WHOLE) > 40


@pytest.mark.parametrize("name", ["adafactor", "add_gradient_noise", "sophia"])
def test_optax_injects_the_numbers(name: str) -> None:
    """It makes arrays of whole numbers too, which are traced in a compiled update."""
    row = next(row for row in CATALOG if row.name == name)
    shapes = {"min_dim_size_to_factor", "factored"} & {*row.arguments}
    plain = {k: v for k, v in row.arguments.items() if k not in ("mask", "state_dtype")}
    static = ("min_dim_size_to_factor", "factored") if shapes else ()
    injected = optax.inject_hyperparams(row.factory, static_args=static)(**plain)
    own = row.factory(**plain)
    p = {"w": jnp.ones((4, 3))}
    found = []
    for tx in (injected, own):
        step = jax.jit(lambda g, s, p, tx=tx: tx.update(g, s, p, **row.extra))
        found.append(step(p, tx.init(p), p)[0]["w"])
    np.testing.assert_allclose(*found, rtol=1e-6)


# Where a list is meant

AS_LISTS = {
    "boundaries": lambda x: gx.step_decay(0.1, boundaries=x),
    "values": lambda x: gx.piecewise_constant(x, [10]),
    "schedules": lambda x: gx.join_schedules(x, [10]),
}


@pytest.mark.parametrize("name", AS_LISTS)
def test_a_dict_is_not_half_read(name: str) -> None:
    for wrong, hint in (
        ({10: 0.5, 20: 0.2}, "Of a dict only the keys"),
        ({10, 20}, ""),
        ("ab", ""),
    ):
        with pytest.raises(ValueError, match=rf"`{name}` must be a list .*{hint}"):
            AS_LISTS[name](wrong)
    with pytest.raises(ValueError, match="must be a list"):
        AS_LISTS[name](iter([10, 20]))


def test_axes_are_a_list_or_a_tuple() -> None:
    for build in (lambda axis: gx.adaptive_gradient_clip(0.01, axis=axis),):
        assert build([0, np.int64(1)]) == build((0, 1))
        assert gx.from_config(gx.to_config(build((0, 1)))) == build([0, 1])
        with pytest.raises(ValueError, match="`axis` must be a whole number, a tuple of them"):
            build(0.5)


# Large arrays

HUGE = {
    "layers": jax.ShapeDtypeStruct((80, 8192, 28672), jnp.bfloat16),
    **{f"layer_{i}": jax.ShapeDtypeStruct((8192, 28672), jnp.bfloat16) for i in range(10)},
}


@every_row
def test_arrays_of_any_size_are_traced(row: Row) -> None:
    """Of 1.9e10 numbers, and many that come to as many as 32 bits count together."""
    tx = row.build()

    def first(params: Any) -> Any:
        return tx.update(params, tx.init(params), params, **row.extra)[0]

    updates = jax.eval_shape(first, HUGE)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, HUGE)


def test_inspection_counts_arrays_of_any_size() -> None:
    total = 80 * 8192 * 28672 + 10 * 8192 * 28672
    assert f"{total:,} parameters" in str(gx.describe(gx.adam(1e-3), HUGE))
    assert gx.state_bytes(gx.adam(1e-3), HUGE, jax.make_mesh((1,), ("x",))).total > 8 * total
    assert f"{total:,} parameters" in str(gx.diagnose(gx.adam(1e-3), HUGE, model="transformer"))
    assert gx.select.size_at_least(2**33)(HUGE)["layers"]
