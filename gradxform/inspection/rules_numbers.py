"""Rules about what numbers can hold: in 16 bits, in a step, in memory."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core import check, numerics
from .block_kinds import ADAPTIVE, DISTANCE, SIGNS
from .diagnose_context import Block, Context, Route
from .findings import Finding, listing

_MIXED = "Micikevicius et al., 2018, https://arxiv.org/abs/1710.03740"
# Blocks with a running average of squares under a root, to which `eps` is added.
_ROOTS = ADAPTIVE - {"scale_by_sophia", "scale_by_factored_rms", "scale_by_sm3"}
# Blocks with running sums.
_SUMS = frozenset(("scale_by_cocob", "scale_by_madgrad", "scale_by_rss", "scale_by_sm3"))
# Arguments that are the decay of a running average.
_AVERAGES = ("b1", "b2", "b3", "decay", "rho", "momentum", "beta")


def epsilon_lost_in_float16(context: Context) -> Iterator[Finding]:
    """Squares in float16, where small ones are 0 and eps is all that is left to divide by."""
    for block in context.blocks:
        eps, dtype = block.arguments.get("eps"), _stored(block, "b2")
        under = block.arguments.get("eps_root", 0.0)
        known = isinstance(eps, float) and isinstance(under, float)
        if block.name not in _ROOTS or dtype != jnp.float16 or not known:
            continue
        least = float(_format(dtype).smallest_subnormal)
        shortest = np.sqrt(least)
        floor = np.sqrt(under) + eps
        if floor < shortest:
            times = shortest / max(floor, 1e-30)
            yield Finding(
                severity="error",
                seen=f"{block}: squares of gradients in float16, and a floor of {floor:g}",
                why=f"float16 ends at {least:.2g}: the square of a gradient below {shortest:.2g} "
                "is 0 in the state, and forgotten. The next step divides by its own gradient and "
                f"eps alone: where that one is small, it is up to {times:,.0f} times too long.",
                instead='leave `state_dtype` out (float32), or `state_dtype="bfloat16"`, which has '
                f"the exponents of float32; or eps = {shortest:.1g}.",
                reference=_MIXED,
            )


def moments_in_16_bit(context: Context) -> Iterator[Finding]:
    """Averages in 16 bits that change by less than their last digit."""
    for block in context.blocks:
        for name in _AVERAGES:
            dtype, value = _stored(block, name), block.arguments.get(name)
            if dtype is None or jnp.dtype(dtype).itemsize > 2:
                continue
            # A mean of squares is never negative, and its noise is as large as itself.
            of_squares = block.name in ADAPTIVE and name not in ("b1", "momentum", "beta")
            least = 2.0 ** -(_format(dtype).nmant + (1 if of_squares else 2))
            curve = None if value is None else context.curve(value, block)
            largest = 0.0 if curve is None else float(np.max(curve.values))
            if 0.0 < 1.0 - largest < least:
                yield Finding(
                    severity="warning",
                    seen=f"{block}: an average in {jnp.dtype(dtype).name} that keeps {largest:g} "
                    "at each step",
                    why=f"A step without gradient takes {1.0 - largest:.2g} of the average, and "
                    f"half of its last digit is {least:.2g} of it or more: it is rounded back, "
                    "and never falls. Gradients below it are lost likewise, so that the average "
                    "remembers the largest ones for ever.",
                    instead=f"leave `state_dtype` out (float32), or {name} of at most "
                    f"{1.0 - 2 * least:.3g}.",
                    reference=_MIXED,
                )


def sums_in_16_bit(context: Context) -> Iterator[Finding]:
    """Running sums in 16 bits, which end where a term is below their last digit."""
    for block in context.blocks:
        dtype = _stored(block, "")
        if block.name not in _SUMS or dtype is None or jnp.dtype(dtype).itemsize > 2:
            continue
        terms = 2 ** (_format(dtype).nmant + 1)
        yield Finding(
            severity="warning",
            seen=f"{block}: sums in {jnp.dtype(dtype).name}",
            why=f"A sum of {terms:,} terms of one size stops growing: the next is below half of "
            "its last digit. From there on the step size no longer falls as it should.",
            instead="leave `state_dtype` out (float32).",
            reference=_MIXED,
        )


def distance_moments_in_float16(context: Context) -> Iterator[Finding]:
    """Moments that are kept times the growth of the step size, which float16 cannot hold."""
    for block in context.blocks:
        kept = block.name in ("scale_by_prodigy", "scale_by_dadapt_adam")
        if kept and _stored(block, "") == jnp.float16:
            yield Finding(
                severity="error",
                seen=f"{block}: moments in float16",
                why="They are kept times the step size over its start, which grows to about a "
                f"million: float16 ends at {float(_format(jnp.float16).max):,.0f}. The training "
                "stands still, or is NaN.",
                instead='leave `state_dtype` out (float32), or `state_dtype="bfloat16"`.',
                reference=_MIXED,
            )


def distance_that_rounds_away(context: Context) -> Iterator[Finding]:
    """A step size measured by a distance that 16-bit parameters never cover."""
    for route in context.routes:
        block = next((b for b in route.blocks if b.name in DISTANCE), None)
        narrow = {path: x for path, x in route.leaves.items() if _is_narrow(x)}
        if block is None or block.inside("master_weights") or not narrow:
            continue
        first = _first_step(block, list(narrow.values()))
        least = max(2.0 ** -(_format(jnp.result_type(x)).nmant + 2) for x in narrow.values())
        if first is not None and first < least:
            yield Finding(
                severity="error",
                seen=f"{block} on 16-bit parameters: {listing(narrow)}",
                why=f"The first step is about {first:.1g} of them, and half of their last digit "
                f"{least:.1g}: it rounds away, the distance from the start stays 0, and the step "
                "size what it began with. Nothing moves.",
                instead="`master_weights(tx)` around the optimizer, which trains float32 copies; "
                "or parameters in float32.",
                reference=_MIXED,
            )


def _first_step(block: Block, leaves: list[Any]) -> float | None:
    """How far the first step moves parameters, in parts of their size; None if not known."""
    sizes = [(_rms(x), x.size) for x in leaves if _is_known(x)]
    count = sum(size for _, size in sizes)
    squares = sum(rms**2 * size for rms, size in sizes)
    if len(sizes) == len(leaves) and squares == 0.0:
        return None  # zeros have digits enough
    if block.name == "scale_by_dog":
        start = block.arguments["reps_rel"] if block.arguments["init_eta"] is None else None
        return start if isinstance(start, float) else None
    if block.name == "scale_by_dowg":
        start, size = block.arguments["r_eps"], squares**0.5
    else:
        start, size = block.arguments["d0"], (squares / max(count, 1)) ** 0.5
    # Of shapes alone, parameters of the usual size.
    return start / (size if squares else 1.0) if isinstance(start, float) else None


def updates_below_half_a_digit(context: Context) -> Iterator[Finding]:
    """16-bit parameters that steps of the learning rate do not move."""
    for route in context.routes:
        rate, size = context.rate(route), _length_of_step(route)
        if rate is None or size is None or any(b.inside("master_weights") for b in route.blocks):
            continue
        peak = float(np.max(rate.values)) * size
        leaves = {path: x for path, x in route.leaves.items() if _is_known(x) and _is_narrow(x)}
        total = sum(x.size for x in leaves.values())
        stuck = sum(float(jnp.sum(_half_digit(jnp.asarray(x)) > peak)) for x in leaves.values())
        if total and stuck > 0.5 * total:
            yield Finding(
                severity="warning",
                seen=f"{100 * stuck / total:.0f} % of the {total:,} 16-bit numbers in "
                f"{listing(leaves)} keep their value under a step of {peak:.2g}, which is what "
                "the largest learning rate makes of a gradient of usual size",
                why="Their last digit is more than twice that: adding the update rounds back to "
                "what was there, at every step.",
                instead="`master_weights(tx)` around the optimizer, which trains float32 copies; "
                "or parameters in float32.",
                reference=_MIXED,
            )


def step_as_long_as_the_weights(context: Context) -> Iterator[Finding]:
    """A learning rate so high that one step replaces the weights."""
    for route in context.routes:
        rate, size = context.rate(route), _length_of_step(route)
        if rate is None or size is None:
            continue
        peak = float(np.max(rate.values)) * size
        matrices = [x for x in route.leaves.values() if _is_known(x) and np.ndim(x) > 1]
        sizes = [(_rms(x), x.size) for x in matrices]
        sizes = [(rms, n) for rms, n in sizes if rms > 0.0]
        total = sum(n for _, n in sizes)
        replaced = sum(n for rms, n in sizes if rms <= peak)
        if total and replaced > 0.5 * total:
            median = float(np.median([rms for rms, _ in sizes]))
            yield Finding(
                severity="warning",
                seen=f"a learning rate of up to {peak:.3g}, and weights of about {median:.2g} "
                f"(root-mean-square) in {100 * replaced / total:.0f} % of the matrices",
                why="After an adaptive scaling the learning rate is the length of a step in each "
                "coordinate: one step is as long as the weights are. It is a rate for SGD.",
                instead="about 1e-3 of the weights a step, here "
                f"{max(1e-3 * median, 1e-5):.1g} to {max(1e-2 * median, 1e-4):.1g}; 1e-3 is usual "
                "for Adam.",
            )


def decay_too_strong(context: Context) -> Iterator[Finding]:
    """Weight decay that takes a tenth of the weights or more at each step."""
    for block, name, largest in context.decays():
        if name == "l2" or block.name not in (
            "add_decoupled_weight_decay",
            "add_cautious_weight_decay",
        ):
            continue
        for route in context.routes:
            rate = context.rate(route) if block in route.blocks else None
            if rate is None:
                continue
            peak = float(np.max(rate.values))
            if peak * largest >= 0.1:
                part = peak * largest
                yield Finding(
                    severity="error" if part >= 1.0 else "warning",
                    seen=f"{block} and a learning rate of up to {peak:.3g}",
                    why=f"A step takes learning rate times decay off the weights: {part:.2g} of "
                    "them" + (", and turns their sign." if part > 1.0 else "."),
                    instead="a decay in units of the learning rate: 0.01 to 0.1 beside 1e-3 for "
                    "AdamW, 1e-4 beside 0.1 for SGD.",
                )


def state_over_memory_budget(context: Context) -> Iterator[Finding]:
    """A state that takes more memory than there is for it."""
    budget = context.memory_budget
    if budget is None or context.refusal or context.state_bytes <= budget:
        return
    yield Finding(
        severity="error",
        seen=f"{context.state_bytes:,} bytes of state, "
        f"{context.state_bytes / max(context.size, 1):.2g} a parameter; the budget is {budget:,}",
        why="The state does not fit beside the parameters.",
        instead='in bytes a parameter: `state_dtype="bfloat16"` 2 a buffer in the place of 4, '
        "`lion` and `sgd` with momentum 4, `adafactor` and `sm3(momentum=None)` hardly any. "
        "`describe(tx, params)` shows which parameters take it.",
    )


def _length_of_step(route: Route) -> float | None:
    """How long an update of one coordinate is before the learning rate; None if not known."""
    if not route.known or any(
        block.name in ("layerwise_decay", "scale_by_parameter_rms", "scale_by_trust_ratio")
        for block in route.blocks
    ):
        return None
    momentum = [b for b in route.blocks if b.name == "scale_by_momentum"]
    if momentum or not any(b.name in ADAPTIVE | SIGNS for b in route.blocks):
        return None
    own = ("scale_by_adadelta", "scale_by_rprop", "scale_by_rss", "scale_by_sm3")
    return None if route.has(*own) else 1.0


def _is_known(x: Any) -> bool:
    if isinstance(x, jax.Array):
        return not check.is_traced(x) and x.is_fully_addressable
    return isinstance(x, np.ndarray)


def _is_narrow(x: Any) -> bool:
    dtype = jnp.result_type(x)
    return bool(jnp.issubdtype(dtype, np.floating) and numerics.wide_dtype(dtype) != dtype)


def _half_digit(x: jax.Array) -> jax.Array:
    """Half of the distance to the next number of the same dtype, away from 0."""
    _, exponent = jnp.frexp(x.astype(jnp.float32))
    half = jnp.ldexp(jnp.ones_like(x, jnp.float32), exponent - 2 - _format(x.dtype).nmant)
    return jnp.where(x == 0, jnp.zeros_like(half), half)


def _rms(x: Any) -> float:
    return float(jnp.sqrt(jnp.mean(jnp.square(jnp.abs(jnp.asarray(x).astype(jnp.float32))))))


# The buffers whose decay an argument is, where the buffers have dtypes of their own.
_BUFFERS = {"b1": ("mu",), "b2": ("nu",), "momentum": ("trace", "mu"), "beta": ("mu",)}


def _stored(block: Any, decay: str) -> Any:
    """The narrowest dtype asked for the averages that an argument is the decay of, or None."""
    asked = block.arguments.get("state_dtype")
    if not isinstance(asked, dict):
        return asked
    own = [dtype for name, dtype in asked.items() if name in _BUFFERS.get(decay, asked)]
    return min(own, key=lambda dtype: dtype.itemsize, default=None)


def _format(dtype: Any) -> Any:
    return jnp.finfo(dtype)  # type: ignore[no-untyped-call]
