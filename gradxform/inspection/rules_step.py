"""Rules about a compiled step: whose memory its results have, and what compiles it again."""

from collections.abc import Iterator

import numpy as np

from . import compiled
from .findings import Finding, listing
from .step_program import Kind, Step, top

_SMALL = 1_000_000  # bytes below which a copy is hardly noticed
_DONATION = "https://docs.jax.dev/en/latest/buffer_donation.html"


def not_donated(step: Step) -> Iterator[Finding]:
    """Results that are written to new memory beside the arguments they replace."""
    for part in step.returned:
        if not part.donated and part.size:
            names = [top(candidate[0].name) for candidate in part.candidates]
            yield Finding(
                severity="warning" if part.size >= _SMALL else "hint",
                seen=f"{part.size:,} bytes of results have the structure of {listing(names)}, "
                "which is not donated",
                why="They are written to new memory while the old is kept: twice the memory, and "
                "on a CPU several times the time, because every page is a new one.",
                instead="`jax.jit(step, donate_argnums=...)` with the positions of what comes "
                "back, or `make_update_step` and `make_train_step`, which do that.",
                reference=_DONATION,
            )


def buffers_paired_crosswise(step: Step) -> Iterator[Finding]:
    """Results that have the memory of another argument than the one they replace."""
    crossed = _crossed(step)
    if crossed:
        result, argument = crossed[0]
        copied = compiled.copied(step.program, max(step.largest // 1000, 1))
        yield Finding(
            severity="warning" if step.largest >= _SMALL else "hint",
            seen=f"{len(crossed)} results have the memory of another argument, such as the new "
            f"`{result}`, which has that of `{argument}`; the program copies {len(copied)} "
            f"arrays, {sum(x.size for x in copied):,} bytes",
            why="XLA pairs donated arguments with results of the same shape in their order. "
            "Where the two orders differ, arrays are copied out of each other's way: AdamW takes "
            "up to five times as long on a CPU.",
            instead="arguments in the order of the results: `step(params, state, grads) -> "
            "(params, state)`; or `make_update_step`, `make_train_step`.",
            reference=_DONATION,
        )


def donated_in_vain(step: Step) -> Iterator[Finding]:
    """Arguments whose memory is given away, and used for nothing."""
    used = {*step.aliases.values()}
    read = {*compiled.arguments(step.program).values()}
    vain = [a for a in step.arguments.values() if a.donated and a.shape and a.name in read - used]
    if vain:
        yield Finding(
            severity="hint",
            seen=f"{listing(a.name for a in vain)} donated, {sum(a.size for a in vain):,} bytes; "
            "no result has that memory",
            why="No result that is left has that shape and dtype. The array is gone after the "
            "step, and nothing is gained.",
            instead="donate what comes back in the same shape and dtype.",
            reference=_DONATION,
        )


def copies_of_whole_arrays(step: Step) -> Iterator[Finding]:
    """Copies of arrays as large as the largest parameter, in a step that pairs them right."""
    given = [a for a in step.arguments.values() if a.donated]
    kept = [a for part in step.returned if not part.donated for a in part.arguments]
    # What is returned and not donated must be copied if nothing else is done with it.
    shapes = {(a.dtype.name, a.shape) for a in given} - {(a.dtype.name, a.shape) for a in kept}
    if not shapes or _crossed(step):
        return
    least = max(step.largest // 2, 1)
    found = [
        x
        for x in compiled.copied(step.program, least)
        if any((_dtype(name), shape) in shapes for name, shape in x.arrays)
    ]
    if found:
        yield Finding(
            severity="warning" if step.largest >= _SMALL else "hint",
            seen=f"{len(found)} {'copy' if len(found) == 1 else 'copies'} of arrays of {least:,} "
            "bytes or more with the shape of a donated argument: "
            f"{listing(compiled.line(x) for x in found[:2])}",
            why="Something still reads the old array after the new one was to be written in its "
            "place, or needs it in another layout.",
            instead="`make_train_step`, which begins the update when all gradients are there; and "
            "nothing that reads old parameters after the update.",
        )


def weakly_typed_arguments(step: Step) -> Iterator[Finding]:
    """Python numbers among the arguments, whose dtype gives way to any other."""
    weak = [a for a in step.arguments.values() if a.weak]
    if weak:
        python = all(a.is_python for a in weak)
        yield Finding(
            severity="hint",
            seen=f"{'Python numbers' if python else 'weakly typed numbers'} among the arguments: "
            f"{listing(a.name for a in weak)}",
            why="A call with an array of that dtype in its place, such as the one that a step "
            "returns, is compiled again; so is a call with an int in the place of a float.",
            instead="`jnp.asarray(x, jnp.float32)`, or the number inside of the optimizer "
            "(`tunable`), where it is a leaf of the state.",
            reference="https://docs.jax.dev/en/latest/type_promotion.html",
        )


def state_changes_its_type(step: Step) -> Iterator[Finding]:
    """Results that, passed in again, are not what the step was compiled for."""
    for part in step.returned:
        changed = part.changed
        if changed:
            argument, kind = changed[0]
            more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
            yield Finding(
                severity="error",
                seen=f"`{argument.name}` comes in as {_text(argument.kind)} and is returned as "
                f"{_text(kind)}{more}",
                why="The next call, with what this one returned, is compiled again, and its "
                "memory cannot be used for the result. `jax.lax.scan` refuses such a step.",
                instead="arrays of the dtype that the step returns from the start: `tx.init` of "
                "the parameters that are trained, `jnp.asarray(0, jnp.int32)` for a counter.",
            )


def another_call_compiles_again(step: Step) -> Iterator[Finding]:
    """Calls whose arguments the program was not compiled for."""
    for number, args in enumerate(step.others, 1):
        kinds = step.kinds(args)
        first: dict[str, Kind] = {name: a.kind for name, a in step.arguments.items()}
        differ = [
            (name, first.get(name), kinds.get(name))
            for name in dict.fromkeys([*first, *kinds])
            if first.get(name) != kinds.get(name)
        ]
        if differ:
            name, old, new = differ[0]
            more = f", and {len(differ) - 1} more" if len(differ) > 1 else ""
            yield Finding(
                severity="warning",
                seen=f"further call {number}: `{name}` is {_text(new)}, and was {_text(old)}{more}",
                why="Every new shape, dtype and structure of the arguments is a new program, "
                "compiled while the training waits.",
                instead="batches of one shape: leave the last one out, or pad it with a mask; "
                "numbers as arrays of one dtype.",
            )


def temporaries_beyond_largest_array(step: Step) -> Iterator[Finding]:
    """An update that holds more besides its arguments and results than one array."""
    held = compiled.temporaries(step.program)
    if step.largest and not step.multiplies_matrices and held > 2 * step.largest:
        yield Finding(
            severity="hint",
            seen=f"{held:,} bytes of temporary memory; the largest array has {step.largest:,}",
            why="The program computes no model, and its results can take the memory of its "
            "arguments. What it holds besides them are whole trees in between, written and read "
            "again: clipped gradients, for instance, or updates.",
            instead="`make_update_step(tx)`; parameters and state donated, in the order of the "
            "results.",
        )


def _crossed(step: Step) -> list[tuple[str, str]]:
    """(the name of a result, that of the argument whose memory it has) where they differ.

    The largest comes first.
    """
    crossed = []
    for part in step.returned:
        if not part.donated:
            continue
        own = next(c for c in part.candidates if any(a.donated for a in c))
        for index, number in enumerate(part.results):
            mine = {candidate[index].name for candidate in part.candidates}
            other = step.aliases.get(number)
            if other is not None and other not in mine and own[index].shape:
                crossed.append((own[index], other))
    crossed.sort(key=lambda pair: -pair[0].size)
    return [(argument.name, other) for argument, other in crossed]


def _text(kind: Kind | None) -> str:
    if kind is None:
        return "not there"
    shape, dtype, weak = kind
    return f"{'weakly typed ' if weak else ''}{np.dtype(dtype).name}{list(shape)}"


def _dtype(name: str) -> str:
    """A dtype of XLA's by NumPy's name."""
    kinds = {"f": "float", "s": "int", "u": "uint", "bf": "bfloat", "c": "complex"}
    letters = name.rstrip("0123456789")
    return "bool" if name == "pred" else kinds.get(letters, letters) + name[len(letters) :]
