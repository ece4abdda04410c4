"""What goes its own way from Adam's second moment."""

from .row import Row, is_kernel

_XIE = "[Xie 2022](https://arxiv.org/abs/2208.06677)"
_ZEILER = "[Zeiler 2012](https://arxiv.org/abs/1212.5701)"
_GINSBURG = "[Ginsburg 2019](https://arxiv.org/abs/1905.11286)"
_ZIYIN = "[Ziyin 2020](https://arxiv.org/abs/2002.04839)"
_PAGLIARDINI = "[Pagliardini 2024](https://arxiv.org/abs/2409.03137)"
_TANIGUCHI = "[Taniguchi 2024](https://arxiv.org/abs/2411.02853)"
_YUAN = "[Yuan 2024](https://arxiv.org/abs/2411.10438)"
_RATE = {"learning_rate": 0.1}
_DECAY = {"weight_decay": 0.2, "mask": is_kernel}
_MOMENTS = {"b1": 0.8, "b2": 0.95, "eps": 1e-6}
_ADAN = {"b1": 0.9, "b2": 0.7, "b3": 0.95, "eps": 1e-6}
_ADEMAMIX = {**_MOMENTS, "b3": 0.98, "alpha": 4.0}
_ADOPT = {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "clip_exponent": 0.5}
_MARS = {"gamma": 0.1, "b1": 0.8, "max_norm": 2.0}

ROWS = (
    # Blocks
    Row(
        "scale_by_adadelta",
        {"rho": 0.8, "eps": 1e-3},
        formula="u = √(E[u²] + eps) / √(E[g²] + eps) g",
        paper=_ZEILER,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_running_norm",
        {"decay": 0.8, "eps": 1e-3},
        formula="v = decay v + (1 - decay) ‖g‖², of each array; u = g / (√v + eps)",
        paper=_GINSBURG,
        degree=0,
        plain={"eps": 0.0},
        coordinate_local=False,
        like_params=False,
    ),
    Row(
        "scale_by_laprop",
        _MOMENTS,
        formula="Adam's v; m = b1 m + (1 - b1) g / (√(v / (1 - b2ᵗ)) + eps); u = m / (1 - b1ᵗ)",
        paper=_ZIYIN,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_adan",
        _ADAN,
        formula="m, d, n: means of g, of its change Δ and of (g + b2 Δ)², corrected as Adam's; "
        "u = (m + b2 d) / (√n + eps)",
        paper=_XIE,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=16,
        narrow_state=True,
    ),
    Row(
        "scale_by_ademamix",
        _ADEMAMIX,
        formula="Adam's m and v; n = b3 n + (1 - b3) g; "
        "u = (m / (1 - b1ᵗ) + alpha n) / (√(v / (1 - b2ᵗ)) + eps)",
        paper=_PAGLIARDINI,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "scale_by_adopt",
        _ADOPT,
        formula="x = g / max(√v, eps), clipped to t^clip_exponent; m = b1 m + (1 - b1) x; u = m; "
        "then v = b2 v + (1 - b2) g²",
        paper=_TANIGUCHI,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "reduce_gradient_variance",
        _MARS,
        formula="c = g + gamma b1 / (1 - b1) (g - previous g); u = c min(1, max_norm / ‖c‖), "
        "of each array",
        paper=_YUAN,
        degree=1,
        plain={"max_norm": None},
        coordinate_local=False,
        state_bytes=4,
        narrow_state=True,
    ),
    Row(
        "scale_by_mars",
        {**_MARS, "b2": 0.95, "eps": 1e-6},
        formula="u = scale_by_adam(reduce_gradient_variance(g))",
        paper=_YUAN,
        degree=0,
        plain={"eps": 0.0, "max_norm": None},
        coordinate_local=False,
        state_bytes=12,
        narrow_state=True,
    ),
    # Optimizers
    Row(
        "adadelta",
        {**_RATE, "rho": 0.8, "eps": 1e-3},
        kind="optimizer",
        formula="-learning_rate scale_by_adadelta(g)",
        paper=_ZEILER,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "novograd",
        {**_RATE, "momentum": 0.8, "decay": 0.9, "eps": 1e-3, **_DECAY},
        kind="optimizer",
        formula="-learning_rate scale_by_momentum(scale_by_running_norm(g) + weight_decay w)",
        paper=_GINSBURG,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        coordinate_local=False,
        state_bytes=4,
        like_params=False,
        narrow_state=True,
    ),
    Row(
        "laprop",
        {**_RATE, **_MOMENTS, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_laprop(g) + weight_decay w)",
        paper=_ZIYIN,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "adan",
        {**_RATE, **_ADAN, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_adan(g) + weight_decay w)",
        paper=_XIE,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=16,
        narrow_state=True,
        read_twice=True,
    ),
    Row(
        "ademamix",
        {**_RATE, **_ADEMAMIX, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_ademamix(g) + weight_decay w)",
        paper=_PAGLIARDINI,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "adopt",
        {**_RATE, **_ADOPT, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_adopt(g) + weight_decay w)",
        paper=_TANIGUCHI,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        state_bytes=8,
        narrow_state=True,
        read_twice=True,
    ),
    Row(
        "mars",
        {**_RATE, **_MARS, "b2": 0.95, "eps": 1e-6, **_DECAY},
        kind="optimizer",
        formula="-learning_rate (scale_by_mars(g) + weight_decay w)",
        paper=_YUAN,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "max_norm": None, "weight_decay": 0.0},
        coordinate_local=False,
        state_bytes=12,
        narrow_state=True,
        read_twice=True,
    ),
)

# Arguments that no row needs for its laws.
FURTHER = (
    *(
        Row(name, {**rate, "clip_exponent": None}, variant="unclipped")
        for name, rate in (("scale_by_adopt", {}), ("adopt", _RATE))
    ),
    *(
        Row(name, {**rate, "max_norm": None}, variant="unclipped")
        for name, rate in (("reduce_gradient_variance", {}), ("scale_by_mars", {}), ("mars", _RATE))
    ),
)
