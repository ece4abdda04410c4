"""Who is worse than the best: all pairs of candidates over the same seeds, with one error rate.

Candidates share the seeds, so a seed is a block: it has the same initial network and the same order
of batches for all of them. What is compared are differences within a block. The best candidate
comes from the same runs that judge it, so a test against the best alone would find too much; here
every pair has a margin, and the margins hold together.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from ..core.extra import require_extra

LEVEL = 0.05  # the chance of any error in a table
FEWEST_SEEDS = 3  # of a verdict: two differences have no spread to speak of
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # metrics are computed in float32
_ALIKE = 0.01  # of a run's standard deviation: two programs of one method may differ by so much

# What simulation set (benchmarks/error_and_power.py): with less the error is above `LEVEL`
# somewhere, with more the table tells less.
_OWN = 0.5  # weight of a pair's own variance; the pooled one has the rest
_GUARD = 0.015  # level of the pair's own t, which a pooled variance never undercuts;
_GUARD_OF = {2: LEVEL, 3: 0.02}  # of so few candidates
_NOISY = 100.0  # a variance so many times the others' is not pooled with them
_VARIES = 9.0  # a variance so many times the others' is named, unless chance makes it so often
_CHUNK = 2_000_000  # numbers of an array of pairs that are worked on at once


class Judgement(NamedTuple):
    """How much worse than the best each candidate is: [..., candidate].

    Attributes:
      low: the lower end of the simultaneous 95 % interval, in the metric's unit; above 0 if and
        only if the candidate is worse than the best. NaN where nothing can be said.
      high: the upper end.
      varies: whether the candidate's variance over the seeds is more than 9 times the others',
        and more than chance makes it in a hundredth of equal ones.
    """

    low: np.ndarray
    high: np.ndarray
    varies: np.ndarray


def standard_error(values: np.ndarray) -> np.ndarray:
    """The standard error of the mean along the last axis; NaN for one value, which has none."""
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], math.nan)
    with np.errstate(invalid="ignore"):
        return np.std(values, axis=-1, ddof=1, dtype=np.float64) / math.sqrt(count)


def resolution(scores: np.ndarray, examples: int) -> float:
    """The step of a metric that counts test examples; 0 for one that does not.

    A metric counts if every finite score times `examples` is a whole number, as an accuracy's is.

    Args:
      scores: any number of them.
      examples: in the test split.
    """
    counts = np.asarray(scores, np.float64)[np.isfinite(scores)] * examples
    rounding = _ROUNDING * np.max(np.abs(counts), initial=0.0)
    if rounding > 0.05:  # every number would be near a whole one
        return 0.0
    return 1.0 / examples if np.all(np.abs(counts - np.rint(counts)) <= rounding) else 0.0


def share_error(a: float, b: float, examples: int) -> float:
    """The most that the standard error of a difference over test examples can be, for shares.

    The two are shares of examples that were wrong, over the same examples and averaged over seeds.
    At one example they differ by at most 1, and by more than 0 at no more than a share of a + b:
    the variance of a difference is at most a + b, and that of its mean (a + b) / examples.
    """
    return math.sqrt(max(a + b, 0.0) / examples)


def judge(
    scores: np.ndarray,
    *,
    lower_is_better: bool = False,
    apart: np.ndarray | None = None,
    resolution: float = 0.0,
) -> Judgement:
    """Say of each candidate by how much it is worse than the best, with at most 5 % error a table.

    For candidates i and j with the difference D (positive where i is worse) and the variance S2
    of their differences over the s seeds, d = s - 1, the margin is the larger one of

        q(n, nu) sqrt((pooled + S2 / 2) / (2 s))    q: the studentized range's 95 % point
        t(d) sqrt(S2 / s)                           t: Student's two-sided point at 1.5 %,
                                                    at 2 % for three candidates

    where `pooled` is the mean of S2 / 2 over all pairs of the n candidates, and nu is
    Satterthwaite's number of degrees of freedom of the mixture, at most 2 d (less above 12
    candidates). Two candidates have the paired t-test. `low` is the largest D - margin over all
    others, not only over the one whose mean is best, and `high` the largest D + margin; both are
    at least 0. A margin is at least a hundredth of the standard deviation of a run: two programs of
    the same mathematics, such as this library's Adam and Optax's, differ on every seed alike by up
    to about a tenth of that, since their roundings add up in training.

    Before that: a candidate with a score that is not finite is set apart, gets NaN and is never
    the best; candidates that are equal up to rounding count as one; S2 is at least that of a
    difference by half of the resolution, or by rounding; and a candidate that varies so much more
    than the others that it would hide all differences between them (a variance more than 100
    times theirs; 400 at 3 seeds) is not pooled with them, and is compared by its own t with
    Bonferroni's correction over all pairs.

    Args:
      scores: [..., candidate, seed]; the leading axes are tables.
      lower_is_better: whether a smaller score is the better one.
      apart: candidates to be set apart as well, such as those with a run that diverged:
        [..., candidate].
      resolution: the step of the metric, see `resolution`.

    Returns:
      A `Judgement`. `low` and `high` are NaN for who is set apart, for all with fewer than 3
      seeds, and where fewer than two candidates are left.

    Error and power are measured in benchmarks/error_and_power.md. One candidate whose runs are
    strongly skewed and vary far more than the others' deceives it, as it does any test on few
    seeds; see `varies`.

    References: Hsu, 1981, Simultaneous confidence intervals for all distances from the best, Annals
    of Statistics 9; Games and Howell, 1976, Pairwise multiple comparison procedures with unequal
    n's and/or variances, Journal of Educational Statistics 1.
    """
    require_extra("compare", "scipy")
    x = np.asarray(scores, np.float64) * (1.0 if lower_is_better else -1.0)
    *tables, candidates, seeds = x.shape
    x = x.reshape(-1, candidates, seeds)
    finite = np.asarray(np.isfinite(x).all(axis=-1))
    out = ~finite if apart is None else ~finite | np.reshape(apart, finite.shape)
    size = max(1, _CHUNK // candidates**2)
    parts = [
        _judged(x[i : i + size], out[i : i + size], resolution) for i in range(0, len(x), size)
    ]
    found = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Judgement(*(part.reshape(*tables, candidates) for part in found))


def _judged(x: np.ndarray, apart: np.ndarray, resolution: float) -> Judgement:
    """`judge` for [table, candidate, seed], lower is better."""
    _, candidates, seeds = x.shape
    if seeds < FEWEST_SEEDS:
        nothing = np.full(apart.shape, math.nan)
        return Judgement(nothing, nothing, np.zeros(apart.shape, bool))
    x = np.where(apart[..., None], 0.0, x)
    size = np.abs(x).max(axis=-1)
    step = np.maximum(resolution / 2, _ROUNDING * np.maximum(size[:, :, None], size[:, None, :]))
    first_of, kept = _without_copies(x, ~apart, step)
    means = x.mean(axis=-1)
    difference = means[:, :, None] - means[:, None, :]
    rest = x - means[..., None]
    covariance = rest @ rest.swapaxes(1, 2) / (seeds - 1)
    own = np.einsum("tii->ti", covariance)
    variance = np.maximum(own[:, :, None] + own[:, None, :] - 2 * covariance, 2 * step**2)
    pooled, varies = _pooled(variance, kept, seeds)
    least = np.where(kept, own, np.inf).min(axis=-1, keepdims=True)
    is_pair = np.count_nonzero(kept, axis=-1, keepdims=True) == 2  # which has no third to tell
    varies |= is_pair & kept & (own > _varies_limit(2, seeds) * least)
    spread = np.sqrt((own[:, :, None] + own[:, None, :]) / 2)
    margin = np.maximum(_margin(variance, kept, pooled, seeds), _ALIKE * spread)
    pairs = kept[:, None, :] & ~np.eye(candidates, dtype=bool)
    low = np.where(pairs, difference - margin, 0.0).max(axis=-1, initial=0.0)
    # A noisy candidate may be the best as far as its runs tell, which would bound nothing.
    pairs &= pooled[:, None, :]
    high = np.where(pairs, difference + margin, 0.0).max(axis=-1, initial=0.0)
    alone = np.count_nonzero(~apart, axis=-1, keepdims=True) < 2
    unknown = apart | alone
    low, high, varies = (np.take_along_axis(a, first_of, axis=-1) for a in (low, high, varies))
    return Judgement(np.where(unknown, math.nan, low), np.where(unknown, math.nan, high), varies)


def _without_copies(
    x: np.ndarray, kept: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each candidate the first that is equal to it, and who is kept without the copies."""
    tables, candidates, _ = x.shape
    first_of, kept = np.tile(np.arange(candidates), (tables, 1)), kept.copy()
    near = np.abs(x[:, :, None, 0] - x[:, None, :, 0]) <= step  # on one seed; few are
    for i, j in np.argwhere(np.tril(near.any(axis=0), -1)):
        equal = np.abs(x[:, i] - x[:, j]).max(axis=-1) <= step[:, i, j]
        equal &= kept[:, i] & kept[:, j]
        first_of[equal, i], kept[equal, i] = j, False
    return first_of, kept


