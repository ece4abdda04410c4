"""Inside of `shard_map` a transformation computes what it does outside, or says that it cannot."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalog import CATALOG, Row
from jax.sharding import AxisType, PartitionSpec as P
from problems import assert_close, gradients, normal

import gradxform as gx
from gradxform.core.types import inside

DEVICES = 4
SPECS = {"w": P("x"), "b": P()}
PARAMS = {"w": normal((8, 3)), "b": normal((5,), seed=1)}
GRADS = jax.tree.map(jnp.asarray, gradients(PARAMS, steps=2))
# Inside, an array is the shard that a device sees, in place and shape: its noise is documented.
ROWS = [row for row in CATALOG if not row.random]
BLOCKS = [row for row in ROWS if row.kind != "optimizer"]


def at(grads: Any, t: int) -> Any:
    """The gradients of a step."""
    return jax.tree.map(lambda g: g[t], grads)


def told(tx: Any, axis_name: Any) -> Any:
    """The same transformation, all parts of which are told what their shards are."""
    recipe = getattr(tx, "recipe", None)
    if recipe is None:
        return tx

    def mapped(value: Any) -> Any:
        return jax.tree.map(
            lambda x: told(x, axis_name) if hasattr(x, "update") else x,
            value,
            is_leaf=lambda x: hasattr(x, "update"),
        )

    given = [(name, mapped(value)) for name, value in recipe.shown]
    named = {name: value for name, value in given if name is not None}
    if "axis_name" in recipe.arguments:
        named["axis_name"] = axis_name
    return recipe.factory(*(value for name, value in given if name is None), **named)


def needs_whole(tx: Any) -> bool:
    """Whether a part of it declares that it needs whole arrays."""
    views = [part.init.function.__self__.view for part in inside(tx) if hasattr(part, "recipe")]
    return any(view.needs_whole for view in views)


def steps(tx: Any, row: Row, stacked: bool = False) -> Callable[[Any, Any], Any]:
    """Two updates; `stacked` as what each device has of its own."""

    def run(params: Any, grads: Any) -> Any:
        state, found = tx.init(params), []
        for t in range(2):
            updates, state = tx.update(at(grads, t), state, params, **row.extra)
            found.append({**updates, "b": updates["b"][None]} if stacked else updates)
        return found

    return run


def sharded(run: Any, stacked: bool = False, **options: Any) -> Any:
    mesh = jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Auto,))
    over_steps = {name: P(None, *spec) for name, spec in SPECS.items()}
    outs = [{"w": P("x"), "b": P("x")} if stacked else SPECS] * 2
    return jax.shard_map(run, mesh=mesh, in_specs=(SPECS, over_steps), out_specs=outs, **options)


def traced(run: Any, **options: Any) -> Any:
    return jax.eval_shape(sharded(run, **options), PARAMS, GRADS)


def compiled(runs: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The results of many functions, by one program."""
    together = {name: sharded(run, **options) for name, run in runs.items()}
    return jax.jit(lambda p, g: {name: run(p, g) for name, run in together.items()})(PARAMS, GRADS)


@functools.cache
def outside() -> dict[str, Any]:
    """What the blocks compute on whole arrays."""
    runs = {str(row): steps(row.build(), row) for row in BLOCKS}
    return jax.device_get(
        jax.jit(lambda p, g: {name: run(p, g) for name, run in runs.items()})(PARAMS, GRADS)
    )


def test_what_needs_whole_arrays_is_refused_and_the_rest_is_right() -> None:
    right = {}
    for row in ROWS:
        tx = row.build()
        declared = needs_whole(tx)
        assert declared or (row.coordinate_local and row.leaf_local), row
        run = steps(tx, row)
        if declared:
            for check_vma in (True, False):
                with pytest.raises(ValueError, match=r"`axis_name=\(\)`"):
                    traced(run, check_vma=check_vma)
        elif row in BLOCKS:
            right[str(row)] = run
        else:
            traced(run)
    for name, found in jax.device_get(compiled(right)).items():
        assert_close(found, outside()[name], rtol=1e-5)


def test_told_the_axis_it_is_right_or_refused() -> None:
    right: dict[str, Any] = {}
    for row in BLOCKS:
        if not needs_whole(row.build()):
            continue
        try:
            run = steps(told(row.build(), "x"), row)
        except ValueError as error:
            if "outside of `shard_map`" in str(error):
                continue
            raise
        right[str(row)] = run
        try:
            traced(run, check_vma=False)
        except ValueError as error:
            if "check_vma=True" not in str(error):
                raise
    assert len(right) > 15
    for name, found in jax.device_get(compiled(right)).items():
        assert_close(found, outside()[name], rtol=1e-5)


def test_whole_shards_are_runs_of_their_own() -> None:
    runs: dict[str, Any] = {}
    for row in BLOCKS:
        if needs_whole(row.build()):
            runs[str(row)] = steps(told(row.build(), ()), row, stacked=True)
            traced(runs[str(row)], stacked=True, check_vma=False)
    inside = jax.device_get(compiled(runs, stacked=True))
    for device in range(DEVICES):
        mine = slice(2 * device, 2 * device + 2)
        params = {**PARAMS, "w": PARAMS["w"][mine]}
        grads = {**GRADS, "w": GRADS["w"][:, mine]}
        if device == 0:
            alone = jax.jit(lambda p, g: {name: run(p, g) for name, run in runs.items()})
        for name, expected in jax.device_get(alone(params, grads)).items():
            found = [{"w": u["w"][mine], "b": u["b"][device : device + 1]} for u in inside[name]]
            assert_close(found, expected, rtol=1e-5)


