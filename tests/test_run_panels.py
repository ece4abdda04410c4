"""Pictures of training runs, read back from the lines that are drawn."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

import gradxform as gx
from gradxform import select

matplotlib.use("Agg")
NAN = float("nan")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def lines(ax):
    """The curves by their labels, without the marks."""
    return {
        line.get_label(): [list(map(float, xs)) for xs in line.get_data()]
        for line in ax.lines
        if line.get_linestyle() != "None"
    }


def marks(ax, label):
    found = [line for line in ax.lines if line.get_label() == label]
    return [(line.get_marker(), [*map(float, line.get_xdata())]) for line in found]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_log_of_dicts_is_drawn_where_it_was_logged():
    log = [{"step": 10 * i, "loss": 2.0 - i, "learning_rate": 0.1} for i in range(3)]
    log[0]["val_loss"] = log[2]["val_loss"] = 3.0
    axes = gx.plot_run(log)
    assert [*axes] == ["loss", "learning_rate"]
    assert lines(axes["loss"]) == {
        "loss": [[0, 10, 20], [2, 1, 0]],
        "val_loss": [[0, 20], [3, 3]],  # no gap where it was not logged
    }
    assert lines(axes["learning_rate"]) == {"learning_rate": [[0, 10, 20], [0.1, 0.1, 0.1]]}
    assert axes["loss"].get_title(loc="left") == "loss"
    assert legend(axes["loss"]) == ["loss", "val"]
    assert axes["learning_rate"].get_legend() is None
    assert [ax.get_xlabel() for ax in axes.values()] == ["step", "step"]


def test_without_a_step_the_place_in_the_list_counts():
    axes = gx.plot_run({"loss": [3.0, 2.0, 1.0]})
    assert lines(axes["loss"]) == {"loss": [[0, 1, 2], [3, 2, 1]]}
    chunks = [{"loss": jnp.array([4.0, 3.0])}, {"loss": jnp.array([2.0])}, {"loss": 1.0}]
    assert lines(gx.plot_run(chunks)["loss"]) == {"loss": [[0, 1, 2, 3], [4, 3, 2, 1]]}


def test_values_that_are_no_numbers_are_gaps_with_a_cross_above():
    values = [1.0, NAN, 2.0, np.inf, 3.0, 4.0]
    ax = gx.plot_run({"loss": values})["loss"]
    ((x, y),) = lines(ax).values()
    assert x == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(y, [1, NAN, 2, NAN, 3, 4])
    assert marks(ax, "not finite") == [("x", [1, 3])]
    dots = [line for line in ax.lines if line.get_marker() == "."]  # no line goes through these
    assert [[*map(float, line.get_xdata())] for line in dots] == [[0, 2]]
    assert legend(ax) == ["not finite"]


def test_skipped_steps_are_marked_below_every_panel():
    axes = gx.plot_run(
        {
            "step": [1, 2, 3, 4],
            "loss": [4.0, NAN, 3.0, 2.0],
            "update_ratio": [1e-3] * 4,
            "skipped_steps": [0, 1, 1, 3],
            "last_skipped": [False, True, False, True],
        }
    )
    assert [*axes] == ["loss", "update_ratio"]
    for ax in axes.values():
        assert marks(ax, "skipped") == [("|", [2, 4])]
    assert legend(axes["loss"]) == ["not finite", "skipped"]
    ratio = axes["update_ratio"]
    assert lines(ratio)["healthy"][1] == [1e-3, 1e-3]
    assert ratio.get_yscale() == "log"
    assert ratio.texts[0].get_text() == "about 1e-3 is healthy"


def test_norms_share_a_logarithmic_axis_the_gradient_below_what_became_of_it():
    axes = gx.plot_run(
        {
            "clipped_norm": [1.0, 1.0, 0.5],
            "gradient_norm": [100.0, 1.0, 0.5],
            "update_norm": [0.0, 1e-3, 1e-3],
            "clip_fraction": [1.0, 0.5, 0.3],
        }
    )
    assert [*axes] == ["norms", "fractions"]
    norms = axes["norms"]
    assert [*lines(norms)] == ["gradient_norm", "clipped_norm", "update_norm"]
    assert legend(norms) == ["gradient", "clipped", "update"]
    assert norms.get_yscale() == "log"
    assert axes["fractions"].get_ylim() == (-0.04, 1.04)
    assert axes["fractions"].get_title(loc="left") == "clip fraction"


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("loss", [10.0, 0.1], "log"),
        ("loss", [10.0, 1.0], "linear"),
        ("loss", [10.0, -1.0], "linear"),
        ("param_norm", [5.0, 6.0], "linear"),
        ("distance", [1e-6, 1.0], "log"),
        ("accuracy", [0.1, 0.9], "linear"),
        ("loss_scale", [32768.0, 2.0**28], "log"),
        ("update_norm", [0.0, NAN], "linear"),
    ],
)
def test_the_scale_follows_the_values(name, values, scale):
    ((panel, ax),) = gx.plot_run({name: values}).items()
    assert panel == ("norms" if name.endswith("norm") else name)
    assert ax.get_yscale() == scale


def test_groups_are_drawn_together_in_the_same_colours():
    axes = gx.plot_run(
        {
            "loss": [2.0, 1.0],
            "head/update_norm": [1.0, 2.0],
            "update_norm": [3.0, 4.0],
            "body/update_norm": [5.0, 6.0],
            "head/learning_rate": [0.1, 0.1],
            "body/learning_rate": [0.2, 0.2],
        }
    )
    assert [*axes] == ["loss", "learning_rate", "update_norm"]
    assert [*lines(axes["update_norm"])] == ["head/update_norm", "update_norm", "body/update_norm"]
    color = {line.get_label(): line.get_color() for ax in axes.values() for line in ax.lines}
    assert color["head/update_norm"] == color["head/learning_rate"]
    assert color["body/update_norm"] == color["body/learning_rate"]
    assert color["update_norm"] == color["loss"]
    assert len({*color.values()}) == 3
    (names,) = axes["loss"].figure.legends
    assert [text.get_text() for text in names.get_texts()] == ["all", "head", "body"]


def test_runs_of_different_lengths_are_drawn_together():
    axes = gx.plot_run(
        {
            "long": [{"loss": 3.0 - i, "val_loss": 3.5 - i} for i in range(3)],
            "short": {"loss": [2.0, 1.5], "skipped_steps": [0, 1]},
        }
    )
    assert lines(axes["loss"]) == {
        "long/loss": [[0, 1, 2], [3, 2, 1]],
        "long/val_loss": [[0, 1, 2], [3.5, 2.5, 1.5]],
        "short/loss": [[0, 1], [2, 1.5]],
    }
    by_name = {line.get_label(): line for line in axes["loss"].lines}
    assert by_name["long/loss"].get_color() == by_name["long/val_loss"].get_color()
    assert by_name["long/loss"].get_linestyle() != by_name["long/val_loss"].get_linestyle()
    assert by_name["skipped"].get_color() == by_name["short/loss"].get_color()


def test_axes_that_are_passed_choose_the_panels():
    figure, mosaic = pyplot.subplot_mosaic([["update_ratio", "loss"]])
    run = {"loss": [1.0, 2.0], "update_ratio": [1e-3, 1e-2], "param_norm": [1.0, 1.0]}
    axes = gx.plot_run(run, mosaic)
    assert axes == mosaic
    assert [len(lines(ax)) for ax in axes.values()] == [2, 1]
    assert len(figure.axes) == 2
    groups = gx.plot_run(
        {f"{name}/param_norm": [1.0] for name in "ab"}, {"param_norm": mosaic["loss"]}
    )
    assert legend(groups["param_norm"]) == ["a", "b"]
    assert figure.legends == []
    with pytest.raises(ValueError, match=r"panels of this run are: loss, norms, update_ratio\."):
        gx.plot_run(run, {"norm": mosaic["loss"]})
    with pytest.raises(ValueError, match="`axes` must be a dict from the names of panels"):
        gx.plot_run(run, mosaic["loss"])


def test_what_a_scan_stacks_is_drawn():
    params = {"head": jnp.ones(3), "body": jnp.ones((2, 2))}
    groups = {"head": select.path("head"), "body": select.path("body")}
    tx = gx.skip_nonfinite(
        gx.with_metrics(gx.adam(gx.linear_schedule(0.1, 0.0, 5)), 1, groups=groups), 9
    )

    def step(carry, bad):
        params, state = carry
        grads = jax.tree.map(lambda p: jnp.where(bad, jnp.nan, p), params)
        updates, state = tx.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), gx.metrics(state)

    bad = jnp.array([False, False, True, False, False])
    _, run = jax.lax.scan(step, (params, tx.init(params)), bad)
    axes = gx.plot_run(run)
    assert {"learning_rate", "gradient_norm", "update_ratio", "fractions"} <= {*axes}
    assert {*lines(axes["gradient_norm"])} == {
        *("gradient_norm", "head/gradient_norm", "body/gradient_norm")
    }
    rate = lines(axes["learning_rate"])["learning_rate"]
    np.testing.assert_allclose(rate, [run["step"], run["learning_rate"]])
    assert [x for _, x in marks(axes["learning_rate"], "skipped")] == [[float(run["step"][2])]]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([], "there are no metrics"),
        ({"step": [1, 2]}, "there are no metrics"),
        (3.0, "must be a dict of curves, a list of dicts.*got 3.0"),
        ([1.0, 2.0], r"entry 0 of the list must be a dict of metrics; got 1\.0"),
        ({"a": {"loss": [1.0]}, "b": 3.0}, r"got 3\.0 of `b`"),
        (
            {"loss": [1.0, 2.0], "val_loss": [1.0]},
            "`val_loss` has 1 values and others have 2.*list",
        ),
        ({"loss": np.ones((2, 3))}, r"`loss` must be a curve.*shape \[2, 3\].*'seed 0'"),
        ({"loss": ["low"]}, r"`loss` must be a curve, one number a step; got \['low'\]"),
        ([{"loss": [1.0, 2.0], "step": 3}], "`loss` has 2 values and its dict 1 steps"),
    ],
)
def test_what_cannot_be_drawn_is_answered_in_a_sentence(metrics, message):
    with pytest.raises(ValueError, match=rf"`plot_run\(\.\.\.\)`: .*{message}"):
        gx.plot_run(metrics)
