"""The schedules."""

import gradxform as gx

from .row import ScheduleRow

_GOYAL = "[Goyal 2017](https://arxiv.org/abs/1706.02677)"
_SGDR = "[Loshchilov & Hutter 2017](https://arxiv.org/abs/1608.03983)"

ROWS = (
    ScheduleRow("constant_schedule", {"value": 0.3}, "value"),
    ScheduleRow(
        "linear_schedule",
        {"start": 0.3, "end": 0.1, "steps": 40},
        "start + (end - start) t / steps, then end",
        edges=(40,),
    ),
    ScheduleRow(
        "cosine_decay",
        {"value": 0.3, "steps": 40, "end": 0.01},
        "end + (value - end) (1 + cos(π t / steps)) / 2, then end",
        _SGDR,
        edges=(40,),
    ),
    ScheduleRow(
        "exponential_decay",
        {"value": 0.3, "steps": 40, "factor": 0.5},
        "value factor^(t / steps)",
    ),
    ScheduleRow(
        "step_decay",
        {"value": 0.3, "factor": 0.2, "every": 30},
        "value factor^⌊t / every⌋",
        edges=(30, 60, 90),
        jumps=(30, 60, 90),
        variant="every",
    ),
    ScheduleRow(
        "step_decay",
        {"value": 0.3, "factor": 0.2, "boundaries": (30, 60, 90)},
        "value factor^(boundaries reached)",
        edges=(30, 60, 90),
        jumps=(30, 60, 90),
        variant="boundaries",
    ),
    ScheduleRow(
        "warmup",
        {"schedule": gx.cosine_decay(0.3, 40), "steps": 10, "start": 0.03},
        "a line from start to schedule(0), then schedule(t - steps)",
        _GOYAL,
        edges=(10, 50),
    ),
    ScheduleRow(
        "join_schedules",
        {
            "schedules": (gx.linear_schedule(0.0, 0.3, 10), 0.3, gx.cosine_decay(0.3, 20)),
            "boundaries": (10, 30),
        },
        "each schedule from its own step 0",
        edges=(10, 30, 50),
    ),
)
