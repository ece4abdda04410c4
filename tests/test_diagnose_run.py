"""`diagnose_run`: each rule on curves made for it, and on curves that are fine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

N = 400
T = np.arange(N)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=N)
LOSS = 0.5 + 2.0 * np.exp(-T / 80) + 0.02 * NOISE
RATE = 1e-3 * np.minimum(T / 20, 1.0) * 0.5 * (1 + np.cos(np.pi * T / N))
NORM = 1.0 + 0.1 * np.abs(NOISE)
VALIDATION = np.where(T % 20 == 0, LOSS + 0.1, np.nan)
# A training with nothing wrong, with every metric that the rules know.
HEALTHY = {
    "loss": LOSS,
    "validation_loss": VALIDATION,
    "learning_rate": RATE,
    "gradient_norm": NORM,
    "clipped_norm": np.minimum(NORM, 1.2),
    "clip_fraction": np.full(N, 0.05),
    "update_norm": 1e-2 * RATE / RATE.max(),
    "param_norm": np.full(N, 10.0),
    "update_ratio": 1e-3 * RATE / RATE.max(),
    "update_cosine": 0.4 + 0.1 * NOISE,
    "zero_fraction": np.full(N, 0.3),
    "nonfinite_fraction": np.zeros(N),
    "skipped_steps": np.minimum(T, 3),
    "loss_scale": 2.0 ** (15 + T // 200),
    **{f"layer_{i}/gradient_norm": NORM * 0.7**i for i in range(6)},
}
BARE = {name: x for name, x in HEALTHY.items() if name not in ("clip_fraction", "learning_rate")}


def changed(values, at, value):
    copy = np.array(values, float)
    copy[at] = value
    return copy


FIRES = {
    "nonfinite_values": [
        {"loss": changed(LOSS, slice(300, None), np.nan)},
        {"gradient_norm": changed(NORM, 17, np.inf)},
        {"loss": np.full(N, np.nan)},
        {"nonfinite_fraction": changed(np.zeros(N), 5, 0.01)},
        {"head/param_norm": changed(NORM, slice(10, None), np.nan)},
    ],
    "loss_diverged": [{"loss": 2.0 + T / N}, {"loss": np.where(T < 390, LOSS, 10.0)}],
    "loss_scale_at_floor": [{"loss_scale": np.maximum(2.0 ** (15 - T // 5), 1.0)}],
    "skipped_steps": [{"skipped_steps": T // 10}],
    "spikes": [
        {"loss": changed(LOSS, 200, 5.0)},
        {"gradient_norm": changed(NORM, [100, 250], 30.0)},
    ],
    "update_ratio_too_large": [
        {"update_ratio": np.full(N, 0.05)},
        {"head/update_ratio": jnp.full(N, 0.1, jnp.bfloat16)},
    ],
    "update_ratio_too_small": [{"update_ratio": np.full(N, 1e-6)}],
    "steps_go_back_and_forth": [{"update_cosine": np.full(N, -0.6)}],
    "clipping_on_nearly_every_step": [
        {"clip_fraction": np.full(N, 0.97)},
        {"gradient_norm": NORM, "clipped_norm": np.full(N, 0.5)},
        {"a/gradient_norm": NORM, "a/clipped_norm": np.full(N, 0.5)},
    ],
    "learning_rate_never_moved": [{"learning_rate": np.full(N, 0.1)}],
    "dead_groups": [
        {"head/gradient_norm": np.where(T < 100, 1.0, 0.0)},
        {"update_norm": np.zeros(N)},
        {"embed/zero_fraction": np.full(N, 1.0)},
    ],
    "gradients_change_with_depth": [
        {f"layer_{i}/gradient_norm": NORM * 10.0**i for i in range(6)},
        {f"encoder/{i}/gradient_norm": NORM * 10.0 ** (3 - i) for i in range(5)},
        {f"layers_{i}/kernel/gradient_norm": NORM * 5.0**i for i in range(12)},
    ],
    "training_and_validation_part": [
        {"loss": LOSS, "validation_loss": 1.0 + ((T - 150) / 200) ** 2},
        {"loss": LOSS,
         "validation_loss": np.where(T % 20 == 0, 1.0 + ((T - 150) / 200) ** 2, np.nan)},
    ],
}  # fmt: skip
SILENT = {
    "nonfinite_values": [
        {"loss": np.where(T % 10 == 0, LOSS, np.nan)},
        {"validation_loss": changed(np.full(N, np.nan), [0, 200, 390], 1.0)},
    ],
    "loss_diverged": [{"loss": LOSS[::-1][:10]}, {"loss": 1.0 + 0.01 * NOISE}],
    "loss_scale_at_floor": [{"loss_scale": np.ones(N)}, {"loss_scale": 2.0 ** (15 - T // 50)}],
    "skipped_steps": [{"skipped_steps": np.minimum(T, 5)}, {"skipped_steps": np.ones(3)}],
    "spikes": [{"loss": LOSS}, {"loss": 10 * np.exp(-T / 5)}, {"loss": LOSS[:30]}],
    "update_ratio_too_large": [
        {"update_ratio": np.where(T < 30, 0.5, 1e-3)},
        {"update_ratio": np.where(T < 30, 0.5, 1e-3), "learning_rate": np.where(T < 30, 0, 0.1)},
    ],
    "update_ratio_too_small": [
        {"update_ratio": np.where(T > 250, 1e-7, 1e-3)},
        {"update_ratio": np.where(T < 300, 1e-6, 1e-3), "learning_rate": np.where(T < 300, 0, 1.0)},
        {"update_ratio": np.zeros(N)},
    ],
    "steps_go_back_and_forth": [{"update_cosine": -0.2 + 0 * T}],
    "clipping_on_nearly_every_step": [
        {"gradient_norm": NORM, "clipped_norm": np.minimum(NORM, 1.1)},
        {"clip_fraction": np.where(T < 200, 1.0, 0.1)},
    ],
    "learning_rate_never_moved": [{"learning_rate": RATE}, {"learning_rate": np.full(50, 0.1)}],
    "dead_groups": [{"embed/zero_fraction": np.full(N, 0.9)}, {"update_norm": T % 2}],
    "gradients_change_with_depth": [
        {f"layer_{i}/gradient_norm": NORM * 10.0 ** (5 * (i % 2)) for i in range(6)},
        {f"layer_{i}/gradient_norm": NORM * 1e4**i for i in range(2)},
        {f"a{i}/b{i}/gradient_norm": NORM * 10.0**i for i in range(6)},
    ],
    "training_and_validation_part": [
        {"loss": LOSS, "validation_loss": LOSS + 0.3},
        {"loss": LOSS, "validation_loss": VALIDATION},
        {"loss": np.full(N, 1.0), "validation_loss": 1.0 + ((T - 150) / 200) ** 2},
        {"loss": LOSS},
    ],
}


def found(metrics):
    return {finding.rule for finding in gx.diagnose_run(metrics)}


@pytest.mark.parametrize("rule", gx.RUN_RULES)
def test_each_rule_fires(rule):
    for metrics in FIRES[rule]:
        assert rule in found(metrics), metrics.keys()


@pytest.mark.parametrize("rule", gx.RUN_RULES)
def test_each_rule_stays_silent(rule):
    for metrics in SILENT[rule]:
        assert rule not in found(metrics), metrics.keys()


def test_nothing_is_found_in_a_healthy_run():
    for metrics in (HEALTHY, BARE):
        report = gx.diagnose_run(metrics)
        assert not report, report
    assert str(report).startswith("a run of 400 steps: nothing found by 13 rules")


def test_what_is_seen_has_its_numbers():
    (finding,) = gx.diagnose_run({"loss": changed(LOSS, 200, 5.0)})
    assert finding.seen == "`loss` far above the steps around it at step 200: 5 at the first"
    (finding,) = gx.diagnose_run({"head/update_ratio": np.full(N, 0.05)})
    assert "`head/update_ratio`: 0.05 at the median" in finding.seen
    assert "about 50 times smaller for `head`" in finding.instead
    layers = {f"layer_{i}/gradient_norm": np.full(N, 10.0 ** (i - 5)) for i in range(12)}
    (finding,) = gx.diagnose_run(layers)
    assert "from 1e+06 in `layer_11` to 1e-05 in `layer_0`, over 12 layers" in finding.seen
    assert "vanish" in finding.why
    (finding,) = gx.diagnose_run({"loss": LOSS, "validation_loss": 1 + ((T - 150) / 200) ** 2})
    assert "since step 150" in finding.seen or "since step 149" in finding.seen


def test_what_a_scan_returns_is_taken_as_it_is():
    tx = gx.chain(gx.clip_by_global_norm(0.1), gx.sgd(0.1))

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(lambda p: jnp.sum(p**2))(params)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), {
            "loss": loss,
            "clip_fraction": (jnp.linalg.norm(grads) > 0.1).astype(jnp.float32),
            **gx.hyperparams(state),
        }

    params = jnp.full(3, 5.0)
    _, metrics = jax.lax.scan(step, (params, tx.init(params)), length=200)
    assert found(metrics) == {"clipping_on_nearly_every_step", "learning_rate_never_moved"}


def test_names_that_no_rule_knows_are_said():
    report = gx.diagnose_run({"accuracy": [0.1, 0.2]})
    assert not report
    assert "none of the metrics has a name that the rules know: loss, val" in report.notes[0]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({}, "there are no metrics"),
        ([1.0], "entry 0 of the list must be a dict of metrics; got 1.0"),
        (1.0, "the metrics must be a dict of curves, a list of dicts"),
        ({"loss": 1.0}, r"`loss` must be a curve, one number a step.*`jax.lax.scan`"),
        ({"loss": np.ones((2, 2))}, "`loss` must be a curve"),
        ({"loss": []}, "`loss` must be a curve"),
        ({"loss": ["a"]}, "`loss` must be a curve"),
        ({"loss": np.array([1j])}, "`loss` must be a curve"),
        ({"loss": [[1.0], [1.0, 2.0]]}, "`loss` must be a curve"),
        ({"loss": LOSS, "update_norm": LOSS[:9]}, "`update_norm` has 9 values and others have 400"),
    ],
)
def test_bad_input(metrics, message):
    with pytest.raises(ValueError, match=rf"`diagnose_run\(\.\.\.\)`: .*{message}"):
        gx.diagnose_run(metrics)


def test_it_reads_whatever_plot_run_reads():
    """A list of dicts, of epochs as `scan` stacks them, with steps of their own, several runs."""
    whole = {"loss": changed(LOSS, 200, 5.0), "validation_loss": np.where(T % 10, np.nan, LOSS)}
    expected = gx.diagnose_run(whole)
    assert expected
    by_step = [{"step": i, "loss": x} for i, x in enumerate(whole["loss"])]
    by_step += [{"step": i, "validation_loss": LOSS[i]} for i in range(0, len(T), 10)]
    epochs = [
        {k: jnp.asarray(x[i : i + 50]) for k, x in whole.items()} for i in range(0, len(T), 50)
    ]
    for metrics in (by_step, epochs, [{k: x[i] for k, x in whole.items()} for i in range(len(T))]):
        assert [f.rule for f in gx.diagnose_run(metrics)] == [f.rule for f in expected]
    both = gx.diagnose_run({"a": {"loss": LOSS}, "b": epochs})
    assert both.subject == f"2 runs of {len(T)} steps"
    assert [f.seen.partition(": ")[0] for f in both] == ["`b`"] * len(expected)
