"""The kinds of arguments: annotations that carry their rule.

Hyperparameters (`Scalar`, `Decay`, ...) take a number, a schedule or `tunable(number)`; the rest
shape the program and are known when it is built.
"""

from typing import Annotated, Any

from . import check
from .hyperparams import CorrectedDecay, Decay, LearningRate, NonNegative, Positive, Scalar
from .mask import Mask
from .types import TransformationRule

DType = Annotated[Any, check.FloatDType()]
StateDType = Annotated[Any, check.StateDType()]
Count = Annotated[int, check.Whole()]
WholeNumber = Annotated[int, check.Whole(low=0)]
# Those that may be traced, as in `optax.inject_hyperparams`, and those that count no steps.
TracedCount = Annotated[int, check.Whole(traced=True)]
TracedWholeNumber = Annotated[int, check.Whole(low=0, traced=True)]
Size = Annotated[int, check.Whole(high=None)]
Number = Annotated[Any, check.Interval()]
NonNegativeNumber = Annotated[Any, check.Interval(low=0.0)]
PositiveNumber = Annotated[Any, check.Interval(low=0.0, low_open=True)]
Transformation = Annotated[Any, TransformationRule()]

__all__ = [
    "CorrectedDecay",
    "Count",
    "DType",
    "Decay",
    "LearningRate",
    "Mask",
    "NonNegative",
    "NonNegativeNumber",
    "Number",
    "Positive",
    "PositiveNumber",
    "Scalar",
    "Size",
    "StateDType",
    "TracedCount",
    "TracedWholeNumber",
    "Transformation",
    "WholeNumber",
]
