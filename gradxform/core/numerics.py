"""Scalar and array arithmetic that must be right in every dtype."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import mesh, shards
from .branch import when
from .repeated import alike, each

# A real number in a rule: a Python float (a constant) or a 0-d array.
Value = Any

_SMALLEST = float(np.finfo(np.float32).tiny)  # normal, so that no device takes it for 0


def scalar_dtype() -> np.dtype[Any]:
    """The dtype of counters' companions: float32, or float64 where JAX has it enabled."""
    return jnp.result_type(float)


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """The real dtype in which arrays of `dtype` are computed: at least float32."""
    double = jnp.dtype(dtype) in (np.dtype("float64"), np.dtype("complex128"))
    return np.dtype("float64" if double else "float32")


def wide_dtype(dtype: Any) -> np.dtype[Any]:
    """`dtype`, or float32 where it is narrower."""
    if jnp.issubdtype(dtype, np.complexfloating):
        return jnp.dtype(dtype)
    return real_dtype(dtype)


def widest(a: Any, b: Any) -> np.dtype[Any]:
    """The wider of the floating dtypes `a` and `b`; float32 for two different narrow ones."""
    a, b = jnp.dtype(a), jnp.dtype(b)
    if a == b:
        return a
    narrow = [jnp.issubdtype(d, np.floating) and d.itemsize < 4 for d in (a, b)]
    if all(narrow):
        return np.dtype("float32")
    if any(narrow):  # 8-bit floats have no promotion path of their own
        return b if narrow[0] else a
    return np.promote_types(a, b)  # unlike JAX's, the same in every promotion mode


def at_precision(x: Any, precision: np.dtype[Any]) -> jax.Array:
    """`x` with real parts of dtype `precision`; complex stays complex."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, np.complexfloating):
        return x.astype("complex128" if precision == np.dtype("float64") else "complex64")
    return x.astype(precision)


def increment(count: jax.Array) -> jax.Array:
    """`count + 1`, staying at the largest value of its dtype instead of wrapping."""
    last = np.asarray(np.iinfo(count.dtype).max, count.dtype)
    return jnp.where(count == last, count, count + jnp.ones_like(count))


def filled_like(x: jax.Array, value: Any) -> jax.Array:
    """An array like `x`, in shape, dtype and sharding, that holds `value` everywhere.

    Computed from `x`, because only a computed result follows its sharding under `jit` in both of
    JAX's sharding modes; from JAX 0.12 on a selection forgets the Explicit sharding of its
    condition, which `mesh.like` gives back. The compiled program does not read `x`. With a
    condition that folds earlier, such as `(x != x) & False`, a loop that starts from two of these
    copies one.
    """
    value = jnp.asarray(value, x.dtype)
    return mesh.like(jnp.where(x == x, value, value), x)


def ema(average: Value, value: Value, decay: Value) -> Value:
    """decay * average + (1 - decay) * value."""
    # For a constant decay Python computes 1 - decay in float64 and it is rounded once.
    return decay * average + (1.0 - decay) * value


def bias_correction(decay: Value, t: jax.Array, *, ahead: bool = False) -> jax.Array:
    """1 - b_1 ... b_t for t = 1, 2, ...: the weight that an average from zero has gathered by t.

    For a decay that stays that is 1 - b^t, and for a `ChangingDecay` the product of those there
    were. Written as -expm1(sum of log b), which keeps the digits that `1 - b**t` cancels; for a
    constant the logarithm is rounded once from float64.

    Args:
      decay: b_t.
      t: the number of values that the average was given.
      ahead: whether to give the weight after one more step with the same decay.

    Returns:
      The weight; 1 where decays of exactly 1 have gathered none, so that zeros stay zeros.
    """
    dtype = scalar_dtype()
    if isinstance(decay, float | int):
        log = jnp.asarray(math.log(max(decay, _SMALLEST)), dtype)
        return -jnp.expm1((increment(t) if ahead else t).astype(dtype) * log)
    log = log_kept(decay, t)
    weight = -jnp.expm1(log + log_decay(decay) if ahead else log)
    return jnp.where(weight > 0, weight, jnp.ones_like(weight))


def log_kept(decay: Value, t: jax.Array) -> jax.Array:
    """log(b_1 ... b_t) by step `t`, of a `decay` that is an array: what is kept of the start."""
    if isinstance(decay, ChangingDecay):
        return decay.log_kept
    return t.astype(scalar_dtype()) * log_decay(decay)


def log_decay(decay: Value) -> jax.Array:
    """log of `decay`, finite for 0 too: by a factor of 1e-38, an average's start is forgotten."""
    decay = jnp.asarray(decay, scalar_dtype())
    return jnp.log(jnp.maximum(decay, _SMALLEST))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ChangingDecay:
    """The decay of an average at one step, after others at the steps before.

    In arithmetic it is the array `now`; `bias_correction` reads what all of them have left.

    Attributes:
      now: b_t.
      log_kept: log(b_1 ... b_t). The logarithm keeps its digits where the product is near 1, whose
        difference from 1 is needed, and where it is small.
    """

    now: jax.Array
    log_kept: jax.Array

    def __jax_array__(self) -> jax.Array:
        """The array that `jax.numpy` reads."""
        return self.now

    def __add__(self, other: Value) -> Value:
        return self.now + other

    def __radd__(self, other: Value) -> Value:
        return other + self.now

    def __sub__(self, other: Value) -> Value:
        return self.now - other

    def __rsub__(self, other: Value) -> Value:
        return other - self.now

    def __mul__(self, other: Value) -> Value:
        return self.now * other

    def __rmul__(self, other: Value) -> Value:
        return other * self.now

    def __truediv__(self, other: Value) -> Value:
        return self.now / other

    def __rtruediv__(self, other: Value) -> Value:
        return other / self.now


