"""Law 2: a transformation is the call that built it: it compares, hashes, pickles and prints."""

import copy
import functools
import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalog import CATALOG, PUBLIC, Row
from problems import STRUCTURAL, assert_equal, at, every_row, follow, gradients, rows, small
from rows import row as functions_of_rows

import gradxform as gx

pytestmark = pytest.mark.usefixtures("strict_dtypes")

NAMES = {**vars(functions_of_rows), **PUBLIC, "np": np}


def biases(params: Any) -> Any:
    return jax.tree.map(lambda p: np.ndim(p) < 2, params)


def another(value: Any) -> Any:
    """A different value that the same argument takes."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value // 2
    if isinstance(value, float):
        return value / 2
    if isinstance(value, str):
        words = {"zero": "skip", "apply": "skip", "loss": "gradient_norm"}
        return {**words, "sum": "mean", "skip": "propagate"}[value]
    if isinstance(value, gx.GradientTransformation):
        return gx.identity()
    if isinstance(value, tuple):
        return value[1:]
    if isinstance(value, dict):
        return {f"another_{name}": x for name, x in value.items()}
    assert callable(value), f"say here what else an argument like {value!r} may be"
    return biases


def variations(row: Row) -> list[gx.GradientTransformation]:
    """The row's transformation with one argument changed, for each argument."""
    changed = [row.build(**{name: another(value)}) for name, value in row.arguments.items()]
    if row.positional:
        *first, last = row.positional
        is_named = not isinstance(last, gx.GradientTransformation)
        other = (last[0], gx.identity()) if is_named else gx.identity()
        changed.append(row.factory(*first, other, **row.arguments))
    return changed


@every_row
def test_built_again_it_is_equal_and_so_are_its_halves(row: Row) -> None:
    tx, again = row.build(), row.build()
    assert tx is not again
    for a, b in ((tx, again), (tx.init, again.init), (tx.update, again.update)):
        assert a == b
        assert hash(a) == hash(b)
        assert len({a, b}) == 1
    assert tx.init != tx.update


@every_row
def test_another_argument_makes_another_transformation(row: Row) -> None:
    tx = row.build()
    for changed in variations(row):
        assert tx != changed
        assert tx.init != changed.init
        assert tx.update != changed.update
        assert repr(tx) != repr(changed)


@rows(lambda row: row.kind == "optimizer")
def test_every_optimizer_is_made_of_rows(row: Row) -> None:
    """So the laws of structure, which run on blocks, wrappers and some chains, hold for it."""
    known = {row.name for row in STRUCTURAL}
    parts = list(row.build().parts)
    assert parts
    while parts:
        part = parts.pop()
        assert part.recipe.name in known, part
        parts += part.parts


def test_no_two_rows_of_the_catalog_are_equal() -> None:
    assert len({row.build() for row in CATALOG}) == len(CATALOG)
    assert len({repr(row.build()) for row in CATALOG}) == len(CATALOG)


@every_row
def test_pickle_and_copy_give_it_back(row: Row) -> None:
    tx = row.build()
    for clone in (pickle.loads(pickle.dumps(tx)), copy.deepcopy(tx), copy.copy(tx)):
        assert type(clone) is type(tx)
        assert clone == tx
        assert hash(clone) == hash(tx)
        assert repr(clone) == repr(tx)
        assert clone.recipe.arguments.keys() == tx.recipe.arguments.keys()
    for half in tx:
        assert pickle.loads(pickle.dumps(half)) == half
    clone = pickle.loads(pickle.dumps(tx))
    params = small()
    grads = gradients(params, steps=2)
    assert_equal(follow(clone, params, grads, row.extra), follow(tx, params, grads, row.extra))


@every_row
def test_repr_is_the_call(row: Row) -> None:
    tx = row.build()
    assert eval(repr(tx), dict(NAMES)) == tx
    assert repr(tx).startswith(f"{row.name}(")
    assert repr(tx.init) == f"{tx!r}.init"
    assert repr(tx.update) == f"{tx!r}.update"
    assert max(map(len, repr(tx).splitlines())) <= 100


