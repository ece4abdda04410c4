"""Law 11: what was passed in may change later; a value that was built does not."""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG, PUBLIC, SCHEDULES
from problems import assert_equal, at, gradients, small

import gradxform as gx
from gradxform import select

P = small()


def mask(chosen: bool = True) -> dict[str, Any]:
    return {"w": chosen, "s": not chosen}


def thawed(value: Any) -> Any:
    """The same with containers of its own, lists for tuples, and arrays for lists of numbers."""
    if hasattr(value, "recipe") or callable(value):
        return value
    if isinstance(value, dict):
        return {name: thawed(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        is_numbers = value and all(isinstance(item, float) for item in value)
        return np.array(value) if is_numbers else [thawed(item) for item in value]
    return value


def spoil(value: Any) -> int:
    """Change every container inside, and say how many there were."""
    if hasattr(value, "recipe"):
        return 0
    if isinstance(value, functools.partial):
        return spoil(value.keywords)
    if isinstance(value, np.ndarray):
        value[...] = 0
        return 1
    if not isinstance(value, dict | list):
        return 0
    inside = list(value.values() if isinstance(value, dict) else value)
    found = 1 + sum(map(spoil, inside))
    if all(isinstance(item, bool) for item in inside):
        for key in [*value] if isinstance(value, dict) else range(len(value)):
            value[key] = not value[key]
    else:
        value.clear()
    return found


def masked_of(factory: Callable[..., Any]) -> bool:
    return "mask" in inspect.signature(factory).parameters


def scaled(tree: Any, by: list[float]) -> Any:
    return jax.tree.map(lambda x: np.ndim(x) < by[0], tree)


TRANSFORMATIONS = {
    str(row): (row.factory, {**row.arguments, "mask": mask()}, row.positional, row.extra)
    for row in CATALOG
    if masked_of(row.factory)
} | {
    "groups": (
        gx.partition,
        {"groups": {"a": [mask(), gx.sgd(0.1)], "b": [mask(chosen=False), gx.lion(0.1)]}},
        (),
        {},
    ),
    "groups of a measurement": (
        gx.with_metrics,
        {"groups": {"a": mask(), "b": [True, True]}},
        (gx.sgd(0.1),),
        {},
    ),
    "depths": (gx.layerwise_decay, {"rate": 0.5, "depth_of": {"w": 1, "s": 2}}, (), {}),
    "axes": (gx.adaptive_gradient_clip, {"clipping": 0.01, "axis": [0, 1]}, (), {}),
    "dtypes": (gx.adam, {"learning_rate": 0.1, "state_dtype": {"mu": "bfloat16"}}, (), {}),
    "arrays": (
        gx.masked,
        {"mask": OrderedDict(w=np.array(True), s=np.array(False))},
        (gx.sgd(0.1),),
        {},
    ),
    "a function with arguments": (
        gx.masked,
        {"mask": functools.partial(scaled, by=[1.0])},
        (gx.sgd(0.1),),
        {},
    ),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_transformation_is_frozen(name: str) -> None:
    """It prints, equals, hashes and updates as before."""
    factory, arguments, positional, extra = TRANSFORMATIONS[name]
    if name.startswith("groups of"):
        arguments["groups"].pop("b")

    def built() -> tuple[Any, Any]:
        given = {key: thawed(value) for key, value in arguments.items()}
        if isinstance(arguments.get("mask"), functools.partial):
            given["mask"] = functools.partial(scaled, by=[1.0])
        return factory(*positional, **given), given

    (tx, given), (untouched, _) = built(), built()
    before = repr(tx)
    assert spoil(given)
    assert repr(tx) == before == repr(untouched)
    assert tx == untouched
    assert hash(tx) == hash(untouched)
    g = at(gradients(P, steps=1), 0)
    updates = [t.update(g, t.init(P), P, **extra)[0] for t in (tx, untouched)]
    assert_equal(*updates)


def test_a_recipe_hands_out_copies() -> None:
    tx = gx.adamw(0.1, mask={"w": True})
    tx.recipe.arguments["mask"]["w"] = False
    dict(tx.recipe.shown)["mask"]["w"] = False
    again = gx.adamw(0.1, mask={"w": True})
    assert tx == again
    assert repr(tx) == repr(again)
    assert gx.to_config(tx) == gx.to_config(again)


WITH_LISTS = [r for r in SCHEDULES if any(isinstance(x, tuple) for x in r.arguments.values())]


@pytest.mark.parametrize("row", WITH_LISTS, ids=str)
def test_a_schedule_is_frozen(row: Any) -> None:
    given = {name: thawed(value) for name, value in row.arguments.items()}
    schedule = row.build(**given)
    assert spoil(given)
    assert schedule == row.build()
    assert repr(schedule) == repr(row.build())
    assert hash(schedule) == hash(row.build())
    np.testing.assert_array_equal(schedule(jnp.arange(99)), row.build()(jnp.arange(99)))


def test_all_that_takes_a_mask_is_here() -> None:
    assert len([name for name in TRANSFORMATIONS if name in set(map(str, CATALOG))]) >= 33


def test_a_compiled_step_knows_the_value() -> None:
    """A static argument is looked up by a key that stays right."""
    chosen = {"w": True}
    tx = gx.add_decoupled_weight_decay(0.1, mask=chosen)
    step = jax.jit(lambda tx, g, p: tx.update(g, tx.init(p), p)[0], static_argnums=0)
    p = {"w": jnp.ones(2)}
    first = step(tx, p, p)
    chosen["w"] = False
    for again in (step(tx, p, p), tx.update(p, tx.init(p), p)[0]):
        np.testing.assert_array_equal(again["w"], first["w"])


@pytest.mark.parametrize("true", [np.array(True), np.bool_(1), jnp.array(True)])
def test_masks_of_scalar_arrays_are_those_of_bools(true: Any) -> None:
    """Of NumPy and of JAX, as a tree and from a function, and in groups."""
    tree = {"w": true, "s": ~true}
    tx = gx.masked(gx.scale(2.0), tree)
    assert tx == gx.masked(gx.scale(2.0), mask())
    assert "array" not in repr(tx).lower()
    assert gx.from_config(gx.to_config(tx)) == tx
    u, _ = gx.masked(gx.scale(2.0), lambda _: tree).update(P, tx.init(P), P)
    np.testing.assert_array_equal(u["w"], 2 * P["w"])
    np.testing.assert_array_equal(u["s"], P["s"])
    groups = {"a": (tree, gx.sgd(0.1))}
    plain = {"a": (mask(), gx.sgd(0.1))}
    assert gx.partition(groups, gx.identity()) == gx.partition(plain, gx.identity())
    assert gx.with_metrics(gx.sgd(0.1), groups={"a": tree}) == gx.with_metrics(
        gx.sgd(0.1), groups={"a": mask()}
    )


@pytest.mark.parametrize(
    "leaf", [np.array([True, False]), 1, np.array(1), "w", jax.ShapeDtypeStruct((), bool)]
)
def test_masks_of_anything_else_are_refused(leaf: Any) -> None:
    with pytest.raises(TypeError, match="a mask holds Python bools, one for an array"):
        gx.masked(gx.sgd(0.1), {"w": leaf})
    with pytest.raises(TypeError, match="a mask holds Python bools, one for an array"):
        gx.masked(gx.sgd(0.1), lambda _: {"w": leaf}).init(P)


def test_a_deep_nest_prints_and_compares_in_a_moment() -> None:
    """Once a level: twice would not end."""

    def nest(selection: Any = None) -> Any:
        tx = gx.adamw(0.1, mask=selection)
        for _ in range(60):
            tx = gx.chain(tx)
        return tx

    one, other = nest(select.ndim(2) | ~select.path("w")), nest(select.ndim(2) | ~select.path("w"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != nest()
    assert eval(repr(one), PUBLIC) == one
