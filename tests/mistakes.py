"""Plausible mistakes: a call, the error, the words of the way out, and what must not be said.

The words are looked for in the formatted traceback, notes included, as a user sees it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.training import train_state

import gradxform as gx
from gradxform import select

PARAMS = {"w": jnp.ones((4, 3)), "b": jnp.zeros(3)}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)
BATCH = jnp.ones((8, 4))
TX = gx.adam(1e-3)
CLIP = gx.clip_by_global_norm(1.0)
COSINE = gx.cosine_decay(1e-3, 900)
FILTER = "`eqx.filter(model, eqx.is_inexact_array)`"
ORDER = "`update(updates, state, params)`"


class Mistake(NamedTuple):
    """What somebody wrote, and what must be said of it."""

    call: Callable[[], Any]
    kind: type[Exception]
    words: list[str]
    never: tuple[str, ...] = ()


class Mlp(eqx.Module):
    """A model of which a leaf is a function."""

    linear: eqx.nn.Linear
    activation: Callable[..., Any]


class Dropped(nnx.Module):
    """A model of which a leaf is a count."""

    def __init__(self) -> None:
        self.linear = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))


MODEL = Mlp(eqx.nn.Linear(3, 4, key=jax.random.key(0)), jax.nn.relu)
KEYED = {"w": jnp.ones(2), "key": jax.random.key(0)}


def loss(params: Any, batch: Any) -> Any:
    return jnp.mean((batch @ params["w"]) ** 2) + jnp.sum(params["b"] ** 2)


def mesh() -> Any:
    return jax.make_mesh((1,), ("data",))


def copies() -> Any:
    return jax.tree.map(jnp.copy, PARAMS)


def flax_state() -> Any:
    return train_state.TrainState.create(apply_fn=lambda: None, params=copies(), tx=TX)


def updated(tx: Any, *args: Any) -> Any:
    return tx.update(GRADS, tx.init(PARAMS), *args)


def no_transformation(call: Callable[[], Any], *words: str) -> Mistake:
    return Mistake(call, TypeError, ["must be a gradient transformation", *words], ("0x",))


BUILDING: dict[str, Mistake] = {
    # What goes into a chain or a wrapper
    "factory in a chain": no_transformation(
        lambda: gx.chain(gx.adam), "`chain(...)`: argument 1", "Call the factory first: `adam(...)`"
    ),
    "factory in a wrapper": no_transformation(
        lambda: gx.ema_params(gx.adamw), "`ema_params(...)`: `inner`", "`adamw(...)`"
    ),
    "factory in a step": no_transformation(
        lambda: gx.make_train_step(loss, gx.adam), "`make_train_step(loss_fn, tx)`", "`adam(...)`"
    ),
    "list in a chain": no_transformation(
        lambda: gx.chain([CLIP, TX]), "`chain(*transformations)`", "`*` hands out a list"
    ),
    "tuple in a wrapper": no_transformation(
        lambda: gx.accumulate((CLIP, TX), 4), "`chain(*transformations)`"
    ),
    "dict in a chain": no_transformation(
        lambda: gx.chain({"clip": CLIP, "adam": TX}), "`named_chain(*transformations.items())`"
    ),
    "schedule in a chain": no_transformation(
        lambda: gx.chain(gx.scale_by_adam(), COSINE),
        "argument 2",
        "`scale_by_learning_rate(schedule)`",
    ),
    "number in a chain": no_transformation(
        lambda: gx.chain(gx.scale_by_adam(), -1e-3), "`scale_by_learning_rate(0.1)`", "got -0.001"
    ),
    "None in a chain": no_transformation(lambda: gx.chain(None, TX), "argument 1", "got None"),
    "MultiSteps in a chain": no_transformation(
        lambda: gx.chain(CLIP, optax.MultiSteps(TX, 4)),
        "`.gradient_transformation()`",
        "`accumulate(tx, every)`",
    ),
    "dict in a named chain": Mistake(
        lambda: gx.named_chain({"adam": TX}), ValueError, ["argument 1", "a pair of a name"]
    ),
    # Arguments in another order
    "accumulate, swapped": no_transformation(
        lambda: gx.accumulate(4, TX), "got 4", "Are `every` and `inner` swapped?"
    ),
    "skip_nonfinite, swapped": no_transformation(
        lambda: gx.skip_nonfinite(3, TX), "Are `max_consecutive` and `inner` swapped?"
    ),
    "freeze, swapped": no_transformation(
        lambda: gx.freeze(select.path("w"), TX), "Are `mask` and `inner` swapped?"
    ),
    "masked, swapped": no_transformation(
        lambda: gx.masked(select.path("w"), TX), "Are `mask` and `inner` swapped?"
    ),
    "warmup, swapped": Mistake(
        lambda: gx.warmup(100, COSINE), ValueError, ["Are `schedule` and `steps` swapped?"]
    ),
    "cosine_decay, swapped": Mistake(
        lambda: gx.cosine_decay(1000, 1e-3), ValueError, ["`steps`", "`value` and `steps` swapped?"]
    ),
    "train step, swapped": no_transformation(
        lambda: gx.make_train_step(TX, loss),
        "`make_train_step(loss_fn, tx)`",
        "got <function loss>",
    ),
    # Numbers
    "negative rate": Mistake(lambda: gx.sgd(-0.1), ValueError, ["at least 0", "minus sign"]),
    "rate as text": Mistake(
        lambda: gx.adam("1e-3"), TypeError, ["`adam(learning_rate='1e-3')`", "leave out the quotes"]
    ),
    "rates in a list": Mistake(lambda: gx.adam([1e-3, 1e-4]), TypeError, ["function of the step"]),
    "rates in a dict": Mistake(lambda: gx.adam({"w": 1e-3}), TypeError, ["`learning_rate`"]),
    "no rate": Mistake(lambda: gx.adam(None), TypeError, ["must be a number at least 0"]),
    "forgotten rate": Mistake(lambda: gx.adam(), TypeError, ["missing", "'learning_rate'"]),
    "schedule not called": Mistake(
        lambda: gx.adam(gx.cosine_decay),
        TypeError,
        ["`learning_rate` is a factory", "`cosine_decay(...)` makes a schedule"],
    ),
    "optimizer for a rate": Mistake(lambda: gx.adam(TX), TypeError, ["must be a number"]),
    "decay above one": Mistake(
        lambda: gx.adam(0.1, b1=1.5), ValueError, ["at least 0 and below 1"]
    ),
    "decay of one": Mistake(lambda: gx.ema_params(TX, 1.0), ValueError, ["running average"]),
    "no eps": Mistake(lambda: gx.adam(0.1, eps=None), TypeError, ["`eps` must be a number"]),
    "no bound": Mistake(
        lambda: gx.clip_by_global_norm(None), TypeError, ["must be a number above 0"]
    ),
    "windows of nothing": Mistake(lambda: gx.accumulate(TX, 0), ValueError, ["at least 1; got 0"]),
    "forgotten window": Mistake(lambda: gx.accumulate(TX), TypeError, ["missing", "'every'"]),
    "integer state": Mistake(
        lambda: gx.adam(0.1, state_dtype=int), ValueError, ["`state_dtype`", "'bfloat16'"]
    ),
    "misspelled argument": Mistake(
        lambda: gx.adam(learningrate=1e-3), TypeError, ["Did you mean `learning_rate`?"]
    ),
    "cautious optimizer": Mistake(
        lambda: gx.cautious(TX), ValueError, ["points downhill", "`chain(cautious(scale_by_adam())"]
    ),
    # Masks and groups
    "labels in partition": Mistake(
        lambda: gx.partition({"a": TX}, {"w": "a", "b": "a"}),
        ValueError,
        ["a pair (selector, transformation)", "select.path(", "Labels, as Optax has them"],
    ),
    "pair the wrong way": Mistake(
        lambda: gx.partition({"a": (TX, select.all)}), ValueError, ["in this order", "select.path("]
    ),
    "partition of a list": Mistake(
        lambda: gx.partition([(select.all, TX)]), ValueError, ["must be a dict", "select.path("]
    ),
    "partition without default": Mistake(
        lambda: gx.partition({"a": (select.path("w"), TX)}).init(PARAMS),
        ValueError,
        ["`default=...`", "These are not selected: b."],
        ("The paths are",),
    ),
    "group of nothing": Mistake(
        lambda: gx.partition({"a": (select.path("kernel"), TX)}, TX).init(PARAMS),
        ValueError,
        ["matches none of the parameters", "b, w"],
    ),
    "mask of names": Mistake(
        lambda: gx.adamw(0.1, mask=["w"]), TypeError, ["a mask holds", "`select.path("]
    ),
    "mask as text": Mistake(lambda: gx.adamw(0.1, mask="w"), TypeError, ["`select.path("]),
    "mask of labels": Mistake(
        lambda: gx.freeze(TX, {"w": "frozen", "b": "trained"}), TypeError, ["Labels as Optax has"]
    ),
    "mask of another tree": Mistake(
        lambda: gx.freeze(TX, {"head": True}).init(PARAMS), ValueError, ["prefix", "head"]
    ),
    "selector and selector": Mistake(
        lambda: select.decayed and select.path("w"), TypeError, ["Write `a & b`"]
    ),
    "guard around the scale": Mistake(
        lambda: gx.skip_nonfinite(gx.dynamic_loss_scale(TX)), ValueError, ["Turn them round"]
    ),
    # Configurations
    "name for a configuration": Mistake(
        lambda: gx.from_config("adam"), ValueError, ["`version` and `transformation`"]
    ),
    "function in a configuration": Mistake(
        lambda: gx.to_config(gx.adam(lambda step: 1e-3)), ValueError, ["functions={'name'"], ("0x",)
    ),
}
