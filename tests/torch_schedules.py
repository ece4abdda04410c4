"""Write `torch_schedules.json`: what torch's schedulers do, in float64.

The tests read that file and need no torch. To write it again, run this in an environment that has
`torch==2.13.0`:

    python tests/torch_schedules.py
"""

import json
from pathlib import Path

import torch
from torch import optim
from torch.optim import lr_scheduler

FILE = Path(__file__).with_suffix(".json")
SEED = 0
INFINITE, NOT_A_NUMBER = float("inf"), float("nan")

# name: (scheduler, arguments, steps), from a learning rate of 0.3 and a momentum of 0.9
SCHEDULES = {
    "one cycle": ("OneCycleLR", {"max_lr": 0.3, "total_steps": 40}, 40),
    "one cycle, odd": ("OneCycleLR", {"max_lr": 0.3, "total_steps": 97}, 97),
    "one cycle, short": ("OneCycleLR", {"max_lr": 0.3, "total_steps": 4}, 4),
    "one cycle, linear": (
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "total_steps": 40,
            "pct_start": 0.45,
            "anneal_strategy": "linear",
            "base_momentum": 0.8,
            "max_momentum": 0.9,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        40,
    ),
    "three phases": (
        "OneCycleLR",
        {"max_lr": 0.3, "total_steps": 40, "pct_start": 0.4, "three_phase": True},
        40,
    ),
    "three phases, linear": (
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "total_steps": 97,
            "anneal_strategy": "linear",
            "three_phase": True,
        },
        97,
    ),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 7, "eta_min": 0.01}, 30),
    "restarts, doubled": ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}, 100),
    "restarts, tripled": (
        "CosineAnnealingWarmRestarts",
        {"T_0": 2, "T_mult": 3, "eta_min": 0.01},
        100,
    ),
    "triangular": (
        "CyclicLR",
        {"base_lr": 0.03, "max_lr": 0.3, "step_size_up": 5, "step_size_down": 15},
        65,
    ),
    "triangular2": (
        "CyclicLR",
        {"base_lr": 0.03, "max_lr": 0.3, "step_size_up": 10, "mode": "triangular2"},
        65,
    ),
    "exp_range": (
        "CyclicLR",
        {
            "base_lr": 0.03,
            "max_lr": 0.3,
            "step_size_up": 10,
            "mode": "exp_range",
            "gamma": 0.97,
            "base_momentum": 0.7,
            "max_momentum": 0.95,
        },
        65,
    ),
    "polynomial": ("PolynomialLR", {"total_iters": 20, "power": 2.5}, 25),
    "polynomial, straight": ("PolynomialLR", {"total_iters": 20}, 25),
    "linear": ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 20}, 25),
}

# name: (arguments of ReduceLROnPlateau, metrics)
PLATEAUS = {
    "min": ({"patience": 2, "factor": 0.5}, "falling"),
    "max": ({"patience": 2, "factor": 0.5, "mode": "max"}, "rising"),
    "defaults": ({}, "flat"),
    "no patience": ({"patience": 0, "factor": 0.9}, "falling"),
    "cooldown": ({"patience": 1, "cooldown": 3, "factor": 0.5}, "falling"),
    "floor": ({"patience": 0, "min_lr": 0.05, "factor": 0.5}, "falling"),
    "wide": ({"patience": 1, "threshold": 0.2, "factor": 0.5}, "falling"),
    "wide, max": ({"patience": 1, "threshold": 0.2, "factor": 0.5, "mode": "max"}, "rising"),
    "absolute": (
        {"patience": 1, "threshold": 0.1, "threshold_mode": "abs", "factor": 0.5},
        "falling",
    ),
    "absolute, negative": (
        {"patience": 1, "threshold": 0.1, "threshold_mode": "abs", "factor": 0.5},
        "negative",
    ),
    "absolute, max, negative": (
        {
            "patience": 1,
            "threshold": 0.1,
            "threshold_mode": "abs",
            "factor": 0.5,
            "mode": "max",
        },
        "negative",
    ),
    "not finite": ({"patience": 1, "factor": 0.5}, "not finite"),
    "zeros": ({"patience": 1, "factor": 0.5}, "zeros"),
}

# name: (optimizer, arguments)
TRAINING = {
    "sgd": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("Adam", {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-6}),
}
CYCLE = {"max_lr": 0.3, "total_steps": 12}


def followed(scheduler, arguments, steps):
    """The learning rate and the momentum of each step, the first being step 0."""
    opt = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.9)
    lr = getattr(lr_scheduler, scheduler)(opt, **arguments)
    values, momenta = [], []
    for step in range(steps):
        values.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        opt.step()
        if step < steps - 1:
            lr.step()
    return {"values": values, "momentum": momenta}


def metrics():
    """What is watched, by name: positive, negative, and neither."""
    generator = torch.Generator().manual_seed(SEED)

    def noise():
        return 0.05 * torch.randn(60, generator=generator, dtype=torch.float64)

    t = torch.arange(60, dtype=torch.float64)
    falling = 0.2 + torch.exp(-t / 8) + noise()
    rising = 1.2 - torch.exp(-t / 8) + noise()
    negative = -2.0 * torch.sin(t / 9) + noise() - 2.5
    lists = {"falling": falling, "rising": rising, "negative": negative}
    return {
        **{name: [round(x, 4) for x in values.tolist()] for name, values in lists.items()},
        "flat": [1.0] * 30,
        "zeros": [0.0] * 8,
        "not finite": [INFINITE, INFINITE, 3.0, NOT_A_NUMBER, NOT_A_NUMBER, INFINITE, 1.0, 0.5],
    }


def plateau(arguments, values):
    """The learning rate after each reading."""
    opt = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    watch = lr_scheduler.ReduceLROnPlateau(opt, **{"eps": 0.0, **arguments})
    rates = []
    for value in values:
        opt.step()
        watch.step(value)
        rates.append(opt.param_groups[0]["lr"])
    return rates


def training(optimizer, arguments):
    """Gradients, and the parameters after each step of one cycle."""
    generator = torch.Generator().manual_seed(SEED)
    p = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
    grads = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    opt = getattr(optim, optimizer)([p], **arguments)
    lr = lr_scheduler.OneCycleLR(opt, **CYCLE)
    params = [p.tolist()]
    for step, g in enumerate(grads):
        p.grad = g.clone()
        opt.step()
        if step < len(grads) - 1:
            lr.step()
        params.append(p.tolist())
    return {"grads": grads.tolist(), "params": params}


def main():
    watched = metrics()
    record = {
        "torch": torch.__version__,
        "seed": SEED,
        "schedules": {
            name: {"call": call[:2], **followed(*call)} for name, call in SCHEDULES.items()
        },
        "metrics": watched,
        "plateaus": {
            name: {"call": call, "values": plateau(call[0], watched[call[1]])}
            for name, call in PLATEAUS.items()
        },
        "training": {name: training(*call) for name, call in TRAINING.items()},
    }
    parts = []
    for key, value in record.items():
        if isinstance(value, dict):
            lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            parts.append(f" {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
