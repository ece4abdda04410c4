"""Methods whose steps follow the loss or its curvature, which `update` is told."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .row import Row, is_kernel

_SCHAIPP = "[Schaipp 2023](https://arxiv.org/abs/2305.07583)"
_LIU = "[Liu 2023](https://arxiv.org/abs/2305.14342)"

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
