"""Images: schedules, batch sizes, SGD against Adam, and how far one seed can be trusted."""

from typing import Any

import adaptive_claims
import held_out
import jax
import jax.numpy as jnp
import networks
import numpy as np
from claim import Claim, Found, Panel, Size
from evidence import Effect, Rule, in_groups
from trial import Problem, curve, judged, line, tuned

import gradxform as gx

RATES = (0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
SCALED = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
TUNING_SEEDS = 3


def scheduled(shape: Any, momentum: Any = 0.9) -> Any:
    """SGD with momentum whose learning rate is a tunable `factor` times a schedule up to 1."""
    return gx.chain(
        gx.scale_by_momentum(momentum),
        gx.scale_by_learning_rate(shape),
        gx.scale(gx.tunable(0.1)),
    )


def step_decay(steps: int) -> Any:
    """A tenth at a third and at two thirds of the run: epochs 30 and 60 of 90."""
    return gx.step_decay(1.0, 0.1, boundaries=[max(steps // 3, 1), max(2 * steps // 3, 2)])


def one_cycle_speed(size: Size) -> Found:
    """One cycle against step decay and cosine when there are few steps, and four times as many."""
    problem, seeds = held_out.images(networks.convolutional()), 15
    short, long = size.steps(100, 10), size.steps(400, 10)
    sides: dict[str, tuple[Any, int]] = {
        "one cycle": (scheduled(gx.one_cycle(1.0, short), gx.one_cycle_momentum(short)), short),
        "step decay": (scheduled(step_decay(short)), short),
        "cosine": (scheduled(gx.cosine_decay(1.0, short)), short),
        "step decay, 4 times": (scheduled(step_decay(long)), long),
        "one cycle, 4 times": (
            scheduled(gx.one_cycle(1.0, long), gx.one_cycle_momentum(long)), long,
        ),
    }  # fmt: skip
    found = {
        n: tuned(problem, n, tx, {"factor": RATES}, size, seeds=seeds, tuning_seeds=TUNING_SEEDS,
                 steps=steps, batch_size=32, evaluations=10)
        for n, (tx, steps) in sides.items()
    }  # fmt: skip
    last = {n: side.runs.last for n, side in found.items()}
    few, many = "100 steps", "400"
    effects = [
        _points(f"held-out accuracy after {few}, one cycle minus step decay",
                last["one cycle"] - last["step decay"]),
        _points(f"after {few}, one cycle minus cosine", last["one cycle"] - last["cosine"]),
        _points(f"one cycle in {few} minus step decay in {many}",
                last["one cycle"] - last["step decay, 4 times"]),
        _points(f"after {many}, one cycle minus step decay",
                last["one cycle, 4 times"] - last["step decay, 4 times"]),
    ]  # fmt: skip
    lines = [curve(n, side.runs, 100) for n, side in found.items()]
    panel = Panel("digits", "step", "validation accuracy in %", lines, logx=False)
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS),
                 {n: side.note() for n, side in found.items()})  # fmt: skip


def cosine_step(size: Size) -> Found:
    """Cosine against step decay, on images and on text."""
    seeds = 15
    problems = {
        "digits": (held_out.images(networks.convolutional()), size.steps(400)),
        "text": (adaptive_claims.characters(), size.steps(1000)),
    }
    sides, effects, lines = {}, [], []
    for name, (problem, steps) in problems.items():
        for kind, shape in (("cosine", gx.cosine_decay(1.0, steps)), ("steps", step_decay(steps))):
            sides[name, kind] = tuned(
                problem, kind, scheduled(shape), {"factor": RATES}, size, seeds=seeds,
                tuning_seeds=TUNING_SEEDS, steps=steps, batch_size=32,
            )  # fmt: skip
        a, b = sides[name, "cosine"].runs, sides[name, "steps"].runs
        if name == "digits":
            effects.append(_points("held-out accuracy on digits, cosine minus step decay, "
                                   "last step", a.last - b.last))  # fmt: skip
            effects.append(_points("the same, best validation step", a.stopped - b.stopped))
            lines = [curve(k, sides[name, k].runs, 100) for k in ("cosine", "steps")]
        else:
            effects.append(Effect.of_readings(
                "bits a character of text that cosine saves against step decay",
                in_groups(a.last - b.last), "bits"))  # fmt: skip
    panel = Panel("digits", "step", "validation accuracy in %", lines)
    chosen = {f"{name}, {kind}": side.note() for (name, kind), side in sides.items()}
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS), chosen)


def sgd_adam_images(size: Size) -> Found:
    """A small convolutional net, cosine decay, the learning rate of each side tuned."""
    problem, seeds, steps = held_out.images(networks.convolutional()), 20, size.steps(400)
    shape = gx.cosine_decay(1.0, steps)
    rates = np.logspace(-3.5, 0.5, 9)
    how: dict[str, Any] = {"seeds": seeds, "tuning_seeds": TUNING_SEEDS, "steps": steps,
                           "batch_size": 32, "stopped": True}  # fmt: skip
    grid = {"factor": tuple(float(f"{rate:.2g}") for rate in rates)}
    adam = gx.chain(gx.scale_by_adam(), gx.scale_by_learning_rate(shape), gx.scale(gx.tunable(1.0)))
    sides = {
        "SGD with momentum": tuned(problem, "SGD", scheduled(shape), grid, size, **how),
        "Adam": tuned(problem, "Adam", adam, grid, size, **how),
    }
    a, b = sides["SGD with momentum"].runs, sides["Adam"].runs
    effects = [
        _points("held-out accuracy, SGD with momentum minus Adam, best validation step",
                a.stopped - b.stopped),
        _points("the same, last step", a.last - b.last),
    ]  # fmt: skip
    panel = Panel("digits", "step", "validation accuracy in %",
                  [curve(n, side.runs, 100) for n, side in sides.items()])  # fmt: skip
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS),
                 {n: side.note() for n, side in sides.items()})  # fmt: skip


