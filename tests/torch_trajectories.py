"""Write `torch_trajectories.json`: what torch does with given gradients, in float64.

The tests read that file and need no torch. To write it again, run this in an environment that has
`torch==2.13.0`:

    python tests/torch_trajectories.py
"""

import json
from pathlib import Path

import torch
from torch import optim
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import lr_scheduler

FILE = Path(__file__).with_suffix(".json")
SEED = 0
STEPS = 10
TICKS = 25  # steps of a learning rate
SHAPES = {"kernel": (2, 2), "bias": (3,)}
SIZES = (1.0, 0.1, 3.0, 0.03, 0.3, 10.0, 0.01, 1.0, 0.1, 0.3)

# name: (class, arguments)
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.8}),
    "sgd nesterov, weight decay": (
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
    ),
    "adagrad defaults": ("Adagrad", {}),
    "adagrad": ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.05, "eps": 1e-6}),
    "rmsprop defaults": ("RMSprop", {}),
    "rmsprop": ("RMSprop", {"lr": 0.1, "alpha": 0.95, "eps": 1e-5}),
    "rmsprop centered": ("RMSprop", {"lr": 0.1, "alpha": 0.95, "eps": 1e-5, "centered": True}),
    "rmsprop momentum": (
        "RMSprop",
        {"lr": 0.1, "alpha": 0.95, "eps": 1e-5, "centered": True, "momentum": 0.8},
    ),
    "adam defaults": ("Adam", {}),
    "adam": ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}),
    "adam weight decay": (
        "Adam",
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2},
    ),
    "adamw defaults": ("AdamW", {}),
    "adamw": ("AdamW", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2}),
}
# name: (optimizer, scheduler, arguments)
SCHEDULED = {
    "sgd, steps": ("sgd momentum", "StepLR", {"step_size": 4, "gamma": 0.2}),
    "rmsprop, steps": ("rmsprop momentum", "StepLR", {"step_size": 4, "gamma": 0.2}),
    "adamw, cosine": ("adamw", "CosineAnnealingLR", {"T_max": 8, "eta_min": 0.01}),
}
# name: (scheduler, arguments), from a learning rate of 0.3
SCHEDULES = {
    "step": ("StepLR", {"step_size": 7, "gamma": 0.2}),
    "multi step": ("MultiStepLR", {"milestones": [7, 9, 20], "gamma": 0.2}),
    "cosine": ("CosineAnnealingLR", {"T_max": TICKS, "eta_min": 0.01}),
    "cosine beyond its end": ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "linear": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 10}),
}
CLIPS = {"norm": (clip_grad_norm_, 0.7), "value": (clip_grad_value_, 0.5)}
NOT_FINITE = {
    "infinite": [1.0, float("-inf"), 2.0],
    "not a number": [1.0, float("nan"), 2.0],
}


def numbers(tensors):
    """Tensors by name as lists; what is not finite as a word, which JSON has no number for."""

    def plain(x):
        if isinstance(x, list):
            return [plain(y) for y in x]
        return x if -float("inf") < x < float("inf") else str(x)

    return {k: plain(x.tolist()) for k, x in tensors.items()}


def data():
    """The parameters to start from, and the gradients of each step."""
    generator = torch.Generator().manual_seed(SEED)

    def normal():
        return {
            k: torch.randn(shape, generator=generator, dtype=torch.float64)
            for k, shape in SHAPES.items()
        }

    params = normal()
    return params, [{k: size * x for k, x in normal().items()} for size in SIZES]


def trajectory(optimizer, scheduler=None):
    """The parameters after each step."""
    start, grads = data()
    params = {k: x.clone().requires_grad_() for k, x in start.items()}
    name, arguments = optimizer
    opt = getattr(optim, name)(params.values(), **arguments)
    lr = scheduler and getattr(lr_scheduler, scheduler[0])(opt, **scheduler[1])
    after = []
    for g in grads:
        for k, p in params.items():
            p.grad = g[k].clone()
        opt.step()
        if lr:
            lr.step()
        after.append(numbers({k: p.detach() for k, p in params.items()}))
    return after


def learning_rates(scheduler, arguments):
    """The learning rate of each step, the first being step 0."""
    opt = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    lr, values = getattr(lr_scheduler, scheduler)(opt, **arguments), []
    for _ in range(TICKS):
        values.append(opt.param_groups[0]["lr"])
        opt.step()
        lr.step()
    return values


def clipped(clip, bound, grads):
    """Gradients after one of torch's clipping functions, which work in place."""
    params = {k: torch.zeros_like(x, requires_grad=True) for k, x in grads.items()}
    for k, p in params.items():
        p.grad = grads[k].clone()
    clip(params.values(), bound)
    return numbers({k: p.grad for k, p in params.items()})


def main():
    start, grads = data()
    strange = {k: {"w": torch.tensor(x, dtype=torch.float64)} for k, x in NOT_FINITE.items()}
    record = {
        "torch": torch.__version__,
        "seed": SEED,
        "params": numbers(start),
        "grads": [numbers(g) for g in grads],
        "optimizers": {
            name: {"call": call, "params": trajectory(call)} for name, call in OPTIMIZERS.items()
        },
        "scheduled": {
            name: {
                "call": [*OPTIMIZERS[optimizer], *call],
                "params": trajectory(OPTIMIZERS[optimizer], call),
            }
            for name, (optimizer, *call) in SCHEDULED.items()
        },
        "schedules": {
            name: {"call": call, "values": learning_rates(*call)}
            for name, call in SCHEDULES.items()
        },
        "clips": {
            name: {"bound": bound, "grads": [clipped(clip, bound, g) for g in grads]}
            for name, (clip, bound) in CLIPS.items()
        },
        "clips of what is not finite": {
            f"{name}, {kind}": {"bound": bound, "before": numbers(g), **clipped(clip, bound, g)}
            for name, (clip, bound) in CLIPS.items()
            for kind, g in strange.items()
        },
    }
    parts = []
    for key, value in record.items():
        if isinstance(value, dict) and key != "params":
            lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            parts.append(f" {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
