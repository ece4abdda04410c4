"""Ways to select parameters: `select.path("encoder/.*") & ~select.ndim(1)`.

Selectors are combined with `&`, `|` and `~`, and are taken wherever a mask is. They see each
parameter's path, `layers/0/kernel`, and its shape and dtype, and never its numbers.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from . import check, tree
from .parameter_names import TABLES, VECTORS
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
        except (TypeError, ValueError, SyntaxError):  # NumPy parses text as a dtype of fields
            check.fail(call, name, value, "a dtype, such as 'bfloat16'")


class _Function:
    """A function of path and leaf."""

    kind = "Callable[[str, Array], bool]"

    def __call__(self, call: str, name: str, value: Any) -> Any:
        """The function as it is."""
        if not callable(value):
            check.fail(call, name, value, "a function (path, leaf) -> bool")
        return value


_Size = Annotated[int, check.Whole(low=0, high=None)]


@selector
def path(pattern: Annotated[str, _Pattern()]) -> Predicate:
    """The parameters whose whole path matches a regular expression.

    A path is made of the keys, attributes and indices that lead to the parameter, with slashes
    between, and is the same wherever the parameters come from: `Dense_0/kernel` (Linen),
    `layers/0/kernel` (NNX), `mlp/~/linear_0/w` (Haiku), `layers/0/weight` (Equinox).

    Args:
      pattern: matched against the whole path, as by `re.fullmatch`: `.*bias` and not `bias`. As
        everywhere in Python, some expressions take exponential time, such as `(a+)+b`.
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

    def selects(path: str, leaf: Any) -> bool:
        tree.require_arrays(f"select.dtype({dtype.name!r})", {path: leaf} if path else leaf)
        return bool(jnp.result_type(leaf) == dtype)

    return selects


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
    return lambda path, leaf: (
        np.ndim(leaf) >= 2 and not (VECTORS.fullmatch(path) or TABLES.fullmatch(path))
    )


all = _all()
"""Every parameter."""

decayed = _decayed()
"""What weight decay is meant for: the weights of dense, convolutional and recurrent layers.

These are the parameters with at least two axes, but for the following, told by their paths (words
in any case, single letters as they are written):

  - biases and scales: the last part is bias, scale, gamma, beta, offset or gain, with a word or a
    number before or behind (`q_bias`, `layer_scale`, `gamma_1`), or b, `b1`, `bq`, `b_out`;
  - norms: the last part, or the one before it, ends in norm, ln or bn, a number or a word behind it
    aside: `LayerNorm_0/scale`, `ln_f/w`, and the stacked `attention_norm`, `ln1_w`. A kernel in
    one, as in adaptive norms, is a weight;
  - state-space models: `A_log`, `D`, `Lambda`, `log_dt` and the like;
  - embeddings: the last part ends in emb, embed, embedding or embedder, or is wte or wpe, or it is
    w or weight and the part before it ends so. What begins with un (the output) or holds patch
    (a convolution) is a weight;
  - tables of positions (`pos_embed`, `rel_pos_h`, `relative_position_bias_table`) and learned
    tokens: the last part ends in token, tokens, registers, queries, latents or prompt.
"""
