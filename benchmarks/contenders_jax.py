"""Optimizers in JAX, as two libraries and two orders of arguments write them."""

import functools
import math
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimizers
from problem import (
    B1,
    B2,
    EPS,
    LEARNING_RATE,
    LOSS,
    MAX_NORM,
    WEIGHT_DECAY,
    gradients,
    parameters,
)
from shapes import Shapes

import gradxform as gx

Tree = Any


class Program(NamedTuple):
    """A training step's optimizer part."""

    init: Callable[[Tree], Tree]
    step: Callable[..., tuple[Tree, Tree]]  # (params, state, grads, **extra), jitted


def gradxform(optimizer: str) -> Program:
    return _updating(optimizers.gradxform(optimizer))


def _updating(tx: gx.GradientTransformation) -> Program:
    return Program(tx.init, gx.make_update_step(tx))


def _update_and_apply(tx: Any, params: Tree, state: Tree, grads: Tree, extra: dict[str, Any]):
    updates, state = tx.update(grads, state, params, **extra)
    return optax.apply_updates(params, updates), state


def with_optax(optimizer: str) -> Program:
    tx = optimizers.with_optax(optimizer)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Tree, state: Tree, grads: Tree, **extra: Any) -> tuple[Tree, Tree]:
        return _update_and_apply(tx, params, state, grads, extra)

    return Program(tx.init, step)


def usual(tx: Any) -> Program:
    """The order of the arguments that most training loops have."""

    @functools.partial(jax.jit, donate_argnums=(1, 2))
    def step(grads: Tree, state: Tree, params: Tree, **extra: Any) -> tuple[Tree, Tree]:
        return _update_and_apply(tx, params, state, grads, extra)

    return Program(tx.init, _Reordered(step))


class _Reordered:
    """A step that takes its arguments as the others do."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def __call__(self, params: Tree, state: Tree, grads: Tree, **extra: Any) -> tuple[Tree, Tree]:
        return self.step(grads, state, params, **extra)

    def trace(self, params: Tree, state: Tree, grads: Tree, **extra: Any) -> Any:
        return self.step.trace(grads, state, params, **extra)


def by_hand(optimizer: str) -> Program:
    """AdamW's formulas without a library; the clipping is one number inside them."""

    def init(params: Tree) -> Tree:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
        count, mu, nu = state
        count = count + 1
        c1, c2 = (-jnp.expm1(count.astype(jnp.float32) * math.log(b)) for b in (B1, B2))
        factor = 1.0
        if optimizer.startswith(optimizers.CLIPPED):
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


PROGRAMS: dict[str, Callable[[str], Program]] = {
    "gradxform": gradxform,
    "gradxform-bucket": lambda optimizer: _updating(gx.bucket(optimizers.gradxform(optimizer))),
    "gradxform-usual": lambda optimizer: usual(optimizers.gradxform(optimizer)),
    "optax": with_optax,
    "optax-usual": lambda optimizer: usual(optimizers.with_optax(optimizer)),
    "by-hand": by_hand,
}


STAGES = ("trace", "lower", "compile")


