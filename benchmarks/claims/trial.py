"""Training: all settings and seeds of one side in one compiled program, tuned and then judged."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from claim import Line, Size

import gradxform as gx

Setting = Mapping[str, float]
Tree = Any


@dataclass(frozen=True)
class Problem:
    """A model, its data, and how it is judged.

    Attributes:
      name: of the problem.
      data: a tree of arrays with one leading axis, of all examples.
      init: `init(key) -> params`.
      loss: `loss(params, examples) -> mean loss`.
      score: `score(params, examples) -> [example]`, higher is better.
      split: `split(seed) -> (train, validation, test)`, the places of examples. Test and
        validation are the same for all seeds; each seed may train on a draw of its own.
    """

    name: str
    data: Tree
    init: Callable[[jax.Array], Tree]
    loss: Callable[[Tree, Tree], jax.Array]
    score: Callable[[Tree, Tree], jax.Array]
    split: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Runs(NamedTuple):
    """What training left: NumPy arrays with axes [setting, seed, ...]."""

    steps: np.ndarray  # [evaluation], from 0
    validation: np.ndarray  # [..., evaluation]: the mean score
    train_loss: np.ndarray  # [..., evaluation - 1]: of the batches since the evaluation before
    last: np.ndarray | None  # [..., example]: test scores after the last step
    stopped: np.ndarray | None  # [..., example]: of the step with the best validation score


class Side(NamedTuple):
    """One side of a comparison: the setting that it was given, and its runs on the final seeds."""

    name: str
    setting: Setting
    trials: Sequence[Mapping[str, float]]  # every setting tried, with its validation score
    runs: Runs  # axes [seed, ...]

    def note(self) -> dict[str, Any]:
        """What is written down of it."""
        return {"setting": dict(self.setting), "tried": list(self.trials)}


def train(
    problem: Problem,
    transformation: optax.GradientTransformation,
    settings: Sequence[Setting],
    seeds: Sequence[int],
    *,
    steps: int,
    batch_size: int,
    evaluations: int = 20,
    judge: bool = True,
) -> Runs:
    """Train a network for each setting and seed.

    Seed s has the same training examples, initial network and batches for every setting and side.
    The snapshot with the best validation score is kept by `gx.early_stopping`; the test examples
    are read once, after training.

    Args:
      problem: what to train on.
      transformation: the optimizer.
      settings: values of its tunables.
      seeds: which.
      steps: a multiple of `evaluations`.
      batch_size: examples of a step.
      evaluations: readings of the validation score, besides the one before the first step.
      judge: whether to read the test examples.
    """
    every = steps // evaluations
    splits = [problem.split(seed) for seed in seeds]
    order = np.stack(
        [
            _order(seed, places, steps, batch_size).reshape(evaluations, every, batch_size)
            for seed, (places, _, _) in zip(seeds, splits, strict=True)
        ]
    )
    _, validation, test = splits[0]
    arrays = jax.tree.map(jnp.asarray, problem.data)
    held_out = jax.tree.map(lambda a: a[validation], arrays)
    judged = jax.tree.map(lambda a: a[test], arrays)
    stopper = gx.early_stopping(patience=evaluations, mode="max")

    def step(carry: Any, places: jax.Array) -> Any:
        params, state = carry
        batch = jax.tree.map(lambda a: a[places], arrays)
        loss, grads = jax.value_and_grad(problem.loss)(params, batch)
        updates, state = transformation.update(grads, state, params)
        return (gx.apply_updates(params, updates), state), loss

    def reading(params: Tree) -> jax.Array:
        return jnp.mean(problem.score(params, held_out))

    def part(carry: Any, orders: jax.Array) -> Any:
        params, state, stopped = carry
        (params, state), losses = jax.lax.scan(step, (params, state), orders)
        value = reading(params)
        stopped = stopper.update(stopped, value, params)
        return (params, state, stopped), (value, jnp.mean(losses))

    def run(key: jax.Array, order: jax.Array, values: Setting) -> Any:
        params = problem.init(key)
        state = gx.set_hyperparams(transformation.init(params), **values)
        first = reading(params)
        stopped = stopper.update(stopper.init(params), first, params)
        carry, (readings, losses) = jax.lax.scan(part, (params, state, stopped), order)
        readings = jnp.concatenate([first[None], readings])
        if not judge:
            return readings, losses, None, None
        last, best = carry[0], carry[2].best_params
        return readings, losses, problem.score(last, judged), problem.score(best, judged)

    names = list(settings[0])
    values = {name: jnp.asarray([float(s[name]) for s in settings]) for name in names}
    over_seeds = jax.vmap(run, in_axes=(0, 0, None))
    over_settings = jax.vmap(over_seeds, in_axes=(None, None, 0), axis_size=len(settings))
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    found = jax.jit(over_settings)(keys, order, values)
    arrays_found = [None if a is None else np.asarray(a, np.float64) for a in found]
    return Runs(np.arange(evaluations + 1) * every, *arrays_found)


def tuned(
    problem: Problem,
    name: str,
    transformation: optax.GradientTransformation,
    grid: Mapping[str, Sequence[float]],
    size: Size,
    *,
    seeds: int,
    tuning_seeds: int,
    steps: int,
    batch_size: int,
    evaluations: int = 20,
    stopped: bool = False,
) -> Side:
    """Choose a setting on the tuning seeds' validation score, then train the final seeds with it.

    Args:
      problem: what to train on.
      name: of the side.
      transformation: the optimizer, with a tunable for each name in the grid.
      grid: the values to try, in all combinations.
      size: of the experiment.
      seeds: how many final seeds.
      tuning_seeds: how many others choose.
      steps: of each run.
      batch_size: examples of a step.
      evaluations: of each run.
      stopped: whether a run is judged at its best validation reading, not at its last.
    """
    tried = {key: size.grid(values) for key, values in grid.items()}
    settings = [dict(zip(tried, v, strict=True)) for v in itertools.product(*tried.values())]
    how = {"steps": steps, "batch_size": batch_size, "evaluations": evaluations}
    others = size.tuning_seeds(tuning_seeds)
    if len(settings) == 1:
        runs = judged(problem, transformation, settings[0], size.seeds(seeds), **how)
        return Side(name, settings[0], [], runs)
    trials = train(problem, transformation, settings, others, judge=False, **how)
    curves = np.nan_to_num(trials.validation, nan=-np.inf)
    scores = (curves.max(axis=-1) if stopped else curves[:, :, -1]).mean(axis=1)
    setting = settings[int(np.argmax(scores))]
    return Side(
        name,
        setting,
        [{**s, "validation": _short(v)} for s, v in zip(settings, scores, strict=True)],
        judged(problem, transformation, setting, size.seeds(seeds), **how),
    )


def judged(
    problem: Problem,
    transformation: optax.GradientTransformation,
    setting: Setting,
    seeds: Sequence[int],
    **how: int,
) -> Runs:
    """The runs of one setting on the final seeds: axes [seed, ...]."""
    runs = train(problem, transformation, [setting], seeds, **how)
    return Runs(runs.steps, *(None if a is None else a[0] for a in runs[1:]))


def norms(
    problem: Problem,
    transformation: optax.GradientTransformation,
    setting: Setting,
    seeds: Sequence[int],
    *,
    steps: int,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The global norms of gradients and of updates at every step: [seed, step] each."""
    orders = [_order(s, problem.split(s)[0], steps, batch_size) for s in seeds]
    order = np.stack(orders).reshape(len(seeds), steps, batch_size)
    arrays = jax.tree.map(jnp.asarray, problem.data)

    def run(key: jax.Array, order: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = problem.init(key)
        state = gx.set_hyperparams(transformation.init(params), **setting)

        def step(carry: Any, places: jax.Array) -> Any:
            params, state = carry
            grads = jax.grad(problem.loss)(params, jax.tree.map(lambda a: a[places], arrays))
            updates, state = transformation.update(grads, state, params)
            sizes = _norm(grads), _norm(updates)
            return (gx.apply_updates(params, updates), state), sizes

        return jax.lax.scan(step, (params, state), order)[1]

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    gradients, updates = jax.jit(jax.vmap(run))(keys, order)
    return np.asarray(gradients, np.float64), np.asarray(updates, np.float64)


def curve(label: str, runs: Runs, scale: float = 1.0) -> Line:
    """The validation score of one setting over the steps, with its error over seeds."""
    return line(label, runs.steps, scale * runs.validation)


def line(label: str, x: Any, values: np.ndarray) -> Line:
    """Means and standard errors over the first axis."""
    values = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0 * values[0]
    return Line(label, *([_short(v) for v in a] for a in (x, values.mean(axis=0), error)))


def _short(value: float) -> float:
    return float(f"{float(value):.5g}")


def _norm(tree: Tree) -> jax.Array:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def _order(seed: int, places: np.ndarray, steps: int, batch_size: int) -> np.ndarray:
    """The examples of every step: each epoch a permutation of its own, the rest of it left out."""
    draw = np.random.default_rng(seed)
    whole = len(places) // batch_size * batch_size
    epochs = -(-steps * batch_size // whole)
    order = np.concatenate([draw.permutation(places)[:whole] for _ in range(epochs)])
    return order[: steps * batch_size]