def _pooled(variance: np.ndarray, kept: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Whose variances are pooled, and who varies far more than the others: [table, candidate]."""
    pooled, varies = kept.copy(), np.zeros_like(kept)
    apart = ~np.eye(kept.shape[1], dtype=bool)
    left = np.flatnonzero(pooled.sum(axis=-1) > 2)
    is_first = True
    while len(left):
        among = pooled[left]
        count = among.sum(axis=-1)
        pairs = np.where(among[:, :, None] & among[:, None, :] & apart, variance[left], 0.0)
        # The mean over all pairs without i: summed without them, as i's may be larger by any power.
        others = (among[:, None, :] & apart).astype(np.float64)
        rest = np.sum(others @ pairs * others, axis=-1) / (2 * (count - 1) * (count - 2))[:, None]
        own = pairs.sum(axis=-1) / (count - 1)[:, None] - rest
        if is_first:
            limit = np.array([_varies_limit(int(n), seeds) for n in count])[:, None]
            varies[left] = among & (own > limit * rest)
            is_first = False
        limit = np.array([_noisy_limit(int(n), seeds) for n in count])[:, None]
        tiny = np.finfo(np.float64).tiny
        excess = np.where(among & (own > limit * rest), own / np.maximum(rest, tiny), 0.0)
        worst, found = excess.argmax(axis=-1), excess.max(axis=-1) > 0
        pooled[left[found], worst[found]] = False
        left = left[found]
        left = left[pooled[left].sum(axis=-1) > 2]
    return pooled, varies


def _margin(variance: np.ndarray, kept: np.ndarray, pooled: np.ndarray, seeds: int) -> np.ndarray:
    """How large a difference chance makes: [table, candidate, candidate]."""
    pairs = pooled[:, :, None] & pooled[:, None, :] & ~np.eye(kept.shape[1], dtype=bool)
    counts = np.stack([pooled.sum(axis=-1), kept.sum(axis=-1)], axis=-1)
    which, table = np.unique(counts, axis=0, return_inverse=True)
    points = np.array([_points(int(n), int(m), seeds) for n, m in which])[table.ravel()]
    range_, guard, alone = (points[:, i, None, None] for i in range(3))
    n = counts[:, 0]
    mean = np.where(pairs, variance, 0.0).sum(axis=(1, 2)) / np.maximum(2 * n * (n - 1), 1)
    mixed = (1 - _OWN) * mean[:, None, None] + _OWN * variance / 2
    error = np.sqrt(variance / seeds)
    together = np.maximum(range_ * np.sqrt(mixed / seeds), guard * error)
    return np.where(pairs, together, alone * error)


@functools.cache
def _noisy_limit(count: int, seeds: int) -> float:
    """How many times the others' variance is too much to be pooled, among `count` candidates."""
    from scipy.stats import f

    d = seeds - 1
    # Variances of few seeds say little: of two noisy candidates, one alone would be found.
    least = _NOISY * max(1.0, 16 / d**2)
    return max(least, float(f.ppf(0.999, d, (count - 2) * d)))


@functools.cache
def _varies_limit(count: int, seeds: int) -> float:
    """How many times the others' variance is named, among `count` candidates."""
    from scipy.stats import f

    d = seeds - 1
    return max(_VARIES, float(f.ppf(0.99, d, max(count - 2, 1) * d)))


@functools.cache
def _points(pooled: int, kept: int, seeds: int) -> tuple[float, float, float]:
    """The studentized range's point, the guard's t, and the t of a noisy candidate's pairs."""
    from scipy.stats import studentized_range, t

    d, n = seeds - 1, pooled
    if kept < 2:
        return 0.0, 0.0, 0.0
    alone = float(t.ppf(1 - LEVEL / (kept * (kept - 1)), d))
    if n < 2:
        return 0.0, 0.0, alone
    guard = float(t.ppf(1 - _GUARD_OF.get(kept, _GUARD) / 2, d))
    if n == 2:
        return math.sqrt(2) * guard, guard, alone
    # The mixture as a sum of the pair's own variance and that of what is orthogonal to it.
    own, rest = _OWN + (1 - _OWN) / (n - 1), (1 - _OWN) * (n - 2) / (n - 1)
    nu = 1 / (own**2 / d + rest**2 / ((n - 2) * d))
    # Unequal variances leave fewer; the more candidates, the more of them meet the least.
    nu = min(nu, (n - 1) * d, d * min(2.0, max(1.0, 2 - (n - 12) / 40)))
    return float(studentized_range.ppf(1 - LEVEL, n, nu)), guard, alone
