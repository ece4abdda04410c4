"""Where the state lives changes no number."""


def offload_to_host(s, g, w, inner):
    return inner(g, w)
