"""Signs, one rate for each array, and gradient descent with one idea more."""

import math

import numpy as np

from .foundation import decay_of, scale_by_adam, scale_by_momentum
from .memory import each_array
from .shaping import add_gradient_noise, chosen_by, norm

# Signs


@each_array
def scale_by_sign(s, g, w):
    """Bernstein 2018, algorithm 1."""
    size = abs(g)
    return np.where(size > 0, g / np.where(size > 0, size, 1.0), 0.0)


def descend(learning_rate, u):
    return {k: -learning_rate * x for k, x in u.items()}


def sign_sgd(s, g, w, learning_rate):
    return descend(learning_rate, scale_by_sign(s, g, w))


def signum(s, g, w, learning_rate, momentum=0.9):
    """Bernstein 2018, algorithm 2: m = β m + (1 - β) g; w = w - δ sign(m)."""
    m = {}
    for k in g:
        of = s.of(k)
        m[k] = of.m = momentum * of.m + (1 - momentum) * g[k]
    return sign_sgd(s, m, w, learning_rate)


@each_array
def scale_by_rprop(s, g, w, eta_minus=0.5, eta_plus=1.2, min_scale=1e-4, max_scale=5e3):
    """Igel & Hüsken 2003, iRprop-, with the first step as the unit; complex numbers as pairs."""
    if np.iscomplexobj(g):
        rule = scale_by_rprop.__wrapped__
        sizes = (eta_minus, eta_plus, min_scale, max_scale)
        return rule(s.of("re"), g.real, w, *sizes) + 1j * rule(s.of("im"), g.imag, w, *sizes)
    if not s.started:
        s.started, s.delta, s.g = True, np.ones(g.shape), np.zeros(g.shape)
    g, delta, before = np.array(g), np.array(s.delta), s.g
    for i in np.ndindex(g.shape):
        if before[i] * g[i] > 0:
            delta[i] = min(delta[i] * eta_plus, max_scale)
        elif before[i] * g[i] < 0:
            delta[i] = max(delta[i] * eta_minus, min_scale)
            g[i] = 0.0
    s.delta, s.g = delta, g
    return np.sign(g) * delta


def rprop(s, g, w, learning_rate, eta_minus=0.5, eta_plus=1.2, min_scale=1e-4, max_scale=5e3):
    u = scale_by_rprop(s, g, w, eta_minus, eta_plus, min_scale, max_scale)
    return descend(learning_rate, u)


# One rate for each layer


def scale_by_trust_ratio(s, g, w, trust_coefficient=1.0, eps=0.0, mask=None):
    """You 2020, algorithm 2, line 12, with φ(z) = z; a norm of zero gives the ratio 1."""
    chosen = chosen_by(mask, w)

    def ratio(g, w):
        if norm(g) == 0 or norm(w) == 0:
            return 1.0
        return trust_coefficient * norm(w) / (norm(g) + eps)

    return {k: ratio(g[k], w[k]) * g[k] if chosen[k] else g[k] for k in g}


def scale_by_lars(
    s, g, w, trust_coefficient=1e-3, weight_decay=5e-4, eps=0.0, mask=None, trust_mask=None
):
    """You 2017, equation 6: λ = η |w| / (|g| + β |w|), and λ (g + β w) as in algorithm 1."""
    beta = decay_of(weight_decay, mask, w)
    chosen = chosen_by(trust_mask, w)

    def rate(k):
        if not chosen[k] or norm(w[k]) == 0 or norm(g[k]) == 0:
            return 1.0
        return trust_coefficient * norm(w[k]) / (norm(g[k]) + beta[k] * norm(w[k]) + eps)

    return {k: rate(k) * (g[k] + beta[k] * w[k]) for k in g}


def lars(
    s,
    g,
    w,
    learning_rate,
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
    trust_coefficient=1e-3,
    eps=0.0,
    mask=None,
    trust_mask=None,
):
    """You 2017, algorithm 1: v = m v + γ λ (g + β w); w = w - v."""
    u = scale_by_lars(s, g, w, trust_coefficient, weight_decay, eps, mask, trust_mask)
    u = {k: learning_rate * x for k, x in u.items()}
    v = scale_by_momentum(s.of("velocity"), u, w, momentum, nesterov)
    return {k: -x for k, x in v.items()}


