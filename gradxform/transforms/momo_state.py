"""What MoMo and MoMo-Adam remember."""

from typing import Any, NamedTuple

from jax import Array

from ..core.types import Params


class ScaleByMomoState(NamedTuple):
    """One average a parameter; the rest is numbers."""

    count: Array  # type: ignore[assignment]  # k: int32, steps taken so far
    mu: Params  # d_k: structure and shapes of the parameters
    loss: Array  # F_k: the average of the losses
    grad_dot_params: Array  # γ_k
    lower_bound: Array  # f_*: what the last step used, or the estimate for the next one
    step_size: Array  # τ_k of the last step; 0 before the first

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"step_size": self.step_size, "lower_bound": self.lower_bound}


class ScaleByMomoAdamState(NamedTuple):
    """Two averages a parameter; the rest is numbers."""

    count: Array  # type: ignore[assignment]  # k: int32, steps taken so far
    mu: Params  # d_k: structure and shapes of the parameters
    nu: Params  # v_k: likewise, real, never negative
    loss: Array  # F_k: the average of the losses, from zero
    grad_dot_params: Array  # γ_k
    lower_bound: Array  # f_*: what the last step used, or the estimate for the next one
    step_size: Array  # τ_k of the last step; 0 before the first

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {"step_size": self.step_size, "lower_bound": self.lower_bound}
