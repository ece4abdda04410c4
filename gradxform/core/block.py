"""What runs the body of a factory: with the hyperparameters of now, on a state that fits."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from . import buffers, check, hyperparams, tree
from .fit import Fit, Made, Unknown
from .needs import Needs, needs_of
from .recipe import Recipe
from .shards import view_of
from .types import GradientTransformation, Init, InitUpdate, Params, State, Updates


class _Body(NamedTuple):
    """What a factory returned, and what its update needs."""

    init: Callable[[Params], State]
    update: Callable[..., Any]
    needs: Needs


class Block:
    """A factory's body, run with the current values of its hyperparameters."""

    def __init__(
        self,
        factory: Callable[..., Any],
        signature: Any,
        bound: inspect.BoundArguments,
        record: Callable[[], Recipe],
        is_wrapper: bool,
    ) -> None:
        self.factory = factory
        self.name = signature.name
        self.bound = bound
        self.is_wrapper = is_wrapper
        self.stored = signature.stored
        self.rules = signature.rules
        self.live = hyperparams.live_arguments(signature.rules, bound.arguments)
        self.weighing = hyperparams.weighing(signature.rules, self.live)
        self.view = view_of(
            getattr(factory, "whole_arrays", None),
            bound.arguments,
            signature.rules.get("axis_name"),
        )
        signature.keep_own(bound, self.buffers)
        known = {
            name: value.value if isinstance(value, hyperparams.Tunable) else value
            for name, value in self.live.items()
        }
        # A schedule has no number before the first step: its body is run, and checked, then.
        self.body = None if any(map(_has_no_number_yet, known.values())) else self.run(known)
        self.recipe = record()
        self.fit = Fit(self.recipe, functools.partial(self.layout, whole=True), exact=True)
        self.fit_own = Fit(self.recipe, functools.partial(self.layout, whole=False), exact=False)

    def run(self, values: dict[str, Any]) -> _Body:
        """What the factory returns, with these values in place of some arguments."""
        dtypes = self.bound.arguments.get(self.stored) if self.stored else None
        if self.stored and isinstance(dtypes, dict):
            init, update = self.body_of({**values, self.stored: None})
            init = buffers.mixed(self.init_with(values), dtypes)
        else:
            init, update = self.body_of(values)
        return _Body(init, update, needs_of(update))

    def body_of(self, values: dict[str, Any]) -> InitUpdate:
        """What the factory returns."""
        bound = inspect.BoundArguments(
            self.bound.signature,
            {**self.bound.arguments, **values},
        )
        with check.calling(f"{self.name}(...)"):
            pair: InitUpdate = self.factory(*bound.args, **bound.kwargs)
        return pair

    def init_with(self, values: dict[str, Any]) -> Callable[[Any], Callable[[Params], State]]:
        """The body's `init` by the dtype of all buffers."""
        return lambda dtype: self.body_of({**values, str(self.stored): dtype})[0]

    def buffers(self) -> tuple[str, ...]:
        """The names of the buffers that may have a dtype of their own."""
        if self.stored is None:
            return ()
        state = hyperparams.start(self.live, self.weighing)
        return buffers.names_of(self.init_with({**state.hyperparams, **state.tunables}))

    def init(self, params: Params) -> State:
        """The state before the first step."""
        if not self.is_wrapper:
            tree.require_trainable(f"{self.name}.init(params)", params)
        return self.start(params, {})

    def start(self, params: Params, instead: dict[str, Any]) -> State:
        """The state before the first step; with other arguments `instead` of some."""
        with check.calling(f"{self.name}(...).init"):
            return self.view.start(functools.partial(self.begun, instead), params)

    def begun(self, instead: dict[str, Any], params: Params) -> State:
        """The state before the first step, in a `shard_map` that is as it should be."""
        if not self.live:
            body = self.run(instead) if instead else self.body
            assert body is not None
            return body.init(params)
        hyperparams.require_schedules_in_range(self.name, self.rules, self.live)
        state = hyperparams.start(self.live, self.weighing)
        body = self.run({**state.hyperparams, **state.tunables, **instead})
        inner = body.init(params)
        hyperparams.remember(self.rules, type(inner))
        return state._replace(inner_state=inner)

    def layout(self, params: Params, *, whole: bool) -> Made:
        """What `init` makes of the parameters, with what is not compared left out.

        That is what foreign transformations inside make; if it is not the `whole`, also what those
        of this library do.
        """

        def outlined(x: Any) -> Any:
            if is_transformation(x):
                block = block_of(x)
                if block is None:
                    return x._replace(init=_unknown)
                init = functools.partial(block.layout, whole=True) if whole else _unknown
                return GradientTransformation(Init(x.recipe, init, x.parts), x.update)
            if isinstance(x, Mapping):
                parts = {name: outlined(part) for name, part in x.items()}
                return parts if any(parts[name] is not x[name] for name in x) else x
            return type(x)(map(outlined, x)) if type(x) in (tuple, list) else x

        arguments = self.bound.arguments if self.is_wrapper else {}
        instead = {name: outlined(x) for name, x in arguments.items() if name not in self.live}
        return Made(self.name, self.start(params, instead))

    def update(
        self, updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        """One step; the updates are not rounded to the dtypes of gradients and parameters."""
        if params is None:  # else the outermost call has seen to it
            if self.body is not None:
                self.require_params(self.body.needs, params)
            state = self.fit_own(state, updates)
        if not self.view.is_concerned():
            return self.updated(updates, state, params, **extra)
        with check.calling(f"{self.name}(...).update"):
            result: tuple[Updates, State] = self.view.step(
                self.updated, updates, state, params, extra
            )
            return result

    def updated(
        self, updates: Updates, state: State, params: Params = None, **extra: Any
    ) -> tuple[Updates, State]:
        """One step, in a `shard_map` that is as it should be."""
        if not self.live:
            assert self.body is not None
            return self.call(self.body, updates, state, params, extra)
        self.require_extra(hyperparams.required_extra(self.live), extra)
        values, after = hyperparams.step(self.live, state, extra)
        updates, inner = self.call(self.run(values), updates, state.inner_state, params, extra)
        return updates, after._replace(inner_state=inner)

    def require_params(self, needs: Needs, params: Params) -> None:
        """Refuse an update without the parameters that it reads."""
        if needs.params_required and params is None:
            raise ValueError(
                f"`{self.name}` reads the parameters: call `update(updates, state, params)`."
            )

    def require_extra(self, names: tuple[str, ...], extra: dict[str, Any]) -> None:
        """Refuse an update without the arguments that it reads."""
        missing = [name for name in names if extra.get(name) is None]
        if missing:
            given = ", ".join(f"{name}=..." for name in missing)
            raise TypeError(
                f"`{self.name}` needs {' and '.join(f'`{name}`' for name in missing)}: "
                f"call `update(updates, state, params, {given})`; in the place of the method of "
                f"Flax's `TrainState`, which passes none, `apply_gradients(state, grads, {given})`."
            )

    def call(
        self, body: _Body, updates: Updates, state: State, params: Params, extra: dict[str, Any]
    ) -> tuple[Updates, State]:
        """The update of the body, with what it asks for."""
        needs = body.needs
        self.require_params(needs, params)
        self.require_extra(needs.required, extra)
        if not needs.everything:
            extra = {name: value for name, value in extra.items() if name in needs.accepted}
        with check.calling(f"{self.name}(...).update"):
            if needs.params:
                return body.update(updates, state, params, **extra)
            return body.update(updates, state, **extra)


def _unknown(params: Params) -> Unknown:
    del params
    return Unknown()


def _has_no_number_yet(value: Any) -> bool:
    return callable(value) or isinstance(value, hyperparams.Feedback)


def block_of(tx: Any) -> Block | None:
    """The body of a `@transformation` behind a transformation; None behind Optax's."""
    block = getattr(getattr(tx.init, "function", None), "__self__", None)
    return block if isinstance(block, Block) else None


def is_transformation(x: Any) -> bool:
    """Whether it is a gradient transformation, of this library or not."""
    return isinstance(x, optax.GradientTransformation)
