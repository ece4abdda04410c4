"""Other parameters beside those that are trained: averages, slow weights, a worst point near by."""

import jax

import gradxform as gx

from .row import Row

_POLYAK = "[Polyak & Juditsky 1992](https://doi.org/10.1137/0330046)"
_IZMAILOV = "[Izmailov 2018](https://arxiv.org/abs/1803.05407)"
_ZHANG = "[Zhang 2019](https://arxiv.org/abs/1907.08610)"
_DEFAZIO = "[Defazio 2024](https://arxiv.org/abs/2405.15682)"
_FORET = "[Foret 2021](https://arxiv.org/abs/2010.01412)"
_KWON = "[Kwon 2021](https://arxiv.org/abs/2102.11600)"


def saturating(params):
    """The gradient of a loss that is a cone far out and a bowl at 0; arrays of NumPy or JAX."""

    def one(x):
        x = x if x.dtype.itemsize > 2 else x.astype("float32")
        return x / (1.0 + abs(x))

    return jax.tree.map(one, params)


_GRAD = {"grad_fn": jax.tree_util.Partial(saturating)}

ROWS = (
    Row(
        "ema_params",
        {"decay": 0.9, "warmup": True, "debias": False, "start": 2, "every": 3},
        kind="wrapper",
        positional=(gx.sgd(0.1, momentum=0.8),),
        formula="the inner u; x = weighted mean of w + u, weights decay^age",
        paper=_POLYAK,
        reads_params=True,
        rounds_params=True,
        degree=1,
        state_bytes=8,
    ),
    Row(
        "ema_params",
        {"decay": 0.8},
        kind="wrapper",
        positional=(gx.chain(gx.clip_by_global_norm(0.7), gx.adamw(gx.tunable(0.1))),),
        formula="the same, from the first step on",
        reads_params=True,
        rounds_params=True,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=12,
        variant="clipped",
    ),
    Row(
        "average_params",
        {"start": 2, "every": 3, "power": 1.5},
        kind="wrapper",
        positional=(gx.adamw(0.1, 0.85, 0.95, weight_decay=0.2),),
        formula="the inner u; x = x + (power + 1) / (n + power) (w + u - x), every steps apart",
        paper=_IZMAILOV,
        reads_params=True,
        rounds_params=True,
        state_bytes=12,
    ),
    Row(
        "lookahead",
        {"sync_period": 3, "slow_step_size": 0.3},
        kind="wrapper",
        positional=(gx.adamw(0.1, 0.85, 0.95, weight_decay=0.2),),
        formula="the inner u; every k steps φ = φ + slow_step_size (w + u - φ), u = φ - w",
        paper=_ZHANG,
        reads_params=True,
        state_bytes=12,
    ),
    Row(
        "lookahead",
        {"sync_period": 2, "slow_step_size": 0.6},
        kind="wrapper",
        positional=(gx.chain(gx.clip_by_global_norm(0.7), gx.sgd(0.1)),),
        formula="the same",
        reads_params=True,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
        variant="clipped",
    ),
    Row(
        "schedule_free",
        {"b1": 0.8, "weight_lr_power": 1.5, "r": 0.5},
        kind="wrapper",
        positional=(gx.sgd(gx.linear_schedule(0.05, 0.3, 6)),),
        formula="z = z + inner u; x = x + c (z - x); w = (1 - b1) z + b1 x",
        paper=_DEFAZIO,
        reads_params=True,
        state_bytes=4,
    ),
    Row(
        "schedule_free",
        {"b1": 0.95},
        kind="wrapper",
        positional=(gx.adamw(0.1, 0.0, 0.95, weight_decay=0.2),),
        formula="the same",
        reads_params=True,
        state_bytes=12,
        variant="adamw",
    ),
    Row(
        "sam",
        {"rho": 0.3},
        kind="wrapper",
        positional=(gx.sgd(0.1, momentum=0.8),),
        formula="inner(∇f(w + rho g / |g|))",
        paper=_FORET,
        reads_params=True,
        rounds_params=True,
        extra=_GRAD,
        leaf_local=False,
        coordinate_local=False,
        state_bytes=4,
    ),
    Row(
        "sam",
        {"rho": 0.2, "adaptive": True, "eta": 0.1},
        kind="wrapper",
        positional=(gx.sgd(0.1),),
        formula="inner(∇f(w + rho T² g / |T g|)), T = |w| + eta",
        paper=_KWON,
        reads_params=True,
        rounds_params=True,
        extra=_GRAD,
        leaf_local=False,
        coordinate_local=False,
        variant="adaptive",
    ),
)
