"""Law 10 for arguments: an error names the call, the argument, the rule, the value, the way out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import small
from refusals import Case, assert_refused

import gradxform as gx

CASES: dict[str, Case] = {
    "decay of one": (
        lambda: gx.adam(0.1, b1=1.0),
        ValueError,
        ["`adam(b1=1.0)`", "`b1`", "at least 0 and below 1", "got 1.0", "running average"],
    ),
    "negative decay": (
        lambda: gx.scale_by_adam(b2=-0.1),
        ValueError,
        ["`scale_by_adam(b2=-0.1)`", "at least 0 and below 1", "got -0.1"],
    ),
    "negative learning rate": (
        lambda: gx.sgd(-0.1),
        ValueError,
        ["`sgd(learning_rate=-0.1)`", "at least 0", "got -0.1", "minus sign"],
    ),
    "nan": (lambda: gx.scale(float("nan")), ValueError, ["`scale(factor=nan)`", "finite"]),
    "infinity": (
        lambda: gx.sgd(float("inf")),
        ValueError,
        ["`sgd(learning_rate=inf)`", "finite", "got inf"],
    ),
    "zero bound": (
        lambda: gx.clip_by_global_norm(0),
        ValueError,
        ["`clip_by_global_norm(max_norm=0)`", "above 0", "got 0"],
    ),
    "a word for a number": (
        lambda: gx.sgd("0.1"),
        TypeError,
        ["`sgd(learning_rate='0.1')`", "must be a number", "function of the step", "tunable("],
    ),
    "a bool for a number": (
        lambda: gx.sgd(True),
        TypeError,
        ["`sgd(learning_rate=True)`", "must be a number"],
    ),
    "none for a number": (
        lambda: gx.scale(None),
        TypeError,
        ["`scale(factor=None)`", "must be a number"],
    ),
    "a complex number": (lambda: gx.scale(1j), TypeError, ["`scale(factor=1j)`", "number"]),
    "a complex array": (
        lambda: gx.scale(jnp.asarray(1j)),
        (TypeError, ValueError),
        ["`scale(factor=", "`factor` must be", "real"],
    ),
    "an array of numbers": (
        lambda: gx.scale(jnp.ones(3)),
        ValueError,
        ["`scale(factor=Array([1., 1., 1.]", "a real scalar", "`jax.vmap`"],
    ),
    "a numpy array of numbers": (
        lambda: gx.scale(np.ones(3)),
        (TypeError, ValueError),
        ["`scale(factor=array([1., 1., 1.])", "`factor` must be"],
    ),
    "tunable out of bounds": (
        lambda: gx.adam(0.1, b1=gx.tunable(1.5)),
        ValueError,
        ["`adam(b1=1.5)`", "below 1"],
    ),
    "tunable schedule": (
        lambda: gx.tunable(gx.linear_schedule(1.0, 0.0, 4)),
        TypeError,
        ["`tunable(linear_schedule(", "starts as a number", "passed as it is", "`jax.vmap`"],
    ),
    "missing argument": (
        lambda: gx.adam(),
        TypeError,
        ["`adam(learning_rate, b1", "missing", "'learning_rate'"],
    ),
    "unknown argument": (
        lambda: gx.adam(0.1, learning_rat=0.1),
        TypeError,
        ["`adam` has no argument `learning_rat`", "Did you mean `learning_rate`?", "b1, b2"],
    ),
    "too many arguments": (
        lambda: gx.scale(0.1, 0.2),
        TypeError,
        ["`scale(factor)`", "too many positional"],
    ),
    "not a flag": (
        lambda: gx.sgd(0.1, 0.9, 1),
        ValueError,
        ["`sgd(nesterov=1)`", "True or False", "got 1"],
    ),
    "not a dtype": (
        lambda: gx.adam(0.1, state_dtype="float31"),
        ValueError,
        ["`adam(state_dtype='float31')`", "real floating dtype", "'bfloat16'"],
    ),
    "an integer dtype": (
        lambda: gx.adam(0.1, state_dtype="int8"),
        ValueError,
        ["`adam(state_dtype='int8')`", "real floating dtype"],
    ),
    "nesterov without momentum": (
        lambda: gx.sgd(0.1, nesterov=True),
        ValueError,
        ["`sgd(...)`", "`nesterov=True`", "momentum=0.9"],
    ),
    "a factory in a chain": (
        lambda: gx.chain(gx.scale(1.0), gx.adam),
        TypeError,
        ["`chain(...)`", "argument 2", "gradient transformation", "Call the factory first"],
    ),
    "a list in a chain": (
        lambda: gx.chain([gx.scale(1.0)]),
        TypeError,
        ["`chain(...)`", "argument 1", "gradient transformation", "got [scale(factor=1.0)]"],
    ),
    "no name in a named chain": (
        lambda: gx.named_chain(gx.scale(1.0)),
        ValueError,
        ["`named_chain(...)`", "argument 1", "a pair of a name"],
    ),
    "one name twice": (
        lambda: gx.named_chain(("a", gx.scale(1.0)), ("a", gx.scale(2.0))),
        ValueError,
        ["`named_chain(...)`", "once", "a occurs again"],
    ),
    "a mask of numbers": (
        lambda: gx.adamw(0.1, mask={"w": 1, "s": True}).init(small()),
        TypeError,
        ["mask=...", "bools", "got 1"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_words(name: str) -> None:
    assert_refused(*CASES[name])


def test_traced_values_are_let_through() -> None:
    jax.jit(lambda x: gx.adam(x, b1=x).init(small()))(0.1)
    jax.jit(lambda x: gx.scale(gx.tunable(x)).init(small()))(jnp.nan)
    with pytest.raises(ValueError, match=r"`scale\(factor=<traced float32\[3\]>\)`"):
        jax.jit(lambda x: gx.scale(x).init(small()))(jnp.ones(3))
