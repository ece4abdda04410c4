"""Annotations that are text are read like others: the rules of arguments hold, and states fit."""

import jax.numpy as jnp
import pytest
import written_as_text

import gradxform as gx

PARAMS = {"w": jnp.ones(2)}


@pytest.mark.parametrize("factory", [written_as_text.remembering, written_as_text.local()])
def test_rules_hold_and_another_state_is_refused(factory):
    with pytest.raises(ValueError, match="`decay` must be at least 0 and below 1"):
        factory(1.5)
    assert factory() == factory(0.9)
    tx = factory(gx.tunable(0.5))
    tx.update(PARAMS, tx.init(PARAMS))
    for state in ((1, 2, 3), gx.scale_by_lion().init(PARAMS)):
        with pytest.raises((TypeError, ValueError), match="transfer_state"):
            factory().update(PARAMS, state, PARAMS)


def test_a_name_that_is_known_nowhere_is_named():
    with pytest.raises(
        TypeError, match=r"`lost`: the annotation `decay: Something` cannot be read"
    ):
        written_as_text.unknown()
