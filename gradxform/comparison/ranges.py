"""Ranges of numbers, for a search to draw from."""

import math
from dataclasses import dataclass

import numpy as np

from ..core import check

_NUMBER = check.Interval()


@dataclass(frozen=True)
class Range:
    """All numbers between two, for `tune` to search.

        Range(1e-4, 1e-1)              # a learning rate: each decade as likely as the next
        Range(0.0, 0.3, log=False)     # a share: each tenth as likely as the next

    Attributes:
      low: the smallest value.
      high: the largest value.
      log: whether values are drawn evenly on a logarithmic scale.

    Raises:
      ValueError: `low` is not below `high`, or a logarithmic range does not begin above 0.
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        low, high = (_NUMBER("Range", name, getattr(self, name)) for name in ("low", "high"))
        if not low < high:
            check.fail("Range", "high", high, f"above `low`, which is {low:g}")
        if self.log and low <= 0.0:
            hint = "For a range from 0 on, pass `log=False`."
            check.fail("Range", "low", low, "above 0, where the range is logarithmic", hint)

    def at(self, share: float) -> float:
        """The value at a share of the way from `low` to `high`, in four digits."""
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + share * (self.high - self.low)
        return float(np.clip(float(f"{value:.4g}"), self.low, self.high))

    def place(self, value: float) -> float:
        """The share of the way from `low` to `high` at which a value lies."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", logarithmic" if self.log else "")