GUARDS = {
    "nonfinite": lambda **more: gx.skip_nonfinite(gx.sgd(0.1), **more),
    "spikes": lambda **more: gx.skip_spikes(gx.sgd(0.1), **more),
    "spikes-of-loss": lambda **more: gx.skip_spikes(gx.sgd(0.1), watch="loss", **more),
    "loss-scale": lambda **more: gx.dynamic_loss_scale(gx.sgd(0.1), **more),
    "accumulate": lambda **more: gx.accumulate(gx.sgd(0.1), 1, on_nonfinite="skip", **more),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guards_decide_for_all_devices(name: str) -> None:
    """One shard is not finite: no device takes the step, and all count it."""
    grads = {**at(GRADS, 0), "w": at(GRADS, 0)["w"].at[0, 0].set(jnp.nan)}
    mesh = jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Auto,))

    def step(axis_name: Any, params: Any, grads: Any) -> Any:
        tx = GUARDS[name](axis_name=axis_name)
        updates, state = tx.update(grads, tx.init(params), params, value=jnp.float32(1.0))
        return gx.apply_updates(params, updates), gx.metrics(state)["skipped_steps"]

    for axis_name, check_vma in (("x", True), ("x", False), (None, True), (None, False)):
        run = jax.jit(
            jax.shard_map(
                functools.partial(step, axis_name),
                mesh=mesh,
                in_specs=(SPECS, SPECS),
                out_specs=(SPECS, P()),
                check_vma=check_vma,
            )
        )
        if axis_name is None or (name == "spikes" and not check_vma):
            with pytest.raises(ValueError, match="axis_name"):
                run(PARAMS, grads)
            continue
        params, skipped = run(PARAMS, grads)
        for x, before in zip(jax.tree.leaves(params), jax.tree.leaves(PARAMS), strict=True):
            assert np.array_equal(x, before)
        shards = [np.asarray(s.data) for s in params["b"].addressable_shards]
        assert all(np.array_equal(s, shards[0]) for s in shards)
        assert [int(s.data) for s in skipped.addressable_shards] == [1] * DEVICES


def test_the_words() -> None:
    def refused(tx: Any, match: str, **options: Any) -> None:
        row = Row("sgd", extra={"value": jnp.float32(1.0)})
        with pytest.raises(ValueError, match=match):
            traced(steps(tx, row), **options)

    refused(
        gx.lamb(0.1),
        r"`scale_by_trust_ratio\(\.\.\.\)\.init`: leaf `w` differs between the devices along the "
        r"mesh axis 'x' .* Write `axis_name='x'`, .* or `axis_name=\(\)` .* under `jit`",
    )
    refused(gx.sm3(0.1), r"leaf `w` .* Write `axis_name=\(\)` if each shard")
    refused(gx.lamb(0.1), "`jax.pmap`, nothing tells", check_vma=False)
    refused(gx.lamb(0.1, axis_name="y"), r"`axis_name='y'` is no axis")
    with pytest.raises(ValueError, match=r"`axis_name` must be None, or `\(\)`.*got 'x'"):
        gx.adafactor(0.1, axis_name="x")
    with pytest.raises(ValueError, match=r"`clip_by_global_norm` inside sums over .*'x'.* wait"):
        gx.skip_nonfinite(gx.clip_by_global_norm(1.0, axis_name="x"), axis_name=())
    with pytest.raises(TypeError, match="`mine` needs whole arrays, and so an argument `axis_name"):

        @gx.transformation
        @gx.whole_arrays
        def mine() -> Any: ...

    def local_loss(params: Any, grads: Any) -> Any:
        tx = gx.polyak_sgd(axis_name="x")
        return tx.update(at(grads, 0), tx.init(params), params, value=jnp.sum(params["w"]))[0]

    with pytest.raises(ValueError, match=r"`value=jax\.lax\.pmean\(value, 'x'\)`"):
        traced(local_loss)


def test_a_population_goes_on_in_a_scan() -> None:
    """One model a device: the state has one type from `init` on, with counters of each its own."""
    tx = gx.skip_nonfinite(
        gx.accumulate(gx.lookahead(gx.lamb(0.1, axis_name=()), 2), 2), axis_name=()
    )
    mesh = jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Auto,))

    def train(params: Any, grads: Any) -> Any:
        def step(carry: Any, g: Any) -> Any:
            params, state = carry
            updates, state = tx.update(g, state, params)
            return (gx.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), grads)
        return params, state.skipped_steps[None]

    run = jax.shard_map(
        train,
        mesh=mesh,
        in_specs=({"w": P("x")}, {"w": P(None, "x")}),
        out_specs=({"w": P("x")}, P("x")),
    )
    grads = {"w": jnp.concatenate([GRADS["w"], GRADS["w"]]).at[1, 0, 0].set(jnp.nan)}
    params, skipped = jax.jit(run)({"w": PARAMS["w"]}, grads)
    assert skipped.tolist() == [1, 0, 0, 0]
    assert np.all(np.isfinite(params["w"]))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: gx.lookahead(inner, 2),
        lambda inner: gx.accumulate(inner, 2),
        lambda inner: gx.with_metrics(inner, 2, axis_name="x"),
        lambda inner: gx.dynamic_loss_scale(inner, axis_name="x"),
    ],
    ids=["lookahead", "accumulate", "with_metrics", "dynamic_loss_scale"],
)
def test_branches_around_a_sum_over_shards(wrap: Any) -> None:
    inner = gx.chain(gx.clip_by_global_norm(0.1, axis_name="x"), gx.adam(0.1))
    traced(steps(wrap(inner), Row("sgd")))
