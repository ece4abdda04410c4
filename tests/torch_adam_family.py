"""Write `torch_adam_family.json`: what torch and `pytorch_optimizer` do, in float64.

The tests read that file and need neither. To write it again, run this in an environment that has
`torch==2.13.0` and `pytorch_optimizer==4.1.0` (which wants no more than torch for these):

    python tests/torch_adam_family.py
"""

import importlib.metadata
import json
from pathlib import Path

import pytorch_optimizer
import torch
from torch import optim
from torch_trajectories import SEED, data, numbers

FILE = Path(__file__).with_suffix(".json")
MOMENTS = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}
DECAY = {"weight_decay": 0.2, "weight_decouple": True}
# name: (class, arguments)
CALLS = {
    # With a momentum_decay so large that its momentum is constant, NAdam is Dozat's without it.
    "nadam": (optim.NAdam, {**MOMENTS, "momentum_decay": 1e6}),
    "nadam momentum_decay": (optim.NAdam, {**MOMENTS, "momentum_decay": 4e-3}),
    "nadamw": (
        optim.NAdam,
        {**MOMENTS, "momentum_decay": 1e6, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "amsgrad": (optim.Adam, {**MOMENTS, "amsgrad": True}),
    "adamax": (optim.Adamax, MOMENTS),
    "adamax defaults": (optim.Adamax, {}),
    # Its eps is added to the uncorrected root.
    "radam": (optim.RAdam, {**MOMENTS, "eps": 0.0}),
    "radam defaults": (optim.RAdam, {"eps": 0.0}),
    "adadelta": (optim.Adadelta, {"lr": 0.7, "rho": 0.8, "eps": 1e-3}),
    "adadelta defaults": (optim.Adadelta, {}),
    "adan": (
        pytorch_optimizer.Adan,
        {"lr": 0.1, "betas": (0.9, 0.7, 0.95), "eps": 1e-6, **DECAY},
    ),
    "adan proximal": (
        pytorch_optimizer.Adan,
        {"lr": 0.1, "betas": (0.9, 0.7, 0.95), "eps": 1e-6, "weight_decay": 0.2},
    ),
    "adan defaults": (pytorch_optimizer.Adan, {}),
    "adabelief": (pytorch_optimizer.AdaBelief, {**MOMENTS, "eps": 1e-3, **DECAY}),
    "adabelief defaults": (pytorch_optimizer.AdaBelief, {}),
    "laprop": (pytorch_optimizer.LaProp, {**MOMENTS, "eps": 0.0, "foreach": False}),
    "ademamix": (
        pytorch_optimizer.AdEMAMix,
        {**MOMENTS, "betas": (0.8, 0.95, 0.98), "alpha": 4.0, **DECAY},
    ),
    "ademamix warmup": (
        pytorch_optimizer.AdEMAMix,
        {**MOMENTS, "betas": (0.8, 0.95, 0.98), "alpha": 4.0, "t_alpha_beta3": 6},
    ),
    "adopt unclipped": (
        pytorch_optimizer.ADOPT,
        {**MOMENTS, "eps": 1e-3, "clip_lambda": None},
    ),
    "mars": (
        pytorch_optimizer.MARS,
        {**MOMENTS, "eps": 0.0, "gamma": 0.1, "optimize_1d": True},
    ),
}


def trajectory(optimizer, arguments):
    """The parameters after each step."""
    start, grads = data()
    params = {k: x.clone().requires_grad_() for k, x in start.items()}
    opt = optimizer(params.values(), **arguments)
    after = []
    for g in grads:
        for k, p in params.items():
            p.grad = g[k].clone()
        opt.step()
        after.append(numbers({k: p.detach() for k, p in params.items()}))
    return after


def main():
    start, grads = data()
    head = {
        "torch": torch.__version__,
        "pytorch_optimizer": importlib.metadata.version("pytorch_optimizer"),
        "seed": SEED,
        "params": numbers(start),
        "grads": [numbers(g) for g in grads],
    }
    lines = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    runs = [
        f'  "{name}": {json.dumps({"call": [call[0].__name__, str(call[1])], "after": run})}'
        for name, call in CALLS.items()
        for run in [trajectory(*call)]
    ]
    lines.append(' "runs": {\n' + ",\n".join(runs) + "\n }")
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
