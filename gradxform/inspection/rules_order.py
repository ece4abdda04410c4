"""Rules about the order of the blocks: what each of them gets is what those before it made."""

from collections.abc import Iterator

import numpy as np

from .block_kinds import ADAPTIVE, CLIPS, DECAYS, SIGNS
from .diagnose_context import Block, Context, Route
from .findings import Finding, listing

_ADAMW = "Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101"
_RATE = frozenset(("scale_by_learning_rate",))


def l2_under_adaptive_scaling(context: Context) -> Iterator[Finding]:
    """L2 in front of a division by the size of gradients, where weight decay was meant."""
    decaying = {id(block) for block, name, _ in context.decays() if name == "l2"}
    for route in context.routes:
        scaling = _last(route, ADAPTIVE | SIGNS)
        for block in route.blocks[:scaling]:
            if id(block) in decaying:
                yield Finding(
                    severity="warning",
                    seen=f"{block} in front of {route.blocks[scaling]}",
                    why="The denominator divides l2 w with the rest of the gradient, so that "
                    "weights with large gradients hardly shrink. Under plain SGD L2 and weight "
                    "decay are the same; here they are not.",
                    instead="leave it out, and put `add_decoupled_weight_decay(0.01, "
                    "mask=select.decayed)` between the scaling and the learning rate: `adamw` in "
                    "the place of `adam`.",
                    reference=_ADAMW,
                )


def decay_before_preconditioner(context: Context) -> Iterator[Finding]:
    """Weight decay in front of what divides it."""
    for route in context.routes:
        scaling = _last(route, ADAPTIVE | SIGNS)
        for block in route.blocks[:scaling]:
            if block.name in DECAYS and _decays(context, block):
                yield Finding(
                    severity="warning",
                    seen=f"{block} in front of {route.blocks[scaling]}",
                    why="There it is L2 regularization, and not what its name says: the "
                    "denominator divides it with the rest of the gradient.",
                    instead="put it behind the scaling and in front of the learning rate.",
                    reference=_ADAMW,
                )


def decay_after_learning_rate(context: Context) -> Iterator[Finding]:
    """Weight decay behind the minus sign, where it makes weights grow."""
    for route in context.routes:
        rate = route.first(_RATE)
        for block in route.blocks[rate + 1 :] if rate is not None else ():
            if block.adds_parameters and _decays(context, block):
                yield Finding(
                    severity="error",
                    seen=f"{block} behind {route.blocks[rate or 0]}",
                    why="The learning rate turns the sign of the updates. What is added behind it "
                    "is added to the weights as it is: they grow with every step.",
                    instead="put it in front of `scale_by_learning_rate`.",
                    reference=_ADAMW,
                )


def clipping_after_preconditioning(context: Context) -> Iterator[Finding]:
    """A bound on the gradient behind what has made something else of it."""
    for route in context.routes:
        scaling = route.first(ADAPTIVE | SIGNS)
        for block in route.blocks[scaling + 1 :] if scaling is not None else ():
            if block.name in CLIPS:
                size = sum(int(np.size(leaf)) for leaf in route.leaves.values())
                yield Finding(
                    severity="warning",
                    seen=f"{block} behind {route.blocks[scaling or 0]}",
                    why="A gradient that explodes has then entered the averages already, which "
                    "remember it. And what is bounded is no gradient, but a step: before the "
                    "learning rate each coordinate is about 1, so that the norm over these "
                    f"{size:,} parameters is about {size**0.5:,.0f}, whatever the gradient.",
                    instead="put it first in the chain. (Bounds on the update, as in Adafactor, "
                    "are `clip_by_block_rms`.)",
                    reference="Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063",
                )


def clipping_of_scaled_gradients(context: Context) -> Iterator[Finding]:
    """A bound on gradients that are still those of the scaled loss."""
    for route in context.routes:
        for index, block in enumerate(route.blocks):
            scaled = any(
                later.inside("dynamic_loss_scale") and not block.inside("dynamic_loss_scale")
                for later in route.blocks[index + 1 :]
            )
            if scaled and block.name in CLIPS:
                yield Finding(
                    severity="error",
                    seen=f"{block} outside of `dynamic_loss_scale(...)` and in front of it",
                    why="There the gradients are those of the scaled loss, thousands of times "
                    "longer. They are all cut to the bound, and then divided by the scale.",
                    instead="put it inside: `dynamic_loss_scale(chain(clip_by_global_norm(1.0), "
                    "...))`.",
                    reference="Micikevicius et al., 2018, https://arxiv.org/abs/1710.03740",
                )


