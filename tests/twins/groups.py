"""Parts of the parameters: each twin is called with its arrays only."""


def layerwise_decay(s, g, w, rate, depth_of):
    return {k: rate ** depth_of(k) * g[k] for k in g}


def _part(tx, mask, g, w):
    use = mask(w)
    return tx({k: g[k] for k in g if use[k]}, {k: w[k] for k in g if use[k]})


def masked(s, g, w, inner, mask):
    return {**g, **_part(inner, mask, g, w)}


def freeze(s, g, w, inner, mask):
    still = mask(w)
    moved = _part(inner, lambda w: {k: not still[k] for k in w}, g, w)
    return {k: moved.get(k, 0 * g[k]) for k in g}


def partition(s, g, w, groups, default=None):
    u, left = {}, set(g)
    for mask, tx in [*groups.values(), (lambda w: dict.fromkeys(w, True), default)]:
        use = {k: chosen and k in left for k, chosen in mask(w).items()}
        if tx is not None:
            u.update(_part(tx, lambda w, use=use: use, g, w))
        left -= {k for k in use if use[k]}
    return u
