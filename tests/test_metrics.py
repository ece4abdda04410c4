"""What an optimizer tells of itself, and what is measured on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import compile_named, copies, unaliased
from flax import nnx
from problems import at, gradients
from rows.row import is_kernel

import gradxform as gx
from gradxform import select

PARAMS = {
    "body": {"kernel": np.full((4, 3), 0.5, np.float32), "bias": np.full(3, 0.25, np.float32)},
    "head": {"kernel": np.full((3, 2), -1.0, np.float32)},
}
GRADS = gradients(PARAMS, steps=6)


def norm(tree):
    return np.sqrt(sum(np.sum(np.square(np.float64(x))) for x in jax.tree.leaves(tree)))


def run(tx, steps, params=PARAMS, grads=GRADS, **extra):
    state, seen = tx.init(params), []
    update = jax.jit(tx.update)
    for t in range(steps):
        g = at(grads, t)
        updates, state = update(g, state, params, **extra)
        seen.append((g, updates, params, gx.metrics(state)))
        params = gx.apply_updates(params, updates)
    return seen, state


def test_a_chain_tells_its_rates_and_norms():
    tx = gx.chain(
        gx.clip_by_global_norm(2.0),
        gx.sgd(gx.linear_schedule(1.0, 0.0, 4), momentum=gx.tunable(0.9)),
    )
    seen, _ = run(tx, 3)
    norms = [norm(g) for g, *_ in seen]
    for t, (*_, told) in enumerate(seen):
        assert set(told) == {
            "gradient_norm",
            "clipped_norm",
            "clip_fraction",
            "momentum",
            "learning_rate",
            "step",
        }
        np.testing.assert_allclose(told["gradient_norm"], norms[t], rtol=1e-6)
        np.testing.assert_allclose(told["clipped_norm"], min(2.0, norms[t]), rtol=1e-6)
        clipped = np.mean([n > 2.0 for n in norms[: t + 1]])
        np.testing.assert_allclose(told["clip_fraction"], clipped, rtol=1e-6)
        np.testing.assert_allclose(told["learning_rate"], 1.0 - t / 4, rtol=1e-6)
        assert int(told["step"]) == t + 1
        assert all(jnp.shape(x) == () for x in told.values())


@pytest.mark.parametrize(
    ("tx", "names"),
    [
        (gx.skip_nonfinite(gx.adam(0.1)), {"skipped_steps", "last_skipped"}),
        (gx.dynamic_loss_scale(gx.adam(0.1)), {"loss_scale", "skipped_steps", "underflows"}),
        (gx.accumulate(gx.adam(0.1), 2), {"emitted", "skipped_steps"}),
        (gx.prodigy(), {"distance"}),
        (gx.dog(), {"distance", "step_size"}),
    ],
    ids=lambda x: x.recipe.name if hasattr(x, "recipe") else None,
)
def test_what_else_there_is_to_tell(tx, names):
    told = gx.metrics(tx.init(PARAMS))
    assert set(told) >= {*names, "step", "learning_rate"}


def test_names_that_occur_twice_have_their_group_in_front():
    tx = gx.partition(
        {"head": (select.path("head/.*"), gx.sgd(0.1))},
        default=gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(0.2)),
    )
    told = gx.metrics(gx.skip_nonfinite(tx).init(PARAMS))
    assert {"head/learning_rate", "default/learning_rate", "gradient_norm", "step"} <= set(told)
    nested = gx.metrics(gx.skip_nonfinite(gx.accumulate(gx.sgd(0.1), 2)).init(PARAMS))
    assert {"skipped_steps", "inner_state/skipped_steps"} <= set(nested)


def test_a_norm_that_is_measured_twice_is_told_once():
    tx = gx.with_metrics(gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1)))
    told = gx.metrics(tx.init(PARAMS))
    assert [name for name in told if "gradient_norm" in name] == ["gradient_norm"]
    assert "clipped_norm" in told


def test_every_measurement_by_hand():
    tx = gx.with_metrics(
        gx.adamw(0.1),
        every=1,
        groups={"kernels": is_kernel, "head": select.path("head/.*")},
        cosine=True,
    )
    grads = jax.tree.map(np.array, GRADS)
    grads["body"]["kernel"][1, :2] = 0.0
    grads["head"]["kernel"][2, 0, 0] = np.inf
    seen, _ = run(tx, 4, grads=grads)
    before = None
    for g, u, w, told in seen[:2]:
        for prefix, part in (
            ("", lambda tree: tree),
            ("kernels/", lambda tree: [tree["body"]["kernel"], tree["head"]["kernel"]]),
            ("head/", lambda tree: tree["head"]),
        ):
            gp, up, wp = part(g), part(u), part(w)
            assert told[f"{prefix}gradient_norm"] == pytest.approx(norm(gp), rel=1e-5)
            assert told[f"{prefix}update_norm"] == pytest.approx(norm(up), rel=1e-5)
            assert told[f"{prefix}param_norm"] == pytest.approx(norm(wp), rel=1e-5)
            assert told[f"{prefix}update_ratio"] == pytest.approx(norm(up) / norm(wp), rel=1e-5)
            zeros = np.concatenate([np.ravel(x) == 0 for x in jax.tree.leaves(gp)])
            assert told[f"{prefix}zero_fraction"] == pytest.approx(np.mean(zeros), abs=1e-6)
            assert told[f"{prefix}nonfinite_fraction"] == 0
            if before is not None:
                dot = sum(
                    np.vdot(a, b)
                    for a, b in zip(jax.tree.leaves(up), jax.tree.leaves(part(before)), strict=True)
                )
                cosine = dot / norm(up) / norm(part(before))
                assert told[f"{prefix}update_cosine"] == pytest.approx(cosine, rel=1e-4)
        before = u
    told = seen[2][-1]
    assert told["nonfinite_fraction"] == pytest.approx(1 / 21)
    assert told["head/nonfinite_fraction"] == pytest.approx(1 / 6)
    assert not np.isfinite(told["gradient_norm"])


def test_between_measurements_the_last_one_stands():
    every, always = (gx.with_metrics(gx.adamw(0.1), every=n, cosine=True) for n in (3, 1))
    few, _ = run(every, 6)
    all_, _ = run(always, 6)
    for t in range(6):
        for name, value in few[t][-1].items():
            if name not in ("learning_rate", "step"):
                np.testing.assert_allclose(value, all_[t - t % 3][-1][name], rtol=1e-5, atol=1e-6)
        for a, b in zip(jax.tree.leaves(few[t][1]), jax.tree.leaves(all_[t][1]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_in_scan_and_vmap():
    tx = gx.with_metrics(gx.chain(gx.clip_by_global_norm(1.0), gx.adam(gx.tunable(0.1))), every=2)

    def train(rate):
        def one(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params)
            return (gx.apply_updates(params, updates), state), gx.metrics(state)

        state = gx.set_hyperparams(tx.init(PARAMS), learning_rate=rate)
        return jax.lax.scan(one, (PARAMS, state), GRADS)[1]

    told = jax.jit(jax.vmap(train))(jnp.array([0.1, 0.2]))
    assert told["update_norm"].shape == (2, 6)
    np.testing.assert_allclose(told["update_norm"][1, 0], 2 * told["update_norm"][0, 0], rtol=1e-5)


def test_what_was_told_outlives_a_step_that_donates_the_state():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.adam(gx.tunable(0.1)))
    step = gx.make_update_step(tx)
    params, state = jax.tree.map(jnp.array, PARAMS), tx.init(PARAMS)
    told = []
    for t in range(3):
        params, state = step(params, state, at(GRADS, t))
        told.append(gx.metrics(state))
    assert [int(x["step"]) for x in told] == [1, 2, 3]
    assert all(np.isfinite(list(map(float, x.values()))).all() for x in told)


def test_in_nnx():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    tx = gx.with_metrics(gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1)), every=1)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def train(model, optimizer):
        with jax.numpy_rank_promotion("allow"):
            grads = nnx.grad(lambda m: jnp.mean(m(jnp.ones((2, 3))) ** 2))(model)
        optimizer.update(model, grads)

    train(model, optimizer)
    told = gx.metrics(optimizer.opt_state)
    assert float(told["update_norm"]) > 0
    assert float(told["clip_fraction"]) in (0.0, 1.0)
    assert int(told["step"]) == 1


def test_the_step_around_it_copies_nothing():
    params = {"a": jnp.ones((64, 64)), "b": jnp.ones((64, 32))}
    for cosine in (False, True):
        tx = gx.with_metrics(gx.adamw(0.1), every=10, cosine=cosine)
        lowered = gx.make_update_step(tx).lower(params, tx.init(params), params)
        program = compile_named(lowered)
        assert copies(program, at_least=64 * 32 * 4) == []
        elsewhere = unaliased(program, ("params", "state"))
        assert [name for name in elsewhere if "readings" not in name] == []


def test_bad_input_says_what_is_wrong():
    with pytest.raises(TypeError, match="holds nothing that tells of itself"):
        gx.metrics(optax.adam(0.1).init(PARAMS))
    for groups, message in (
        ([select.all], r"a dict \{name: selector\}"),
        ({"a": None}, r"groups\['a'\].*see `select.all`"),
        ({"a": {"w": 1}}, "Python bools"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            gx.with_metrics(gx.adam(0.1), groups=groups)
    with pytest.raises(ValueError, match=r"groups\['a'\]=select.path\('x'\).*matches none"):
        gx.with_metrics(gx.adam(0.1), groups={"a": select.path("x")}).init(PARAMS)


def test_what_was_logged_can_be_diagnosed():
    tx = gx.with_metrics(gx.adam(1e-3), every=1)
    seen, _ = run(tx, 6)
    logged = [told for *_, told in seen]
    stacked = {name: np.array([told[name] for told in logged]) for name in logged[0]}
    as_logged, as_curves = gx.diagnose_run(logged), gx.diagnose_run(stacked)
    assert [f.rule for f in as_logged] == [f.rule for f in as_curves]
    assert "update_ratio_too_large" not in [f.rule for f in as_logged]


def test_the_step_of_any_state():
    params = {"w": jnp.ones(2)}
    for tx in (
        gx.adam(0.1),
        gx.sgd(gx.cosine_decay(0.1, 10)),
        gx.partition({"all": (gx.select.all, gx.lion(0.1))}),
        gx.scale_by_adam(),
        optax.adam(0.1),
        gx.chain(optax.scale_by_adam(), gx.sgd(0.1)),
    ):
        state = tx.init(params)
        assert int(gx.step_of(state)) == 0
        for _ in range(3):
            _, state = tx.update(params, state, params)
        step = jax.jit(gx.step_of)(state)
        assert int(step) == int(gx.step_of(state)) == 3
        assert step.dtype == jnp.int32
    state = gx.accumulate(gx.adam(0.1), 2)
    held = state.init(params)
    for _ in range(5):
        _, held = state.update(params, held, params)
    assert int(gx.step_of(held)) == 2
    with pytest.raises(TypeError, match="nothing in this state counts steps"):
        gx.step_of(gx.scale(1.0).init(params))
