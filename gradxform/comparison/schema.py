"""What the file of a comparison must be made of, before anything is made of it.

msgspec checks it: the schema is plain annotated classes, an error has the place in the file
(`$.candidates[0].grid`), there is no coercion that has to be switched off, and it is one small
package without dependencies, with wheels for every Python that this library runs on. pydantic
would do as well and brings four packages; cattrs converts where it should refuse (`True` to 1.0).
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

Count: TypeAlias = Annotated[int, Meta(ge=1, le=2**62)]
Whole: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
# Numbers that are not finite are text, as JSON has none for them.
Number: TypeAlias = float | Literal["NaN", "Infinity", "-Infinity"]
Float = Literal["float16", "bfloat16", "float32", "float64"]
Int = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
Plain: TypeAlias = dict[str, Any]


class Examples(Struct):
    """The number of examples in each split."""

    train: Count
    validation: Count
    test: Count


class Task(Struct):
    """What was trained."""

    name: str
    hash: str
    metric: str
    percent: bool
    lower_is_better: bool
    target: Number | None
    examples: Examples
    details: Plain


class Training(Struct):
    """How it was trained."""

    seeds: Annotated[list[Whole], Meta(min_length=1)]
    steps: Count
    batch_size: Count
    evaluate_every: Count


class Environment(Struct):
    """When and where; what else is there is kept and not looked into."""

    date: str = ""
    versions: dict[str, str | None] = {}
    machine: dict[str, str | int | float | None] = {}
    resumed: list[str] = []


class Reference(Struct):
    """What another method reaches."""

    name: str
    recipe: str
    validation: Number
    test: Number


class Trial(Struct):
    """A setting that a search tried."""

    setting: dict[str, float]
    steps: Count
    score: Number
    seeds: list[Whole] = []
    round: Whole = 0


class DTypes(Struct):
    """Of each array, the dtype that it had."""

    evaluated_after_steps: Int
    validation: Float
    test: Float
    train_loss: Float
    final_train_loss: Float


class Candidate(Struct):
    """One optimizer and its runs."""

    name: str
    recipe: str
    factory: str | None
    config: Plain | None
    chosen_recipe: str | None
    chosen_config: Plain | None
    program_hash: str
    grid: dict[str, Annotated[list[float], Meta(min_length=1)]]
    milliseconds_a_step: Number | None
    trials: list[Trial]
    dtypes: DTypes
    evaluated_after_steps: Annotated[list[Whole], Meta(min_length=1)]
    validation: list[list[list[Number]]]
    test: list[list[Number]]
    train_loss: list[list[list[Number]]]
    final_train_loss: list[list[Number]]


class File(Struct):
    """The whole file; what follows from the rest, such as the ranking, is not read."""

    planned: Annotated[list[str], Meta(min_length=1)]
    task: Task
    training: Training
    search: Plain
    environment: Environment
    references: list[Reference]
    candidates: list[Candidate]


class Batch(Struct):
    """Trials of one optimizer that were trained together."""

    optimizer: str
    steps: Count
    settings: Annotated[list[dict[str, float]], Meta(min_length=1)]
    scores: Annotated[list[Number], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len(self.settings) != len(self.scores):
            raise ValueError("there must be one score for each setting")


class Journal(Struct):
    """What a search has tried so far."""

    format: str
    format_version: int
    plan: Plain
    batches: list[Batch]
