"""Write `authors_trajectories.json`: what the authors' own code does on a noisy quadratic.

The tests read that file and need none of these packages. To write it again, run this in an
environment that has `torch==2.13.0`, `dog-optimizer==1.0.3`, `prodigyopt==1.1.2`,
`dadaptation==3.2` and `momo-opt==0.1.0`:

    python tests/authors_trajectories.py
"""

import importlib.metadata
import json
from pathlib import Path

import torch
from dadaptation import DAdaptAdam
from dog import DoG
from momo import Momo, MomoAdam
from prodigyopt import Prodigy

FILE = Path(__file__).with_suffix(".json")
PACKAGES = ("torch", "dog-optimizer", "prodigyopt", "dadaptation", "momo-opt")
SEED = 0
STEPS = 15
SHAPES = {"kernel": (2, 2), "bias": (3,)}
CURVATURES = (0.1, 0.3, 1.0, 3.0)  # repeated as often as needed
LOWEST = 0.5  # the loss at the minimum

ADAM = {"lr": 0.8, "betas": (0.8, 0.95), "weight_decay": 0.2, "use_bias_correction": True}
# name: (class, arguments)
CALLS = {
    "dog": (DoG, {"reps_rel": 1e-3, "lr": 0.9, "eps": 0.1, "weight_decay": 0.2}),
    "dog, init_eta": (DoG, {"reps_rel": 1e-3, "eps": 0.1, "init_eta": 0.01}),
    "prodigy": (Prodigy, {"d0": 1e-3, "eps": 1e-18}),
    "prodigy, options": (
        Prodigy,
        {
            **ADAM,
            "beta3": 0.9,
            "eps": 1e-18,
            "safeguard_warmup": True,
            "d0": 1e-3,
            "d_coef": 2.0,
            "growth_rate": 1.5,
        },
    ),
    "dadapt_adamw": (DAdaptAdam, {"d0": 1e-3, "eps": 1e-3}),
    "dadapt_adamw, options": (
        DAdaptAdam,
        {**ADAM, "eps": 1e-3, "decouple": True, "d0": 1e-3, "growth_rate": 1.5},
    ),
    "momo": (Momo, {"lr": 1.0}),
    "momo, options": (Momo, {"lr": 0.5, "weight_decay": 0.2, "beta": 0.8, "lb": 0.3}),
    "momo, bound": (
        Momo,
        {"lr": 1.0, "weight_decay": 0.2, "beta": 0.8, "lb": -5.0, "use_fstar": True},
    ),
    "momo_adam": (MomoAdam, {}),
    "momo_adam, options": (
        MomoAdam,
        {"lr": 0.5, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2, "lb": 0.3},
    ),
    "momo_adam, bound": (
        MomoAdam,
        {"lr": 1.0, "betas": (0.8, 0.95), "weight_decay": 0.2, "lb": -5.0, "use_fstar": True},
    ),
}


def plain(tensors):
    return {k: x.tolist() for k, x in tensors.items()}


def trajectory(kind, arguments):
    """What the code was given at each step, and the parameters after it."""
    generator = torch.Generator().manual_seed(SEED)

    def normal():
        return {
            k: torch.randn(shape, generator=generator, dtype=torch.float64)
            for k, shape in SHAPES.items()
        }

    def curvature(x):
        scale = torch.tensor(CURVATURES, dtype=torch.float64)
        return scale.repeat(x.numel())[: x.numel()].reshape(x.shape)

    start, target = normal(), normal()
    params = {k: x.clone().requires_grad_() for k, x in start.items()}
    opt = kind(params.values(), **arguments)
    steps = []
    for _ in range(STEPS):
        away = {k: p.detach() - target[k] for k, p in params.items()}
        loss = LOWEST + sum((0.5 * curvature(x) * x**2).sum() for x in away.values())
        for k, x in normal().items():
            params[k].grad = curvature(away[k]) * away[k] + 0.1 * x
        grads = plain({k: p.grad for k, p in params.items()})
        if kind in (Momo, MomoAdam):
            opt.step(loss=loss)
        else:
            opt.step()
        step = {"value": loss.item(), "grads": grads}
        step["params"] = plain({k: p.detach() for k, p in params.items()})
        if "d" in opt.param_groups[0]:
            step["d"] = opt.param_groups[0]["d"]
        if hasattr(opt, "lb"):
            step["lb"] = opt.lb
        steps.append(step)
    return {"class": kind.__name__, "arguments": arguments, "start": plain(start), "steps": steps}


def main():
    record = {
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "seed": SEED,
        "trajectories": {name: trajectory(*call) for name, call in CALLS.items()},
    }
    parts = []
    for key, value in record.items():
        if key == "trajectories":
            lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            parts.append(f" {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value)}")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
