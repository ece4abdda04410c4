"""Transformations of parts of the parameters."""

import gradxform as gx

from .row import Row, is_kernel, is_vector, two_layers_below

_HOWARD = "[Howard & Ruder 2018](https://arxiv.org/abs/1801.06146)"
_GROUPS = {
    "kernels": (is_kernel, gx.adamw(0.1, b1=0.85, weight_decay=0.2)),
    "rest": (is_vector, gx.sgd(0.2, momentum=gx.tunable(0.8))),
}

ROWS = (
    Row(
        "layerwise_decay",
        {"rate": 0.5, "depth_of": two_layers_below},
        formula="u = rate^depth g, for depth layers below the output",
        paper=_HOWARD,
        degree=1,
    ),
    Row(
        "masked",
        {"mask": is_kernel},
        kind="wrapper",
        positional=(gx.scale_by_adam(0.85, 0.95),),
        formula="u of the selected parameters; the others' g",
        state_bytes=8,
        like_params=False,
    ),
    Row(
        "freeze",
        {"mask": is_vector},
        kind="wrapper",
        positional=(gx.lion(0.1, 0.85, 0.95, weight_decay=0.2),),
        formula="0 for the selected parameters; u of the others",
        reads_params=True,
        odd=False,
        state_bytes=4,
        like_params=False,
    ),
    Row(
        "partition",
        {"groups": _GROUPS},
        kind="wrapper",
        formula="to each group its own u",
        reads_params=True,
        odd=False,
        state_bytes=8,
        like_params=False,
    ),
    Row(
        "partition",
        {
            "groups": {"kernels": (is_kernel, gx.scale_by_rms(0.8))},
            "default": gx.scale_by_momentum(0.8),
        },
        kind="wrapper",
        formula="the same, with a transformation for all others",
        degree=None,
        state_bytes=4,
        like_params=False,
        variant="default",
    ),
)
