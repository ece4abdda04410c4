"""Rules about wrappers: what belongs inside of one, what around it, and what on neither side.

What a wrapper says of itself (`core.types.declares`) decides where it can; orders that can never be
meant are refused when they are built.
"""

from collections.abc import Iterator
from typing import Any

from ..core.types import declared
from .block_kinds import ADAPTIVE, AVERAGING, CLIPS, DECAYS, SIGNS
from .diagnose_context import Block, Context, Route, name_of
from .findings import Finding

_GUARDS = ("skip_nonfinite", "skip_spikes", "dynamic_loss_scale")
# Behind `accumulate` these do nothing to the zeros between two updates, and remember nothing.
_LINEAR = frozenset(("layerwise_decay", "scale", "scale_by_learning_rate"))
# The bounds, and what makes a norm the same for all gradients.
_LEVELLED = CLIPS | SIGNS | {"normalize_by_global_norm"}


def change_behind_a_whole_optimizer(context: Context) -> Iterator[Finding]:
    """Updates that something changes on their way from a wrapper that they are final for."""
    for route in context.routes:
        for wrapper in _wrappers(route):
            why = declared(wrapper, "final")
            _, behind = _outside(route, wrapper)
            for block in behind if why else ():
                yield Finding(
                    severity="error",
                    seen=f"{block} behind `{name_of(wrapper)}(...)`",
                    why=why,
                    instead=f"put `{name_of(wrapper)}` around the whole chain.",
                )


def blocks_outside_of_accumulation(context: Context) -> Iterator[Finding]:
    """What sees each micro-batch by itself, or the zeros between two updates."""
    for route in context.routes:
        for wrapper in _wrappers(route, "accumulate"):
            if wrapper.recipe.arguments["every"] == 1:
                continue
            before, behind = _outside(route, wrapper)
            for block in behind:
                if block.name not in _LINEAR:
                    yield Finding(
                        severity="error",
                        seen=f"{block} behind `accumulate(...)`",
                        why="It runs in every call, and between two updates what comes to it is "
                        "zero: decay is applied once a micro-batch, averages take up the zeros.",
                        instead="put `accumulate` around the whole chain.",
                    )
            for block in before:
                if block.name in CLIPS | ADAPTIVE | SIGNS:
                    yield Finding(
                        severity="warning",
                        seen=f"{block} in front of `accumulate(...)`",
                        why="It sees the gradient of each micro-batch and not their mean: those "
                        "are longer and noisier, so that more of them are cut, and the mean of "
                        "what it makes of them is another direction.",
                        instead="put it inside: `accumulate(chain(clip_by_global_norm(1.0), ...), "
                        "every)`.",
                    )


def gradient_of_the_last_micro_batch(context: Context) -> Iterator[Finding]:
    """A second gradient that is that of one micro-batch, in the place of that of the window."""
    for block in context.blocks:
        names = [name_of(wrapper) for wrapper in block.around]
        if "sam" in names and "accumulate" in names[: names.index("sam")]:
            yield Finding(
                severity="warning",
                seen="`sam` inside of `accumulate(...)`",
                why="It climbs along the mean of the window, and takes the second gradient, by "
                "`grad_fn`, of the micro-batch that ends it: the others count for nothing.",
                instead="turn them round: `sam(accumulate(...))` gathers the second gradients; or "
                "`accumulated_value_and_grad` for both.",
            )


def blocks_outside_of_a_guard(context: Context) -> Iterator[Finding]:
    """What an infinite gradient reaches before the guard, or what hides a spike from it."""
    for route in context.routes:
        for wrapper in _wrappers(route, *_GUARDS):
            guard = name_of(wrapper)
            before, _ = _outside(route, wrapper)
            for block in before:
                if block.name in AVERAGING:
                    yield Finding(
                        severity="error",
                        seen=f"{block} in front of `{guard}(...)`",
                        why="A gradient that is infinite or NaN has entered its averages before "
                        "the guard sees it, and they keep it: every later step is skipped.",
                        instead=f"put `{guard}` around the whole chain.",
                    )
                elif guard == "skip_spikes" and block.name in _LEVELLED:
                    yield Finding(
                        severity="warning",
                        seen=f"{block} in front of `skip_spikes(...)`",
                        why="The guard reads the norm of what comes to it, and this has been cut "
                        "to a bound: no spike is ever seen.",
                        instead="put it inside: "
                        "`skip_spikes(chain(clip_by_global_norm(1.0), ...))`.",
                    )


def guard_inside_schedule_free(context: Context) -> Iterator[Finding]:
    """Skipped steps that count in an average nonetheless."""
    for block in context.blocks:
        names = [name_of(wrapper) for wrapper in block.around]
        inside = names[names.index("schedule_free") :] if "schedule_free" in names else []
        for guard in [name for name in inside if name in _GUARDS]:
            yield Finding(
                severity="warning",
                seen=f"`{guard}` inside of `schedule_free(...)`",
                why="A step that it leaves out does not move z, and counts in the average all "
                "the same.",
                instead=f"turn them round: `{guard}(schedule_free(...))`.",
            )


def decay_inside_cautious(context: Context) -> Iterator[Finding]:
    """Weight decay that is masked with the direction."""
    for block in context.blocks:
        if block.name in DECAYS and block.inside("cautious"):
            yield Finding(
                severity="warning",
                seen=f"{block} inside of `cautious(...)`",
                why="Where the decay turns the sign of the sum, the gradient's own part is dropped "
                "with it; elsewhere the decay is rescaled.",
                instead="put it behind: `chain(cautious(scale_by_adam()), "
                "add_decoupled_weight_decay(0.1), scale_by_learning_rate(1e-3))`; a decay that is "
                "cautious itself is `add_cautious_weight_decay`.",
                reference="Liang et al., 2024, https://arxiv.org/abs/2411.16085",
            )


def _wrappers(route: Route, *names: str) -> list[Any]:
    """The wrappers on a route, each once; of those names if any are given."""
    found = {id(w): w for block in route.blocks for w in block.around}
    return [w for w in found.values() if not names or name_of(w) in names]


def _outside(route: Route, wrapper: Any) -> tuple[list[Block], list[Block]]:
    """The blocks in front of a wrapper and behind it, in the wrappers that it is in itself."""
    places = [i for i, b in enumerate(route.blocks) if any(w is wrapper for w in b.around)]
    return list(route.blocks[: places[0]]), list(route.blocks[places[-1] + 1 :])
