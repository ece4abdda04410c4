"""One update from several micro-batches."""

import numpy as np


def accumulate(
    s,
    g,
    w,
    inner,
    every,
    reduction="mean",
    on_nonfinite="propagate",
    reduced=("value",),
    **extra,
):
    """As the docstring of `accumulate` says: all micro-batches of a window, then one update."""
    if not s.window:
        s.window = []
        s.updates = int(s.updates)
        s.length = max(1, int(every(s.updates))) if callable(every) else every
    s.window.append((extra.get("weight", 1.0), g, extra))
    if len(s.window) < s.length:
        return {k: np.zeros_like(x) for k, x in g.items()}

    def finite(g):
        return all(np.all(np.isfinite(x)) for x in g.values())

    members = [m for m in s.window if m[0] and (on_nonfinite == "propagate" or finite(m[1]))]
    s.window = 0.0
    if not members:
        return {k: np.zeros_like(x) for k, x in g.items()}
    s.updates += 1
    total = sum(weight for weight, *_ in members) if reduction == "mean" else 1.0

    def gathered(values):
        terms = [weight * x for (weight, *_), x in zip(members, values, strict=True)]
        return sum(terms) / total

    readings = {name: gathered([e[name] for *_, e in members]) for name in reduced if name in extra}
    return inner({k: gathered([m[1][k] for m in members]) for k in g}, w, **readings)
