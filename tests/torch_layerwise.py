"""Write `torch_layerwise.json`: torch's Rprop and Adafactor with given gradients, in float64.

The tests read that file and need no torch. To write it again, run this in an environment that has
`torch==2.13.0`:

    python tests/torch_layerwise.py
"""

import json
from pathlib import Path

import torch
from torch_trajectories import SEED, data, numbers, trajectory

FILE = Path(__file__).with_suffix(".json")
CALLS = {
    "rprop defaults": ("Rprop", {}),
    "rprop": ("Rprop", {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (0.03, 0.12)}),
    "adafactor defaults": ("Adafactor", {}),
    "adafactor": (
        "Adafactor",
        {"lr": 0.01, "beta2_decay": -0.7, "eps": (1e-12, 1.2), "d": 1.2, "weight_decay": 0.2},
    ),
    # From the ninth step on 1 / sqrt(t) is below the learning rate.
    "adafactor, relative steps": ("Adafactor", {"lr": 0.34, "eps": (1e-12, 1e-3)}),
}


def main():
    start, grads = data()
    record = {
        "torch": torch.__version__,
        "seed": SEED,
        "params": numbers(start),
        "grads": [numbers(g) for g in grads],
        "optimizers": {
            name: {"call": call, "params": trajectory(call)} for name, call in CALLS.items()
        },
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