@rows(lambda row: not row.positional)
def test_defaults_and_positions_make_no_difference(row: Row) -> None:
    tx, parameters = row.build(), inspect.signature(row.factory).parameters
    defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    written_out = {**defaults, **row.arguments}
    by_position = [
        written_out.pop(name) for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    for same in (
        row.factory(**{**defaults, **row.arguments}),
        row.factory(*by_position, **written_out),
    ):
        assert same == tx
        assert hash(same) == hash(tx)
        assert repr(same) == repr(tx)
    assert set(tx.recipe.arguments) == set(parameters)
    for name, default in defaults.items():
        if name not in row.arguments:
            assert re.search(rf"\b{name}=", repr(tx)) is None
            assert tx.recipe.arguments[name] == default


@every_row
def test_as_a_static_argument_it_traces_once(row: Row) -> None:
    traces = []

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def step(tx: gx.GradientTransformation, update: Callable[..., Any], x: jax.Array) -> Any:
        traces.append(tx)
        return x

    for _ in range(3):
        step(row.build(), row.build().update, 1.0)
    assert len(traces) == 1
    for other in variations(row)[:1]:  # that all of them differ is a law of its own
        step(other, other.update, 1.0)
        assert len(traces) == 2


def decayed(mask: Any) -> gx.GradientTransformation:
    return gx.add_decoupled_weight_decay(0.1, mask=mask)


def test_masks_compare_by_content_and_functions_by_identity() -> None:
    assert decayed({"w": True, "s": [False]}) == decayed({"s": [False], "w": True})
    assert hash(decayed({"w": True})) == hash(decayed({"w": True}))
    assert decayed({"w": True}) != decayed({"w": False})
    assert decayed({"w": True}) != decayed({"v": True})
    assert decayed([True]) != decayed((True,))
    assert decayed(biases) == decayed(biases)
    assert decayed(lambda p: True) != decayed(lambda p: True)
    assert decayed(functools.partial(biases)) == decayed(functools.partial(biases))
    assert decayed(functools.partial(max, 1)) != decayed(functools.partial(max, 2))


def test_arrays_compare_by_content() -> None:
    for array in (jnp.float32, np.float32):
        assert gx.scale(array(0.3)) == gx.scale(array(0.3))
        assert hash(gx.scale(array(0.3))) == hash(gx.scale(array(0.3)))
        assert gx.scale(array(0.3)) != gx.scale(array(0.25))
    tunable = gx.tunable(jnp.float32(0.3))
    assert gx.scale(tunable) == gx.scale(gx.tunable(jnp.float32(0.3)))
    assert gx.scale(tunable) != gx.scale(gx.tunable(jnp.float32(0.25)))
    assert gx.scale(tunable) != gx.scale(jnp.float32(0.3))


@pytest.mark.parametrize(
    "one", [1, 1.0, np.float64(1), np.float32(1), np.int64(1), np.array(1.0)], ids=repr
)
def test_spellings_of_a_number_are_one_number(one: Any) -> None:
    assert gx.sgd(one) == gx.sgd(1.0)
    assert hash(gx.sgd(one)) == hash(gx.sgd(1.0))
    assert repr(gx.sgd(one)) == "sgd(learning_rate=1.0)"


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, jnp.dtype("bfloat16")], ids=repr)
def test_spellings_of_a_dtype_are_one_dtype(dtype: Any) -> None:
    tx = gx.scale_by_adam(state_dtype=dtype)
    assert tx == gx.scale_by_adam(state_dtype="bfloat16")
    assert repr(tx) == "scale_by_adam(state_dtype='bfloat16')"
    assert tx != gx.scale_by_adam(state_dtype="float16")


def test_schedules_and_tunables_are_part_of_the_value() -> None:
    assert gx.adam(gx.cosine_decay(0.1, 9)) == gx.adam(gx.cosine_decay(0.1, 9))
    assert gx.adam(gx.cosine_decay(0.1, 9)) != gx.adam(gx.cosine_decay(0.1, 8))
    assert gx.adam(gx.tunable(0.1)) == gx.adam(gx.tunable(0.1))
    assert gx.adam(gx.tunable(0.1)) != gx.adam(0.1)
    assert gx.adam(gx.tunable(0.1)) != gx.adam(gx.tunable(0.2))
    assert repr(gx.adam(gx.tunable(0.1))) == "adam(learning_rate=tunable(0.1))"


def test_traced_arguments_compare_by_identity_and_have_no_hash() -> None:
    @jax.jit
    def build(x: jax.Array) -> jax.Array:
        assert gx.scale(x) == gx.scale(x)
        assert gx.scale(x) != gx.scale(2 * x)
        assert "traced float32[]" in repr(gx.scale(x))
        with pytest.raises(TypeError, match=r"traced float32\[\].*has no hash.*tunable"):
            hash(gx.scale(x))
        return x

    build(1.0)


def test_parts_are_the_chain_behind_an_optimizer() -> None:
    tx = gx.adamw(0.1, b1=0.8, mask=biases)
    assert tx.parts == (
        gx.scale_by_adam(b1=0.8),
        gx.add_decoupled_weight_decay(0.01, mask=biases),
        gx.scale_by_learning_rate(0.1),
    )
    assert tx != gx.chain(*tx.parts)
    params = small()
    grads = gradients(params)
    assert_equal(follow(gx.chain(*tx.parts), params, grads), follow(tx, params, grads))
    assert gx.chain(tx, gx.identity()).parts == (tx, gx.identity())
    assert gx.scale(2.0).parts == ()


def test_links_of_optax_compare_by_identity() -> None:
    link = optax.scale(2.0)
    assert gx.chain(link) == gx.chain(link)
    assert gx.chain(link) != gx.chain(optax.scale(2.0))
    assert "<optax." in repr(gx.chain(link))


@gx.transformation
def doubled(inner: Any, by: gx.Scalar = 2.0) -> Any:
    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates, state = inner.update(updates, state, params, **extra)
        return jax.tree.map(lambda u: by * u, updates), state

    return inner.init, update


@gx.optimizer
def doubled_sgd(learning_rate: gx.LearningRate, *, by: gx.Scalar = 2.0) -> Any:
    return doubled(gx.sgd(learning_rate), by)


def test_what_a_user_defines_is_a_value_too() -> None:
    tx = doubled_sgd(0.5, by=3.0)
    assert repr(tx) == "doubled_sgd(learning_rate=0.5, by=3.0)"
    assert repr(tx.parts[0]) == "sgd(learning_rate=0.5)"
    assert pickle.loads(pickle.dumps(tx)) == tx == doubled_sgd(learning_rate=0.5, by=3)
    params = small()
    grads = at(gradients(params), 0)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert_equal(updates, jax.tree.map(lambda g: -1.5 * g, grads))


def test_long_calls_print_one_argument_a_line() -> None:
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(1e-3, b1=0.8, b2=0.98, weight_decay=0.3))
    assert repr(tx) == (
        "chain(\n"
        "    clip_by_global_norm(max_norm=1.0),\n"
        "    adamw(learning_rate=0.001, b1=0.8, b2=0.98, weight_decay=0.3),\n"
        ")"
    )
