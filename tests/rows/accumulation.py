"""One update from several micro-batches."""

import gradxform as gx

from .row import Row

ROWS = (
    Row(
        "accumulate",
        {"every": 2},
        kind="wrapper",
        positional=(gx.chain(gx.clip_by_global_norm(0.5), gx.adamw(0.1, weight_decay=0.2)),),
        formula="u of Σ w g / Σ w over a window of micro-batches; else 0",
        reads_params=True,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=12,
    ),
    Row(
        "accumulate",
        {
            "every": gx.linear_schedule(1.0, 3.7, 2),
            "reduction": "sum",
            "on_nonfinite": "skip",
            "reduced": ("loss", "value"),
        },
        kind="wrapper",
        positional=(gx.scale_by_polyak(max_step_size=0.8),),
        formula="u of Σ w g, of those that are finite; windows grow",
        extra={"value": 2.5, "weight": 0.75},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        variant="sum",
    ),
)
