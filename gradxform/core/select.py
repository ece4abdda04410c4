"""Ways to select parameters: `select.path("encoder/.*") & ~select.ndim(1)`.

Selectors are combined with `&`, `|` and `~`, and are taken wherever a mask is. They see each
parameter's path, `layers/0/kernel`, and its shape and dtype, and never its numbers.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from . import check
from .selector import Predicate, constant, selector


class _Pattern:
    """A regular expression."""

    kind = "str"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The expression as it is."""
        try:
            re.compile(value)
        except (re.error, TypeError) as error:
            check.fail(call, name, value, "a regular expression", f"{error}.".capitalize())
        return value


class _Dtype:
    """A dtype of arrays."""

    kind = "DType"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The dtype in NumPy's form."""
        try:
            return jnp.dtype(value)
        except TypeError:
            check.fail(call, name, value, "a dtype, such as 'bfloat16'")


class _Function:
    """A function of path and leaf."""

    kind = "Callable[[str, Array], bool]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The function as it is."""
        if not callable(value):
            check.fail(call, name, value, "a function (path, leaf) -> bool")
        return value


_Size = Annotated[int, check.Whole(low=0)]


@selector
def path(pattern: Annotated[str, _Pattern()]) -> Predicate:
    """The parameters whose whole path matches a regular expression.

    A path is made of the keys, attributes and indices that lead to the parameter, with slashes
    between, and is the same wherever the parameters come from: `Dense_0/kernel` (Linen),
    `layers/0/kernel` (NNX), `mlp/~/linear_0/w` (Haiku), `layers/0/weight` (Equinox).

    Args:
      pattern: matched against the whole path, as by `re.fullmatch`: `.*bias` and not `bias`.
    """
    compiled = re.compile(pattern)
    return lambda path, leaf: compiled.fullmatch(path) is not None


@selector
def ndim(n: _Size) -> Predicate:
    """The parameters with `n` axes."""
    return lambda path, leaf: np.ndim(leaf) == n


@selector
def ndim_at_least(n: _Size) -> Predicate:
    """The parameters with `n` axes or more."""
    return lambda path, leaf: np.ndim(leaf) >= n


@selector
def dtype(dtype: Annotated[Any, _Dtype()]) -> Predicate:
    """The parameters of one `dtype`, such as `"bfloat16"`."""
    return lambda path, leaf: jnp.result_type(leaf) == dtype


@selector
def size_at_least(n: _Size) -> Predicate:
    """The parameters with `n` elements or more."""
    return lambda path, leaf: np.size(leaf) >= n


@selector
def where(function: Annotated[Callable[[str, Any], bool], _Function()]) -> Predicate:
    """The parameters for which a function of path and array says so.

    Args:
      function: `(path, leaf) -> bool`. It may look at the leaf's shape and dtype; its numbers may
        be traced. Two selectors are equal only if they hold the same function.
    """
    return function


@constant
def _all() -> Predicate:
    return lambda path, leaf: True


@constant
def _decayed() -> Predicate:
    # A bias and a norm's scale are known by their number of axes or, where layers are stacked,
    # by name; an embedding by name only.
    rule = ndim_at_least(2) & ~(
        path(r"(?i)(.*/)?(b|bias|[^/]*_bias|offset|beta|gamma|scale)")
        | path(r"(?i)(.*/)?([^/]*norm|([^/]*_)?(ln|bn)f?)([0-9]+|_[0-9a-z]+)?/.*")
        | path(r"(?i)(.*/)?([^/]*embeddings?|[^/]*(pos|tok|token)_emb[^/]*|wte|wpe|[^/]*_token)")
        | path(
            r"(?i)(.*/)?((?![^/]*patch)[^/]*emb(ed(dings?|der)?)?(_?[0-9]+)?|wte|wpe"
            r"|embed_(token|position)s?)/(w|weight)"
        )
    )
    return rule.selects


all = _all()
"""Every parameter."""

decayed = _decayed()
"""What weight decay is meant for: the weights of dense, convolutional and recurrent layers.

These are the parameters with at least two axes, but for the following, told by their paths in any
case:

  - biases and scales: the last part is b, bias, offset, beta, gamma or scale, or ends in _bias;
  - norms: a part on the way ends in norm, ln or bn, a number behind it aside: `LayerNorm_0`,
    `ln_f`, `block_bn1`;
  - embeddings: the last part ends in embedding or in _token (`cls_token`), holds pos_emb or
    tok_emb, or is wte or wpe; or it is w or weight and the part before it ends in emb, embed,
    embedding or embedder and does not hold patch (the embedding of patches is a convolution), or
    is embed_tokens or embed_positions.
"""
