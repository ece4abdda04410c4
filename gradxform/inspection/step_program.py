"""A jitted step, its arguments and results, and the program that XLA made of it."""

import functools
import inspect
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from . import compiled

Kind = tuple[tuple[int, ...], Any, bool]  # shape, dtype, weak type


@dataclass(frozen=True)
class Argument:
    """One array among the arguments.

    Attributes:
      name: as a program names it: `params['w']`.
      shape: its shape.
      dtype: its dtype.
      weak: whether its dtype gives way to another's, as that of a Python number does.
      donated: whether its memory is given to the program.
      is_python: whether it is a Python number.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    weak: bool
    donated: bool
    is_python: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)

    @property
    def kind(self) -> Kind:
        """What must be the same for a compiled program to be used again."""
        return self.shape, self.dtype, self.weak


@dataclass(frozen=True)
class Returned:
    """A part of the results that arguments have the structure of.

    Attributes:
      candidates: the arrays of each such argument: one of them comes back here, changed.
      results: the numbers of the results.
      kinds: shape, dtype and weak type of the results.
    """

    candidates: tuple[tuple[Argument, ...], ...]
    results: tuple[int, ...]
    kinds: tuple[Kind, ...]

    @property
    def donated(self) -> bool:
        """Whether any of their memory is given to the program."""
        return any(argument.donated for argument in self.arguments)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """All arrays of the candidates."""
        return tuple(argument for candidate in self.candidates for argument in candidate)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(argument.size for argument in self.candidates[0])

    @property
    def changed(self) -> list[tuple[Argument, Kind]]:
        """Where the result is of another kind than the argument, whichever it is.

        Where some are donated, it is one of them: gradients are like parameters, and stay.
        """
        donated = [one for one in self.candidates if any(a.donated for a in one)]
        each = [
            [(a, kind) for a, kind in zip(one, self.kinds, strict=True) if a.kind != kind]
            for one in donated or self.candidates
        ]
        return min(each, key=len)


@dataclass(frozen=True, eq=False)
class Step:
    """What the rules of `diagnose_step` are given.

    Attributes:
      step: the jitted function.
      args: the positional arguments of a call.
      kwargs: the keyword arguments.
      others: the positional arguments of further calls.
    """

    step: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    others: Sequence[tuple[Any, ...]] = ()

    @functools.cached_property
    def lowered(self) -> jax.stages.Lowered:
        """The step, traced."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a rule says which donated buffers are not used
            return self.step.lower(*self.args, **self.kwargs)

    @functools.cached_property
    def program(self) -> jax.stages.Compiled:
        """The step, compiled."""
        return compiled.compile_named(self.lowered)

    @functools.cached_property
    def results(self) -> Any:
        """The shapes of what it returns, as a tree."""
        return jax.eval_shape(self.step, *self.args, **self.kwargs)

    @functools.cached_property
    def arguments(self) -> dict[str, Argument]:
        """The arrays among the arguments by name, those that are static aside."""
        infos, named_infos = self._args_info
        positional = list(inspect.signature(self.step).bind(*self.args, **self.kwargs).args)
        static = self._static(positional, infos)
        dynamic = iter(infos)
        filled = [None if i in static else next(dynamic) for i in range(len(positional))]
        info = {
            name: x.donated
            for name, x in _named(self.step, tuple(filled), named_infos).items()
            if x is not None
        }
        given = _named(self.step, self.args, self.kwargs)
        return {
            name: _argument(name, value, info[name])
            for name, value in given.items()
            if name in info
        }

    @property
    def _args_info(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self.lowered.args_info
        return args, kwargs

    def _static(self, args: Sequence[Any], infos: Sequence[Any]) -> tuple[int, ...]:
        """The positions of static arguments, which JAX leaves out of what it tells."""
        read = {top(name) for name in compiled.arguments(self.program).values()}
        names = list(inspect.signature(self.step).parameters)
        for static in itertools.combinations(range(len(args)), len(args) - len(infos)):
            rest = [x for i, x in enumerate(args) if i not in static]
            unread = not any(names[min(i, len(names) - 1)] in read for i in static)
            if unread and all(map(_alike, rest, infos)):
                return static
        return ()

    @functools.cached_property
    def returned(self) -> tuple[Returned, ...]:
        """The parts of the results that an argument has the structure of."""
        found: dict[tuple[int, ...], list[tuple[Argument, ...]]] = {}
        for name, value in _bound(self.step, self.args, self.kwargs).items():
            names = [f"{name}{keystr(path)}" for path, _ in tree_flatten_with_path(value)[0]]
            if not names or not all(name in self.arguments for name in names):
                continue
            mine = tuple(self.arguments[name] for name in names)
            if len(mine) == 1 and not mine[0].shape:
                continue  # a number has the structure of every other
            for part, first in _parts(self.results):
                leaves = jax.tree.leaves(part)
                if _same_structure(part, value) and _resemble(mine, leaves):
                    numbers = tuple(range(first, first + len(leaves)))
                    found.setdefault(numbers, []).append(mine)
                    break
        leaves = jax.tree.leaves(self.results)
        return tuple(
            Returned(tuple(candidates), numbers, tuple(_of_result(leaves[i]) for i in numbers))
            for numbers, candidates in found.items()
        )

    @functools.cached_property
    def aliases(self) -> dict[int, str]:
        """The name of the argument whose memory each result has, by the number of the result."""
        names = compiled.arguments(self.program)
        return {
            result: names[number]
            for result, number in compiled.aliases(self.program).items()
            if number in names
        }

    @functools.cached_property
    def largest(self) -> int:
        """Bytes of the largest array among the arguments that come back."""
        return max((a.size for part in self.returned for a in part.arguments), default=0)

    @functools.cached_property
    def multiplies_matrices(self) -> bool:
        """Whether a model runs inside, as far as matrix products tell."""
        text = self.program.as_text() or ""
        return any(f" {word}(" in text for word in ("dot", "convolution", "custom-call"))

    def kinds(self, args: tuple[Any, ...]) -> dict[str, Kind]:
        """What a compilation depends on, by argument, of another call."""
        tops = {top(name) for name in self.arguments}
        return {
            name: _argument(name, value, donated=False).kind
            for name, value in _named(self.step, args, self.kwargs).items()
            if top(name) in tops
        }


def _bound(step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by the names that the compiled program gives them."""
    return dict(inspect.signature(step).bind(*args, **kwargs).arguments)


def _named(step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}{keystr(path)}": leaf
        for name, value in _bound(step, args, kwargs).items()
        for path, leaf in tree_flatten_with_path(value)[0]
    }


def _argument(name: str, value: Any, donated: bool) -> Argument:
    is_python = isinstance(value, bool | int | float | complex)
    weak = is_python or bool(getattr(value, "weak_type", False))
    dtype = jnp.result_type(value)
    return Argument(name, tuple(np.shape(value)), dtype, weak, donated, is_python)


def _alike(value: Any, info: Any) -> bool:
    leaves, infos = jax.tree.leaves(value), jax.tree.leaves(info)
    return len(leaves) == len(infos) and all(
        np.shape(x) == tuple(i.shape) for x, i in zip(leaves, infos, strict=True)
    )


def _resemble(arguments: Sequence[Argument], results: Sequence[Any]) -> bool:
    """Whether at least half of them have the shapes of the results."""
    pairs = list(zip(arguments, results, strict=True))
    return 2 * sum(a.shape == tuple(x.shape) for a, x in pairs) >= len(pairs)


def _of_result(x: Any) -> Kind:
    return tuple(x.shape), x.dtype, bool(x.weak_type)


def _parts(tree: Any) -> Iterator[tuple[Any, int]]:
    """A tree, then the trees inside of it, level by level, with the number of the first leaf."""
    level = [(tree, 0)]
    while level:
        yield from level
        below = []
        for part, first in level:
            for child in _children(part):
                below.append((child, first))
                first += len(jax.tree.leaves(child))
        level = below


def _children(tree: Any) -> list[Any]:
    children = jax.tree.leaves(tree, is_leaf=lambda x: x is not tree)
    return [] if len(children) == 1 and children[0] is tree else children


def _same_structure(a: Any, b: Any) -> bool:
    one: Any = jax.tree.structure(a)
    return bool(one == jax.tree.structure(b))


def top(name: str) -> str:
    """The name of the argument that an array is in: `state` of `state[0].mu['w']`."""
    return name.split("[")[0].split(".")[0]