def after(value: jax.Array, other: jax.Array) -> jax.Array:
    """`value`, computed after `other`; both are real scalars.

    XLA overwrites an array in place only if it knows that all that read it come before, and on a
    CPU it looks at nothing but what is computed from what. (A barrier is gone by then.) So the
    value is selected by a condition that never holds, which XLA does not see through.
    """
    never = (other != other) & (other == other)
    return jnp.where(never, other.astype(value.dtype), value)


@jax.custom_jvp
def root(x: jax.Array) -> jax.Array:
    """sqrt(x), with the derivative 0 at x = 0, where it has none that is finite.

    A derivative of its own, and no test in the root itself: programs that are not differentiated
    are those of `jnp.sqrt`.
    """
    return jnp.sqrt(x)


@root.defjvp
def _root_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
    y = root(*primals)
    zero = y == 0
    half = jnp.where(zero, jnp.zeros_like(y), 0.5 / jnp.where(zero, jnp.ones_like(y), y))
    return y, half * tangents[0]


@jax.custom_jvp
def cube_root(x: jax.Array) -> jax.Array:
    """The real cube root of x, with the derivative 0 at x = 0, as that of `root`."""
    return jnp.cbrt(x)


@cube_root.defjvp
def _cube_root_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[jax.Array, jax.Array]:
    y = cube_root(*primals)
    zero = y == 0
    slope = 1.0 / (3.0 * jnp.square(jnp.where(zero, jnp.ones_like(y), y)))
    return y, jnp.where(zero, jnp.zeros_like(y), slope) * tangents[0]


def abs_sq(x: Value) -> Value:
    """|x|^2, real also for complex x."""
    if jnp.issubdtype(x.dtype, np.complexfloating):
        return jnp.square(x.real) + jnp.square(x.imag)
    return jnp.square(x)


def divide(x: Value, y: Value, eps: Value = 0.0) -> Value:
    """x / (y + eps), and 0 where y + eps is 0: a gradient of zeros must give a finite step.

    Args:
      x: the numerator.
      y: the denominator; not negative where `eps` is given.
      eps: what is added to it. With a positive constant the sum is never 0, and the test for it,
        which takes 5 % of an AdamW step on a CPU, is left out.
    """
    if isinstance(eps, float | int):
        if eps >= _SMALLEST:
            return _over(x, y + eps)
        y = y + eps if eps else y
    else:
        y = y + eps
    zero = y == 0
    quotient = _over(x, jnp.where(zero, jnp.ones_like(y), y))
    return jnp.where(zero, jnp.zeros_like(quotient), quotient)


@jax.custom_jvp
def _over(x: Any, y: Any) -> jax.Array:
    """x / y, whose derivative has no y² in it, which leaves the range of the numbers."""
    return x / y


