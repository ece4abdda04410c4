"""Transformations made of transformations."""

import numpy as np


def cautious(s, g, w, inner, xi=1.0):
    """Liang 2024, algorithm 2: φ = 1(u g > 0), and the learning rate times d / (Σ φ + ξ)."""
    u = inner(g, w)
    phi = {k: np.real(np.conj(u[k]) * g[k]) > 0 for k in g}
    return {k: u[k] * phi[k] * phi[k].size / (np.sum(phi[k]) + xi) for k in g}
