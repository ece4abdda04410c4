"""The optimizers that `gradxform compare` compares, each with a grid of its own scale."""

from collections.abc import Sequence

import optax

from ..core.hyperparams import tunable
from ..optimizers.adaptive import adagrad, adam, adamw, rmsprop
from ..optimizers.lion import lion
from ..optimizers.sgd import sgd
from ..transforms.adam import scale_by_adam
from ..transforms.decay import add_l2_regularization
from ..transforms.scale import scale_by_learning_rate
from ..wrappers.chain import chain
from .candidate import Candidate


def default_candidates() -> tuple[Candidate, ...]:
    """The nine standard optimizers, each with a grid of seven learning rates.

    Every other hyperparameter is the library's default. Rates are a factor of about 3 apart. The
    grids differ because rates mean different things: times a gradient for SGD, with momentum as
    if ten times larger; the length of a step in every coordinate for Adam, its relatives and
    Lion; the length of the first step, from which they shrink, for AdaGrad.
    """
    adam_l2 = chain(
        add_l2_regularization(), scale_by_adam(), scale_by_learning_rate(tunable(0.001))
    )
    return (
        _candidate("sgd", sgd(tunable(0.1)), _rates(0.01)),
        _candidate("momentum", sgd(tunable(0.01), momentum=0.9), _rates(0.001)),
        _candidate("nesterov", sgd(tunable(0.01), momentum=0.9, nesterov=True), _rates(0.001)),
        _candidate("adagrad", adagrad(tunable(0.01)), _rates(0.001)),
        _candidate("rmsprop", rmsprop(tunable(0.001)), _rates(0.0001)),
        _candidate("adam", adam(tunable(0.001)), _rates(0.0001)),
        _candidate("adam-l2", adam_l2, _rates(0.0001)),
        _candidate("adamw", adamw(tunable(0.001)), _rates(0.0001)),
        _candidate("lion", lion(tunable(0.0003)), _rates(0.00001)),
    )


def _candidate(
    name: str, transformation: optax.GradientTransformation, rates: Sequence[float]
) -> Candidate:
    return Candidate(name, transformation, {"learning_rate": rates})


def _rates(lowest: float) -> list[float]:
    """Three decades from `lowest` on: 0.001, 0.003, 0.01, ..., 1."""
    return [float(f"{lowest * factor:.1g}") for factor in (1, 3, 10, 30, 100, 300, 1000)]
