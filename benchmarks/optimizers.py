"""The optimizers that both libraries have: calls that compute the same numbers.

Defaults differ between the libraries, so the arguments that matter are given to both. Where the
two do not compute the same whatever the arguments are, the pair says why; its times are compared
all the same, because the work is.
"""

from collections.abc import Callable
from typing import NamedTuple

import optax
from problem import B1, B2, EPS, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY

import gradxform as gx

Transformation = optax.GradientTransformation


class Pair(NamedTuple):
    """One optimizer, here and in Optax."""

    ours: Callable[[], Transformation]
    theirs: Callable[[], Transformation]
    takes_value: bool = False  # whether `update` is given the loss
    differs: str = ""  # why the numbers differ


PAIRS: dict[str, Pair] = {
    "adabelief": Pair(
        lambda: gx.adabelief(1e-3, eps=1e-10),
        lambda: optax.adabelief(1e-3, eps=1e-10, eps_root=1e-10),
    ),
    "adadelta": Pair(lambda: gx.adadelta(1.0, 0.9), lambda: optax.adadelta(1.0, 0.9)),
    "adafactor": Pair(
        lambda: gx.adafactor(1e-2, momentum=0.9), lambda: optax.adafactor(1e-2, momentum=0.9)
    ),
    "adagrad": Pair(
        lambda: gx.adagrad(1e-3, 0.1, 0.0, eps_root=1e-7),
        lambda: optax.adagrad(1e-3, 0.1, 1e-7),
    ),
    "adam": Pair(lambda: gx.adam(1e-3), lambda: optax.adam(1e-3)),
    "adamax": Pair(lambda: gx.adamax(1e-3), lambda: optax.adamax(1e-3)),
    "adamaxw": Pair(
        lambda: gx.adamaxw(1e-3, weight_decay=0.01), lambda: optax.adamaxw(1e-3, weight_decay=0.01)
    ),
    "adamw": Pair(
        lambda: gx.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=WEIGHT_DECAY),
        lambda: optax.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=WEIGHT_DECAY),
    ),
    # At other values of b2 Optax weighs the difference of gradients otherwise than the paper.
    "adan": Pair(
        lambda: gx.adan(1e-3, b2=0.5, weight_decay=0.0),
        lambda: optax.adan(1e-3, b2=0.5, eps_root=0.0),
    ),
    "ademamix": Pair(lambda: gx.ademamix(1e-3), lambda: optax.contrib.ademamix(1e-3)),
    "adopt": Pair(lambda: gx.adopt(1e-3), lambda: optax.contrib.adopt(1e-3)),
    "amsgrad": Pair(
        lambda: gx.amsgrad(1e-3, bias_correction="before"), lambda: optax.amsgrad(1e-3)
    ),
    "cocob": Pair(lambda: gx.cocob(), lambda: optax.contrib.cocob()),
    "dadapt_adamw": Pair(
        lambda: gx.dadapt_adamw(d0=1e-3, bias_correction=True),
        lambda: optax.contrib.dadapt_adamw(estim_lr0=1e-3),
    ),
    "dog": Pair(
        lambda: gx.dog(reps_rel=1e-2), lambda: optax.contrib.dog(init_step=("heuristic", 1e-2))
    ),
    "dowg": Pair(
        lambda: gx.dowg(1.0, r_eps=0.1), lambda: optax.contrib.dowg(init_estim_sq_dist=0.01)
    ),
    "fromage": Pair(lambda: gx.fromage(1e-2), lambda: optax.fromage(1e-2)),
    "lamb": Pair(
        lambda: gx.lamb(1e-3, weight_decay=0.01), lambda: optax.lamb(1e-3, weight_decay=0.01)
    ),
    "lars": Pair(lambda: gx.lars(1.0, weight_decay=0.0), lambda: optax.lars(1.0)),
    "lion": Pair(lambda: gx.lion(1e-4), lambda: optax.lion(1e-4)),
    # Optax adds eps to the learning rate.
    "madgrad": Pair(lambda: gx.madgrad(1e-3 + 1e-6), lambda: optax.contrib.madgrad(1e-3)),
    "momo": Pair(lambda: gx.momo(), lambda: optax.contrib.momo(), takes_value=True),
    "momo_adam": Pair(lambda: gx.momo_adam(), lambda: optax.contrib.momo_adam(), takes_value=True),
    "nadam": Pair(lambda: gx.nadam(1e-3), lambda: optax.nadam(1e-3)),
    "nadamw": Pair(
        lambda: gx.nadamw(1e-3, weight_decay=0.01), lambda: optax.nadamw(1e-3, weight_decay=0.01)
    ),
    "noisy_sgd": Pair(
        lambda: gx.noisy_sgd(1.0, 1e-8),
        lambda: optax.noisy_sgd(1.0, 1e-8, seed=0),
        differs="other random numbers",
    ),
    "novograd": Pair(lambda: gx.novograd(1e-3, 0.9, 0.25, 1e-6), lambda: optax.novograd(1e-3)),
    "optimistic_adam": Pair(
        lambda: gx.optimistic_adam(1e-3),
        lambda: optax.optimistic_adam_v2(1e-3, nesterov=False),
    ),
    "optimistic_gradient_descent": Pair(
        lambda: gx.optimistic_gradient_descent(1.0), lambda: optax.optimistic_gradient_descent(1.0)
    ),
    "polyak_sgd": Pair(lambda: gx.polyak_sgd(c=1.0), lambda: optax.polyak_sgd(), takes_value=True),
    "prodigy": Pair(
        lambda: gx.prodigy(d0=1e-3, bias_correction=True),
        lambda: optax.contrib.prodigy(estim_lr0=1e-3),
    ),
    "radam": Pair(
        lambda: gx.radam(1e-3, threshold=5.0),
        lambda: optax.radam(1e-3, threshold=5.0),
        differs="Optax's first adapted steps are 1 % off: its rho_t cancels digits in float32",
    ),
    "rmsprop": Pair(lambda: gx.rmsprop(1e-3, eps=0.0, eps_root=1e-8), lambda: optax.rmsprop(1e-3)),
    "rprop": Pair(
        lambda: gx.rprop(1e-3),
        lambda: optax.rprop(1e-3),
        differs="Optax takes each step one step later",
    ),
    "sgd": Pair(lambda: gx.sgd(1.0), lambda: optax.sgd(1.0)),
    "sgd-momentum": Pair(lambda: gx.sgd(1.0, 0.9), lambda: optax.sgd(1.0, 0.9)),
    "sign_sgd": Pair(lambda: gx.sign_sgd(1e-3), lambda: optax.sign_sgd(1e-3)),
    "signum": Pair(lambda: gx.signum(1e-3, 0.9), lambda: optax.signum(1e-3, 0.9)),
    "sm3": Pair(
        lambda: gx.sm3(1e-3),
        lambda: optax.chain(optax.scale_by_sm3(b1=0.9, eps=0.0), optax.scale(-1e-3)),
    ),
    # `optax.yogi` starts the first moment at 1e-6, too.
    "yogi": Pair(
        lambda: gx.yogi(1e-3, bias_correction=True),
        lambda: optax.chain(
            optax.scale_by_yogi(initial_accumulator_value=0.0), optax.scale_by_learning_rate(1e-3)
        ),
    ),
}

# The rest of the catalog.
WITHOUT_COUNTERPART = {
    "laprop": "Optax has none.",
    "mars": "Optax has none.",
    "sophia": "Its step is mostly the estimate of the loss's curvature; there is no loss here.",
}
CLIPPED = "clip-"
NAMES = tuple(clip + name for name in PAIRS for clip in ("", CLIPPED))


def pair_of(optimizer: str) -> Pair:
    """The pair of a name, which may begin with `clip-`."""
    return PAIRS[optimizer.removeprefix(CLIPPED)]


def gradxform(optimizer: str) -> Transformation:
    """The optimizer of that name, here."""
    tx = pair_of(optimizer).ours()
    if not optimizer.startswith(CLIPPED):
        return tx
    return gx.chain(gx.clip_by_global_norm(MAX_NORM), tx)


def with_optax(optimizer: str) -> optax.GradientTransformationExtraArgs:
    """The optimizer of that name, in Optax."""
    tx = optax.with_extra_args_support(pair_of(optimizer).theirs())
    if not optimizer.startswith(CLIPPED):
        return tx
    return optax.chain(optax.clip_by_global_norm(MAX_NORM), tx)
