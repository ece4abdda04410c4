"""The methods that set their own learning rate: from distances, from bets, from the loss."""

import math

import numpy as np


def norm_sq(x):
    """‖x‖² over all arrays."""
    return sum(np.sum(abs(a) ** 2) for a in x.values())


def minus(x, y):
    return {k: x[k] - y[k] for k in x}


def dot(x, y):
    """<x, y> over all arrays: the real part, for complex ones."""
    return sum(np.sum((np.conj(x[k]) * y[k]).real) for k in x)


def with_l2(g, w, l2, mask):
    """The gradient of the loss plus l2/2 |w|², where the mask says True."""
    chosen = mask(w) if callable(mask) else mask or dict.fromkeys(w, True)
    return {k: g[k] + (l2 if chosen[k] else 0.0) * w[k] for k in g}


# Distance over gradients


def scale_by_dog(s, g, w, reps_rel=1e-6, eps=1e-8, init_eta=None):
    """Ivgi 2023, equations 1 and 2 and section 3.3: r_ε = α (1 + ‖x_0‖), ε under the root."""
    if not s.started:
        s.started, s.x0 = True, w
        s.r = reps_rel * (1 + math.sqrt(norm_sq(w))) if init_eta is None else 0.0
    s.r = max(s.r, math.sqrt(norm_sq(minus(w, s.x0))))
    s.G = s.G + norm_sq(g)
    eta = s.r / math.sqrt(s.G + eps) if s.r > 0 else init_eta
    return {k: eta * g[k] for k in g}


def dog(s, g, w, learning_rate=1.0, reps_rel=1e-6, eps=1e-8, l2=0.0, init_eta=None, mask=None):
    u = scale_by_dog(s, with_l2(g, w, l2, mask), w, reps_rel, eps, init_eta)
    return {k: -learning_rate * u[k] for k in g}


def scale_by_dowg(s, g, w, r_eps=0.01, eps=1e-4):
    """Khaled 2023, algorithm 1; ε beside the root as in the authors' code."""
    if not s.started:
        s.started, s.x0, s.r = True, w, r_eps
    s.r = max(s.r, math.sqrt(norm_sq(minus(w, s.x0))))
    s.v = s.v + s.r**2 * norm_sq(g)
    eta = s.r**2 / (math.sqrt(s.v) + eps)
    return {k: eta * g[k] for k in g}


def dowg(s, g, w, learning_rate=0.5, r_eps=0.01, eps=1e-4, l2=0.0, mask=None):
    u = scale_by_dowg(s, with_l2(g, w, l2, mask), w, r_eps, eps)
    return {k: -learning_rate * u[k] for k in g}


# Estimates of the distance to the solution


def with_decay(u, w, weight_decay, mask):
    chosen = mask(w) if callable(mask) else mask or dict.fromkeys(w, True)
    return {k: u[k] + (weight_decay if chosen[k] else 0.0) * w[k] for k in u}


def over(x, y):
    """x / y, and 0 where y is 0."""
    return np.divide(x, y, out=np.zeros_like(x), where=np.asarray(y) != 0)


def bias_of(s, b1, b2):
    """Adam's bias correction as a factor of the learning rate."""
    return math.sqrt(s.weight(b2=b2)) / s.weight(b1=b1)


def scale_by_prodigy(
    s,
    g,
    w,
    learning_rate=1.0,
    b1=0.9,
    b2=0.999,
    b3=None,
    eps=1e-8,
    weight_decay=0.0,
    d0=1e-6,
    d_coef=1.0,
    growth_rate=None,
    bias_correction=False,
    safeguard_warmup=False,
    mask=None,
):
    """Mishchenko & Defazio 2023, algorithm 4, with the options of the authors' code."""
    if not s.started:
        s.started, s.x0, s.d, s.d_max = True, w, d0, d0
        s.m, s.v, s.s = (dict.fromkeys(g, 0.0) for _ in range(3))
    s.t = s.t + 1
    b3 = math.sqrt(b2) if b3 is None else b3
    gamma = learning_rate * (bias_of(s, b1, b2) if bias_correction else 1.0)
    d = s.d
    u = {}
    for k in g:
        s.m[k] = b1 * s.m[k] + (1 - b1) * d * g[k]
        s.v[k] = b2 * s.v[k] + (1 - b2) * d**2 * abs(g[k]) ** 2
        s.s[k] = b3 * s.s[k] + (1 - b3) * d**2 * g[k] * (1.0 if safeguard_warmup else gamma)
        u[k] = over(s.m[k], np.sqrt(s.v[k]) + d * eps)
    s.r = b3 * s.r + (1 - b3) * gamma * d**2 * dot(g, minus(s.x0, w))
    size = sum(np.sum(abs(x)) for x in s.s.values())
    d_hat = d_coef * s.r / size if size > 0 else 0.0
    if growth_rate is None:
        s.d = max(s.d, d_hat)
    else:
        if s.d == d0:
            s.d = max(s.d, d_hat)
        s.d_max = max(s.d_max, d_hat)
        s.d = min(s.d_max, s.d * growth_rate)
    u = with_decay(u, w, weight_decay, mask)
    return {k: gamma * d * u[k] for k in g}


