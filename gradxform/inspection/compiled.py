"""What XLA made of a program: which buffers it changes in place, what it copies, where it loops.

    program = compile_named(jax.jit(step, donate_argnums=(0, 1)).lower(params, state, grads))
    unaliased(program, ("params", "state"))  # [] where each result has its argument's memory
    copies(program, at_least=4000)  # bytes

The figures are those of the optimized program, and the same in every run. An instruction counts
where it runs by itself: in the program, a loop's body, a branch or a call. What XLA fused is inside
one loop, and does not count.
"""

import functools
import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
from jax.tree_util import keystr, tree_flatten_with_path

_METADATA = "jax_compilation_cache_include_metadata_in_key"
_BYTES = {"pred": 1, "bf16": 2, "c64": 8, "c128": 16}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_ALIAS = re.compile(r"\{([\d, ]*)\}: \((\d+), \{[\d, ]*\}")
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|\w+_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
# What computes nothing and moves no numbers.
_FREE = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "opt-barrier"}
# What only runs other instructions, which are counted themselves.
_RUNS = {"while", "conditional", "call", "async-start"}


class Instruction(NamedTuple):
    """One line of an optimized program."""

    name: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]  # dtype and shape of each result
    opcode: str
    called: tuple[str, ...]  # the computations inside
    source: str  # what the program was written as, or an argument's name
    is_root: bool
    operands: tuple[str, ...]  # the names of the instructions that it reads

    @property
    def size(self) -> int:
        """Bytes of the largest result."""
        return max((_bytes(*array) for array in self.arrays), default=0)


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    digits = re.search(r"\d+", dtype)
    each = _BYTES.get(dtype) or (int(digits[0]) // 8 if digits else 0)
    return each * math.prod(shape)


def compile_named(
    lowered: jax.stages.Lowered, options: dict[str, Any] | None = None
) -> jax.stages.Compiled:
    """Compile with the names of this function's arguments, and with XLA's options if there are any.

    The folder of compiled programs may hold the same program with the names of another function.
    """
    before = getattr(jax.config, _METADATA)
    update: Any = jax.config.update
    update(_METADATA, True)
    try:
        return lowered.compile(options)
    finally:
        update(_METADATA, before)


def instructions(program: jax.stages.Compiled) -> list[Instruction]:
    """All that runs by itself."""
    computations, entry = _parsed(_text(program))
    found, left, seen = [], [entry], {entry}
    while left:
        for instruction in computations[left.pop()]:
            found.append(instruction)
            if instruction.opcode in _RUNS:
                left += [name for name in instruction.called if name not in seen]
                seen.update(instruction.called)
    return found


def copies(program: jax.stages.Compiled, at_least: int) -> list[str]:
    """The copies of arrays of so many bytes, as text."""
    return [line(x) for x in copied(program, at_least)]


def copied(program: jax.stages.Compiled, at_least: int) -> list[Instruction]:
    """The copies of arrays of so many bytes."""
    computations, _ = _parsed(_text(program))

    def is_copy(x: Instruction) -> bool:
        if x.opcode == "fusion":
            return any(is_copy(y) for name in x.called for y in computations[name] if y.is_root)
        return x.opcode in ("copy", "copy-start")

    return [x for x in instructions(program) if x.size >= at_least and is_copy(x)]


def loops(program: jax.stages.Compiled, at_least: int) -> Counter[tuple[int, ...]]:
    """How often the program goes over arrays of so many bytes to write one, by shape.

    A loop that reads such an array and writes less, such as a sum, does not count.
    """
    written: Counter[tuple[int, ...]] = Counter()
    for x in instructions(program):
        if x.opcode not in _FREE | _RUNS and x.size >= at_least:
            written[max(x.arrays, key=lambda array: _bytes(*array))[1]] += 1
    return written


def temporaries(program: jax.stages.Compiled) -> int:
    """Bytes of memory that the program takes besides its arguments and results, at its largest."""
    analysis: Any = program.memory_analysis()
    return int(analysis.temp_size_in_bytes)


def unaliased(
    program: jax.stages.Compiled, returned: tuple[str, ...], at_least: int = 0
) -> list[str]:
    """The results of so many bytes that are not written into the argument they replace.

    Args:
      program: from `compile_named`.
      returned: what each result of the function is called among its arguments; "" for what is not
        among them.

    Returns:
      The names of arrays, such as `state[0].mu['w']`, whose buffer the result of that name does
      not have, be it that it has another's. What the program does not read, such as the reading
      of a hyperparameter, is no argument of it and is not listed.
    """
    numbers = arguments(program)
    computations, entry = _parsed(_text(program))
    sizes = {x.source: x.size for x in computations[entry] if x.opcode == "parameter"}
    structure: Any = program.out_tree
    results = structure.unflatten(range(structure.num_leaves))
    aliased = aliases(program)
    missing = []
    for path, index in tree_flatten_with_path(results)[0]:
        name = f"{returned[path[0].idx]}{keystr(path[1:])}"
        if returned[path[0].idx] and name in numbers.values():
            number = aliased.get(index)
            paired = number is not None and numbers[number] == name
            if not paired and sizes[name] >= at_least:
                missing.append(name)
    return missing


def arguments(program: jax.stages.Compiled) -> dict[int, str]:
    """The names of the arguments that the program reads, by number."""
    text = _text(program)
    computations, entry = _parsed(text)
    parameters = {
        x.name: x.source for x in computations[entry] if x.opcode == "parameter" and x.source
    }
    return {
        int(number): parameters[name]
        for name, number in _parameter_numbers(text, entry)
        if name in parameters
    }


def aliases(program: jax.stages.Compiled) -> dict[int, int]:
    """The number of the argument, of those the program reads, whose buffer each result has."""
    header = _text(program).split("\n", 1)[0]
    start = header.find("input_output_alias={")
    return {} if start < 0 else _aliases(header[start:])


def _aliases(text: str) -> dict[int, int]:
    end = text.find("entry_computation_layout")
    return {int(out or 0): int(number) for out, number in _ALIAS.findall(text[:end])}


def _text(program: jax.stages.Compiled) -> str:
    return program.as_text() or ""


def line(x: Instruction) -> str:
    """An instruction as text."""
    arrays = ", ".join(f"{dtype}{list(shape)}" for dtype, shape in x.arrays)
    return f"{x.opcode} {x.name}: {arrays} {x.source}".rstrip()


def _parameter_numbers(text: str, entry: str) -> list[tuple[str, str]]:
    start = text.find(f"ENTRY %{entry} ")
    return re.findall(r"%([\w.\-]+) = \S+ parameter\((\d+)\)", text[start:])


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Every computation by name, and the name of the one that is the program."""
    computations: dict[str, list[Instruction]] = {}
    current, entry = [], ""
    for line in text.split("\n"):
        if match := _COMPUTATION.match(line):
            current = computations.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        elif match := _INSTRUCTION.match(line):
            current.append(_instruction(match))
    return computations, entry


def _instruction(match: re.Match[str]) -> Instruction:
    root, name, types, opcode, rest = match.groups()
    arrays = tuple(
        (dtype, tuple(int(d) for d in dims.split(",") if d))
        for dtype, dims in _ARRAY.findall(types)
    )
    branches = _BRANCHES.search(rest)
    called = _CALLED.findall(rest) + (re.findall(r"[\w.\-]+", branches[1]) if branches else [])
    source = re.search(r'op_name="((?:[^"\\]|\\.)*)"', rest)
    return Instruction(
        name,
        arrays,
        opcode,
        tuple(called),
        source[1].replace("\\'", "'") if source else "",
        bool(root),
        tuple(_OPERAND.findall(rest.split("), ", 1)[0])),
    )
