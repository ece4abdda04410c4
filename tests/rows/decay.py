"""Weight decay in its other modes."""

from .row import Row, is_kernel

_LOSHCHILOV = "[Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101)"
_DEFAZIO = "[Defazio 2025](https://arxiv.org/abs/2506.02285)"
_CHEN = "[Chen 2025](https://arxiv.org/abs/2510.12402)"

ROWS = (
    Row(
        "add_independent_weight_decay",
        {"weight_decay": 0.02, "peak_learning_rate": 0.1, "mask": is_kernel},
        formula="u = g + weight_decay / peak_learning_rate w, after the scaling",
        paper=_LOSHCHILOV,
        reads_params=True,
        plain={"weight_decay": 0.0},
        degree=1,
    ),
    Row(
        "add_corrected_weight_decay",
        {
            "weight_decay": 0.2,
            "current_learning_rate": 0.07,
            "peak_learning_rate": 0.1,
            "mask": is_kernel,
        },
        formula="u = g + weight_decay current_learning_rate / peak_learning_rate w",
        paper=_DEFAZIO,
        reads_params=True,
        plain={"weight_decay": 0.0},
        degree=1,
    ),
    Row(
        "add_cautious_weight_decay",
        {"weight_decay": 0.2, "mask": is_kernel},
        formula="u = g + weight_decay w where g w ≥ 0, else g",
        paper=_CHEN,
        reads_params=True,
        plain={"weight_decay": 0.0},
    ),
)
