"""What each of several processes does in `test_many_processes.py`: train, save, restore, go on.

python many_processes.py COORDINATOR PROCESSES PROCESS FOLDER
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec as P

import gradxform as gx

DEVICES = 8
TX = gx.chain(gx.clip_by_global_norm(0.1), gx.adamw(gx.cosine_decay(0.05, 9), eps=1e-3))


def loss_fn(params, x):
    hidden = jnp.tanh(x @ params["a"] + params["b"][None, :])
    return jnp.mean((hidden @ params["c"] - 1.0) ** 2)


def start():
    """A state that is spread over all devices of all processes, and the step that keeps it so."""
    mesh = jax.make_mesh((DEVICES,), ("data",))
    rng = np.random.default_rng(0)
    shapes = {"a": (64, 64), "b": (64,), "c": (64, 32)}
    params = {name: 0.1 * rng.standard_normal(s, "float32") for name, s in shapes.items()}
    params = jax.device_put(params, NamedSharding(mesh, P()))
    shardings = gx.state_sharding(TX, params, mesh, zero_axis="data")
    state = gx.TrainState.create(TX, params, sharding=shardings)
    return mesh, state, gx.make_train_step(loss_fn, TX, like=state)


def batch(mesh, t):
    """The batch of a step; each process makes its own rows."""
    x = np.random.default_rng(t).standard_normal((2 * DEVICES, 64), "float32")
    place = NamedSharding(mesh, P("data", None))
    return jax.make_array_from_callback(x.shape, place, lambda index: x[index])


def train(mesh, state, step, steps):
    for t in steps:
        state, _ = step(state, batch(mesh, t))
    return state


def restored(folder, state):
    """What is in the folder, placed like `state`."""
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder, like)


def saved(folder, state):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder, state)


def numbers(state):
    """The parameters, which every process has as a whole."""
    return {name: np.asarray(x) for name, x in state.params.items()}


def local(tree):
    """What this process has of each array."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_shards[0].data), tree)


def main(coordinator, processes, process, folder):
    jax.config.update("jax_num_cpu_devices", DEVICES // processes)
    jax.distributed.initialize(coordinator, processes, process, initialization_timeout=60)
    assert (jax.device_count(), jax.local_device_count()) == (DEVICES, DEVICES // processes)
    mesh, state, step = start()
    piece = state.opt_state[1][0].mu["a"].addressable_shards
    assert [shard.data.shape for shard in piece] == [(64 // DEVICES, 64)] * (DEVICES // processes)
    fresh = jax.tree.map(lambda x: x.sharding, state)

    # What plain `init` makes lies on the mesh, or it could not be saved.
    plain = {name: tx.init(state.params) for name, tx in {"adamw": TX, "sgd": gx.sgd(0.1)}.items()}
    saved(folder / "plain", plain)
    assert jax.tree.all(
        jax.tree.map(np.array_equal, *map(local, (restored(folder / "plain", plain), plain)))
    )

    theirs = restored(folder / "one", state)
    assert jax.tree.map(lambda x: x.sharding, theirs) == fresh
    results = {"theirs": numbers(train(mesh, theirs, step, [2]))}

    state = train(mesh, state, step, [0, 1])
    saved(folder / "many", state)
    results |= {"saved": numbers(state), "next": numbers(train(mesh, state, step, [2]))}
    assert step._cache_size() == 1
    if process == 0:
        flat = {f"{case}/{name}": x for case, tree in results.items() for name, x in tree.items()}
        np.savez(folder / "results.npz", **flat)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