def two_learning_rates(context: Context) -> Iterator[Finding]:
    """Two learning rates on one way: the product of both, and the sign turned twice."""
    for route in context.routes:
        turning = [block for block in route.blocks if block.name == "scale_by_learning_rate"]
        scales = [block for block in route.blocks if block.name == "scale"]
        negative = [block for block in scales if _sign(context, block) == -1]
        rates = [
            block for block in route.blocks if block.arguments.get("learning_rate") is not None
        ]
        turns = turning + negative
        if len(turns) > 1:
            even = len(turns) % 2 == 0
            yield Finding(
                severity="error",
                seen=f"{' and '.join(map(str, turns))} in one chain",
                why="Each of them turns the sign of the updates"
                + (", so that the loss is climbed. " if even else ". ")
                + "And the learning rate is the product of theirs.",
                instead="keep one, at the end. Inside of a chain, take the block in the place of "
                "the optimizer: `scale_by_adam()` for `adam(1e-3)`. A factor without a sign is "
                "`scale`.",
            )
        elif len(rates) > 1:
            yield Finding(
                severity="error",
                seen=f"{' and '.join(map(str, rates))} in one chain",
                why="Each of them multiplies: the learning rate is the product of theirs.",
                instead="`scale_by_learning_rate(None)` behind a block with a learning rate of its "
                "own.",
            )


def no_learning_rate(context: Context) -> Iterator[Finding]:
    """Updates that nothing turns downhill."""
    for route in context.routes:
        scales = [block for block in route.blocks if block.name == "scale"]
        turned = route.has("scale_by_learning_rate") or any(
            _sign(context, block) != 1 for block in scales
        )
        if route.known and not route.frozen and not turned:
            passed = ", ".join(map(str, route.blocks))
            yield Finding(
                severity="error",
                seen=f"no `scale_by_learning_rate` on the way of {listing(route.leaves)}, "
                + (f"which is {passed}" if passed else "which no block is on"),
                why="What comes before the learning rate points uphill and has not its length: "
                "added to the parameters, it climbs the loss.",
                instead="end the chain with `scale_by_learning_rate(...)`. To keep parameters as "
                "they are, `freeze(tx, mask)`: `masked` around a whole optimizer passes the raw "
                "gradients of the others on.",
            )


def learning_rate_divided_out(context: Context) -> Iterator[Finding]:
    """A learning rate in front of a division by the size of what comes in."""
    for route in context.routes:
        rates = [i for i, block in enumerate(route.blocks) if block.name in _RATE]
        scaling = _last(route, ADAPTIVE | SIGNS)
        if len(rates) == 1 and scaling > rates[0]:
            yield Finding(
                severity="error",
                seen=f"{route.blocks[rates[0]]} in front of {route.blocks[scaling]}",
                why="What comes in is divided by its own size, and with it the learning rate: the "
                "steps are of length 1, whatever the rate is.",
                instead="put it at the end of the chain.",
            )


def multiplier_divided_out(context: Context) -> Iterator[Finding]:
    """Layer-wise decay in front of a division by the size of what comes in."""
    for route in context.routes:
        scaling = _last(route, ADAPTIVE | SIGNS)
        for block in route.blocks[:scaling]:
            if block.name == "layerwise_decay":
                yield Finding(
                    severity="error",
                    seen=f"{block} in front of {route.blocks[scaling]}",
                    why="What comes in is divided by its own size, and with it the multipliers: "
                    "all layers take steps of one length.",
                    instead="put it behind the scaling and the weight decay, in front of the "
                    "learning rate.",
                )


def _last(route: Route, names: frozenset[str]) -> int:
    """The position of the last block with one of these names; 0 where there is none."""
    return max((i for i, block in enumerate(route.blocks) if block.name in names), default=0)


def _decays(context: Context, block: Block) -> bool:
    return any(block is found for found, _, _ in context.decays())


def _sign(context: Context, block: Block) -> int:
    """The sign of a `scale`'s factor over the run; 0 where it is not known or not one."""
    curve = context.curve(block.arguments["factor"], block)
    if curve is None:
        return 0
    return 1 if np.all(curve.values >= 0.0) else -1 if np.all(curve.values <= 0.0) else 0
