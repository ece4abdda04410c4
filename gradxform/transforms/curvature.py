"""Estimates of the diagonal of the Hessian, at the price of about one gradient each.

    Hutchinson               ĥ = u * (H u)          u of random signs
    Gauss-Newton-Bartlett    ĥ = B ĝ * ĝ            ĝ the gradient for labels drawn from the model

Hutchinson's needs nothing but the loss. Its mean is the diagonal of H, negative curvature
included; where H is diagonal, each estimate is. The other one is for models that give the
probabilities of classes. Its mean is the diagonal of the Gauss-Newton matrix of the mean
cross-entropy of B examples, which leaves out the curvature of the model itself and is never
negative. It costs one gradient, and the labels of the data play no part in it.

For a complex parameter both give the mean of the curvatures along the two axes of the plane.

References:
  Hutchinson, 1989, https://doi.org/10.1080/03610918908812806
  Liu et al., 2023, Algorithms 1 and 2, https://arxiv.org/abs/2305.14342
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..core import check, numerics, tree
from ..core.random_keys import keys_like
from ..core.types import Params

HessianFn = Callable[[Params, Array], Params]  # (params, key) -> the diagonal, a tree like params


def hutchinson(loss_fn: Callable[[Params], Array]) -> HessianFn:
    """Estimate the diagonal of the Hessian of a loss from its product with random signs.

    Args:
      loss_fn: the loss of this step's batch as a function of the parameters:
        `hutchinson(lambda params: loss(params, batch))`.

    Returns:
      A function `(params, key) -> diagonal` for `update(..., hessian_fn=...)`. It costs about two
      gradients.
    """

    _require_function("hutchinson(loss_fn)", loss_fn)

    def hessian_fn(params: Params, key: Array) -> Params:
        keys = keys_like(key, params)
        signs = jax.tree.map(_signs_like, params, keys, is_leaf=lambda p: p is None)
        _, product = jax.jvp(jax.grad(loss_fn), (params,), (signs,))
        return jax.tree.map(lambda u, hu: _per_axis(jnp.real(u * hu), u), signs, product)

    return hessian_fn


def gauss_newton_bartlett(logits_fn: Callable[[Params], Array]) -> HessianFn:
    """Estimate the diagonal of the Gauss-Newton matrix from labels that the model itself draws.

    Args:
      logits_fn: the logits of this step's batch as a function of the parameters, with the classes
        along the last axis: `gauss_newton_bartlett(lambda params: model(params, inputs))`. All
        other axes count examples, such as those of a batch and of the tokens in it.

    Returns:
      A function `(params, key) -> diagonal` for `update(..., hessian_fn=...)`. It costs about one
      gradient.

    Raises:
      ValueError: by the returned function: logits without an axis of classes.
    """

    _require_function("gauss_newton_bartlett(logits_fn)", logits_fn)

    def hessian_fn(params: Params, key: Array) -> Params:
        logits, pullback = jax.vjp(logits_fn, params)
        check.require(
            logits.ndim > 0,
            "`gauss_newton_bartlett(logits_fn)`: the logits need an axis of classes.",
        )
        examples = float(logits.size // logits.shape[-1])
        wide = tree.widen(logits)
        labels = jax.random.categorical(key, wide)
        drawn = jax.nn.one_hot(labels, logits.shape[-1], dtype=wide.dtype)
        # The gradient of the mean cross-entropy with respect to the logits.
        (grads,) = pullback(((jax.nn.softmax(wide) - drawn) / examples).astype(logits.dtype))
        return jax.tree.map(
            lambda g: _per_axis(examples * numerics.abs_sq(tree.widen(g)), g), grads
        )

    return hessian_fn


def _require_function(call: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"`{call}` takes a function of the parameters; got {check.brief(value)}.")


def _signs_like(p: Any, key: Array) -> Any:
    """+1 or -1 in each coordinate, as a tangent of p; of a complex one in both parts."""
    if p is None:
        return None
    p = jnp.asarray(p)
    if jnp.iscomplexobj(p):
        keys = jax.random.split(key)
        return lax.complex(_signs_like(p.real, keys[0]), _signs_like(p.imag, keys[1]))
    # Times one as `p` has it, which brings the sharding.
    return jax.random.rademacher(key, p.shape, p.dtype) * numerics.filled_like(p, 1)


def _per_axis(curvature: Array, p: Array) -> Array:
    return curvature / 2 if jnp.iscomplexobj(p) else curvature
