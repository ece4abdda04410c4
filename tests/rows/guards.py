"""Guards and mixed precision."""

import gradxform as gx

from .row import Row

_MICIKEVICIUS = "[Micikevicius 2018](https://arxiv.org/abs/1710.03740)"
_MOMENTUM = gx.chain(gx.scale_by_momentum(0.8), gx.scale_by_learning_rate(0.1))
_ADAMW = gx.adamw(0.1, b2=0.95, eps=1e-3, weight_decay=0.3)

ROWS = (
    Row(
        "skip_nonfinite",
        {"max_consecutive": 3, "on_exceeded": "apply"},
        kind="wrapper",
        positional=(_MOMENTUM,),
        formula="u = 0, state kept, where g is not finite",
        degree=1,
        coordinate_local=False,
        state_bytes=4,
    ),
    Row(
        "skip_nonfinite",
        {"max_consecutive": 2},
        kind="wrapper",
        variant="adamw",
        positional=(_ADAMW,),
        formula="likewise",
        reads_params=True,
        coordinate_local=False,
        state_bytes=8,
    ),
    Row(
        "skip_spikes",
        # The warm-up is longer than the laws are, in which nothing is to be skipped.
        {"sigma": 1.2, "window": 10, "warmup": 5, "max_consecutive": 2},
        kind="wrapper",
        positional=(_MOMENTUM,),
        formula="u = 0, state kept, where log of norm(g) > mean + sigma std of the last ones",
        paper="[ZClip 2025](https://arxiv.org/abs/2504.02507)",
        degree=1,
        coordinate_local=False,
        state_bytes=4,
    ),
    Row(
        "skip_spikes",
        {"sigma": 4.0, "window": 6, "watch": "loss", "warmup": 3},
        kind="wrapper",
        variant="loss",
        positional=(_ADAMW,),
        formula="likewise, where the loss is",
        reads_params=True,
        extra={"value": 2.5},
        coordinate_local=False,
        state_bytes=8,
    ),
    Row(
        "dynamic_loss_scale",
        {
            "init_scale": 8.0,
            "growth_factor": 3.0,
            "backoff_factor": 0.25,
            "growth_interval": 3,
            "min_scale": 2.0,
            "max_scale": 100.0,
        },
        kind="wrapper",
        positional=(_MOMENTUM,),
        formula="u(g / S); no step where g overflows; S grows after clean steps, else falls",
        paper=_MICIKEVICIUS,
        degree=1,
        coordinate_local=False,
        state_bytes=4,
    ),
    Row(
        "master_weights",
        kind="wrapper",
        positional=(_ADAMW,),
        formula="m = m + u in float32; p = round(m)",
        paper=_MICIKEVICIUS,
        reads_params=True,
        wide_updates=True,
        like_params=False,
        state_bytes=8,
    ),
    Row(
        "master_weights",
        kind="wrapper",
        variant="in a chain",
        positional=(gx.chain(gx.clip_by_global_norm(0.7), _MOMENTUM),),
        formula="likewise",
        paper=_MICIKEVICIUS,
        reads_params=True,
        wide_updates=True,
        leaf_local=False,
        coordinate_local=False,
        like_params=False,
        state_bytes=4,
    ),
)
