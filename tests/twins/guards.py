"""Guards and mixed precision."""

import numpy as np


def _norm(g):
    return np.sqrt(sum(np.sum(abs(x) ** 2) for x in g.values()))


def _zeros(g):
    return {k: np.zeros_like(x) for k, x in g.items()}


def _finite(g, extra):
    values = [*g.values(), extra.get("value", 0.0)]
    return all(np.all(np.isfinite(x)) for x in values)


def skip_nonfinite(s, g, w, inner, max_consecutive=None, on_exceeded="skip", **extra):
    """As the docstring of `skip_nonfinite` says."""
    if _finite(g, extra):
        s.consecutive = 0
        return inner(g, w)
    s.consecutive += 1
    gives_up = max_consecutive is not None and s.consecutive > max_consecutive
    return inner(g, w) if gives_up and on_exceeded == "apply" else _zeros(g)


def skip_spikes(
    s,
    g,
    w,
    inner,
    sigma=6.0,
    window=128,
    watch="gradient_norm",
    warmup=None,
    max_consecutive=10,
    **extra,
):
    """z-scores of the last readings, with a list in the place of the window."""
    if not s.readings:
        s.readings = []
    if not _finite(g, extra):
        return _zeros(g)
    reading = extra["value"] if watch == "loss" else np.log(_norm(g))
    known = s.readings[-window:]
    if len(known) >= max(2, window // 2 if warmup is None else warmup):
        mean, std = np.mean(known), np.std(known, ddof=1)
        least = 0.01 * abs(mean) if watch == "loss" else np.log(1.01)
        if reading - mean > max(sigma * std, least):
            s.spikes += 1
            if s.spikes <= max_consecutive:
                return _zeros(g)
            s.readings = []
    s.spikes = 0
    s.readings = [*s.readings, reading]
    return inner(g, w)


def dynamic_loss_scale(
    s,
    g,
    w,
    inner,
    init_scale=2.0**15,
    growth_factor=2.0,
    backoff_factor=0.5,
    growth_interval=2000,
    min_scale=1.0,
    max_scale=2.0**24,
):
    """`torch.amp.GradScaler`, with bounds."""
    scale = s.scale or init_scale
    if not _finite(g, {}):
        s.scale, s.growth_tracker = max(scale * backoff_factor, min_scale), 0
        return _zeros(g)
    s.scale, s.growth_tracker = scale, s.growth_tracker + 1
    if s.growth_tracker == growth_interval:
        s.scale, s.growth_tracker = min(scale * growth_factor, max_scale), 0
    return inner({k: x / scale for k, x in g.items()}, w)


def master_weights(s, g, w, inner):
    """Parameters in float32 and above have no master."""
    return inner(g, w)
