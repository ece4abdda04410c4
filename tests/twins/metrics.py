"""What measures changes nothing."""


def with_metrics(s, g, w, inner, every=100, groups=None, cosine=False):
    return inner(g, w)
