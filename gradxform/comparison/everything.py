"""Every optimizer of the library, each with a grid of its own scale."""

from collections.abc import Callable

import optax

from ..core.hyperparams import tunable
from ..optimizers import (
    adam_family,
    adam_successors,
    adaptive,
    descent,
    layerwise,
    learning_rate_free,
    low_memory,
    momo,
    signs,
    sophia,
)
from .candidate import Candidate
from .defaults import default_candidates, with_rates

# The lowest of the seven rates tried, by what the rate means.
_TIMES_A_GRADIENT = 0.01
_STEP_LENGTH = 0.0001  # in every coordinate
_BOUND_LENGTH = 0.001  # likewise, where most steps are much shorter than the rate
_SIGN_LENGTH = 0.00001  # likewise, with nothing that would shorten it near a minimum
_RELATIVE_LENGTH = 0.0001  # as a part of the parameters' size
_FACTOR = 0.01  # of a rate that the optimizer finds; it should be right at 1

_LOWEST: dict[Callable[..., optax.GradientTransformation], float] = {
    adam_family.nadam: _STEP_LENGTH,
    adam_family.nadamw: _STEP_LENGTH,
    adam_family.amsgrad: _STEP_LENGTH,
    adam_family.adamax: _BOUND_LENGTH,
    adam_family.adamaxw: _BOUND_LENGTH,
    adam_family.radam: _BOUND_LENGTH,
    adam_family.adabelief: _STEP_LENGTH,
    adam_family.yogi: _STEP_LENGTH,
    adam_successors.adan: _BOUND_LENGTH,
    adam_successors.laprop: _STEP_LENGTH,
    adam_successors.ademamix: _STEP_LENGTH,
    adam_successors.adopt: _STEP_LENGTH,
    adam_successors.mars: _STEP_LENGTH,
    adaptive.adadelta: _TIMES_A_GRADIENT,
    adaptive.novograd: _STEP_LENGTH,
    descent.madgrad: _STEP_LENGTH,
    descent.noisy_sgd: _TIMES_A_GRADIENT,
    descent.optimistic_gradient_descent: _TIMES_A_GRADIENT,
    descent.optimistic_adam: _STEP_LENGTH,
    descent.polyak_sgd: _FACTOR,
    layerwise.lars: _TIMES_A_GRADIENT,
    layerwise.lamb: _RELATIVE_LENGTH,
    layerwise.fromage: _RELATIVE_LENGTH,
    learning_rate_free.dog: _FACTOR,
    learning_rate_free.dowg: _FACTOR / 2,  # right at 1 / 2
    learning_rate_free.prodigy: _FACTOR,
    learning_rate_free.dadapt_adamw: _FACTOR,
    learning_rate_free.cocob: _FACTOR,
    low_memory.adafactor: _BOUND_LENGTH,
    low_memory.sm3: 0.001,
    momo.momo: _FACTOR,
    momo.momo_adam: 0.001,
    signs.sign_sgd: _STEP_LENGTH,
    signs.signum: _SIGN_LENGTH,
    signs.rprop: 0.000001,  # of the first step; it finds the others
    sophia.sophia: _STEP_LENGTH,
}


def all_candidates() -> tuple[Candidate, ...]:
    """The nine standard optimizers, then every other one of the library with its defaults."""
    return (
        *default_candidates(),
        *(
            with_rates(
                make.__name__.replace("_", "-"), make(learning_rate=tunable(10 * lowest)), lowest
            )
            for make, lowest in _LOWEST.items()
        ),
    )
