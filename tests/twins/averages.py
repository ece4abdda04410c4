"""Other parameters beside those that are trained: the papers' loops, all sequences kept."""

import numpy as np

from .schedules import at


def ema_params(s, g, w, inner, decay=0.999, *, warmup=False, debias=True, start=0, every=1):
    """The average is beside the updates; `test_averages` has its formula written out."""
    return inner(g, w)


def average_params(s, g, w, inner, start, every=1, *, power=0.0):
    """Likewise."""
    return inner(g, w)


def lookahead(s, g, w, inner, sync_period=5, slow_step_size=0.5):
    """Zhang 2019, algorithm 1: φ begins as θ; every k steps φ += α (θ - φ), and θ = φ."""
    s.t = s.t + 1
    u = inner(g, w)
    for k in g:
        of = s.of(k)
        phi = w[k] if s.t == 1 else of.phi
        if s.t % sync_period == 0:
            phi = (1 - slow_step_size) * phi + slow_step_size * (w[k] + u[k])
            u[k] = phi - w[k]
        of.phi = phi
    return u


def schedule_free(s, g, w, inner, b1=0.9, weight_lr_power=2.0, *, r=0.0):
    """Defazio 2024, algorithm 1, with the weights of the authors' code; w is y.

    The loops of these tests give parameters that are not the ones of the last update, so x is
    what y says that it is: y = (1 - b1) z + b1 x with the b1 that made y.
    """
    s.t = s.t + 1
    last_b1 = b1 if s.t == 1 else s.b1
    s.b1 = b1
    lr = at(inner.kwargs["learning_rate"], inner.t)
    u = inner(g, w)
    s.lr_max = max(s.lr_max, lr)
    weight = s.t**r * s.lr_max**weight_lr_power
    s.weight_sum = s.weight_sum + weight
    ckp1 = weight / s.weight_sum if s.weight_sum else 0.0
    y = {}
    for k in g:
        of = s.of(k)
        z = w[k] if s.t == 1 else of.z
        x = (w[k] - (1 - last_b1) * z) / last_b1
        of.z = z + u[k]
        x = (1 - ckp1) * x + ckp1 * of.z
        y[k] = (1 - b1) * of.z + b1 * x - w[k]
    return y


def sam(s, g, w, inner, rho=0.05, *, adaptive=False, eta=0.01, grad_fn):
    """Foret 2021, algorithm 1; Kwon 2021, algorithm 1, with T for every coordinate."""
    t = {k: abs(w[k]) + eta if adaptive else 1.0 for k in g}
    norm = np.sqrt(sum(np.sum(abs(t[k] * g[k]) ** 2) for k in g))
    climbed = {k: w[k] + (rho * t[k] ** 2 * g[k] / norm if norm else 0.0) for k in g}
    return inner(grad_fn(climbed), w)
