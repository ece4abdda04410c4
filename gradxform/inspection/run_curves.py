"""The curves of a training run, as the rules of its diagnosis look at them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np


@dataclass(frozen=True, eq=False)
class Run:
    """What the rules of `diagnose_run` are given.

    Attributes:
      metrics: one-dimensional float64 arrays over the steps, by name.
    """

    metrics: dict[str, np.ndarray]

    def named(self, name: str) -> Iterator[tuple[str, np.ndarray]]:
        """The metrics of that name, of the whole first, then of each group or layer."""
        if name in self.metrics:
            yield name, self.metrics[name]
        for key, values in self.metrics.items():
            if key.endswith(f"/{name}"):
                yield key, values

    def whole(self, name: str) -> np.ndarray | None:
        """The metric of the whole model; None where there is none."""
        return self.metrics.get(name)

    def middle(self, values: np.ndarray) -> np.ndarray:
        """The measured values at the height of the run: no warmup, no end of a decay.

        Where the learning rate is known, the steps with at least half of its peak; else the steps
        from a tenth to a half.
        """
        steps = np.arange(len(values))
        rate = next((x for _, x in self.named("learning_rate")), None)
        if rate is not None and len(rate) == len(values) and np.isfinite(rate).any():
            kept = rate >= 0.5 * np.nanmax(rate)
        else:
            kept = (steps >= 0.1 * len(values)) & (steps <= 0.5 * len(values))
        return values[kept & np.isfinite(values)]

    def layers(self, name: str) -> Iterator[list[tuple[str, float]]]:
        """Medians of a metric by layer, from the first to the last, of each stack of layers.

        Layers are told by one number in their paths: `layer_0/gradient_norm`,
        `encoder/1/gradient_norm`.
        """
        found = []
        for key, values in self.named(name):
            place = key.rpartition("/")[0]
            numbers = re.findall(r"\d+", place)
            finite = values[np.isfinite(values)]
            if len(numbers) == 1 and finite.size:
                stack = re.sub(r"\d+", "*", place)
                found.append((stack, int(numbers[0]), place, float(np.median(finite))))
        for _, members in groupby(sorted(found), key=lambda layer: layer[0]):
            yield [(place, median) for _, _, place, median in members]


def late(values: np.ndarray, part: float = 0.5) -> np.ndarray:
    """The measured values of the last part of a run."""
    end = values[int((1.0 - part) * len(values)) :]
    return end[np.isfinite(end)]


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running medians: each value with those around it."""
    if window < 2 or len(values) < window:
        return values
    padded = np.pad(values, (window // 2, window - 1 - window // 2), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=-1)