def linear_scaling(size: Size) -> Found:
    """The curve of the held-out loss for batches 4 and 16 times as large, at equal epochs."""
    problem, seeds, base, parts = _by_loss(held_out.images(networks.convolutional())), 15, 16, 15
    steps = size.steps(640, parts)
    best = tuned(problem, "batch 16", scheduled(gx.constant_schedule(1.0)), {"factor": SCALED},
                 size, seeds=seeds, tuning_seeds=TUNING_SEEDS, steps=steps, batch_size=base,
                 evaluations=parts)  # fmt: skip
    rate = best.setting["factor"]

    def losses(k: int, base_rate: float, *, scaled: bool = True) -> np.ndarray:
        fewer = max(steps // k // parts, 1) * parts
        high = gx.linear_scaling_rule(base_rate, k * base, base) if scaled else base_rate
        shape = gx.constant_schedule(1.0)
        shape = gx.warmup(shape, max(fewer // 10, 1)) if k > 1 else shape
        runs = judged(problem, scheduled(shape), {"factor": high}, size.seeds(seeds),
                      steps=fewer, batch_size=k * base, evaluations=parts)  # fmt: skip
        return -runs.validation

    tuned_base = -best.runs.validation
    low_base = losses(1, rate / 8)
    curves = {
        "16": tuned_base, "64, rate x 4": losses(4, rate), "64, same rate":
        losses(4, rate, scaled=False), "16, low rate": low_base,
        "64, low rate x 4": losses(4, rate / 8), "256, low rate x 16": losses(16, rate / 8),
    }  # fmt: skip
    words = "held-out loss over that of batch 16"
    first = _thirds(f"{words}, batch 64 at 4 times the tuned rate", curves["64, rate x 4"],
                    tuned_base)  # fmt: skip
    worst = max(first, key=lambda effect: abs(float(np.mean(np.log(effect.values)))))
    others = {
        "batch 64 at the same rate": (curves["64, same rate"], tuned_base),
        "batch 64, an eighth of the rates": (curves["64, low rate x 4"], low_base),
        "batch 256, an eighth of the rates": (curves["256, low rate x 16"], low_base),
    }
    effects = [worst, *(e for e in first if e is not worst)]
    effects += [e for n, pair in others.items() for e in _thirds(f"{words}, {n}", *pair)]
    passes = np.arange(parts + 1) / parts * steps * base / 718
    lines = [line(f"batch {n}", passes, values) for n, values in curves.items()]
    panel = Panel("digits", "epoch", "validation loss in nats", lines, logy=True)
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS),
                 {"batch 16": best.note()})  # fmt: skip


def _thirds(name: str, losses: np.ndarray, others: np.ndarray) -> list[Effect]:
    """The mean ratio of two curves in each third of the run."""
    each = np.split(np.log(losses[:, 1:]) - np.log(others[:, 1:]), 3, axis=1)
    return [
        Effect.of_seeds(f"{name}, {part} third", np.exp(values.mean(axis=1)), ratio=True)
        for part, values in zip(("first", "second", "last"), each, strict=True)
    ]


def _by_loss(problem: Problem) -> Problem:
    """The same problem, judged by minus the loss of each example, at most 100."""

    def score(params: Any, batch: Any) -> jax.Array:
        one = jax.vmap(lambda x, y: problem.loss(params, (x[None], y[None])))
        losses = one(*batch)
        return -jnp.where(losses < 100.0, losses, 100.0)

    return Problem(problem.name, problem.data, problem.init, problem.loss, score, problem.split)


def _points(name: str, readings: np.ndarray) -> Effect:
    return Effect.of_readings(name, 100 * readings, "points")


_NET = "digits (718 to train, 599 to test), a small convolutional net, batches of 32"
CLAIMS = [
    Claim(
        "sgd_adam_images",
        "On images SGD with momentum ends at a higher held-out accuracy than Adam.",
        f"{_NET}, 400 steps, cosine; 9 learning rates tried for each side; best validation step",
        Rule("more", 0.5),
        sgd_adam_images,
    ),
    Claim(
        "one_cycle_speed",
        "One cycle trains faster: in few steps it gets further than step decay.",
        f"{_NET}, 100 steps (4.5 epochs); SGD with momentum; 6 learning rates tried for each side",
        Rule("more", 0.5),
        one_cycle_speed,
    ),
    Claim(
        "cosine_step",
        "Cosine annealing ends better than step decay.",
        f"{_NET}, 400 steps; SGD with momentum, a tenth at 1/3 and 2/3 of the steps against half "
        "a cosine; 6 learning rates tried for each side",
        Rule("more", 0.5),
        cosine_step,
    ),
    Claim(
        "linear_scaling",
        "Linear scaling keeps the loss curve when the batch grows.",
        "digits, a small convolutional net, SGD with momentum: the held-out loss at equal epochs "
        "for a batch of 64 at 4 times the rate that was best for 16, with a tenth of warmup; the "
        "third of the run in which they differ most",
        Rule("same", 1.1),
        linear_scaling,
        "A first version tried rates up to 0.08, which was the best one: there the first third "
        "differed by 2.59 x [2.28 x, 2.94 x]. An eighth of the rates, far from where training "
        "becomes unstable, stands beside it since.",
    ),
]