class JaxContender:
    """One program, with the arrays it works on."""

    def __init__(self, name: str, shapes: Shapes, optimizer: str) -> None:
        self.shapes = shapes
        self.init, self.step = PROGRAMS[name](optimizer)
        takes_value = optimizers.pair_of(optimizer).takes_value
        self.extra = {"value": jnp.float32(LOSS)} if takes_value else {}

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
            params, state = self.step(params, state, grads, **self.extra)
        self.params, self.state = jax.block_until_ready((params, state))

    def calls(self, number: int) -> list[float]:
        """The seconds until each call returns; the device may still be at work."""
        params, state, grads = self.params, self.state, self.grads
        seconds = []
        for _ in range(number):
            start = time.perf_counter()
            params, state = self.step(params, state, grads, **self.extra)
            seconds.append(time.perf_counter() - start)
        self.params, self.state = jax.block_until_ready((params, state))
        return seconds

    def without_work(self) -> "JaxContender":
        """The same arrays in and out, changed by one multiplication that XLA leaves out."""
        other = object.__new__(JaxContender)
        other.shapes, other.init, other.extra = self.shapes, self.init, self.extra

        @functools.partial(jax.jit, donate_argnums=(0, 1), keep_unused=True)
        def step(params: Tree, state: Tree, grads: Tree, **extra: Any) -> tuple[Tree, Tree]:
            return jax.tree.map(lambda x: x * jnp.ones((), x.dtype), (params, state))

        other.step = step
        return other

    def parameter(self, name: str) -> np.ndarray:
        """A parameter as it is now."""
        return np.asarray(self.params[name])

    def leaves(self) -> dict[str, int]:
        """The arrays that a call takes and returns."""
        params, state = self._abstract()
        changed = len(jax.tree.leaves((params, state)))
        return {"arrays_in": changed + len(params) + len(self.extra), "arrays_out": changed}

    def compile(self) -> tuple[Any, dict[str, Any]]:
        """The compiled program, and the seconds that each stage took."""
        params, state = self._abstract()
        clocks = [_clocks()]
        traced = self.step.trace(params, state, params, **self.extra)
        clocks.append(_clocks())
        lowered = traced.lower()
        clocks.append(_clocks())
        compiled = lowered.compile()
        clocks.append(_clocks())
        took: dict[str, Any] = {}
        for stage, start, end in zip(STAGES, clocks, clocks[1:], strict=False):
            took |= {f"{stage}_s": end[0] - start[0], f"{stage}_cpu_s": end[1] - start[1]}
        return compiled, {**took, "program_bytes": len(lowered.as_text())}

    def facts(self) -> dict[str, Any]:
        """What the compiled program says about itself; the same in every run."""
        compiled, _ = self.compile()
        memory = compiled.memory_analysis()
        hlo = compiled.as_text()
        copied = _copies(hlo, self.shapes)
        argument, output, temp, alias = (
            getattr(memory, f"{kind}_size_in_bytes")
            for kind in ("argument", "output", "temp", "alias")
        )
        return {
            "argument_bytes": argument,
            "output_bytes": output,
            "temp_bytes": temp,
            "alias_bytes": alias,
            "peak_bytes": argument + output + temp - alias,
            "copies": len(copied),
            "copied_bytes": sum(copied),
            "fusions": len(re.findall(r"= \S.* fusion\(", hlo)),
            "moved_bytes": _moved(hlo, self.shapes),
            **self.leaves(),
            **about(),
        }

    def _abstract(self) -> tuple[Tree, Tree]:
        params = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in self.shapes.items()}
        return params, jax.eval_shape(self.init, params)


def _clocks() -> tuple[float, float]:
    """The time that passed, and the processor's for this process."""
    return time.perf_counter(), time.process_time()


def about() -> dict[str, Any]:
    """The device and the versions."""
    return {
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


def _moved(hlo: str, shapes: Shapes) -> int:
    """The bytes of parameter-shaped arrays that the loops of optimized HLO read and write.

    Of the program's own loops: what is inside of a conditional branch does not count.
    """
    whole = {",".join(map(str, shape)) for shape in shapes.values()}
    entry = hlo[hlo.index("ENTRY") :]
    sizes: dict[str, int] = {}
    moved = 0
    for line in entry.splitlines():
        if not (found := re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)", line)):
            continue
        name, kind, operation, rest = found.groups()
        dims = re.findall(r"f32\[([\d,]+)\]", kind)
        written = sum(4 * math.prod(map(int, d.split(","))) for d in dims if d in whole)
        if not kind.startswith("("):
            sizes[name] = written
        if operation in ("fusion", "copy", "map", "reduce", "call"):
            read = {*re.findall(r"%([\w.\-]+)", rest.partition("), ")[0])}
            moved += written + sum(sizes.get(operand, 0) for operand in read)
    return moved
