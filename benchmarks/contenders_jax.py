"""AdamW in JAX, as several libraries and several orders of arguments write it."""

import math
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from problem import B1, B2, EPS, LEARNING_RATE, MAX_NORM, WEIGHT_DECAY, gradients, parameters
from shapes import Shapes

import gradxform as gx

Tree = Any


class Program(NamedTuple):
    """A training step's optimizer part."""

    init: Callable[[Tree], Tree]
    step: Callable[[Tree, Tree, Tree], tuple[Tree, Tree]]  # (params, state, grads)


def gradxform(clip: bool) -> Program:
    adamw = gx.adamw(LEARNING_RATE, B1, B2, EPS, WEIGHT_DECAY)
    tx = gx.chain(gx.clip_by_global_norm(MAX_NORM), adamw) if clip else adamw

    def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    return Program(tx.init, step)


def with_optax(clip: bool) -> Program:
    adamw = optax.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=WEIGHT_DECAY)
    tx = optax.chain(optax.clip_by_global_norm(MAX_NORM), adamw) if clip else adamw

    def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return Program(tx.init, step)


def by_hand(clip: bool) -> Program:
    """The formulas without a library; the clipping is one number inside them."""

    def init(params: Tree) -> Tree:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros)

    def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
        count, mu, nu = state
        count = count + 1
        c1, c2 = (-jnp.expm1(count.astype(jnp.float32) * math.log(b)) for b in (B1, B2))
        factor = 1.0
        if clip:
            norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads)))
            factor = jnp.minimum(1.0, MAX_NORM / norm)

        def one(p: jax.Array, m: jax.Array, v: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
            g = factor * g
            m = B1 * m + (1 - B1) * g
            v = B2 * v + (1 - B2) * jnp.square(g)
            u = m / c1 / (jnp.sqrt(v / c2) + EPS) + WEIGHT_DECAY * p
            return p - LEARNING_RATE * u, m, v

        results = jax.tree.map(one, params, mu, nu, grads)
        params, mu, nu = jax.tree.transpose(
            jax.tree.structure(params), jax.tree.structure((0, 0, 0)), results
        )
        return params, (count, mu, nu)

    return Program(init, step)


# name: (program, whether the arguments stand in the usual order)
PROGRAMS: dict[str, tuple[Callable[[bool], Program], bool]] = {
    "gradxform": (gradxform, False),
    "gradxform-usual": (gradxform, True),
    "optax": (with_optax, False),
    "optax-usual": (with_optax, True),
    "by-hand": (by_hand, False),
}


class JaxContender:
    """One program, compiled, with the arrays it works on."""

    def __init__(self, name: str, shapes: Shapes, *, clip: bool) -> None:
        make, usual = PROGRAMS[name]
        self.shapes = shapes
        self.init, step = make(clip)
        if usual:
            # The order of the arguments that most training loops have: step(grads, state, params).
            def reordered(grads: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
                return step(params, state, grads)

            jitted = jax.jit(reordered, donate_argnums=(1, 2))
            self.step = lambda params, state, grads: jitted(grads, state, params)
            self.lower = lambda params, state, grads: jitted.lower(grads, state, params)
        else:
            self.step = jax.jit(step, donate_argnums=(0, 1))
            self.lower = self.step.lower

    def allocate(self) -> None:
        """Fresh parameters, state and gradients on the device."""
        self.params = _on_device(parameters(self.shapes))
        self.grads = _on_device(gradients(self.shapes))
        self.state = jax.jit(self.init)(self.params)
        jax.block_until_ready((self.params, self.grads, self.state))

    def free(self) -> None:
        """Give the arrays back."""
        del self.params, self.grads, self.state

    def set_gradients(self, factor: float) -> None:
        """Take a multiple of the gradients that `allocate` gave."""
        del self.grads
        self.grads = _on_device(gradients(self.shapes, factor))

    def run(self, steps: int) -> None:
        """Do steps, each with what the one before returned, and wait for the last."""
        params, state, grads = self.params, self.state, self.grads
        for _ in range(steps):
            params, state = self.step(params, state, grads)
        self.params, self.state = jax.block_until_ready((params, state))

    def parameter(self, name: str) -> np.ndarray:
        """A parameter as it is now."""
        return np.asarray(self.params[name])

    def facts(self) -> dict[str, Any]:
        """What the compiled program says about itself; the same in every run."""
        params = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in self.shapes.items()}
        state = jax.eval_shape(self.init, params)
        start = time.perf_counter()
        lowered = self.lower(params, state, params)
        traced = time.perf_counter()
        compiled = lowered.compile()
        end = time.perf_counter()
        memory = compiled.memory_analysis()
        hlo = compiled.as_text()
        copied = _copies(hlo, self.shapes)
        return {
            "trace_s": traced - start,
            "compile_s": end - traced,
            "argument_bytes": memory.argument_size_in_bytes,
            "temp_bytes": memory.temp_size_in_bytes,
            "alias_bytes": memory.alias_size_in_bytes,
            "copies": len(copied),
            "copied_bytes": sum(copied),
            "fusions": len(re.findall(r"= \S.* fusion\(", hlo)),
            "device": jax.devices()[0].device_kind,
            "versions": {
                "jax": jax.__version__,
                "jaxlib": jax.lib.__version__,
                "optax": optax.__version__,
                "gradxform": gx.__version__,
                "numpy": np.__version__,
            },
        }


def _on_device(arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    return {name: jnp.array(x, copy=True) for name, x in arrays.items()}


def _copies(hlo: str, shapes: Shapes) -> list[int]:
    """The sizes in bytes of the copies of whole parameter-shaped arrays in optimized HLO."""
    whole = {",".join(map(str, shape)) for shape in shapes.values()}
    found = re.findall(r"= f32\[([\d,]+)\]\S* copy(?:-start)?\(", hlo)
    return [4 * math.prod(map(int, dims.split(","))) for dims in found if dims in whole]


# name: (loop, how many arrays it reads and writes)
LOOPS: dict[str, tuple[Callable[..., jax.Array], int]] = {
    "scale": (lambda a, b, c: 0.5 * a, 2),  # in place: writes what it read
    "copy": (lambda a, b, c: -b, 2),  # from one array to another
    "triad": (lambda a, b, c: b + 0.5 * c, 3),  # from two arrays to another
}


class Bandwidth:
    """What the machine's memory gives to loops that do nothing else, on three long arrays."""

    def __init__(self, size: int) -> None:
        self.size = size

    def measure(self, steps: int) -> dict[str, float]:
        """Bytes a second of each loop, over `steps` runs of it."""
        rates = {}
        b, c = jnp.ones(self.size), jnp.ones(self.size)
        for name, (loop, streams) in LOOPS.items():
            jitted = jax.jit(loop, donate_argnums=0, keep_unused=True)
            a = jitted(jitted(jnp.ones(self.size), b, c), b, c).block_until_ready()
            start = time.perf_counter()
            for _ in range(steps):
                a = jitted(a, b, c)
            a.block_until_ready()
            rates[name] = streams * 4 * self.size * steps / (time.perf_counter() - start)
        return rates
