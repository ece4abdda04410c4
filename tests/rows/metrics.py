"""Transformations that measure."""

import gradxform as gx

from .row import Row, is_kernel

ROWS = (
    Row(
        "with_metrics",
        {"every": 2, "groups": {"kernels": is_kernel}, "cosine": True},
        kind="wrapper",
        positional=(gx.adamw(0.1, b1=0.85, b2=0.95, weight_decay=0.2),),
        formula="u; and norms of g, u and w, by the way",
        reads_params=True,
        odd=False,
        coordinate_local=False,  # nor are norms
        state_bytes=12,
    ),
)
