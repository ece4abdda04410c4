"""How a search spends its budget: successive halving, and Optuna."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from ..core.extra import require_extra
from .candidate import Setting
from .ranges import Range
from .tuning import Trial, ordered

# Settings and a number of steps to the validation metrics.
Train = Callable[[Sequence[Setting], int], list[float]]

_FACTOR = 3  # from round to round: as many steps, and one in so many settings goes on
_ROUNDS = 3
# Below this many steps the order of settings is not that of whole runs: the validation error of a
# large rate rises at first, and the smallest rates would look best.
_SHORTEST = 100
_SEED = 0
_BATCHES = 3  # of trials that are proposed together


class Method(Protocol):
    """A way to search."""

    name: str

    def require(self) -> None:
        """Refuse to go on without the packages that it needs."""

    def plan(self, budget: int, steps: int) -> str:
        """What it does, for people."""

    def batches(self, budget: int, steps: int) -> int:
        """How often it trains."""

    def search(
        self,
        space: Mapping[str, Any],
        train: Train,
        *,
        budget: int,
        steps: int,
        lower_is_better: bool,
    ) -> tuple[Trial, ...]:
        """All trials of one optimizer."""


class _Halving:
    """Many short runs, of which the best are run longer."""

    name = "halving"

    def require(self) -> None:
        """It needs nothing."""

    def rounds(self, budget: int, steps: int) -> list[tuple[int, int]]:
        """(settings, steps) of each round; each costs the same, as far as they are whole."""
        count = min(_ROUNDS, budget)
        while count > 1 and steps // _FACTOR ** (count - 1) < _SHORTEST:
            count -= 1
        shorter = [_FACTOR**back for back in reversed(range(count))]
        return [(max(1, budget * k // count), -(-steps // k)) for k in shorter]

    def plan(self, budget: int, steps: int) -> str:
        """The rounds."""
        rounds = self.rounds(budget, steps)
        return ", then ".join(f"{settings} settings for {n} steps" for settings, n in rounds)

    def batches(self, budget: int, steps: int) -> int:
        """One a round."""
        return len(self.rounds(budget, steps))

    def search(
        self,
        space: Mapping[str, Any],
        train: Train,
        *,
        budget: int,
        steps: int,
        lower_is_better: bool,
    ) -> tuple[Trial, ...]:
        """The same places of the space for each optimizer, spread evenly over every name."""
        rounds = self.rounds(budget, steps)
        settings: list[Setting] = _latin_hypercube(space, rounds[0][0])
        found: list[Trial] = []
        for number, (count, length) in enumerate(rounds):
            settings = settings[:count]
            scores = train(settings, length)
            trials = [
                Trial(setting, length, score, number)
                for setting, score in zip(settings, scores, strict=True)
            ]
            found += trials
            settings = [trial.setting for trial in ordered(trials, lower_is_better)]
        return tuple(found)


class _Optuna:
    """Full runs in batches, proposed by Optuna."""

    name = "optuna"

    def require(self) -> None:
        """Optuna."""
        require_extra("tune", "optuna")

    def sizes(self, budget: int) -> list[int]:
        """Trials of each batch."""
        count = min(_BATCHES, budget)
        return [len(part) for part in np.array_split(np.arange(budget), count)]

    def plan(self, budget: int, steps: int) -> str:
        """The batches."""
        sizes = ", ".join(map(str, self.sizes(budget)))
        return f"Optuna's TPE sampler, batches of {sizes} settings for {steps} steps"

    def batches(self, budget: int, steps: int) -> int:
        """One a batch."""
        del steps
        return len(self.sizes(budget))

    def search(
        self,
        space: Mapping[str, Any],
        train: Train,
        *,
        budget: int,
        steps: int,
        lower_is_better: bool,
    ) -> tuple[Trial, ...]:
        """Ask for a batch of settings, train them together, and tell what they reached."""
        import optuna

        direction: Literal["minimize", "maximize"]
        direction = "minimize" if lower_is_better else "maximize"
        sizes = self.sizes(budget)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=_SEED, multivariate=True, constant_liar=True, n_startup_trials=sizes[0]
            )
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(direction=direction, sampler=sampler)
        finally:
            optuna.logging.set_verbosity(level)
        distributions = {name: _distribution(values) for name, values in space.items()}
        found: list[Trial] = []
        for number, size in enumerate(sizes):
            asked = [study.ask(distributions) for _ in range(size)]
            settings = [_short(dict(trial.params)) for trial in asked]
            scores = train(settings, steps)
            for trial, setting, score in zip(asked, settings, scores, strict=True):
                found.append(Trial(setting, steps, score, number))
                if math.isfinite(score):
                    study.tell(trial, score)
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return tuple(found)


def _distribution(values: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(values, Range):
        return FloatDistribution(values.low, values.high, log=values.log)
    return CategoricalDistribution(values)


def _short(setting: Setting) -> Setting:
    """Four digits of each value, which is what is trained, shown and stored."""
    return {name: float(f"{value:.4g}") for name, value in setting.items()}


def _latin_hypercube(space: Mapping[str, Any], count: int) -> list[Setting]:
    """Settings spread evenly over every name: one in each `count`-th part of its range.

    Reference: McKay, Beckman and Conover, 1979, https://doi.org/10.1080/00401706.1979.10489755
    """
    rng = np.random.default_rng(_SEED)
    columns = {}
    for name, values in space.items():
        shares = (rng.permutation(count) + rng.uniform(size=count)) / count
        columns[name] = [_at(values, float(share)) for share in shares]
    return [{name: columns[name][i] for name in columns} for i in range(count)]


def _at(values: Any, share: float) -> float:
    if isinstance(values, Range):
        return values.at(share)
    return float(values[min(int(share * len(values)), len(values) - 1)])


METHODS: Mapping[str, Method] = {method.name: method for method in (_Halving(), _Optuna())}
"""The ways to search, by name."""
