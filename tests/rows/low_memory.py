"""Second moments in less than a number a parameter."""

from .row import Row, is_kernel

_SHAZEER = "[Shazeer & Stern 2018](https://arxiv.org/abs/1804.04235)"
_ANIL = "[Anil 2019](https://arxiv.org/abs/1901.11150)"
_FACTORED = {"decay_rate": 0.7, "eps": 1e-6, "decay_offset": 2, "min_dim_size_to_factor": 2}

ROWS = (
    Row(
        "scale_by_factored_rms",
        _FACTORED,
        formula="β = 1 - t^-decay_rate; r, c = means of rows and columns of v, "
        "v = β v + (1 - β) (g² + eps); u = g / √(r c / mean(r))",
        paper=_SHAZEER,
        degree=0,
        plain={"eps": 0.0},
        coordinate_local=False,
        state_bytes=0.008,
        like_params=False,
        narrow_state=True,
    ),
    Row(
        "scale_by_parameter_rms",
        {"min_scale": 0.6},
        formula="u = max(min_scale, RMS(w)) g",
        paper=_SHAZEER,
        reads_params=True,
        coordinate_local=False,
    ),
    Row(
        "adafactor",
        {
            "learning_rate": 0.1,
            **_FACTORED,
            "max_rms": 0.5,
            "min_scale": 0.6,
            "momentum": 0.8,
            "weight_decay": 0.2,
            "mask": is_kernel,
        },
        kind="optimizer",
        formula="-learning_rate (scale_by_ema(scale_by_parameter_rms(clip_by_block_rms("
        "scale_by_factored_rms(g)))) + weight_decay w)",
        paper=_SHAZEER,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        coordinate_local=False,
        state_bytes=4.008,
        like_params=False,
        narrow_state=True,
    ),
    Row(
        "scale_by_sm3",
        formula="ν = g² + min of μ over the index's rows and columns; u = g / √ν; "
        "μ = max of ν over each row and column",
        paper=_ANIL,
        degree=0,
        coordinate_local=False,
        state_bytes=0.008,
        like_params=False,
        narrow_state=True,
    ),
    Row(
        "sm3",
        {"learning_rate": 0.1, "momentum": 0.8},
        kind="optimizer",
        formula="-learning_rate scale_by_ema(scale_by_sm3(g))",
        paper=_ANIL,
        degree=0,
        coordinate_local=False,
        state_bytes=4.008,
        like_params=False,
        narrow_state=True,
        read_twice=True,
    ),
)
