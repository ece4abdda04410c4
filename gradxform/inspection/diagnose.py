"""What is wrong with an optimizer, before it runs: rules over its recipe and the parameters."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

import optax

from ..core import check
from ..core.types import Params, require_transformation
from . import rules_numbers, rules_order, rules_recipe, rules_schedule, rules_wrappers
from .diagnose_context import Context, call_text
from .findings import Diagnosis, Rule, applied, table

Model = Literal["transformer", "recurrent", "vision", "reinforcement", "sparse", "table"]

DIAGNOSIS_RULES: Mapping[str, Rule] = MappingProxyType(
    table(
        rules_recipe.parameters_that_init_refuses,
        rules_order.no_learning_rate,
        rules_order.two_learning_rates,
        rules_order.decay_after_learning_rate,
        rules_order.decay_before_preconditioner,
        rules_order.l2_under_adaptive_scaling,
        rules_order.clipping_after_preconditioning,
        rules_order.clipping_of_scaled_gradients,
        rules_order.learning_rate_divided_out,
        rules_order.multiplier_divided_out,
        rules_wrappers.change_behind_a_whole_optimizer,
        rules_wrappers.blocks_outside_of_accumulation,
        rules_wrappers.gradient_of_the_last_micro_batch,
        rules_wrappers.blocks_outside_of_a_guard,
        rules_wrappers.guard_inside_schedule_free,
        rules_wrappers.decay_inside_cautious,
        rules_schedule.learning_rate_is_zero,
        rules_schedule.no_warmup,
        rules_schedule.warmup_longer_than_run,
        rules_schedule.schedule_ends_before_run,
        rules_schedule.schedule_ends_after_run,
        rules_schedule.decay_under_schedule_free,
        rules_schedule.batch_size_changed_without_rate,
        rules_recipe.no_clipping,
        rules_recipe.the_same_random_numbers,
        rules_recipe.decay_on_biases_and_norms,
        rules_recipe.imagenet_recipe_on_few_examples,
        rules_numbers.decay_too_strong,
        rules_numbers.step_as_long_as_the_weights,
        rules_numbers.epsilon_lost_in_float16,
        rules_numbers.moments_in_16_bit,
        rules_numbers.sums_in_16_bit,
        rules_numbers.distance_moments_in_float16,
        rules_numbers.distance_that_rounds_away,
        rules_numbers.updates_below_half_a_digit,
        rules_numbers.state_over_memory_budget,
    )
)
"""The rules of `diagnose` by name: functions of a `Context` that give `Finding`s."""


def diagnose(
    tx: optax.GradientTransformation,
    params: Params,
    *,
    total_steps: int | None = None,
    batch_size: int | None = None,
    examples: int | None = None,
    model: Model | None = None,
    memory_budget: int | None = None,
    rules: Mapping[str, Rule] = DIAGNOSIS_RULES,
) -> Diagnosis:
    """Say what is wrong with an optimizer for these parameters, without running it.

        print(diagnose(tx, params, total_steps=10_000, model="transformer"))

    A rule that cannot decide stays silent: tell it more, and it sees more. Every rule looks at
    what the optimizer is made of, and at the shapes of the parameters; two of them, about 16-bit
    parameters and about the length of a step, at their values where they are there.

    Args:
      tx: a complete optimizer. What Optax built, and blocks of your own, cannot be seen into; a
        note says which they are.
      params: the parameters, or their shapes (`jax.ShapeDtypeStruct`).
      total_steps: calls of `update` in the run.
      batch_size: examples of one call of `update`.
      examples: how many examples there are to train on.
      model: the kind of model, where a rule depends on it: "transformer", "recurrent", "vision",
        "reinforcement", "sparse" or "table".
      memory_budget: how many bytes the state may take.
      rules: the table of rules, by name. `{**DIAGNOSIS_RULES, "mine": rule}` adds one of yours: a
        function of a `Context`, which holds all of the above, the blocks in order, the ways that
        parameters take through them, and the values of hyperparameters over the run. It gives
        `Finding`s.

    Returns:
      A `Diagnosis`: a sequence of findings, the worst first, that prints as a report.

    Raises:
      ValueError: an argument that is none of those.
    """
    require_transformation("diagnose(tx, params)", "`tx`", tx)
    numbers = {
        "total_steps": total_steps,
        "batch_size": batch_size,
        "examples": examples,
        "memory_budget": memory_budget,
    }
    whole = check.Optional(check.Whole(high=2**63 - 1))
    counts: dict[str, Any] = {n: whole("diagnose", n, x) for n, x in numbers.items()}
    check.Optional(check.Choice(get_args(Model)))("diagnose", "model", model)
    context = Context(tx, params, model=model, **counts)
    return applied("diagnose", call_text(tx, 60), rules, context, _notes(context))


def _notes(context: Context) -> list[str]:
    """What the rules could not see."""
    hidden = list(dict.fromkeys(call_text(b.tx) for b in context.blocks if not b.name))
    notes = []
    if hidden:
        notes.append(
            f"{', '.join(hidden)}: not seen into. Optax's transformations do not know how they "
            "were made, and blocks of your own no rule knows; rules that need to know all blocks "
            "were silent."
        )
    missing = {"total_steps": context.total_steps, "model": context.model}
    untold = [f"`{name}=`" for name, value in missing.items() if value is None]
    if untold:
        notes.append(f"with {' and '.join(untold)} more could be seen.")
    return notes
