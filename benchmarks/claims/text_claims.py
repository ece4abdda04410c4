"""Sequences: warmup for attention, clipping and RMSprop for recurrent nets."""

from typing import Any

import held_out
import networks
import numpy as np
from claim import Claim, Found, Panel, Size
from evidence import SHARE, Effect, Rule, in_groups
from trial import Problem, Side, curve, judged, norms, tuned

import gradxform as gx

TUNING_SEEDS = 2
STUCK = 4.5  # bits a character: what their frequencies alone give


def warmup_attention(size: Size) -> Found:
    """Adam with and without warmup, at a high learning rate and at each side's best."""
    network = networks.attention(held_out.SYMBOLS, context=16, width=24)
    problem, seeds, steps = held_out.text(network, 16), 8, size.steps(500)
    constant = gx.constant_schedule(1.0)
    shapes = {"warmup": gx.warmup(constant, steps // 4), "no warmup": constant}
    rates = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
    how: dict[str, Any] = {"steps": steps, "batch_size": 8}
    optimizers = {
        n: gx.chain(gx.scale_by_adam(), gx.scale_by_learning_rate(shape), gx.scale(gx.tunable(1.0)))
        for n, shape in shapes.items()
    }
    sides = _sides(problem, optimizers, {"factor": rates}, size, seeds, how)
    # The highest rate that warmup bears: fixed by its tuning runs, before the others are looked at.
    trials = sides["warmup"].trials or [{"factor": rates[0], "validation": 0.0}]
    best = max(trial["validation"] for trial in trials)
    high = max(t["factor"] for t in trials if t["validation"] >= min(best, (best - STUCK) / 2))
    at_high = {
        n: sides[n].runs
        if sides[n].setting["factor"] == high
        else judged(problem, tx, {"factor": high}, size.seeds(seeds), **how)
        for n, tx in optimizers.items()
    }
    effects = [
        _bits(f"held-out bits a character that warmup saves at the rate {high:g}",
              at_high["warmup"].last - at_high["no warmup"].last),
        _bits("the same, each side at its own best rate",
              sides["warmup"].runs.last - sides["no warmup"].runs.last),
        *(_stuck(n, runs.last) for n, runs in at_high.items()),
    ]  # fmt: skip
    lines = [curve(f"{n}, {high:g}", runs, -1) for n, runs in at_high.items()]
    lines += [curve(f"{n}, best rate", side.runs, -1) for n, side in sides.items()]
    chosen: dict[str, Any] = {n: side.note() for n, side in sides.items()}
    panel = Panel("validation, text", "step", "bits a character", lines)
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS),
                 {**chosen, "high_rate": high})  # fmt: skip


def clipping_recurrent(size: Size) -> Found:
    """SGD with and without clipping at 1.0 on a recurrent net whose gradients explode."""
    network = networks.recurrent(held_out.SYMBOLS, 32, relu=True)
    problem, seeds, steps = held_out.text(network, 48), 10, size.steps(300)
    momentum = gx.sgd(gx.tunable(0.1), 0.9)
    optimizers = {"clipped": gx.chain(gx.clip_by_global_norm(1.0), momentum), "not": momentum}
    rates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    how: dict[str, Any] = {"steps": steps, "batch_size": 8}
    sides = _sides(problem, optimizers, {"learning_rate": rates}, size, seeds, how)
    setting = sides["clipped"].setting
    without = sides["not"].runs
    if sides["not"].setting != setting:
        without = judged(problem, momentum, setting, size.seeds(seeds), **how)
    rate = sides["clipped"].setting["learning_rate"]
    clipped = sides["clipped"].runs
    gradients, _ = norms(problem, optimizers["clipped"], sides["clipped"].setting,
                         size.seeds(seeds), **how)  # fmt: skip
    effects = [
        _bits(f"held-out bits a character that clipping saves at its best rate, {rate:g}",
              clipped.last - without.last),
        _bits("the same, each side at its own best rate",
              clipped.last - sides["not"].runs.last),
        _stuck("clipped", clipped.last),
        _stuck("not clipped", without.last),
        Effect.of_seeds("largest norm of a gradient over the median one, before clipping",
                        gradients.max(axis=1) / np.median(gradients, axis=1), ratio=True),
    ]  # fmt: skip
    lines = [
        curve(f"clipped, {rate:g}", clipped, -1),
        curve(f"not clipped, {rate:g}", without, -1),
        curve("not clipped, best rate", sides["not"].runs, -1),
    ]
    panel = Panel("validation, text", "step", "bits a character", lines)
    chosen: dict[str, Any] = {n: side.note() for n, side in sides.items()}
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS), chosen)


