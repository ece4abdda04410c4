"""Training with gradient accumulation, as several libraries and ways write it."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradxform as gx

Tree = Any

LEARNING_RATE, B1, B2, WEIGHT_DECAY, MAX_NORM = 1e-3, 0.9, 0.999, 0.01, 1.0
# Not far below the gradients, so that no rounding error of a gradient decides on a whole step.
EPS = 1e-4
WINDOWS_CHECKED = 2
TOLERANCE = 1e-3 * LEARNING_RATE


class Problem(NamedTuple):
    """A perceptron with layers of one width, and its micro-batches."""

    layers: int
    width: int
    examples: int  # of a micro-batch

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters by name."""
        kernels = {f"{i:02}/kernel": (self.width, self.width) for i in range(self.layers)}
        return kernels | {f"{i:02}/bias": (1, self.width) for i in range(self.layers)}

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(map(math.prod, self.shapes.values()))

    def parameters(self) -> Tree:
        """The parameters before the first step, in float32."""
        rng = np.random.default_rng(0)
        scale = np.float32(1 / math.sqrt(self.width))
        return {n: scale * rng.standard_normal(s, np.float32) for n, s in self.shapes.items()}

    def micro_batches(self, count: int) -> list[np.ndarray]:
        """So many of them, in float32: inputs and targets."""
        rng = np.random.default_rng(1)
        shape = (self.examples, 2, self.width)
        return [rng.standard_normal(shape, np.float32) for _ in range(count)]

    def loss(self, params: Tree, batch: jax.Array) -> jax.Array:
        """The mean of the squared errors."""
        x, y = batch[:, 0], batch[:, 1]
        for i in range(self.layers):
            x = jnp.tanh(x @ params[f"{i:02}/kernel"] + params[f"{i:02}/bias"])
        return jnp.mean(jnp.square(x - y))


SIZES = {
    "default": Problem(layers=6, width=768, examples=32),
    "small": Problem(layers=2, width=32, examples=4),
}


class Program(NamedTuple):
    """How a window of k micro-batches is trained on."""

    init: Callable[[Tree], Tree]
    step: Callable[[Tree, Tree, Any], tuple[Tree, Tree]]  # (params, state, batch)
    at_once: bool  # whether a call is given the whole window, not one micro-batch


def ours() -> Any:
    adamw = gx.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=WEIGHT_DECAY)
    return gx.chain(gx.clip_by_global_norm(MAX_NORM), adamw)


def optaxs() -> Any:
    adamw = optax.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=WEIGHT_DECAY)
    return optax.chain(optax.clip_by_global_norm(MAX_NORM), adamw)


def trained_with(tx: Any, value_and_grad: Callable[..., Any], *, at_once: bool) -> Program:
    apply = gx.apply_updates if isinstance(tx, gx.GradientTransformation) else optax.apply_updates

    def step(params: Tree, state: Tree, batch: Any) -> tuple[Tree, Tree]:
        _, grads = value_and_grad(params, batch)
        updates, state = tx.update(grads, state, params)
        return apply(params, updates), state

    return Program(tx.init, step, at_once)


def given(tx: Any) -> Program:
    """The optimizer alone: the gradients are an argument."""
    return trained_with(tx, lambda params, grads: (None, grads), at_once=False)


def multi_steps(tx: Any, k: int) -> Any:
    return optax.MultiSteps(tx, k).gradient_transformation()


# name: (what it is, the program for k micro-batches of a problem)
TRAIN: dict[str, tuple[str, Callable[[Problem, int], Program]]] = {
    "accumulate": (
        "gradxform.accumulate around gradxform's optimizer, a call a micro-batch",
        lambda p, k: trained_with(
            gx.accumulate(ours(), k), jax.value_and_grad(p.loss), at_once=False
        ),
    ),
    "value-and-grad": (
        "gradxform.accumulated_value_and_grad, a call a window",
        lambda p, k: trained_with(ours(), gx.accumulated_value_and_grad(p.loss, k), at_once=True),
    ),
    "multi-steps": (
        "optax.MultiSteps around optax's optimizer, a call a micro-batch",
        lambda p, k: trained_with(
            multi_steps(optaxs(), k), jax.value_and_grad(p.loss), at_once=False
        ),
    ),
    "large-batch": (
        "no accumulation: all k micro-batches as one batch, gradxform's optimizer",
        lambda p, k: trained_with(ours(), jax.value_and_grad(p.loss), at_once=True),
    ),
}
UPDATE: dict[str, tuple[str, Callable[[Problem, int], Program]]] = {
    "accumulate": (
        "gradxform.accumulate around gradxform's optimizer",
        lambda p, k: given(gx.accumulate(ours(), k)),
    ),
    "accumulate-optax": (
        "gradxform.accumulate around optax's optimizer",
        lambda p, k: given(gx.accumulate(optaxs(), k)),
    ),
    "multi-steps": (
        "optax.MultiSteps around optax's optimizer",
        lambda p, k: given(multi_steps(optaxs(), k)),
    ),
    "multi-steps-gradxform": (
        "optax.MultiSteps around gradxform's optimizer",
        lambda p, k: given(multi_steps(ours(), k)),
    ),
}
PARTS = {"update": UPDATE, "train": TRAIN}


