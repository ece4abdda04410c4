"""Small arrays as one vector: the same numbers in another place."""

import gradxform as gx

from .row import Row

ROWS = (
    Row(
        "bucket",
        {"max_size": 12},
        kind="wrapper",
        positional=(gx.adamw(0.1, b1=0.8, b2=0.9, weight_decay=0.05),),
        formula="the inner u of v = (p_1, ..., p_n)",
        paper="",
        reads_params=True,
        state_bytes=8,
        in_vectors=True,
    ),
    Row(
        "bucket",
        {"max_size": 6},
        variant="clipped",
        kind="wrapper",
        positional=(gx.chain(gx.clip_by_global_norm(0.5), gx.sgd(0.1, momentum=0.8)),),
        formula="the inner u of v = (p_1, ..., p_n)",
        paper="",
        reads_params=True,
        state_bytes=4,
        leaf_local=False,
        coordinate_local=False,
        in_vectors=True,
    ),
)
