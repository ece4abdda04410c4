"""Methods that set their own learning rate: from distances, from bets, from the loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .row import Row, is_kernel

_IVGI = "[Ivgi 2023](https://arxiv.org/abs/2302.12022)"
_MISHCHENKO = "[Mishchenko & Defazio 2023](https://arxiv.org/abs/2306.06101)"
_DEFAZIO = "[Defazio & Mishchenko 2023](https://arxiv.org/abs/2301.07733)"
_ORABONA = "[Orabona & Tommasi 2017](https://arxiv.org/abs/1705.07795)"
_SCHAIPP = "[Schaipp 2023](https://arxiv.org/abs/2305.07583)"
_LIU = "[Liu 2023](https://arxiv.org/abs/2305.14342)"
_KHALED = "[Khaled 2023](https://arxiv.org/abs/2305.16284)"

_PRODIGY = {
    "learning_rate": 0.8,
    "b1": 0.8,
    "b2": 0.95,
    "b3": 0.9,
    "eps": 1e-3,
    "weight_decay": 0.2,
    "d0": 1e-2,
    "d_coef": 2.0,
    "growth_rate": 3.0,
    "bias_correction": True,
    "safeguard_warmup": True,
    "mask": is_kernel,
}
_DADAPT = {
    "learning_rate": 0.8,
    "b1": 0.8,
    "b2": 0.95,
    "eps": 1e-3,
    "weight_decay": 0.2,
    "d0": 1e-2,
    "growth_rate": 3.0,
    "bias_correction": True,
    "mask": is_kernel,
}
_MOMO = {"learning_rate": 0.3, "beta": 0.8, "lower_bound": 0.3, "weight_decay": 0.2}
_MOMO_ADAM = {
    "learning_rate": 0.3,
    "b1": 0.8,
    "b2": 0.95,
    "eps": 1e-3,
    "lower_bound": 0.3,
    "weight_decay": 0.2,
}


def curvature(params: Any, key: Any) -> Any:
    """Stands for a diagonal of a Hessian: exact in every dtype, even, and of both signs."""
    del key

    def one(p: Any) -> Any:
        where = np.where if isinstance(p, np.ndarray | np.generic) else jnp.where
        return where(abs(p) > 0.5, abs(p), -abs(p))

    return jax.tree.map(one, params)


# A `Partial` may be an argument of a compiled function.
_CURVATURE = {"hessian_fn": jax.tree_util.Partial(curvature)}
_SOPHIA = {
    "b1": 0.8,
    "b2": 0.7,
    "eps": 0.05,
    "gamma": 0.5,
    "clip_threshold": 0.7,
    "interval": 3,
    "seed": 1,
}

ROWS = (
    Row(
        "scale_by_dog",
        {"reps_rel": 1e-3, "eps": 0.1},
        formula="r = max(r, ‖w - w₀‖); G = G + ‖g‖²; u = r g / √(G + eps)",
        paper=_IVGI,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        copies=1,
    ),
    Row(
        "scale_by_dog",
        {"reps_rel": 1e-3, "eps": 0.1, "init_eta": 1e-2},
        formula="as above, with u = init_eta g at first",
        paper=_IVGI,
        reads_params=True,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        copies=1,
        variant="init_eta",
    ),
    Row(
        "scale_by_dowg",
        {"r_eps": 0.03, "eps": 1e-3},
        formula="r = max(r, ‖w - w₀‖); v = v + r² ‖g‖²; u = r² g / (√v + eps)",
        paper=_KHALED,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        copies=1,
    ),
    Row(
        "dog",
        {
            "learning_rate": 0.9,
            "reps_rel": 1e-3,
            "eps": 0.1,
            "l2": 0.2,
            "init_eta": 1e-2,
            "mask": is_kernel,
        },
        kind="optimizer",
        formula="-learning_rate scale_by_dog(g + l2 w)",
        paper=_IVGI,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "l2": 0.0, "init_eta": None},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        copies=1,
    ),
    Row(
        "dowg",
        {"learning_rate": 0.9, "r_eps": 0.03, "eps": 1e-3, "l2": 0.2, "mask": is_kernel},
        kind="optimizer",
        formula="-learning_rate scale_by_dowg(g + l2 w)",
        paper=_KHALED,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "l2": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        copies=1,
    ),
    Row(
        "scale_by_prodigy",
        _PRODIGY,
        formula="Adam of d g; r = b3 r + γ d² ⟨g, w₀ - w⟩; s = b3 s + γ d² g; "
        "u = γ d (m / (√v + d eps) + weight_decay w); d = max(d, r / ‖s‖₁)",
        paper=_MISHCHENKO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=16,
        narrow_state=True,
        copies=1,
    ),
    Row(
        "scale_by_prodigy",
        {"d0": 1e-3, "eps": 1e-3},
        formula="the same, unlimited and uncorrected as in the paper",
        paper=_MISHCHENKO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=16,
        narrow_state=True,
        copies=1,
        variant="paper",
    ),
    Row(
        "prodigy",
        _PRODIGY,
        kind="optimizer",
        formula="-scale_by_prodigy(g)",
        paper=_MISHCHENKO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=16,
        narrow_state=True,
        copies=1,
    ),
    Row(
        "scale_by_dadapt_adam",
        _DADAPT,
        formula="r = √b2 r + (1 - √b2) γ d ⟨g, s / (√v + eps)⟩; s = √b2 s + (1 - √b2) γ d g; "
        "u = γ d (Adam of g + weight_decay w); d = max(d, r / ((1 - √b2) ‖s‖₁))",
        paper=_DEFAZIO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "scale_by_dadapt_adam",
        {"d0": 1e-3, "eps": 1e-3},
        formula="the same, unlimited and uncorrected as in the paper",
        paper=_DEFAZIO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=12,
        narrow_state=True,
        variant="paper",
    ),
    Row(
        "dadapt_adamw",
        _DADAPT,
        kind="optimizer",
        formula="-scale_by_dadapt_adam(g)",
        paper=_DEFAZIO,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "weight_decay": 0.0},
        leaf_local=False,
        coordinate_local=False,
        state_bytes=12,
        narrow_state=True,
    ),
    Row(
        "scale_by_cocob",
        {"alpha": 3.0, "eps": 0.5},
        formula="L = max(L, |g|); G = G + |g|; R = max(R - g (w - w₁), 0); θ = θ - g; "
        "u = w - w₁ - θ / max(G + L, alpha L) (1 + R / L)",
        paper=_ORABONA,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0},
        state_bytes=20,
        narrow_state=True,
        copies=1,
    ),
    Row(
        "cocob",
        {"learning_rate": 0.9, "alpha": 3.0, "eps": 0.5, "l2": 0.2, "mask": is_kernel},
        kind="optimizer",
        formula="-learning_rate scale_by_cocob(g + l2 w)",
        paper=_ORABONA,
        reads_params=True,
        degree=0,
        plain={"eps": 0.0, "l2": 0.0},
        state_bytes=20,
        narrow_state=True,
        copies=1,
    ),
    Row(
        "scale_by_momo",
        _MOMO,
        formula="d = beta d + (1 - beta) g; F, γ likewise of loss, ⟨g, w⟩; "
        "u = min(γ₀, max(F - f* - γ + ⟨d, w⟩, 0) / ‖d‖²) d, with γ₀ the learning rate",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 5.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        narrow_state=True,
    ),
    Row(
        "scale_by_momo",
        {**_MOMO, "lower_bound": -0.3, "adaptive_lower_bound": True},
        formula="the same, with a lower bound that follows",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 5.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        narrow_state=True,
        variant="bound",
    ),
    Row(
        "momo",
        {**_MOMO, "adaptive_lower_bound": True},
        kind="optimizer",
        formula="-scale_by_momo(g)",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 5.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        narrow_state=True,
    ),
    Row(
        "scale_by_momo_adam",
        _MOMO_ADAM,
        formula="the same with Adam's d / D for d, and ⟨d, d / D⟩ for ‖d‖²",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 5.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_momo_adam",
        {**_MOMO_ADAM, "lower_bound": -0.3, "adaptive_lower_bound": True},
        formula="the same, with a lower bound that follows",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 10.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=8,
        narrow_state=True,
        variant="bound",
    ),
    Row(
        "momo_adam",
        {**_MOMO_ADAM, "adaptive_lower_bound": True},
        kind="optimizer",
        formula="-scale_by_momo_adam(g)",
        paper=_SCHAIPP,
        reads_params=True,
        extra={"value": 10.0},
        odd=False,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "scale_by_sophia",
        _SOPHIA,
        formula="m = b1 m + (1 - b1) g; every k steps h = b2 h + (1 - b2) ĥ; "
        "u = clip(m / max(gamma h, eps), clip_threshold)",
        paper=_LIU,
        reads_params=True,
        extra=_CURVATURE,
        coordinate_local=False,  # the win rate in the state is that of all coordinates
        state_bytes=8,
        narrow_state=True,
    ),
    Row(
        "sophia",
        {"learning_rate": 0.1, **_SOPHIA, "weight_decay": 0.2, "mask": is_kernel},
        kind="optimizer",
        formula="-learning_rate (scale_by_sophia(g) + weight_decay w)",
        paper=_LIU,
        reads_params=True,
        extra=_CURVATURE,
        coordinate_local=False,  # the win rate in the state is that of all coordinates
        state_bytes=8,
        narrow_state=True,
    ),
)
