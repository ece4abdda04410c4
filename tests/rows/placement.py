"""Where the state lives."""

import gradxform as gx

from .row import Row

ROWS = (
    Row(
        "offload_to_host",
        kind="wrapper",
        positional=(gx.adamw(gx.tunable(0.1), 0.85, 0.95, weight_decay=0.2),),
        formula="the inner u; its state in the host's memory",
        reads_params=True,
        state_bytes=8,
        on_host=True,
    ),
)
