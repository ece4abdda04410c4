"""The nine standard optimizers, each with a grid of its own scale."""

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
        with_rates("sgd", sgd(tunable(0.1)), 0.01),
        with_rates("momentum", sgd(tunable(0.01), momentum=0.9), 0.001),
        with_rates("nesterov", sgd(tunable(0.01), momentum=0.9, nesterov=True), 0.001),
        with_rates("adagrad", adagrad(tunable(0.01)), 0.001),
        with_rates("rmsprop", rmsprop(tunable(0.001)), 0.0001),
        with_rates("adam", adam(tunable(0.001)), 0.0001),
        with_rates("adam-l2", adam_l2, 0.0001),
        with_rates("adamw", adamw(tunable(0.001)), 0.0001),
        with_rates("lion", lion(tunable(0.0003)), 0.00001),
    )


def with_rates(name: str, transformation: optax.GradientTransformation, lowest: float) -> Candidate:
    """A candidate that tries three decades of learning rates from `lowest` on.

    Args:
      name: what tables call it.
      transformation: an optimizer whose `learning_rate` is tunable.
      lowest: the smallest rate; 0.001 stands for 0.001, 0.003, 0.01, ..., 1.
    """
    rates = [float(f"{lowest * factor:.2g}") for factor in (1, 3, 10, 30, 100, 300, 1000)]
    return Candidate(name, transformation, {"learning_rate": rates})
