"""What is wrong with a jitted step, from the program that XLA made of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax

from ..core import check
from . import rules_step
from .findings import Diagnosis, Rule, applied, table
from .step_program import Step

STEP_RULES: Mapping[str, Rule] = MappingProxyType(
    table(
        rules_step.state_changes_its_type,
        rules_step.not_donated,
        rules_step.buffers_paired_crosswise,
        rules_step.donated_in_vain,
        rules_step.copies_of_whole_arrays,
        rules_step.temporaries_beyond_largest_array,
        rules_step.weakly_typed_arguments,
        rules_step.another_call_compiles_again,
    )
)
"""The rules of `diagnose_step` by name: functions of a `Step` that give `Finding`s."""


def diagnose_step(
    step: Any,
    *args: Any,
    other_calls: Sequence[Sequence[Any]] = (),
    rules: Mapping[str, Rule] = STEP_RULES,
    **kwargs: Any,
) -> Diagnosis:
    """Say what is wrong with a jitted training or update step: its memory, and recompilation.

        print(diagnose_step(step, params, state, batch))

    It compiles the step for these arguments, and runs nothing: they are not donated. Which result
    replaces which argument is told by their structure: the parameters come back where the results
    have a tree like them.

    Args:
      step: what `jax.jit` returned, `make_update_step` and `make_train_step` included.
      *args: the arguments of a call, or their shapes (`jax.ShapeDtypeStruct`).
      other_calls: the positional arguments of further calls, each a tuple: whether they need
        another program, such as a last batch that is smaller.
      rules: the table of rules, by name; each is a function of a `Step`.
      **kwargs: the keyword arguments of the call.

    Returns:
      A `Diagnosis`: a sequence of findings, the worst first, that prints as a report.

    Raises:
      TypeError: a function that is not jitted.
    """
    if not callable(step) or not all(hasattr(step, name) for name in ("lower", "trace")):
        name = getattr(step, "__name__", None) or check.brief(step)
        raise TypeError(
            f"`diagnose_step({name}, ...)`: `step` must be what `jax.jit` returned. Pass "
            f"`jax.jit({name})`, or the jitted function that runs in your loop."
        )
    if isinstance(other_calls, jax.Array) or not all(
        isinstance(call, tuple | list) for call in other_calls
    ):
        raise TypeError(
            "`diagnose_step(other_calls=...)`: a list of tuples of positional arguments; got "
            f"{check.brief(other_calls)}."
        )
    found = Step(step, args, kwargs, tuple(tuple(call) for call in other_calls))
    name = getattr(step, "__name__", "step")
    subject = f"{name} with {len(found.arguments)} arrays among its arguments"
    return applied("diagnose_step", subject, rules, found)
