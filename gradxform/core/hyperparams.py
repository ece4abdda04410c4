"""Hyperparameters that are read, scheduled, changed and vmapped while the optimizer runs.

An argument annotated `Scalar` (or one of its narrower relatives below) takes

  - a number: a constant of the compiled program;
  - a schedule, that is a function of the step: evaluated at each update;
  - a feedback such as `reduce_on_plateau(...)`: computed from what `update` is told;
  - `tunable(x)`: a leaf of the state, which `set_hyperparams` changes without recompiling.

What is live stands in the state of the block that owns it, in two places: what the transformation
computes (readings) and what the user owns (tunables).
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import check, mesh, numerics
from .display import Displayed
from .public import factory_name, import_factories
from .recipe import Recipe, rebuild, render, value_key


class HyperparamsState(NamedTuple):
    """The state of a block with live hyperparameters, around the block's own state."""

    count: jax.Array  # type: ignore[assignment]  # int32: updates done, where schedules are read
    hyperparams: dict[str, jax.Array]  # readings: what the last update used, or the first will
    tunables: dict[str, jax.Array]  # what the next update uses; written by `set_hyperparams`
    feedback: dict[str, Any]  # what values that watch the training remember, by argument
    log_kept: dict[str, jax.Array]  # log of the product of an average's decays; n > 0: not known of
    # n updates, for which the next one counts its own decay
    inner_state: Any

    def metrics(self) -> dict[str, Any]:
        """What `metrics(state)` shows of it."""
        return {**self.hyperparams, **self.tunables}


def is_hyperparams_state(x: Any) -> bool:
    """Whether it is a `HyperparamsState`, or what became of one that lost its class.

    That is a dict, or a container of Flax like it, from which empty fields may be gone.
    """
    if isinstance(x, HyperparamsState):
        return True
    if not isinstance(x, Mapping):
        return False
    names = {str(name) for name in x}
    values = [x[name] for name in ("hyperparams", "tunables") if name in names]
    known = "count" in names <= {*HyperparamsState._fields}
    return known and any(isinstance(held, Mapping) and len(held) > 0 for held in values)


class Tunable:
    """A hyperparameter that lives in the state; `tunable` makes it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tunable) and value_key(self.value) == value_key(other.value)

    def __hash__(self) -> int:
        return hash((Tunable, value_key(self.value)))

    def __repr__(self) -> str:
        value = check.brief(self.value) if check.is_traced(self.value) else float(self.value)
        return f"tunable({value})"


def tunable(value: float | jax.Array | np.ndarray) -> Tunable:
    """A number that stands in the optimizer's state, starting as `value`.

    It can be read with `hyperparams(state)`, written with `set_hyperparams(state, name=...)` and
    given a batch axis with `jax.vmap`, all without compiling again.

    Args:
      value: the number that `init` puts into the state; it may be traced.

    Returns:
      A `Tunable`, to be given in the place of a hyperparameter's number.

    Raises:
      TypeError: `value` is no number, such as a schedule.
    """
    if callable(value):
        raise TypeError(
            f"`tunable({check.brief(value)})`: a tunable starts as a number. A schedule is passed "
            "as it is; to search over a schedule's numbers, build the transformation under "
            "`jax.vmap`."
        )
    return Tunable(check.Interval()("tunable", "value", value))


class Feedback(Displayed):
    """A hyperparameter that watches the training; `feedback` makes factories of them.

    Attributes:
      recipe: the call that built it.
      needs: what `update` must be given by keyword.
      init: the memory before the first step.
      observe: (memory, **needs) -> memory, once an update, before the value is used.
      value: (memory, count) -> the hyperparameter's value.
    """

    __slots__ = ("init", "needs", "observe", "recipe", "value")

    def __init__(
        self,
        recipe: Recipe,
        init: Callable[[], Any],
        observe: Callable[..., Any],
        value: Callable[[Any, jax.Array], Any],
    ) -> None:
        self.recipe = recipe
        self.init, self.observe, self.value = init, observe, value
        self.needs = tuple(list(inspect.signature(observe).parameters)[1:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Feedback) and self.recipe == other.recipe

    def __hash__(self) -> int:
        return hash((Feedback, self.recipe))

    def __repr__(self) -> str:
        return render(self.recipe)

    def __reduce__(self) -> Any:
        return rebuild, (self.recipe.factory, self.recipe.shown)


@dataclass(frozen=True)
class ScalarRule:
    """A number within an interval, a schedule, a tunable, or a feedback.

    Attributes:
      interval: the bounds of the number.
      live: whether the value stands in the state even if it is a constant.
      weighs: whether it is the decay of an average from zero that the block divides by the weight
        it has gathered. Where it may change, the block gets a `numerics.ChangingDecay`.
      ends: the bounds of a value that changes, where they are wider than those of a constant: a
        decay that rises to exactly 1 keeps an average as it is, and one that is always 1 has none.
    """

    interval: check.Interval
    live: bool = False
    weighs: bool = False
    ends: check.Interval | None = None
    kind = "float | Schedule | Tunable"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The number as a float, the rest as it is."""
        if isinstance(value, Tunable):
            return Tunable(self.interval(call, name, value.value))
        if factory := factory_name(value):
            made = "a schedule" if name == "learning_rate" else "a value"
            hint = f"Call the factory first: `{factory}(...)` makes {made}."
            raise TypeError(f"`{call}({name}={factory})`: `{name}` is a factory. {hint}")
        if callable(value) or isinstance(value, Feedback):
            return value
        try:
            return self.interval(call, name, value)
        except TypeError as error:
            hint = "A function of the step or `tunable(number)` may stand for the number."
            if isinstance(value, str):
                hint = "This is text: leave out the quotes, or convert it by `float(...)`. " + hint
            raise TypeError(f"{error} {hint}") from None


