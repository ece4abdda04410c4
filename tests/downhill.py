"""Runs of the authors' own code on a noisy quadratic: gradients that go downhill together.

Gradients that have nothing to do with the parameters, as in `steps`, would leave distances and
estimates where they start.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from steps import distance

import gradxform as gx

TRAJECTORIES = json.loads((Path(__file__).parent / "authors_trajectories.json").read_text())[
    "trajectories"
]


def arrays(tree, dtype="float64"):
    return {k: np.asarray(x, dtype) for k, x in tree.items()}


@functools.cache
def downhill(dtype="float64", name="dog, init_eta"):
    """The gradients and the parameters of a run: two lists of dicts."""
    run = TRAJECTORIES[name]
    params = [run["start"], *(step["params"] for step in run["steps"])][:-1]
    return (
        [arrays(step["grads"], dtype) for step in run["steps"]],
        [arrays(w, dtype) for w in params],
    )


def found(state, field):
    """A number of the state, wherever in it."""
    (value,) = (x for _, x in optax.tree.get_all_with_path(state, field))
    return float(value)


def repeats(name, tx, readings, *, takes_value=False):
    """Whether ours goes where the authors' code went, each step from where it has got to itself.

    Args:
      name: of the run.
      tx: our optimizer; it must be called with x64 enabled.
      readings: from names in the record to fields of the state.
      takes_value: whether `update` is given the loss.

    Returns:
      The largest error of parameters and readings, in units of the largest number of each.
    """
    run = TRAJECTORIES[name]
    params = jax.tree.map(jnp.asarray, arrays(run["start"]))
    state, update = tx.init(params), jax.jit(tx.update)
    errors = []
    for step in run["steps"]:
        extra = {"value": step["value"]} if takes_value else {}
        grads = jax.tree.map(jnp.asarray, arrays(step["grads"]))
        updates, state = update(grads, state, params, **extra)
        params = gx.apply_updates(params, updates)
        errors.append(distance([params], [arrays(step["params"])]))
        errors += [
            abs(found(state, field) - step[key]) / max(abs(step[key]), 1e-9)
            for key, field in readings.items()
            if key in step
        ]
    return max(errors)
