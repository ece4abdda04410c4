"""The decorators that turn a function of arguments into a factory of values.

    @transformation   the function returns `(init, update)`; its hyperparameters are its own
    @optimizer        the function returns another transformation and passes its arguments on
    @schedule         the function returns a function of the step (in `core.schedule`)

All of them bind the arguments to the signature, apply the rule in each annotation, and record the
call, so that the result prints, compares, hashes and pickles.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import jax
import optax

from . import buffers, check, hyperparams, meant
from .annotations import annotations_of
from .block import Block, block_of, is_transformation
from .recipe import Recipe, Shown, frozen
from .types import GradientTransformation, Init, InitUpdate, Update, inside
from .unknown import unknown_argument

P = ParamSpec("P")


class Signature:
    """A factory's signature: binds a call, checks it and records it."""

    def __init__(self, factory: Callable[..., Any]) -> None:
        self.name = factory.__name__
        self.signature = inspect.signature(factory)
        hints = annotations_of(factory)
        self.rules = {name: check.rule_of(hints.get(name)) for name in self.signature.parameters}
        self.stored = buffers.argument_of(self.rules)

    def shown(self, result: type) -> inspect.Signature:
        """The signature as `help` shows it, with words in the place of rules."""
        parameters = [
            parameter
            if (rule := self.rules[name]) is None
            else parameter.replace(annotation=_Words(rule.kind))
            for name, parameter in self.signature.parameters.items()
        ]
        return inspect.Signature(parameters, return_annotation=result)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """The arguments by name, defaults filled in, each as its rule returns it, and frozen."""
        parameters = self.signature.parameters
        for name in kwargs:
            if name not in parameters:
                raise TypeError(unknown_argument(self.name, name, parameters))
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            written = self.written()
            named = "*, " in written and "too many" in str(error)
            hint = " Those behind `*` are passed by name." if named else ""
            raise TypeError(f"`{self.name}({written})`: {error}.{hint}") from None
        given = dict(bound.arguments)
        bound.apply_defaults()
        for name, rule in self.rules.items():
            value = bound.arguments[name]
            try:
                value = value if rule is None else rule(self.name, name, value)
            except (TypeError, ValueError) as error:
                other = meant.swapped_with(self.name, name, self.rules, given)
                if not other:
                    raise
                raise type(error)(f"{error} Are `{other}` and `{name}` swapped?") from None
            bound.arguments[name] = frozen(value)
        return bound

    def written(self) -> str:
        """The names of the arguments, with a star before those that only a name can pass."""
        parameters = self.signature.parameters.values()
        plain = [p.replace(annotation=p.empty, default=p.empty) for p in parameters]
        return str(inspect.Signature(plain))[1:-1]

    def passed_on(self, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """What an optimizer's function returns; dtypes by name reach all the blocks inside."""
        given = buffers.passed_on(self.stored, arguments)
        bound = inspect.BoundArguments(self.signature, given)
        return factory(*bound.args, **bound.kwargs)

    def keep_own(self, bound: inspect.BoundArguments, known: Callable[[], tuple[str, ...]]) -> None:
        """Keep of dtypes by name those of the buffers that are `known`; refuse others."""
        dtypes = bound.arguments.get(self.stored) if self.stored else None
        if self.stored and isinstance(dtypes, dict):
            bound.arguments[self.stored] = buffers.own(self.name, self.stored, dtypes, known())

    def record(self, factory: Callable[..., Any], bound: inspect.BoundArguments) -> Recipe:
        """The recipe of a call: keyword arguments, except what only a position can name."""
        shown: list[Shown] = []
        for name, parameter in self.signature.parameters.items():
            value = bound.arguments[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                shown += [(None, item) for item in value]
            elif not _same(value, parameter.default):
                shown.append((name, value))
        return Recipe(factory, bound.arguments, tuple(shown))


class _Words:
    """An annotation that prints as the words it was made of."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __repr__(self) -> str:
        return self.words


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) in (float, int, str, tuple) and value == default)


def optimizer(factory: Callable[P, GradientTransformation]) -> Callable[P, GradientTransformation]:
    """Make a factory of `factory`, which returns another transformation, mostly a chain.

    The result prints, compares and pickles as a call of the factory; `parts` are the links of the
    chain behind it. The arguments are passed on as they come (numbers, schedules, tunables): the
    blocks inside own them. A call raises a `ValueError` where it gets no transformation back.
    """
    signature = Signature(factory)

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> GradientTransformation:
        bound = signature.bind(args, kwargs)
        with check.calling(f"{signature.name}(...)"):
            inner = signature.passed_on(factory, bound.arguments)
            check.require(
                isinstance(inner, GradientTransformation),
                "the function under `@optimizer` must return a transformation of this library; it "
                f"returned {check.brief(inner)}. One of Optax's goes into `chain(...)`.",
            )
        signature.keep_own(bound, _buffers_inside(inner))
        recipe = signature.record(build, bound)
        parts = inner.parts or (inner,)
        update = Update(
            recipe, inner.update.function, parts, inner.update.fit, wide=inner.update.wide
        )
        return GradientTransformation(Init(recipe, inner.init.function, parts), update)

    build.__signature__ = signature.shown(GradientTransformation)  # type: ignore[attr-defined]
    return build


def transformation(
    factory: Callable[P, InitUpdate],
) -> Callable[P, GradientTransformation]:
    """Make a factory of `factory`, which returns a pair `(init, update)`.

    The body sees the values of its hyperparameters and nothing of where they come from: it runs
    again for each traced update, with the current value in the place of a schedule or a tunable.

    `init(params)` returns the state. `update` takes `(updates, state)`, and says by its signature
    what else it needs: `params` (an error asks for them when they are missing) or `params=None`
    (if there are any), and keyword-only arguments for what else the caller must pass. It may
    return updates of any dtype of at least float32; the outermost update rounds them once.
    """
    signature = Signature(factory)

    @functools.wraps(factory)
    def build(*args: P.args, **kwargs: P.kwargs) -> GradientTransformation:
        bound = signature.bind(args, kwargs)
        parts = tuple(
            leaf
            for leaf in jax.tree.leaves(bound.arguments, is_leaf=is_transformation)
            if is_transformation(leaf)
        )
        block = Block(
            factory, signature, bound, lambda: signature.record(build, bound), bool(parts)
        )
        wide = hasattr(factory, "wide_updates")
        update = Update(block.recipe, block.update, parts, block.fit, wide=wide)
        return GradientTransformation(Init(block.recipe, block.init, parts), update)

    hyperparams.remember(signature.rules)
    build.__signature__ = signature.shown(GradientTransformation)  # type: ignore[attr-defined]
    return build


def call_behind(tx: optax.GradientTransformation) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of the call of a `@transformation` behind an optimizer, and its live ones.

    Of a transformation it is its own call. Optax's have none.
    """
    block = block_of(tx)
    return ({}, {}) if block is None else (dict(block.bound.arguments), block.live)


def _buffers_inside(tx: Any) -> Callable[[], tuple[str, ...]]:
    """The names of all buffers of a transformation that have a dtype of their own."""

    def names() -> tuple[str, ...]:
        blocks = [block for part in inside(tx) if (block := block_of(part)) is not None]
        return tuple(dict.fromkeys(name for block in blocks for name in block.buffers()))

    return names


def opened(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """What the factory of an optimizer returned; any other transformation as it is."""
    block = block_of(tx)
    function: Any = None if block is None else tx.recipe.factory.__wrapped__
    if block is None or block.factory is function:
        return tx
    inner: optax.GradientTransformation = Signature(function).passed_on(
        function, tx.recipe.arguments
    )
    return inner
