"""Plain data with something in it changed at random, as files of others are."""

import copy
import math
from collections.abc import Iterator
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 5, 2.5, 1e-300, 1e300, 10**30, 10**400, -(2**63)),
    *(math.inf, -math.inf, math.nan),
    *("", "a", "1e-3", "NaN", "Infinity", "x [/foo]", "[red]", "\x1b[2J\x07", "$\\frac", "a\nb"),
    *("float32", "9" * 400, "\u202eabc", "\ud800", "<b>", "{{ 1 }}", "select.path", "f" * 300),
    *([], [1], ["a"], [[1.0]], [[[math.nan]]], {}, {"a": 1}, {"sgd()": [0.1]}, {"function()": "f"}),
    *({"tunable()": {"value": 0.1}}, {"chain()": []}, {"select.all()": {}}, {"array()": 1}),
)


def mutated(data: Any, random: Random) -> Any:
    """A copy with one to three changes: a value replaced, left out, doubled, renamed or wrapped."""
    data = [copy.deepcopy(data)]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        container, key = random.choice(list(_places(data)))
        odd = copy.deepcopy(random.choice(ODD))
        kind = random.random()
        if kind < 0.55 or (container is data and kind < 0.8):
            container[key] = odd
        elif kind < 0.65 and container is not data:
            container.pop(key)
        elif kind < 0.75:
            container[key] = [container[key]]
        elif kind < 0.8 and isinstance(container[key], list):
            container[key] *= 2
        elif isinstance(container, dict):
            container[str(odd)] = container[key] if kind < 0.9 else container.pop(key)
        else:
            container.insert(key, odd)
    return data[0]


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    keys = range(len(data)) if isinstance(data, list) else list(data)
    for key in keys:
        yield data, key
        if isinstance(data[key], dict | list):
            yield from _places(data[key])