_Value = float | jax.Array | np.ndarray | Callable[..., Any] | Tunable | Feedback

Scalar = Annotated[_Value, ScalarRule(check.Interval())]
NonNegative = Annotated[_Value, ScalarRule(check.Interval(low=0.0))]
Positive = Annotated[_Value, ScalarRule(check.Interval(low=0.0, low_open=True))]
_KEPT = check.Interval(
    low=0.0,
    high=1.0,
    high_open=True,
    hint="It is the part of a running average that each step keeps: 0.9 remembers "
    "about 10 steps, 0.999 about 1000.",
)
_KEPT_AT_LAST = replace(_KEPT, high_open=False)
Decay = Annotated[_Value, ScalarRule(_KEPT, ends=_KEPT_AT_LAST)]
CorrectedDecay = Annotated[_Value, ScalarRule(_KEPT, weighs=True, ends=_KEPT_AT_LAST)]
LearningRate = Annotated[
    _Value,
    ScalarRule(
        check.Interval(
            low=0.0, hint="The minus sign of a descent is applied by `scale_by_learning_rate`."
        ),
        live=True,
    ),
]


# The rules of hyperparameters: by the name, and by the class of a block's state and the name.
_RULES: dict[Any, list[ScalarRule]] = {}


def remember(rules: dict[str, check.Rule | None], state: type | None = None) -> None:
    """Let `set_hyperparams` find the rules of a factory, whose blocks have a `state` of a class."""
    for name, rule in rules.items():
        known = _RULES.setdefault(name if state is None else (state, name), [])
        if (found := scalar_rule(rule)) is not None and found not in known:
            known.append(found)


def require_in_range(call: str, name: str, state: type, value: Any) -> None:
    """Refuse what no block with such a state takes as the hyperparameter `name`.

    Args:
      call: the call, for the error.
      name: the argument.
      state: the class of the block's state. Where it is not known, as after a restore without
        classes, every block's argument of this name counts.
      value: a number or a batch of them; one that is not known here, as in `jit`, passes.
    """
    known = check.known_numbers(value)
    if known is None:
        return
    if not (rules := _RULES.get((state, name))):
        import_factories()  # so that the answer is the same whatever was imported before
        rules = _RULES.get(name, [])
    refusals = []
    for rule in rules:
        try:
            for bound in (known.min(), known.max()):  # as text: 0.2, not 0.20000000298
                (rule.ends or rule.interval)(call, name, float(str(bound)))
            return
        except ValueError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def require_schedules_in_range(
    call: str, rules: dict[str, check.Rule | None], live: dict[str, Any]
) -> None:
    """Refuse a schedule of this library that leaves the range of its argument, with the step."""
    for name, value in live.items():
        rule, known_steps = scalar_rule(rules[name]), getattr(value, "known_steps", None)
        steps = known_steps() if known_steps else None
        if rule is None or steps is None:
            continue
        interval = rule.ends or rule.interval
        with mesh.computing_now() as is_known:
            found = _outside(value, steps, interval) if is_known else None
        if found is not None:
            step, number = found
            check.fail(
                call,
                name,
                value,
                f"{interval.words()} at every step",
                f"At step {step} it is {number:g}.",
            )


@functools.lru_cache(maxsize=512)
def _outside(
    schedule: Any, steps: tuple[int, ...], interval: check.Interval
) -> tuple[int, float] | None:
    """The first of the steps where the value is out of range, and the value."""
    values = np.asarray(schedule(np.asarray(steps, np.int32)), np.float64)
    room = 1e-6 * np.max(np.abs(values), where=np.isfinite(values), initial=0.0)
    wrong = ~((values >= interval.low - room) & (values <= interval.high + room))
    index = int(np.argmax(wrong))
    return (int(steps[index]), float(values[index])) if wrong[index] else None