def lamb(
    s,
    g,
    w,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-6,
    eps_root=0.0,
    weight_decay=0.01,
    mask=None,
    trust_mask=None,
):
    """You 2020, algorithm 2, with bias correction as in its equations."""
    r, lam = scale_by_adam(s, g, w, b1, b2, eps, eps_root), decay_of(weight_decay, mask, w)
    u = scale_by_trust_ratio(s, {k: r[k] + lam[k] * w[k] for k in g}, w, mask=trust_mask)
    return descend(learning_rate, u)


@each_array
def scale_by_fromage(s, g, w, learning_rate):
    """Bernstein 2020, algorithm 1, as w - w_new: w_new = (w - η |w| / |g| g) / sqrt(1 + η²)."""
    ratio = norm(w) / norm(g) if norm(w) and norm(g) else 1.0
    new = (w - learning_rate * ratio * g) / math.sqrt(1 + learning_rate**2)
    return w - new


def fromage(s, g, w, learning_rate):
    return {k: -u for k, u in scale_by_fromage(s, g, w, learning_rate).items()}


@each_array
def scale_by_madgrad(s, g, w, learning_rate, momentum=0.9, eps=1e-6):
    """Defazio & Jelassi 2021, algorithm 1, with c = 1 - momentum, as x_k - x_{k+1}."""
    if not s.started:
        s.started, s.x0 = True, w
    lam = learning_rate * math.sqrt(s.k + 1)
    s.k = s.k + 1
    s.s = s.s + lam * g
    s.nu = s.nu + lam * abs(g) ** 2
    denominator = np.cbrt(s.nu) + eps
    z = s.x0 - np.where(denominator, s.s / np.where(denominator, denominator, 1.0), 0.0)
    c = 1 - momentum
    return w - ((1 - c) * w + c * z)


def madgrad(s, g, w, learning_rate, momentum=0.9, eps=1e-6, l2=0.0, mask=None):
    lam = decay_of(l2, mask, w)
    u = scale_by_madgrad(s, {k: g[k] + lam[k] * w[k] for k in g}, w, learning_rate, momentum, eps)
    return {k: -x for k, x in u.items()}


def noisy_sgd(s, g, w, learning_rate, eta=0.01, gamma=0.55, seed=0):
    return descend(learning_rate, add_gradient_noise(s, g, w, eta, gamma, seed))


@each_array
def scale_by_optimistic_gradient(s, g, w, alpha=1.0, beta=1.0):
    """Mokhtari 2020, equation 2 in its general form: α g_t + β (g_t - g_{t-1}), g_0 = g_1."""
    before = s.g if s.started else g
    s.started, s.g = True, g
    return alpha * g + beta * (g - before)


def optimistic_gradient_descent(s, g, w, learning_rate, alpha=1.0, beta=1.0):
    return descend(learning_rate, scale_by_optimistic_gradient(s, g, w, alpha, beta))


def optimistic_adam(s, g, w, learning_rate, b1=0.9, b2=0.999, eps=1e-8, alpha=1.0, beta=1.0):
    """Daskalakis 2018, algorithm 1: two of Adam's steps forward and the last one back."""
    u = scale_by_adam(s.of("adam"), g, w, b1, b2, eps)
    return descend(learning_rate, scale_by_optimistic_gradient(s.of("optimism"), u, w, alpha, beta))


def scale_by_polyak(s, g, w, value, max_step_size=1.0, f_min=0.0, c=0.5):
    """Loizou 2021, SPS_max: γ = min((f - f*) / (c |g|²), γ_b)."""
    square = sum(np.sum(abs(x) ** 2) for x in g.values())
    gap = max(value - f_min, 0.0)
    gamma = min(gap / (c * square), max_step_size) if square else 0.0
    return {k: gamma * x for k, x in g.items()}


def polyak_sgd(s, g, w, value, learning_rate=1.0, max_step_size=1.0, f_min=0.0, c=0.5):
    return descend(learning_rate, scale_by_polyak(s, g, w, value, max_step_size, f_min, c))
