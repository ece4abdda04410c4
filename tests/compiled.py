"""What XLA made of a program; see `gradxform.inspection.compiled`."""

from gradxform.inspection.compiled import (
    Instruction,
    aliases,
    compile_named,
    copied,
    copies,
    instructions,
    loops,
    temporaries,
    unaliased,
)

__all__ = [
    "Instruction",
    "aliases",
    "compile_named",
    "copied",
    "copies",
    "instructions",
    "loops",
    "temporaries",
    "unaliased",
]
