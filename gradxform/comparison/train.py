"""All settings and seeds of one candidate, trained by one compiled program.

The program is a `scan` over steps around two `vmap`s: the outer one over seeds, each with its own
initial network and order of batches, the inner one over settings, which share both:

    for step in steps:                                  scan
        for seed in seeds:                              vmap
            batch = train[order[step, seed]]
            for setting in settings:                    vmap
                params, state <- one optimizer step on batch

What depends on the seed (the initial network, the batches) is computed without knowing the
candidate, so that seed s means the same for all of them. Sharing a batch among the settings is
also what makes the program fast: their first layers are one large matrix product.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core.reading import set_hyperparams
from ..core.types import Params, State
from ..transforms.curvature import hutchinson
from ..wrappers.apply import apply_updates
from .candidate import Candidate
from .task import Data, Task

Step = Callable[[Params, State, Data], tuple[Params, State, jax.Array]]


class Runs(NamedTuple):
    """What the runs of one candidate left, as NumPy arrays."""

    validation: np.ndarray  # [setting, seed, evaluation]: the metric
    train_loss: np.ndarray  # [setting, seed, evaluation]: at first over the whole training set,
    # then the mean of the batches since the evaluation before
    final_loss: np.ndarray  # [setting, seed]: over the whole training set
    test: np.ndarray  # [setting, seed]: the metric after the last step


def one_step(task: Task, transformation: optax.GradientTransformation) -> Step:
    """The training step of one network: (params, state, batch) -> (params, state, loss).

    Args:
      task: whose loss is minimized.
      transformation: the optimizer; its `update` is given the loss as `value=`, and an estimate
        of the Hessian's diagonal on the batch as `hessian_fn=`, which costs nothing unused.
    """
    update = optax.with_extra_args_support(transformation).update

    def step(params: Params, state: State, batch: Data) -> tuple[Params, State, jax.Array]:
        loss, grads = jax.value_and_grad(task.loss)(params, batch)
        estimate = hutchinson(lambda params: task.loss(params, batch))
        updates, state = update(grads, state, params, value=loss, hessian_fn=estimate)
        return apply_updates(params, updates), state, loss

    return step


class Program:
    """What the candidates of one comparison share, and the program that trains each."""

    def __init__(
        self, task: Task, seeds: Sequence[int], *, steps: int, batch_size: int, evaluate_every: int
    ) -> None:
        self.task = task
        self.steps = steps
        self.batch_size = batch_size
        self.evaluate_every = evaluate_every
        self.batches = task.sizes["train"] // batch_size  # in an epoch; what is left over waits
        self.train, self.validation, self.test = jax.tree.map(
            jnp.asarray, (task.train, task.validation, task.test)
        )
        pairs = [jax.random.split(jax.random.key(seed)) for seed in seeds]
        self.initial = jax.jit(jax.vmap(task.init))(jnp.stack([init for init, _ in pairs]))
        self.order_keys = jnp.stack([order for _, order in pairs])

        # Compiled once for all candidates with as many settings.
        self.metric = jax.jit(_over_networks(task.metric))
        self.training_loss = jax.jit(_over_networks(self._training_loss))
        self.batch_order = jax.jit(jax.vmap(self._batch_order, in_axes=(0, None), out_axes=1))
        # Compiled once a candidate.
        self.begin = jax.jit(self._begin, static_argnums=(0, 1))
        self.advance = jax.jit(self._advance, static_argnums=0, donate_argnums=(1, 2))

    @property
    def evaluated(self) -> np.ndarray:
        """The numbers of steps after which the networks are judged, from 0 on: [evaluation]."""
        return np.array([*range(0, self.steps, self.evaluate_every), self.steps])

    def run(self, candidate: Candidate, on_evaluation: Callable[[], None]) -> Runs:
        """Train every setting and seed of a candidate.

        Args:
          candidate: the optimizer and its grid.
          on_evaluation: called after each part of the training, when its numbers are there.

        Returns:
          The arrays of all runs; one that diverged is among them, as it was measured.
        """
        transformation, settings = candidate.transformation, candidate.settings
        values = {name: jnp.asarray([s[name] for s in settings]) for name in candidate.grid}
        params, state = self.begin(transformation, len(settings), self.initial, values)
        validation = [self.metric(params, self.validation)]
        losses = [self.training_loss(params, self.train)]
        none = jnp.zeros_like(losses[0])
        for first in range(0, self.steps, self.evaluate_every):
            length = min(self.evaluate_every, self.steps - first)
            order = self.batch_order(self.order_keys, first)
            params, state, loss = self.advance(
                transformation, params, state, none, self.train, order, length
            )
            losses.append(loss / length)
            validation.append(self.metric(params, self.validation).block_until_ready())
            on_evaluation()
        return Runs(
            validation=_by_setting(jnp.stack(validation, axis=-1)),
            train_loss=_by_setting(jnp.stack(losses, axis=-1)),
            final_loss=_by_setting(self.training_loss(params, self.train)),
            test=_by_setting(self.metric(params, self.test)),
        )

    def _begin(
        self,
        transformation: optax.GradientTransformation,
        count: int,
        initial: Params,
        values: dict[str, jax.Array],
    ) -> tuple[Params, State]:
        """Networks and optimizer states before the first step, with axes [seed, setting]."""

        def one(params: Params, setting: dict[str, jax.Array]) -> tuple[Params, State]:
            return params, set_hyperparams(transformation.init(params), **setting)

        over_settings = jax.vmap(one, in_axes=(None, 0), out_axes=0, axis_size=count)
        return jax.vmap(over_settings, in_axes=(0, None))(initial, values)

    def _advance(
        self,
        transformation: optax.GradientTransformation,
        params: Params,
        state: State,
        loss: jax.Array,
        train: Data,
        order: jax.Array,
        length: jax.Array,
    ) -> tuple[Params, State, jax.Array]:
        """Take the first `length` steps of `order`, and add their losses: all [seed, setting]."""
        over_settings = jax.vmap(one_step(self.task, transformation), in_axes=(0, 0, None))
        over_networks = jax.vmap(over_settings)

        def step(networks: Any, batch: jax.Array) -> Any:
            params, state, loss = networks
            params, state, more = over_networks(
                params, state, jax.tree.map(lambda x: x[batch], train)
            )
            return params, state, loss + more

        def scanned(networks: Any, at: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            batch, wanted = at
            # A last part that is shorter takes no steps at its end instead of a second program.
            return jax.lax.cond(wanted, step, lambda same, _: same, networks, batch), None

        wanted = jnp.arange(len(order)) < length
        return jax.lax.scan(scanned, (params, state, loss), (order, wanted))[0]

    def _batch_order(self, key: jax.Array, first: jax.Array) -> jax.Array:
        """One seed's batches from step `first` on, as places in the training set: [step, batch].

        Each epoch is a permutation of its own of the whole training set.
        """
        examples, used = self.task.sizes["train"], self.batches * self.batch_size

        def epoch(number: jax.Array) -> jax.Array:
            order = jax.random.permutation(jax.random.fold_in(key, number), examples)
            return order[:used].reshape(self.batches, self.batch_size)

        first_epoch = first // self.batches
        epochs = (self.evaluate_every - 1) // self.batches + 2  # that a part may touch
        order = jnp.concatenate(jax.vmap(epoch)(first_epoch + jnp.arange(epochs)))
        return order[first - first_epoch * self.batches + jnp.arange(self.evaluate_every)]

    def _training_loss(self, params: Params, train: Data) -> jax.Array:
        """The mean loss over one epoch in the order of the training set."""

        def batch(number: jax.Array) -> Data:
            places = number * self.batch_size + jnp.arange(self.batch_size)
            return jax.tree.map(lambda x: x[places], train)

        # Batch by batch, for the memory of many networks at once.
        losses = jax.lax.map(lambda i: self.task.loss(params, batch(i)), jnp.arange(self.batches))
        return jnp.mean(losses)


def _over_networks(function: Callable[[Params, Data], jax.Array]) -> Callable[..., jax.Array]:
    return jax.vmap(jax.vmap(function, in_axes=(0, None)), in_axes=(0, None))


def _by_setting(values: jax.Array) -> np.ndarray:
    """[seed, setting, ...] -> [setting, seed, ...]"""
    return np.swapaxes(np.asarray(values), 0, 1)
