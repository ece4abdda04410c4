"""What a velocity is one of: gradients, gradients divided by their size, or steps.

    chain(scale_by_momentum(0.9), scale_by_learning_rate(0.1))       of gradients
    chain(scale_by_rms(), scale_by_momentum(0.9), ...)               of gradients over their size
    chain(scale_by_learning_rate(0.1), scale_by_momentum(0.9))       of steps, with their sign

They differ by orders of magnitude, and none stands for another.
"""

from collections.abc import Iterator

from .state_nodes import CLOCK, READING, TUNABLE, Node

_RATES = {READING + "learning_rate", TUNABLE + "learning_rate", CLOCK + "learning_rate"}
_SCALED = {
    "gradxform.ScaleByMomentumState",
    "gradxform.ScaleByEmaState",
    "gradxform.ScaleByOptimisticGradientState",  # the last gradient that came in
    "gradxform.ReduceGradientVarianceState",
}
_RMS = {"gradxform.ScaleByRmsState", "gradxform.ScaleByCenteredRmsState"}
_FACTORED = {"gradxform.ScaleByFactoredRmsState"}


def keeps_scale(kind: str) -> bool:
    """Whether what a block remembers grows with the size of what comes in."""
    return kind in _SCALED


def what_differs(new: Node, fresh: list[Node], old: Node, state: list[Node]) -> str:
    """Why what an old node remembers is of another scale than in a new one; "" if it is not.

    Args:
      new: a node of the new state.
      fresh: all nodes of the new state.
      old: a node of the old state.
      state: all nodes of the old state.
    """
    here, there = _follows_rate(new, fresh), _follows_rate(old, state)
    if here is not None and there is not None and here != there:
        sides = ("before", "after") if here else ("after", "before")
        return f"{sides[0]} the learning rate in the old state, {sides[1]} it here"
    ours, theirs = _scaling(new, fresh), _scaling(old, state)
    alike = len(ours) == len(theirs) and all(a & b for a, b in zip(ours, theirs, strict=True))
    return "" if alike else "it follows another scaling in the old state"


def _links(node: Node, nodes: list[Node]) -> Iterator[tuple[int, list[tuple[int, Node]]]]:
    """For each chain that a node is in: its position there, and the others with theirs."""
    for depth, index in enumerate(node.place):
        if index.isdecimal():
            yield (
                int(index),
                [
                    (int(other.place[depth]), other)
                    for other in nodes
                    if other.place[:depth] == node.place[:depth]
                    and "".join(other.place[depth : depth + 1]).isdecimal()
                ],
            )


def _scaling(node: Node, nodes: list[Node]) -> list[set[str]]:
    """The kinds of what comes before a node in its chains and divides by what it remembers."""
    return [
        {*other.kinds}
        for index, links in _links(node, nodes)
        for at, other in links
        if at < index and other.buffers() and not any(map(keeps_scale, other.kinds))
    ]


def _follows_rate(node: Node, nodes: list[Node]) -> bool | None:
    """Whether a learning rate comes before a node, in a chain that it is in.

    Optax's chains do not show a constant learning rate: then it is not known (None). Two of its
    optimizers are known by their moments to have it in front: `rmsprop`, whose momentum comes two
    links after them, and `adafactor`.
    """
    seen = False
    for index, links in _links(node, nodes):
        rates = [at for at, other in links if _RATES.intersection(other.kinds)]
        seen = seen or bool(rates)
        if any(at < index for at in rates):
            return True
        for at, other in links:
            between = [i for i, _ in links if at < i < index]
            rms = _RMS.intersection(other.kinds) and at == index - 2 and not between
            if not rates and (rms or (_FACTORED.intersection(other.kinds) and at < index)):
                return True
    return False if seen else None