class Contender:
    """One program, compiled with donated parameters and state, and the arrays it works on."""

    def __init__(self, part: str, name: str, problem: Problem, k: int) -> None:
        self.problem, self.k = problem, k
        self.what, make = PARTS[part][name]
        program = make(problem, k)
        batches = problem.micro_batches(WINDOWS_CHECKED * k)
        params = problem.parameters()
        if part == "update":  # any gradients will do, as long as they differ
            gradient = jax.jit(jax.grad(problem.loss))
            batches = [gradient(params, batch) for batch in batches]
        windows = [batches[i * k : (i + 1) * k] for i in range(WINDOWS_CHECKED)]
        if program.at_once:
            windows = [[np.concatenate(window)] for window in windows]
        self.windows = jax.device_put(windows)
        self.start = params
        self.init = jax.jit(program.init)
        self.step = (
            jax.jit(program.step, donate_argnums=(0, 1))
            .lower(params, jax.eval_shape(program.init, params), windows[0][0])
            .compile()
        )

    def reset(self) -> None:
        """Fresh parameters and state."""
        self.params = jax.tree.map(lambda p: jnp.array(p, copy=True), self.start)
        self.state = self.init(self.params)
        jax.block_until_ready((self.params, self.state))

    def run(self, window: int) -> None:
        """Train on a window, and wait for it."""
        params, state = self.params, self.state
        for batch in self.windows[window]:
            params, state = self.step(params, state, batch)
        self.params, self.state = jax.block_until_ready((params, state))

    def facts(self) -> dict[str, Any]:
        """What the compiled program says about itself; the same in every run."""
        memory = self.step.memory_analysis()
        whole = {",".join(map(str, shape)) for shape in self.problem.shapes.values()}
        copied = re.findall(r"= f32\[([\d,]+)\]\S* copy(?:-start)?\(", self.step.as_text())
        return {
            "argument_bytes": memory.argument_size_in_bytes,
            "temp_bytes": memory.temp_size_in_bytes,
            "alias_bytes": memory.alias_size_in_bytes,
            # Arguments, results that are in no argument's place, and what is needed between.
            "peak_bytes": memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes
            + memory.temp_size_in_bytes,
            "copies": len([dims for dims in copied if dims in whole]),
            "device": jax.devices()[0].device_kind,
        }


def versions() -> dict[str, str]:
    return {
        "jax": jax.__version__,
        "jaxlib": jax.lib.__version__,
        "optax": optax.__version__,
        "gradxform": gx.__version__,
        "numpy": np.__version__,
    }


def expected(part: str, problem: Problem, k: int) -> Tree:
    """The parameters after the windows that are checked: the large batch, in NumPy float64."""
    batches = problem.micro_batches(WINDOWS_CHECKED * k)
    start = problem.parameters()
    params = {name: p.astype(np.float64) for name, p in start.items()}
    mu = {name: np.zeros_like(p) for name, p in params.items()}
    nu = {name: np.zeros_like(p) for name, p in params.items()}
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(problem.loss))
        for t in range(1, WINDOWS_CHECKED + 1):
            batch = np.concatenate(batches[(t - 1) * k : t * k]).astype(np.float64)
            at = params if part == "train" else start
            at = {name: np.asarray(p, np.float64) for name, p in at.items()}
            grads = {name: np.asarray(g) for name, g in gradient(at, batch).items()}
            norm = math.sqrt(sum(np.sum(np.square(g)) for g in grads.values()))
            for name, g in grads.items():
                g = min(1.0, MAX_NORM / norm) * g
                mu[name] = B1 * mu[name] + (1 - B1) * g
                nu[name] = B2 * nu[name] + (1 - B2) * np.square(g)
                u = mu[name] / (1 - B1**t) / (np.sqrt(nu[name] / (1 - B2**t)) + EPS)
                params[name] = params[name] - LEARNING_RATE * (u + WEIGHT_DECAY * params[name])
    return params
