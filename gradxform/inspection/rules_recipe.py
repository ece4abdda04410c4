"""Rules about what belongs to a kind of model, to a parameter, and to an amount of data."""

from collections.abc import Iterator

import numpy as np

from ..core.parameter_names import VECTORS
from .block_kinds import ADAPTIVE, BOUNDED, SIGNS
from .diagnose_context import Context, Route
from .findings import Finding, listing
from .schedule_lengths import call_of, schedules_in

FEW_EXAMPLES = 2_000
_DROPPING = ("step_decay", "piecewise_constant", "cosine_decay")


def parameters_that_init_refuses(context: Context) -> Iterator[Finding]:
    """Parameters that no group covers, selectors that match nothing, leaves that are no numbers."""
    if context.refusal:
        yield Finding(
            severity="error",
            seen=context.refusal,
            why="`init` refuses these parameters with this message. The other rules have not been "
            "applied.",
            instead="what the message asks for.",
        )


def no_clipping(context: Context) -> Iterator[Finding]:
    """Gradients that can explode, and nothing that bounds them."""
    for route in context.routes:
        bounded = route.first(BOUNDED) is not None
        if bounded or not route.known or route.frozen or _inside(route, "skip_spikes"):
            continue
        explodes = context.model in ("recurrent", "transformer")
        if explodes or _inside(route, "dynamic_loss_scale"):
            what = f"a {context.model} model" if explodes else "a scaled loss"
            yield Finding(
                severity="warning" if explodes else "hint",
                seen=f"{what}, and no bound on the gradients of {listing(route.leaves)}",
                why="Gradients through many steps of time explode, and those of attention and of "
                "16 bits have spikes: one such step can undo thousands.",
                instead="`clip_by_global_norm(1.0)` as the first link of the chain.",
                reference="Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063",
            )


def the_same_random_numbers(context: Context) -> Iterator[Finding]:
    """Several blocks of a foreign chain with one seed."""
    blocks, seeds = context.seeds
    if 0 < seeds < blocks:
        yield Finding(
            severity="warning",
            seen=f"{blocks} blocks that draw random numbers, from {seeds} different "
            f"seed{'s' if seeds > 1 else ''}",
            why="Some of their numbers are the same. In a chain or in groups of this library each "
            "block knows its place and has numbers of its own; others do not say where a part is.",
            instead="`chain` and `partition` of this library, or a `seed=` of its own for each.",
        )


def decay_on_biases_and_norms(context: Context) -> Iterator[Finding]:
    """Weight decay on what is no weight."""
    for block, name, _ in context.decays():
        leaves = {path: context.leaves[path] for path in block.paths}
        if block.name.startswith("scale_by_") and block.arguments.get("mask") is not None:
            continue  # its mask is not read here
        if not any(np.ndim(leaf) > 1 for leaf in leaves.values()):
            continue  # a model of vectors: they may be its weights
        found = [
            path for path, leaf in leaves.items() if np.ndim(leaf) < 2 or VECTORS.fullmatch(path)
        ]
        if found:
            masked = "mask" in block.arguments
            yield Finding(
                severity="warning",
                seen=f"{block}: `{name}` applies to {listing(found)}",
                why="A bias and the scale of a norm have nothing to be kept small for: decay "
                "pulls the outputs to zero, and does not regularize.",
                instead="`mask=select.decayed`."
                if masked
                else "a decay with a mask: `add_decoupled_weight_decay(..., mask=select.decayed)`.",
                reference="He et al., 2019, section 3.1, https://arxiv.org/abs/1812.01187",
            )


def imagenet_recipe_on_few_examples(context: Context) -> Iterator[Finding]:
    """The recipe for a million images on some hundreds."""
    few = context.examples is not None and context.examples <= FEW_EXAMPLES
    if not few or context.model not in (None, "vision"):
        return
    for route in context.routes:
        rate = context.rate(route)
        names = {
            call_of(schedule)[0]
            for block in route.blocks
            for schedule in schedules_in(block.arguments.get("learning_rate"))
        }
        if (
            rate is not None
            and route.has("scale_by_momentum")
            and route.first(ADAPTIVE | SIGNS) is None
            and names & {*_DROPPING}
            and np.max(rate.values) >= 0.05
            and context.size > (context.examples or 0)
        ):
            yield Finding(
                severity="warning",
                seen=f"SGD with momentum and a learning rate of up to {np.max(rate.values):.3g} "
                f"that falls over the run, for {context.examples:,} examples and "
                f"{context.size:,} parameters",
                why="It is the recipe for ImageNet, a million images from scratch. With so few, "
                "the epochs have too few steps for it, and the model learns them by heart.",
                instead="fine-tune a trained model (`presets.finetune`), or a small one; judge by "
                "cross-validation, beside a linear model or gradient boosting.",
                reference="He et al., 2016, section 3.4, https://arxiv.org/abs/1512.03385",
            )


def _inside(route: Route, name: str) -> bool:
    return any(block.inside(name) for block in route.blocks)
