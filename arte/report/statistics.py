"""Intervals and paired comparisons. Every figure of accuracy in a report comes with one of these."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Z95 = 1.959963984540054
_CHUNK = 1000


class Difference(BaseModel):
    """Mean of a − b over the same items, with a 95 % interval and a two-sided p value."""

    model_config = ConfigDict(frozen=True)

    difference: float
    ci95: tuple[float, float]
    p: float


class Spread(BaseModel):
    """How repeated measurements lie. `p90` interpolates linearly between the two nearest values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    median: float
    p90: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """The spread of the values, or null where there are none."""
        import numpy as np

        array = np.asarray(list(values), dtype=np.float64)
        if array.size == 0:
            return None
        median, p90 = np.percentile(array, [50, 90])
        return cls(
            count=array.size, median=float(median), p90=float(p90), min=float(array.min()), max=float(array.max())
        )


def wilson(correct: float, n: float) -> tuple[float, float] | None:
    """The 95 % score interval of a share `correct / n`, within 0 to 1; null for no samples.

    Wilson 1927. Unlike the normal interval it stays inside 0 to 1 and is not empty at 0 or n correct.
    Raises ValueError where `correct` is not within 0 to n.
    """
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n}")
    if n == 0:
        return None
    share = correct / n
    square = _Z95 * _Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z95 / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At 0 or n correct the bound is exactly 0 or 1; rounding must not push it to the wrong side of the share.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def paired_bootstrap(
    a: Sequence[bool | float], b: Sequence[bool | float], resamples: int = 10_000, seed: int = 0
) -> Difference | None:
    """The mean of a − b where a[i] and b[i] are of the same item; null for no items.

    Percentile interval (Efron 1979) over resampled items. p is twice the smaller share of resampled differences on
    either side of 0, counted as (k + 1) / (resamples + 1) so that it is never 0, and at most 1.
    Raises ValueError where the two differ in length.
    """
    import numpy as np

    if len(a) != len(b):
        raise ValueError(f"not paired: {len(a)} values against {len(b)}")
    n = len(a)
    if n == 0:
        return None
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    # Drawing n items with replacement is one multinomial draw over the distinct differences; graded answers have
    # three of those (−1, 0, 1), so 10,000 resamples cost 10,000 × 3 numbers, not 10,000 × n.
    values, counts = np.unique(differences, return_counts=True)
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [
            generator.multinomial(n, counts / n, size=min(_CHUNK, resamples - start)) @ values / n
            for start in range(0, resamples, _CHUNK)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(
        difference=float(differences.mean()),
        ci95=(float(low), float(high)),
        p=two_sided_p(means),
    )


def bootstrap_within(
    parts: Sequence[tuple[float, Sequence[float]]], resamples: int = 10_000, seed: int = 0
) -> Difference:
    """The weighted sum of the means of several parts, (weight, values) each, as `paired_bootstrap` has it of one.

    Values are drawn anew within their part (a stratified bootstrap), as the parts are not a draw from anything. No part
    may be empty.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for weight, part in parts:
        values, counts = np.unique(np.asarray(part, dtype=np.float64), return_counts=True)
        means += weight * (generator.multinomial(len(part), counts / len(part), size=resamples) @ values) / len(part)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(
        difference=sum(weight * sum(part) / len(part) for weight, part in parts),
        ci95=(float(low), float(high)),
        p=two_sided_p(means),
    )


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over resampled items; there is at least one."""
    found = paired_bootstrap(values, [0.0] * len(values), seed=seed)
    assert found is not None
    return found.ci95


def two_sided_p(means: "NDArray[np.float64]") -> float:
    """Twice the smaller share of resampled differences on either side of 0, counted so that it is never 0."""
    side = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (len(means) + 1))
