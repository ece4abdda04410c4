"""Layer-wise learning-rate decay: the lower a layer, the smaller its steps.

For each array, d layers below the output:

    u_t = rate^d g_t

A pretrained network's lower layers hold features that a new task shares, and are changed less
than the head that is new.

References:
  Howard & Ruder, 2018, section 3.2, https://arxiv.org/abs/1801.06146 (rate 1 / 2.6)
  Bao, Dong, Piao & Wei, 2021, https://arxiv.org/abs/2106.08254 (rate 0.65 to 0.75, as in timm)
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
from jax import Array

from ..core import check, tree
from ..core.factory import transformation
from ..core.hyperparams import ScalarRule
from ..core.mask import listed
from ..core.numerics import Value
from ..core.selector import paths
from ..core.types import InitUpdate, Params, State, Updates, leaf_wise, no_state

_Rate = Annotated[Any, ScalarRule(check.Interval(low=0.0, low_open=True, high=1.0))]


class _DepthRule:
    """A function from a path to a depth, or a dict from regular expressions to depths."""

    kind = "dict[str, int] | Callable[[str], int]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The function, or a dict that compares by its order too, in which the patterns count."""
        if callable(value):
            return value
        if not isinstance(value, Mapping) or not value:
            check.fail(call, name, value, "a function path -> depth or a dict {pattern: depth}")
        depths = OrderedDict()
        for pattern, depth in value.items():
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                must = "keyed by regular expressions of paths"
                check.fail(call, name, pattern, must, f"{error}.".capitalize())
            depths[pattern] = check.Whole(low=0)(call, f"{name}[{pattern!r}]", depth)
        return depths


DepthOf = Annotated[Mapping[str, int] | Callable[[str], int], _DepthRule()]


@transformation
@leaf_wise
def layerwise_decay(rate: _Rate, depth_of: DepthOf) -> InitUpdate:
    """Multiply each update by rate^depth: put it behind the scaling and the weight decay.

        chain(
            scale_by_adam(),
            add_decoupled_weight_decay(0.05),
            layerwise_decay(0.75, {f"blocks_{i}/.*": 12 - i for i in range(12)} | {...}),
            scale_by_learning_rate(1e-3),
        )

    In front of an adaptive scaling it would be divided out again. Behind the weight decay, a
    parameter with a smaller learning rate decays less, as with a parameter group in torch.

    Args:
      rate: in (0, 1]; 1 is no decay.
      depth_of: how many layers a parameter is below the output; 0 takes whole steps. A dict from
        regular expressions, matched against the whole path (see `select.path`), the first that
        matches counting, or a function from the path to a whole number of at least 0.

    Raises:
      ValueError: by `update`: a parameter without a depth, or an expression that matches none; the
        message lists the paths.
    """

    def update(updates: Updates, state: State, params: Params = None) -> tuple[Updates, State]:
        depth = depths(depth_of, updates if params is None else params)
        return tree.lift(_layerwise_rule, updates, along={"depth": depth}, rate=rate), state

    return no_state, update


def _layerwise_rule(g: Array, *, depth: int, rate: Value) -> Array:
    """g_t -> u_t."""
    return rate**depth * g


def depths(depth_of: Any, params: Params) -> Any:
    """The tree of depths."""
    found = [(path, _depth(depth_of, path)) for path, _ in paths(params)]
    without = [path for path, depth in found if depth is None]
    check.require(
        not without,
        f"`depth_of` has no pattern for some of the parameters. The paths are: {listed(without)}",
    )
    unused = _unused(depth_of, [path for path, _ in found])
    check.require(
        not unused or not found,
        f"`depth_of` has patterns that match none of the parameters: {', '.join(unused)}. "
        f"The paths are: {listed(path for path, _ in found)}",
    )
    bare = tree.unboxed(params)
    depths = jax.tree.unflatten(jax.tree.structure(bare), [depth for _, depth in found])
    return jax.tree.broadcast(depths, params)


def _depth(depth_of: Any, path: str) -> int | None:
    if not callable(depth_of):
        return next((d for pattern, d in depth_of.items() if re.fullmatch(pattern, path)), None)
    depth = depth_of(path)
    whole = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    check.require(
        whole,
        f"`depth_of({path!r})` must be a whole number of at least 0; got {check.brief(depth)}.",
    )
    return depth


def _unused(depth_of: Any, names: list[str]) -> list[str]:
    if callable(depth_of):
        return []
    return [repr(p) for p in depth_of if not any(re.fullmatch(p, name) for name in names)]
