"""What a twin remembers from step to step, array by array."""

import functools


class Memory:
    """What a twin remembers. What was never written is zero."""

    def __getattr__(self, name):
        return 0.0

    def weight(self, **decay):
        """1 - b_1 ... b_t, told the decay b_t once a step: the weight that an average has."""
        ((name, b),) = decay.items()
        self.kept = self.kept or {}
        self.kept[name] = self.kept.get(name, 1.0) * b
        return 1 - self.kept[name]

    def of(self, key):
        """The memory of one array."""
        return self.__dict__.setdefault(f"of {key}", Memory())


def each_array(rule):
    """The twin that applies a rule to each array on its own."""

    @functools.wraps(rule)
    def twin(s, g, w, *args, **kwargs):
        return {k: rule(s.of(k), g[k], w[k], *args, **kwargs) for k in g}

    return twin
