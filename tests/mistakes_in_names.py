"""Plausible mistakes in names and lengths, which other libraries have otherwise; see `mistakes`."""

from typing import Any

from mistakes import COSINE, PARAMS, TX, Mistake, no_transformation

import gradxform as gx
from gradxform import select


def argument(call: Any, *words: str) -> Mistake:
    return Mistake(call, TypeError, ["has no argument", *words, "Known are: "], ("unexpected",))


def name(wrong: str, *words: str) -> Mistake:
    return Mistake(lambda: getattr(gx, wrong), AttributeError, [wrong, *words], ("optax.",))


def live() -> Any:
    return gx.adam(gx.tunable(0.1)).init(PARAMS)


NAMES: dict[str, Mistake] = {
    "lr": argument(lambda: gx.adam(lr=1e-3), "`adam` has", "`learning_rate=`"),
    "betas": argument(lambda: gx.adam(1e-3, betas=(0.9, 0.99)), "`b1=0.9, b2=0.999`"),
    "decay in adam": argument(
        lambda: gx.adam(1e-3, weight_decay=0.1), "`gx.adamw(", "`gx.chain(gx.add_l2_regularization("
    ),
    "decay in sgd": argument(
        lambda: gx.sgd(0.1, weight_decay=1e-4),
        "add_l2_regularization",
        "add_decoupled_weight_decay",
    ),
    "amsgrad": argument(lambda: gx.adam(1e-3, amsgrad=True), "`gx.amsgrad(learning_rate)`"),
    "nesterov": argument(lambda: gx.adam(1e-3, nesterov=True), "`gx.nadam(learning_rate)`"),
    "mu_dtype": argument(
        lambda: gx.adam(1e-3, mu_dtype="bfloat16"), '`state_dtype={"mu": "bfloat16"}`'
    ),
    "decay_steps": argument(lambda: gx.cosine_decay(1e-3, decay_steps=9), "`steps=`"),
    "transition_steps": argument(
        lambda: gx.linear_schedule(1.0, 0.0, transition_steps=9), "`steps=`"
    ),
    "transforms": argument(lambda: gx.partition(transforms={}), "select.path("),
    "AdamW": name("AdamW", "`gx.adamw(learning_rate)`"),
    "add_decayed_weights": name("add_decayed_weights", "gx.add_decoupled_weight_decay"),
    "cosine_decay_schedule": name("cosine_decay_schedule", "gx.cosine_decay("),
    "warmup_cosine": name("warmup_cosine_decay_schedule", "gx.warmup("),
    "MultiSteps": name("MultiSteps", "`gx.accumulate("),
    "clip_grad_norm_": name("clip_grad_norm_", "gx.clip_by_global_norm("),
    "a misspelled name": name("adamwx", "Did you mean `adamw`?"),
    "set lr": Mistake(
        lambda: gx.set_hyperparams(live(), lr=0.1),
        KeyError,
        ["`set_hyperparams(lr=0.1)`", "there is no `lr`", "`learning_rate=`"],
        ('"`', "tunable("),
    ),
    "read lr": Mistake(
        lambda: gx.hyperparams(live())["lr"], KeyError, ["no `lr`", "`learning_rate=`"], ('"`',)
    ),
    "half of a run": Mistake(
        lambda: gx.cosine_decay(1e-3, 0.5),
        ValueError,
        ["`steps` must be a whole number", "`fraction(0.1, of=20_000)`", "`epochs(...)`"],
    ),
    "a tenth of a run": Mistake(
        lambda: gx.warmup(COSINE, 0.1), ValueError, ["`fraction(0.1, of=20_000)`"]
    ),
    "boundaries in a dict": Mistake(
        lambda: gx.step_decay(1.0, boundaries={30: 0.5}), ValueError, ["only the keys would be"]
    ),
    "no steps": Mistake(lambda: gx.cosine_decay(1e-3, 0), ValueError, ["at least 1; got 0"]),
    "forgotten steps": Mistake(lambda: gx.cosine_decay(1e-3), TypeError, ["missing", "'steps'"]),
    "too many by position": Mistake(
        lambda: gx.lars(0.1, 1e-4), TypeError, ["`lars(learning_rate, *", "weight_decay"]
    ),
    "a regular expression": Mistake(lambda: select.path("("), ValueError, ["a regular expression"]),
    "a factory in skip_spikes": no_transformation(lambda: gx.skip_spikes(gx.lion), "`lion(...)`"),
    "an unknown name": Mistake(
        lambda: gx.from_config({"version": 1, "transformation": {"adamm()": {}}}),
        ValueError,
        ["adamm", "adam"],
    ),
    "a freeze of everything": Mistake(
        lambda: gx.freeze(TX, None), ValueError, ["which parameters are frozen", "select.path"]
    ),
}
