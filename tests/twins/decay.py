"""Weight decay in its other modes."""

import numpy as np

from .foundation import decay_of


def add_independent_weight_decay(s, g, w, weight_decay, peak_learning_rate, mask=None):
    """Loshchilov & Hutter 2019, algorithm 2: w - η_t (α u + λ w), with η_t α the learning rate,
    so that the decay is λ over α, the peak, in units of it.
    """
    lam = decay_of(weight_decay, mask, w)
    return {k: g[k] + lam[k] / peak_learning_rate * w[k] for k in g}


def add_corrected_weight_decay(
    s, g, w, weight_decay, current_learning_rate, peak_learning_rate, mask=None
):
    """Defazio 2025, algorithm 1: λ γ_t / γ_max in the place of λ."""
    lam = decay_of(weight_decay, mask, w)
    return {k: g[k] + lam[k] * current_learning_rate / peak_learning_rate * w[k] for k in g}


def add_cautious_weight_decay(s, g, w, weight_decay=0.01, mask=None):
    """Chen 2025, algorithm 1: x - η (u + λ I(u x >= 0) x)."""
    lam = decay_of(weight_decay, mask, w)
    return {k: g[k] + lam[k] * (np.real(np.conj(g[k]) * w[k]) >= 0) * w[k] for k in g}