def live_arguments(
    rules: dict[str, check.Rule | None], arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments whose value stands in the state, by name."""
    live = {}
    for name, rule in rules.items():
        value = arguments[name]
        if (known := scalar_rule(rule)) is not None and value is not None:
            changes = isinstance(value, Tunable | Feedback) or callable(value)
            if known.live or changes:
                live[name] = value
    return live


def weighing(rules: dict[str, check.Rule | None], live: dict[str, Any]) -> tuple[str, ...]:
    """Which live arguments are decays of averages that the block corrects."""
    return tuple(name for name in live if (rule := scalar_rule(rules[name])) and rule.weighs)


def scalar_rule(rule: check.Rule | None) -> ScalarRule | None:
    """The rule of a hyperparameter; None where an argument is none."""
    rule = rule.rule if isinstance(rule, check.Optional) else rule
    return rule if isinstance(rule, ScalarRule) else None


def required_extra(live: dict[str, Any]) -> tuple[str, ...]:
    """What `update` must be given by keyword for the live values to be computed."""
    feedbacks = [value for value in live.values() if isinstance(value, Feedback)]
    return tuple(dict.fromkeys(name for value in feedbacks for name in value.needs))


def start(live: dict[str, Any], weighing: tuple[str, ...]) -> HyperparamsState:
    """The state at step 0, around an inner state that is still to come."""
    count = jnp.zeros((), jnp.int32)
    feedback = {name: v.init() for name, v in live.items() if isinstance(v, Feedback)}
    owned = {name: v.value for name, v in live.items() if isinstance(v, Tunable)}
    readings = {
        name: v.value(feedback[name], count) if isinstance(v, Feedback) else _at(name, v, count)
        for name, v in live.items()
        if name not in owned
    }
    log_kept = {name: jnp.zeros((), numerics.scalar_dtype()) for name in weighing}
    return HyperparamsState(
        count, _recorded(readings), _recorded(owned), feedback, log_kept, inner_state=None
    )


def step(
    live: dict[str, Any], state: HyperparamsState, extra: dict[str, Any]
) -> tuple[dict[str, Any], HyperparamsState]:
    """The values of one update by argument name, and the state that records them."""
    feedback = {
        name: live[name].observe(inner, **{key: extra[key] for key in live[name].needs})
        for name, inner in state.feedback.items()
    }
    values = {
        name: live[name].value(feedback[name], state.count)
        if name in feedback
        else _at(name, live[name], state.count)
        for name in state.hyperparams
    }
    readings = _recorded(values)
    # A constant stays one in the compiled program; what is computed is used as it is recorded.
    constant = {name: x for name, x in values.items() if isinstance(live[name], float)}
    after = state._replace(
        count=numerics.increment(state.count), hyperparams=readings, feedback=feedback
    )
    # In JAX's arrays, also where a restored state holds NumPy's: rules round only those.
    tunables = jax.tree.map(jnp.asarray, state.tunables)
    values = {**readings, **constant, **tunables}
    log_kept = {name: _kept(log, values[name]) for name, log in state.log_kept.items()}
    decays = {name: numerics.ChangingDecay(values[name], log) for name, log in log_kept.items()}
    return {**values, **decays}, after._replace(log_kept=log_kept)


def _kept(log_kept: Any, decay: jax.Array) -> jax.Array:
    """The log of the product of an average's decays, of that up to the step before."""
    before, log = jnp.asarray(log_kept), numerics.log_decay(decay)
    return (jnp.where(before > 0, before * log, before) + log).astype(before.dtype)


def _at(name: str, value: Any, count: jax.Array) -> Any:
    if not callable(value):
        return value
    try:
        number = value(count)
    except Exception as error:
        error.add_note(
            f"Raised by the schedule of `{name}`, {check.brief(value)}. A schedule is a function "
            "of one argument, the step: an integer array that is traced under `jit`, so "
            "`jnp.where(step < 100, a, b)` and not `if`."
        )
        raise
    is_number = isinstance(number, jax.Array | np.ndarray | np.generic | float | int)
    if not is_number or jnp.ndim(number) or jnp.iscomplexobj(number):
        raise TypeError(
            f"the schedule of `{name}` must return a real scalar; {check.brief(value)} returned "
            f"{check.brief(number)}."
        )
    return number


def _recorded(values: dict[str, Any]) -> dict[str, jax.Array]:
    """Arrays of their own, in the dtype of all hyperparameters."""
    dtype = numerics.scalar_dtype()
    return {name: jnp.array(value, dtype, copy=True) for name, value in values.items()}