def prodigy(s, g, w, learning_rate=1.0, b1=0.9, b2=0.999, b3=None, eps=1e-8, weight_decay=0.0,
            d0=1e-6, d_coef=1.0, growth_rate=None, bias_correction=False, safeguard_warmup=False,
            mask=None):  # fmt: skip
    u = scale_by_prodigy(s, g, w, learning_rate, b1, b2, b3, eps, weight_decay, d0, d_coef,
                         growth_rate, bias_correction, safeguard_warmup, mask)  # fmt: skip
    return {k: -u[k] for k in g}


def scale_by_dadapt_adam(
    s,
    g,
    w,
    learning_rate=1.0,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    d0=1e-6,
    growth_rate=None,
    bias_correction=False,
    mask=None,
):
    """Defazio & Mishchenko 2023, the Adam variant, with the options of the authors' code."""
    if not s.started:
        s.started, s.d = True, d0
        s.m, s.v, s.s = ({k: np.zeros_like(g[k]) for k in g} for _ in range(3))
    s.t = s.t + 1
    step = s.d * learning_rate * (bias_of(s, b1, b2) if bias_correction else 1.0)
    root = math.sqrt(b2)
    scaled = {k: over(s.s[k], np.sqrt(abs(s.v[k])) + eps) for k in g}
    s.r = root * s.r + (1 - root) * step * dot(g, scaled)
    u = {}
    for k in g:
        s.m[k] = b1 * s.m[k] + (1 - b1) * step * g[k]
        s.v[k] = b2 * s.v[k] + (1 - b2) * abs(g[k]) ** 2
        s.s[k] = root * s.s[k] + (1 - root) * step * g[k]
        u[k] = over(s.m[k], np.sqrt(abs(s.v[k])) + eps)
    size = sum(np.sum(abs(x)) for x in s.s.values())
    d_hat = s.r / ((1 - root) * size) if size > 0 else 0.0
    s.d = max(s.d, d_hat if growth_rate is None else min(d_hat, s.d * growth_rate))
    decay = with_decay({k: 0.0 * w[k] for k in g}, w, weight_decay, mask)
    return {k: u[k] + step * decay[k] for k in g}


def dadapt_adamw(s, g, w, learning_rate=1.0, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, d0=1e-6,
                 growth_rate=None, bias_correction=False, mask=None):  # fmt: skip
    u = scale_by_dadapt_adam(s, g, w, learning_rate, b1, b2, eps, weight_decay, d0, growth_rate,
                             bias_correction, mask)  # fmt: skip
    return {k: -u[k] for k in g}


# Bets


def scale_by_cocob(s, g, w, alpha=100.0, eps=1e-8):
    """Orabona & Tommasi 2017, algorithm 2, where g is the negative of the gradient."""
    u = {}
    for k in g:
        of = s.of(k)
        if not of.started:
            of.started, of.w1, of.L = True, w[k], eps
        c = -g[k]
        of.L = np.maximum(of.L, abs(c))
        of.G = of.G + abs(c)
        of.R = np.maximum(of.R + (np.conj(c) * (w[k] - of.w1)).real, 0.0)
        of.theta = of.theta + c
        bet = over(of.theta, of.L * np.maximum(of.G + of.L, alpha * of.L)) * (of.L + of.R)
        u[k] = w[k] - (of.w1 + bet)
    return u


def cocob(s, g, w, learning_rate=1.0, alpha=100.0, eps=1e-8, l2=0.0, mask=None):
    u = scale_by_cocob(s, with_l2(g, w, l2, mask), w, alpha, eps)
    return {k: -learning_rate * u[k] for k in g}


# The loss


