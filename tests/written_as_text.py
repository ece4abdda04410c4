"""A module of a user's, whose annotations are text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

import gradxform as gx

if TYPE_CHECKING:
    from somewhere import Something


class State(NamedTuple):
    last: object


@gx.transformation
def remembering(decay: gx.Decay = 0.9) -> Something:
    def init(params):
        return State(jnp.zeros(()))

    def update(updates, state: State):
        return updates, State(state.last * decay)

    return init, update


def local():
    from gradxform import Decay as Kept

    @gx.transformation
    def inside(decay: Kept = 0.9):
        def init(params):
            return State(jnp.zeros(()))

        def update(updates, state: State):
            return updates, state

        return init, update

    return inside


def unknown():
    @gx.transformation
    def lost(decay: Something = 0.9):
        return None

    return lost
