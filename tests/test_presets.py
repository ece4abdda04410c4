"""Presets: ordinary chains, the numbers of the recipes, and nothing to find fault with."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest
from catalog import PUBLIC

import gradxform as gx
from gradxform import presets, select

PARAMS = {
    "embed": {"embedding": np.full((10, 8), 0.3, np.float32)},
    "layer": {"kernel": np.full((8, 8), 0.3, np.float32), "bias": np.zeros(8, np.float32)},
    "norm": {"scale": np.ones(8, np.float32)},
}
STEPS = 1000
MODELS = {
    "vision_sgd": "vision",
    "transformer": "transformer",
    "finetune": "transformer",
    "recurrent": "recurrent",
    "reinforcement": "reinforcement",
    "sparse": "sparse",
}
every_preset = pytest.mark.parametrize("name", MODELS)


def made(name, **changes):
    preset = getattr(presets, name)
    return preset(**({"steps": STEPS} if name != "sparse" else {}), **changes)


def test_these_are_the_presets():
    public = {
        n
        for n, x in vars(presets).items()
        if inspect.isfunction(x) and x.__module__ == presets.__name__
    }
    assert {n for n in public if not n.startswith("_")} == {*MODELS}


@every_preset
@pytest.mark.parametrize("batch_size", [None, 512])
def test_nothing_is_found_on_a_preset(name, batch_size):
    size = {} if batch_size is None else {"batch_size": batch_size}
    sizes = {
        "batch_size": inspect.signature(getattr(presets, name)).parameters["batch_size"].default
    }
    for model in (None, MODELS[name]):
        found = gx.diagnose(
            made(name, **size),
            PARAMS,
            total_steps=STEPS,
            model=model,
            examples=50_000,
            memory_budget=10_000,
            **{**sizes, **size},
        )
        assert not found, found


@every_preset
def test_a_preset_prints_as_a_chain_that_makes_it_again(name):
    tx = made(name)
    assert repr(tx).startswith("chain(")
    assert eval(repr(tx), {**PUBLIC, "np": np, "select": select}) == tx
    assert gx.from_config(gx.to_config(tx)) == tx


@every_preset
def test_a_preset_goes_downhill(name):
    tx = made(name, peak=0.05)
    params = jnp.ones((4, 4))
    state = tx.init({"kernel": params})
    first = jnp.sum(params**2)
    for _ in range(100):
        updates, state = tx.update({"kernel": 2.0 * params}, state, {"kernel": params})
        params = gx.apply_updates({"kernel": params}, updates)["kernel"]
    assert float(jnp.sum(params**2)) < 0.9 * float(first)


def test_the_recipes_are_these():
    rate = gx.warmup(gx.cosine_decay(0.1, 950), 50)
    assert presets.vision_sgd(STEPS) == gx.chain(
        gx.add_l2_regularization(1e-4, mask=select.decayed),
        gx.scale_by_momentum(0.9),
        gx.scale_by_learning_rate(rate),
    )
    adamw = [
        gx.clip_by_global_norm(1.0),
        gx.scale_by_adam(0.9, 0.999, 1e-8),
        gx.add_decoupled_weight_decay(0.01, mask=select.decayed),
    ]
    rate = gx.warmup(gx.cosine_decay(3e-4, 950), 50)
    assert presets.transformer(STEPS) == gx.chain(*adamw, gx.scale_by_learning_rate(rate))
    rate = gx.warmup(gx.cosine_decay(3e-5, 900), 100)
    assert presets.finetune(STEPS) == gx.chain(*adamw, gx.scale_by_learning_rate(rate))
    rate = gx.warmup(gx.cosine_decay(1e-3, 980), 20)
    assert presets.recurrent(STEPS) == gx.chain(
        gx.clip_by_global_norm(1.0), gx.scale_by_rms(0.9), gx.scale_by_learning_rate(rate)
    )
    assert presets.reinforcement(STEPS) == gx.chain(
        gx.clip_by_global_norm(0.5),
        gx.scale_by_rms(0.99, 0.0, eps_root=1e-5),
        gx.scale_by_learning_rate(gx.linear_schedule(7e-4, 0.0, STEPS)),
    )
    assert presets.sparse() == gx.chain(gx.scale_by_rss(0.1), gx.scale_by_learning_rate(0.05))


def test_the_peak_is_scaled_with_the_batch_size():
    def peak(tx):
        rate = tx.parts[-1].recipe.arguments["learning_rate"]
        return rate if isinstance(rate, float) else float(jnp.max(rate(jnp.arange(STEPS))))

    for name in MODELS:
        base = inspect.signature(getattr(presets, name)).parameters["base_batch_size"].default
        factor = 4.0 if name == "vision_sgd" else 2.0
        assert peak(made(name, batch_size=4 * base)) == pytest.approx(factor * peak(made(name)))
        one = made(name, batch_size=64, base_batch_size=64, peak=0.01)
        assert peak(one) == pytest.approx(0.01)


def test_the_drops_of_vision_sgd_are_those_of_ninety_epochs():
    rate = (
        presets.vision_sgd(90, decay="steps", warmup_steps=0)
        .parts[-1]
        .recipe.arguments["learning_rate"]
    )
    values = np.asarray(rate(jnp.arange(90)))
    np.testing.assert_allclose(
        values[[0, 29, 30, 59, 60, 79, 80]],
        np.repeat([0.1, 0.01, 1e-3, 1e-4], [2, 2, 2, 1]),
        rtol=1e-5,
    )
    behind = (
        presets.vision_sgd(900, decay="steps", warmup_steps=50)
        .parts[-1]
        .recipe.arguments["learning_rate"]
    )
    values = np.asarray(behind(jnp.arange(900)))
    assert values[0] == 0.0
    np.testing.assert_allclose(
        values[[50, 299, 300, 599, 600]], [0.1, 0.1, 0.01, 0.01, 1e-3], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: presets.transformer(0), r"`transformer\(steps=0\)`.*whole number of at least 2"),
        (lambda: presets.transformer(10.5), "`steps` must be a whole number"),
        (lambda: presets.finetune(10, batch_size=0), r"`finetune\(batch_size=0\)`.*at least 1"),
        (lambda: presets.recurrent(10, peak=0.0), r"`recurrent\(peak=0.0\)`.*above 0"),
        (lambda: presets.recurrent(10, warmup_steps=10), "less than the 10 steps of the run"),
        (lambda: presets.vision_sgd(10, decay="linear"), "one of 'cosine', 'steps'"),
        (lambda: presets.vision_sgd(90, decay="steps", warmup_steps=30), "enough for three drops"),
        (lambda: presets.vision_sgd(90, momentum=1.0), "at least 0 and below 1"),
        (lambda: presets.sparse(base_batch_size=-1), r"`sparse\(base_batch_size=-1\)`"),
        (lambda: presets.reinforcement(1), "at least 2"),
    ],
)  # fmt: skip
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
