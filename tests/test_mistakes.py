"""Plausible mistakes are told in words: what was called, what was expected, what to write."""

import copy
import traceback

import jax
import jax.numpy as jnp
import pytest
from mistakes import BUILDING, MODEL, PARAMS, TX, Mistake, copies
from mistakes_in_names import NAMES
from mistakes_in_reading import READING
from mistakes_in_use import TRAINING

import gradxform as gx

TABLES = (BUILDING, NAMES, TRAINING, READING)
MISTAKES = {name: mistake for table in TABLES for name, mistake in table.items()}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_words(name: str) -> None:
    mistake: Mistake = MISTAKES[name]
    with pytest.raises(mistake.kind) as raised:
        mistake.call()
    shown = "".join(traceback.format_exception_only(raised.value))
    assert not [word for word in mistake.words if word not in shown], shown
    assert not [word for word in mistake.never if word in shown], shown


def test_there_is_a_mistake_for_every_day() -> None:
    assert len(MISTAKES) == sum(map(len, TABLES)) >= 150


def test_a_refused_step_loses_nothing() -> None:
    params = copies()
    state = TX.init(params)
    with pytest.raises(ValueError, match="same array"):
        gx.make_update_step(TX)(params, state, params)
    gx.make_update_step(TX)(params, state, copies())  # nothing was given away


def test_a_diagnosis_of_a_whole_model_says_what_to_pass() -> None:
    (finding,) = gx.diagnose(TX, MODEL)
    assert "eqx.filter(model, eqx.is_inexact_array)" in finding.seen


def test_a_step_that_explains_is_still_a_jitted_function() -> None:
    step = gx.make_update_step(TX)
    params = copies()
    lowered = step.lower(params, TX.init(params), PARAMS)
    assert "tf.aliasing_output" in lowered.as_text()
    assert step.__name__ == copy.copy(step).__name__ == "update_step"
    is_wrapped = isinstance(jax.jit(lambda x: x), jax.stages.Wrapped)  # not on every JAX
    assert isinstance(step, jax.stages.Wrapped) == is_wrapped
    assert jnp.all(params["w"] == 1)