def _momo_step(s, norm, inner, rho, learning_rate, lower_bound, weight_decay, adaptive):
    """τ_k of Schaipp 2023, equations 8 and 15, and the bound of section 4."""
    shrink = 1 + learning_rate * weight_decay
    if not adaptive:
        s.bound = lower_bound
    cap = shrink * (s.f - s.gamma) + inner
    if adaptive and cap < shrink * rho * s.bound:
        s.bound = max(cap / (2 * shrink * rho), lower_bound)
    polyak = max(cap - shrink * rho * s.bound, 0.0) / norm if norm > 0 else 0.0
    tau = min(learning_rate / rho, polyak)
    if adaptive:
        h = s.f + inner - s.gamma
        s.bound = max((h - tau * norm / 2) / rho, lower_bound)
    return tau


def scale_by_momo(
    s, g, w, learning_rate=1.0, beta=0.9, lower_bound=0.0, weight_decay=0.0,
    adaptive_lower_bound=False, *, value,
):  # fmt: skip
    if not s.started:
        s.started, s.f, s.gamma, s.d, s.bound = True, value, dot(g, w), g, lower_bound
    s.f = (1 - beta) * value + beta * s.f
    s.gamma = (1 - beta) * dot(g, w) + beta * s.gamma
    s.d = {k: (1 - beta) * g[k] + beta * s.d[k] for k in g}
    rest = (1.0, learning_rate, lower_bound, weight_decay, adaptive_lower_bound)
    tau = _momo_step(s, norm_sq(s.d), dot(s.d, w), *rest)
    return {k: w[k] - (w[k] - tau * s.d[k]) / (1 + learning_rate * weight_decay) for k in g}


def momo(s, g, w, learning_rate=1.0, beta=0.9, lower_bound=0.0, weight_decay=0.0,
         adaptive_lower_bound=False, *, value):  # fmt: skip
    u = scale_by_momo(
        s, g, w, learning_rate, beta, lower_bound, weight_decay, adaptive_lower_bound, value=value
    )
    return {k: -u[k] for k in g}


def scale_by_momo_adam(
    s, g, w, learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0, weight_decay=0.0,
    adaptive_lower_bound=False, *, value,
):  # fmt: skip
    if not s.started:
        s.started, s.bound = True, lower_bound
        s.d, s.v = (dict.fromkeys(g, 0.0) for _ in range(2))
    s.t = s.t + 1
    s.f = (1 - b1) * value + b1 * s.f
    s.gamma = (1 - b1) * dot(g, w) + b1 * s.gamma
    s.d = {k: (1 - b1) * g[k] + b1 * s.d[k] for k in g}
    s.v = {k: (1 - b2) * abs(g[k]) ** 2 + b2 * s.v[k] for k in g}
    c2 = s.weight(b2=b2)
    scaled = {k: over(s.d[k], eps + np.sqrt(s.v[k] / c2)) for k in g}
    rest = (s.weight(b1=b1), learning_rate, lower_bound, weight_decay, adaptive_lower_bound)
    tau = _momo_step(s, dot(s.d, scaled), dot(s.d, w), *rest)
    return {k: w[k] - (w[k] - tau * scaled[k]) / (1 + learning_rate * weight_decay) for k in g}


def momo_adam(s, g, w, learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0,
              weight_decay=0.0, adaptive_lower_bound=False, *, value):  # fmt: skip
    u = scale_by_momo_adam(s, g, w, learning_rate, b1, b2, eps, lower_bound, weight_decay,
                           adaptive_lower_bound, value=value)  # fmt: skip
    return {k: -u[k] for k in g}


# Curvature


def scale_by_sophia(
    s, g, w, b1=0.96, b2=0.99, eps=1e-12, gamma=0.01, clip_threshold=1.0, interval=10, seed=0, *,
    hessian_fn,
):  # fmt: skip
    """Liu 2023, algorithm 3, with clip(z, ρ)."""
    s.t = s.t + 1
    refresh = (s.t - 1) % interval == 0
    estimate = hessian_fn(w, None) if refresh else None
    u = {}
    for k in g:
        of = s.of(k)
        of.m = b1 * of.m + (1 - b1) * g[k]
        if refresh:
            of.h = b2 * of.h + (1 - b2) * estimate[k]
        z = of.m / np.maximum(gamma * of.h, eps)
        u[k] = z * np.minimum(1.0, clip_threshold / np.maximum(abs(z), 1e-300))
    return u


def sophia(s, g, w, learning_rate, b1=0.96, b2=0.99, eps=1e-12, gamma=0.01, weight_decay=0.1,
           clip_threshold=1.0, interval=10, seed=0, mask=None, *, hessian_fn):  # fmt: skip
    u = scale_by_sophia(
        s, g, w, b1, b2, eps, gamma, clip_threshold, interval, seed, hessian_fn=hessian_fn
    )
    u = with_decay(u, w, weight_decay, mask)
    return {k: -learning_rate * u[k] for k in g}
