"""Transformations made of transformations."""

import gradxform as gx

from .row import Row

_LIANG = "[Liang 2024](https://arxiv.org/abs/2411.16085)"

ROWS = (
    Row(
        "cautious",
        {"xi": 0.5},
        kind="wrapper",
        positional=(gx.scale_by_lion(0.85, 0.95),),
        formula="φ = 1 where u g > 0, else 0; u = u φ size / (Σ φ + xi)",
        paper=_LIANG,
        degree=0,
        coordinate_local=False,
        state_bytes=4,
    ),
)
