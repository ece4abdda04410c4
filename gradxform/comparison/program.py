"""The program that trains all settings and seeds of one candidate.

It is a `scan` over steps around two `vmap`s: the outer one over seeds, each with its own initial
network and order of batches, the inner one over settings, which share both:

    for step in steps:                                  scan
        for seed in seeds:                              vmap
            batch = train[order[step, seed]]
            for setting in settings:                    vmap
                params, state <- one optimizer step on batch

What depends on the seed (the initial network, the batches, the random keys) is computed without
knowing the candidate, so that seed s means the same for all of them. Sharing a batch among the
settings is also what makes the program fast: their first layers are one large matrix product.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core import random_keys
from ..core.types import Params
from ..training.train_state import TrainState
from .candidate import Candidate
from .model import Model
from .task import Data

_OF_OPTIMIZER = 2**32 - 1  # folded into a run's key, for the optimizer's own random numbers
_LOSS_BATCHES = 50  # that tell the loss over a training set

# The networks' axes in a `TrainState`: all settings of a seed have its key, and all a step.
_NO_AXIS: Any = None
_OVER_SETTINGS = TrainState(step=_NO_AXIS, params=0, opt_state=0, model_state=0, key=None)
_OVER_SEEDS = TrainState(step=_NO_AXIS, params=0, opt_state=0, model_state=0, key=0)


class Compiled(NamedTuple):
    """What is compiled for one candidate and groups of one size."""

    seeds: int
    settings: int
    advance: Any
    metric: Any
    test_metric: Any
    training_loss: Any


class Program:
    """What the candidates of one comparison share, and what is compiled for each."""

    def __init__(
        self,
        model: Model,
        seeds: Sequence[int],
        *,
        steps: int,
        batch_size: int,
        evaluate_every: int,
    ) -> None:
        task = model.task
        self.model = model
        self.steps = steps
        self.batch_size = batch_size
        self.evaluate_every = evaluate_every
        self.examples = task.sizes["train"]
        self.batches = self.examples // batch_size  # in an epoch; what is left over waits
        self.train, self.validation, self.test = jax.tree.map(
            jnp.asarray, (task.train, task.validation, task.test)
        )
        pairs = [jax.random.split(jax.random.key(seed)) for seed in seeds]
        self.init_keys = jnp.stack([init for init, _ in pairs])
        self.order_keys = jnp.stack([order for _, order in pairs])

        self.initial = jax.jit(jax.vmap(model.init))
        self.batch_order = jax.jit(jax.vmap(self._batch_order, in_axes=(0, None), out_axes=1))
        # For all candidates with groups of one size.
        self._metric = jax.jit(_over_networks(model.metric))
        self._loss = jax.jit(_over_networks(self._training_loss))
        self._shared: dict[tuple[str, int, int], Any] = {}

    @property
    def evaluated(self) -> np.ndarray:
        """The numbers of steps after which the networks are judged, from 0 on: [evaluation]."""
        return np.array([*range(0, self.steps, self.evaluate_every), self.steps])

    def begin(
        self,
        candidate: Candidate,
        init_keys: jax.Array,
        order_keys: jax.Array,
        values: dict[str, jax.Array],
        count: int,
    ) -> TrainState:
        """Networks and optimizers before the first step, with axes [seed, setting].

        Args:
          candidate: the optimizer.
          init_keys: for the initial networks: [seed].
          order_keys: those of the batches: [seed].
          values: the hyperparameters by name: [setting].
          count: the number of settings.
        """
        begin = jax.jit(partial(self._begin, candidate, count))
        params, model_state = self.initial(init_keys)
        return begin(params, model_state, order_keys, values)

    def compiled(self, candidate: Candidate, seeds: int, settings: int) -> Compiled:
        """The programs for one candidate and a number of seeds and settings."""
        state, values = self.abstract(candidate, seeds, settings)
        judged = (state.params, state.model_state)
        shared = [
            self._compiled_once(name, program, seeds, settings, *judged, data)
            for name, program, data in (
                ("metric", self._metric, self.validation),
                ("test", self._metric, self.test),
                ("loss", self._loss, self.train),
            )
        ]
        loss = jax.eval_shape(self._loss, *judged, self.train)
        orders = jax.eval_shape(self.batch_order, self.order_keys[:1], 0)
        order = _shaped((len(orders), seeds, self.batch_size), orders.dtype)
        length = _shaped((), jnp.int32)
        advance = jax.jit(partial(self._advance, candidate), donate_argnums=0)
        lowered = advance.lower(state, loss, values, self.train, order, length)
        return Compiled(seeds, settings, lowered.compile(), *shared)

    def _compiled_once(self, name: str, program: Any, seeds: int, settings: int, *args: Any) -> Any:
        key = (name, seeds, settings)
        if key not in self._shared:
            self._shared[key] = program.lower(*args).compile()
        return self._shared[key]

    def abstract(self, candidate: Candidate, seeds: int, settings: int) -> tuple[Any, Any]:
        """The shapes of networks with their optimizers, and of the values of their settings."""
        values = {
            name: _shaped((settings,), column.dtype) for name, column in columns(candidate).items()
        }
        keys = jax.eval_shape(lambda k: jnp.repeat(k[:1], seeds, axis=0), self.init_keys)

        def begun(init_keys: jax.Array, order_keys: jax.Array, values: Any) -> TrainState:
            params, model_state = self.initial(init_keys)
            return self._begin(candidate, settings, params, model_state, order_keys, values)

        return jax.eval_shape(begun, keys, keys, values), values

    def _begin(
        self,
        candidate: Candidate,
        count: int,
        params: Params,
        model_state: Any,
        order_keys: jax.Array,
        values: dict[str, jax.Array],
    ) -> TrainState:
        """Networks and optimizers before the first step, with axes [seed, setting]."""

        def one(params: Params, model_state: Any, key: Any, setting: Any) -> TrainState:
            opt_state = candidate.start(setting, self.steps, params)
            opt_state = random_keys.of_run(opt_state, jax.random.fold_in(key, _OF_OPTIMIZER))
            return self.model.start(params, model_state, opt_state, key)

        # Apart from the keys that order the batches, which are folded with numbers from 0 on.
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 2**32 - 1))(order_keys)
        over_settings = jax.vmap(
            one, in_axes=(None, None, None, 0), out_axes=_OVER_SETTINGS, axis_size=count
        )
        return jax.vmap(over_settings, in_axes=(0, 0, 0, None), out_axes=_OVER_SEEDS)(
            params, model_state, keys, values
        )

    def _advance(
        self,
        candidate: Candidate,
        state: TrainState,
        loss: jax.Array,
        values: dict[str, jax.Array],
        train: Data,
        order: jax.Array,
        length: jax.Array,
    ) -> tuple[TrainState, jax.Array]:
        """Take the first `length` steps of `order`, and add their losses: all [seed, setting]."""

        def one(state: TrainState, setting: Any, batch: Data) -> tuple[TrainState, jax.Array]:
            return self.model.step(candidate.built(setting, self.steps))(state, batch)

        over_settings = jax.vmap(one, (_OVER_SETTINGS, 0, None), (_OVER_SETTINGS, 0))
        over_networks = jax.vmap(over_settings, (_OVER_SEEDS, None, 0), (_OVER_SEEDS, 0))

        def step(networks: Any, batch: jax.Array) -> Any:
            state, loss = networks
            state, more = over_networks(state, values, jax.tree.map(lambda x: x[batch], train))
            return state, loss + more

        def scanned(networks: Any, at: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            batch, wanted = at
            # A last part that is shorter takes no steps at its end instead of a second program.
            return jax.lax.cond(wanted, step, lambda same, _: same, networks, batch), None

        wanted = jnp.arange(len(order)) < length
        return jax.lax.scan(scanned, (state, loss), (order, wanted))[0]

    def _batch_order(self, key: jax.Array, first: jax.Array) -> jax.Array:
        """One seed's batches from step `first` on, as places in the training set: [step, batch].

        Each epoch is a permutation of its own of the whole training set.
        """
        used = self.batches * self.batch_size

        def epoch(number: jax.Array) -> jax.Array:
            order = jax.random.permutation(jax.random.fold_in(key, number), self.examples)
            return order[:used].reshape(self.batches, self.batch_size)

        first_epoch = first // self.batches
        epochs = (self.evaluate_every - 1) // self.batches + 2  # that a part may touch
        order = jnp.concatenate(jax.vmap(epoch)(first_epoch + jnp.arange(epochs)))
        return order[first - first_epoch * self.batches + jnp.arange(self.evaluate_every)]

    def _training_loss(self, params: Params, model_state: Any, train: Data) -> jax.Array:
        """The mean loss over an epoch; over batches spread evenly where there are many."""
        batches = min(self.batches, _LOSS_BATCHES)
        apart = self.batches // batches

        def one(number: jax.Array) -> jax.Array:
            places = (number * self.batch_size + jnp.arange(self.batch_size)) * apart
            batch = jax.tree.map(lambda x: x[places], train)
            return self.model.loss(params, model_state, batch, jax.random.key(number))

        # Batch by batch, for the memory of many networks at once.
        return jnp.mean(jax.lax.map(one, jnp.arange(batches)))


def _shaped(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def columns(candidate: Candidate) -> dict[str, jax.Array]:
    """The values of all settings by name: [setting]."""
    return {n: jnp.asarray([s[n] for s in candidate.settings]) for n in candidate.grid}


def _over_networks(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    axes = (0, 0, None)  # of parameters, model state and data
    return jax.vmap(jax.vmap(function, axes), axes)