@_over.defjvp
def _over_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
    quotient = _over(*primals)
    return quotient, (tangents[0] - quotient * tangents[1]) / primals[1]


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves of `tree` together, summed in at least float32.

    It is right from 1e-38 to 3e38 in float32, though the squares hold from 1e-19 to 1.8e19 only.
    Where the sum of squares is infinite or NaN, or so small that rounding its terms to zero may
    show in it, the leaves are read a second time, in a unit that brings them into range. The unit
    is a power of two: it rounds nothing.
    """
    parts = _sums(abs_sq, tree)
    total = _in_pairs(_over_shards(parts))
    leaves = jax.tree.leaves(tree)
    kinds = [total.dtype, *(real_dtype(jnp.asarray(x).dtype) for x in leaves)]
    limits = np.finfo(min(kinds, key=lambda kind: kind.itemsize))
    count = sum(map(jnp.size, leaves))
    least = jnp.asarray(count * float(limits.tiny) / float(limits.eps), total.dtype)
    in_range = jnp.isfinite(total) & (total >= least)

    def again(tree: Any, total: jax.Array, parts: list[jax.Array]) -> jax.Array:
        unit = _unit(total)
        # One for each part: XLA would write out an array of a unit that several share.
        units = [after(unit, part) for part in parts]
        return root(_in_pairs(_over_shards(_sums(abs_sq, tree, units=units)))) / unit

    return when(in_range, lambda _, total, __: root(total), again, tree, total, parts)


def _unit(total: jax.Array) -> jax.Array:
    """A power of two that brings numbers into range whose sum of squares, `total`, has left it."""
    bits = np.finfo(total.dtype).maxexp  # 128 in float32
    # The square of the large one is finite: where XLA knows the leaves, such as zeros in a traced
    # `init`, it multiplies the squares, and zeros would be NaN.
    powers = 2.0 ** (bits // 2 - 1), 2.0 ** -(0.55 * bits // 1)
    large, small = (jnp.full_like(total, x) for x in powers)
    return jnp.where(jnp.isfinite(total), large, small)


def global_dot(a: Any, b: Any) -> jax.Array:
    """The real part of the inner product of trees `a` and `b`, summed in at least float32."""
    return global_sum(lambda x, y: jnp.real(jnp.conj(x) * y), a, b)


def global_sum(term: Callable[..., Value], *trees: Any) -> jax.Array:
    """The sum of `term(*leaves)` over all elements of all leaves, in at least float32.

    Inside of `jax.shard_map` it is that over all shards, if the block that asks was told which
    axes arrays are split over (`core.shards`). What is the same on all devices counts once.

    Args:
      term: an element-wise function of the leaves, with a real result.
      *trees: trees with equally many leaves, in the same order.
    """
    return _in_pairs(_over_shards(_sums(term, *trees)))


def finite_here(tree: Any) -> jax.Array:
    """Whether the sum of squares of all leaves of `tree`, of this device's alone, is finite."""
    return jnp.isfinite(_in_pairs(_sums(abs_sq, tree)))


def array_sum(x: jax.Array) -> jax.Array:
    """The sum of the array `x`, over all its shards as `global_sum` is."""
    return _in_pairs(_over_shards([jnp.sum(x)]))


def array_size(x: jax.Array) -> int:
    """The number of elements of the array `x`, with those of its shards on other devices."""
    axes = [axis for axis in shards.split_over() if axis in mesh.varying(x)]
    return int(np.size(x)) * math.prod(map(jax.lax.axis_size, axes))


def _sums(
    term: Callable[..., Value], *trees: Any, units: list[jax.Array] | None = None
) -> list[jax.Array]:
    """Sums that make up that of all leaves, at least one; of `unit * leaf` if there are units."""
    dtype = scalar_dtype()

    def part(item: tuple[list[tuple[Any, ...]], Any], _: None) -> jax.Array:
        together, unit = item

        def wide(x: Any) -> jax.Array:
            if unit is None:
                return _wide(x)
            x = at_precision(x, unit.dtype)
            return unit.astype(x.dtype) * x

        return jnp.sum(_in_pairs([term(*map(wide, leaves)) for leaves in together])).astype(dtype)

    leaves = dict(enumerate(zip(*map(jax.tree.leaves, trees), strict=True)))
    parts = []
    for keys in alike(leaves):
        size = max(map(jnp.size, leaves[keys[0]]))
        most = _TOGETHER if size <= _SMALL else 1
        parts += [[leaves[key] for key in keys[i : i + most]] for i in range(0, len(keys), most)]
    each_unit: list[Any] = units or [None] * len(parts)
    items = zip(parts, each_unit, strict=False)
    sums = each(part, dict(enumerate(items)), None)
    return [sums[i] for i in range(len(parts))] or [jnp.zeros((), dtype)]


def _over_shards(sums: list[jax.Array]) -> list[jax.Array]:
    """The same sums over all shards of what they are sums of, with one transfer for each set of
    axes that arrays are split over."""
    axes = shards.split_over()
    if not axes:
        return sums
    shards.require_tracked(axes)
    groups: dict[tuple[str, ...], list[jax.Array]] = {}
    for x in sums:
        split = mesh.varying(x)
        groups.setdefault(tuple(axis for axis in axes if axis in split), []).append(x)
    psum: Any = jax.lax.psum
    return [
        psum(_in_pairs(group), split) if split else _in_pairs(group)
        for split, group in groups.items()
    ]


# Leaves of at most so many elements are added to each other before they are summed, so many at a
# time. XLA makes one to three loops of each sum and compiles each loop by itself, which for 1,000
# small leaves takes longer than all else; but loops over too many arrays take long again.
_SMALL = 4096
_TOGETHER = 16


def _wide(x: Any) -> jax.Array:
    return at_precision(x, real_dtype(jnp.asarray(x).dtype))


def _in_pairs(terms: list[jax.Array]) -> jax.Array:
    """Their sum, with the rounding errors of log2(n) additions in a row instead of n."""
    while len(terms) > 1:
        odd = terms[len(terms) & ~1 :]
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + odd
    return terms[0]