def rmsprop_recurrent(size: Size) -> Found:
    """RMSprop, SGD with momentum and Adam on a recurrent net, all clipped at 1.0."""
    network = networks.recurrent(held_out.SYMBOLS, 32)
    problem, seeds, steps = held_out.text(network, 24), 10, size.steps(400)
    rate = gx.tunable(0.1)
    optimizers = {
        "RMSprop": gx.rmsprop(rate, 0.99),
        "SGD with momentum": gx.sgd(rate, 0.9),
        "Adam": gx.adam(rate),
    }
    clipped = {n: gx.chain(gx.clip_by_global_norm(1.0), tx) for n, tx in optimizers.items()}
    rates = tuple(float(f"{r:.2g}") for r in np.logspace(-3, 0.5, 8))
    how: dict[str, Any] = {"steps": steps, "batch_size": 16}
    sides = _sides(problem, clipped, {"learning_rate": rates}, size, seeds, how)
    last = {n: side.runs.last for n, side in sides.items()}
    effects = [
        _bits("held-out bits a character that RMSprop saves against SGD with momentum",
              last["RMSprop"] - last["SGD with momentum"]),
        _bits("held-out bits a character that RMSprop saves against Adam",
              last["RMSprop"] - last["Adam"]),
    ]  # fmt: skip
    panel = Panel("validation, text", "step", "bits a character",
                  [curve(n, side.runs, -1) for n, side in sides.items()])  # fmt: skip
    return Found(effects, panel, size.seeds(seeds), size.tuning_seeds(TUNING_SEEDS),
                 {n: side.note() for n, side in sides.items()})  # fmt: skip


def _sides(
    problem: Problem, optimizers: dict[str, Any], grid: Any, size: Size, seeds: int, how: Any
) -> dict[str, Side]:
    return {
        n: tuned(problem, n, tx, grid, size, seeds=seeds, tuning_seeds=TUNING_SEEDS, **how)
        for n, tx in optimizers.items()
    }


def _bits(name: str, readings: np.ndarray) -> Effect:
    return Effect.of_readings(name, in_groups(readings), "bits")


def _stuck(name: str, last: np.ndarray) -> Effect:
    share = (-last.mean(axis=1) > STUCK).astype(float)
    return Effect.of_seeds(f"runs that learned nothing (above {STUCK} bits), {name}", share, SHARE)


_TEXT = "Python's help texts, held-out bits a character after the last step, at most 6"
CLAIMS = [
    Claim(
        "warmup_attention",
        "Warmup saves an attention model from divergence at a high learning rate.",
        f"{_TEXT}; a transformer of two layers, normed after each block, Adam, 500 steps of 8 "
        "windows, the first quarter of them warmup or not; at the highest of 6 rates at which "
        "runs with warmup learn at least half of what they learn at their best rate",
        Rule("more", 0.1),
        warmup_attention,
        "A first version, three layers and 160 steps, learned nothing at any rate, and so could "
        "not tell.",
    ),
    Claim(
        "clipping_recurrent",
        "Clipping rescues a recurrent net from exploding gradients.",
        f"{_TEXT}; 32 ReLU units over 48 characters, whose recurrent matrix starts at the "
        "identity, SGD with momentum, 300 steps; at the best of 7 rates with clipping at 1.0",
        Rule("more", 0.1),
        clipping_recurrent,
        "A first version had tanh units and a recurrent matrix of norm 1.5: the gradients did not "
        "explode there, and clipping saved 0.006 bits [-0.004, 0.017].",
    ),
    Claim(
        "rmsprop_recurrent",
        "RMSprop suits recurrent nets: it beats SGD with momentum there.",
        f"{_TEXT}; 32 tanh units over 24 characters, clipping at 1.0, 400 steps of 16; 8 learning "
        "rates tried for each side",
        Rule("more", 0.02),
        rmsprop_recurrent,
    ),
]
