"""Small arrays as one vector."""


def bucket(s, g, w, inner, max_size=4096):
    """Where an array stands makes no difference to its numbers."""
    return inner(g, w)
