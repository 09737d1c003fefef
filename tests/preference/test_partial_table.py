from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import t

from arte.preference.partial_table import Predicted, moments, predict, spend, telling

Floats = NDArray[np.float64]


def table(drafts: int, probes: int, seed: int) -> Floats:
    """Like a measured one (LOG.md, 2026-11-27): a draft's own level, two kinds of probes that drafts help differently,
    and the rest; deviations from a draft's mean half as large again as the spread of the means."""
    draw = np.random.default_rng(seed)
    level = draw.normal(0, 0.04, (drafts, 1))
    kinds = draw.normal(0, 0.06, (drafts, 2)) @ draw.normal(0, 0.6, (2, probes))
    return level + kinds + draw.normal(0, 0.045, (drafts, probes)) + draw.normal(0, 0.3, (1, probes))


class Told(NamedTuple):
    mean: Floats
    error: Floats
    asked: NDArray[np.bool_]


def told(values: Floats, share: float, seed: int) -> Told:
    """As the stage does it, of a table that is there already."""
    drafts, probes = values.shape
    pilot, others, each = spend(drafts, probes, share, seed)
    known = np.full(values.shape, np.nan)
    known[pilot] = values[pilot]
    mean, covariance = moments(values[pilot])
    for place in telling(covariance, each):
        known[others, place] = values[others, place]
    found: Predicted = predict(known, mean, covariance)
    return Told(found.values.mean(axis=1), found.error, ~np.isnan(known))


def test_a_third_of_the_table_makes_the_decisions_of_the_whole() -> None:
    """Questions of the top quarter against those of the bottom quarter: of each pair the whole table says the same, and
    beyond its own interval at 0.9. Ten tables of 200 drafts and 24 probes."""
    same, beyond, asked = [], [], []
    for seed in range(10):
        values = table(200, 24, seed)
        found = told(values, 1 / 3, seed)
        order = np.argsort(-found.mean)
        draw = np.random.default_rng(seed)
        for chosen, rejected in zip(draw.permutation(order[:50]), draw.permutation(order[-50:]), strict=True):
            apart = values[chosen] - values[rejected]
            half = t.ppf(0.95, 23) * apart.std(ddof=1) / 24**0.5
            same.append(apart.mean() > 0)
            beyond.append(apart.mean() > half)
        asked.append(found.asked.mean())
    assert max(asked) <= 1 / 3
    assert len(same) == 500
    assert np.mean(same) >= 0.99
    assert np.mean(beyond) >= 0.95


def test_it_tells_more_than_as_many_probes_at_random() -> None:
    better = []
    for seed in range(10):
        values = table(200, 24, 100 + seed)
        whole = values.mean(axis=1)
        places = np.random.default_rng(seed).choice(24, 8, replace=False)
        at_random = np.corrcoef(values[:, places].mean(axis=1), whole)[0, 1]
        better.append(np.corrcoef(told(values, 1 / 3, seed).mean, whole)[0, 1] - at_random)
    assert np.mean(better) > 0.005
    assert np.mean(np.array(better) > 0) >= 0.6


def test_prediction_is_that_of_a_gaussian() -> None:
    """Two probes, variances 4 and 1, covariance 1; the first was 3 above its mean. The second is expected 3 * 1 / 4
    above its own; what is left of the mean of both is sqrt(1 - 1 / 4) / 2."""
    covariance = np.array([[4.0, 1.0], [1.0, 1.0]])
    predicted, error = predict(
        np.array([[13.0, np.nan], [13.0, 5.0], [np.nan, np.nan]]), np.array([10.0, 2.0]), covariance
    )
    assert predicted == pytest.approx(np.array([[13, 2.75], [13, 5], [10, 2]]))
    assert error == pytest.approx([0.75**0.5 / 2, 0, (4 + 1 + 2) ** 0.5 / 2])


def test_the_errors_are_honest() -> None:
    """Standardised by their own standard errors, predictions miss as a normal draw does."""
    misses = []
    for seed in range(10):
        values = table(200, 24, 200 + seed)
        found = told(values, 1 / 3, seed)
        open_ = found.error > 0
        misses.append((found.mean - values.mean(axis=1))[open_] / found.error[open_])
    spread = np.concatenate(misses)
    assert 0.8 < spread.std() < 1.4
    assert abs(spread.mean()) < 0.1


def test_each_probe_is_the_one_that_tells_most() -> None:
    """Against every order: the first two leave least variance of the mean, one after the other."""
    draw = np.random.default_rng(3)
    root = draw.normal(size=(5, 5))
    covariance = root @ root.T
    weights = np.full(5, 0.2)

    def left(seen: list[int]) -> float:
        with_mean = covariance[seen] @ weights
        return float(
            weights @ covariance @ weights - with_mean @ np.linalg.solve(covariance[np.ix_(seen, seen)], with_mean)
        )

    order = telling(covariance, 5)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert left(order[:1]) == pytest.approx(min(left([place]) for place in range(5)))
    assert left(order[:2]) == pytest.approx(min(left([order[0], place]) for place in range(5) if place != order[0]))
    assert left(order) == pytest.approx(0, abs=1e-9)


def test_a_covariance_of_few_rows_can_be_inverted() -> None:
    mean, covariance = moments(table(4, 12, 5))
    assert mean.shape == (12,)
    assert np.linalg.eigvalsh(covariance).min() > 0
    _, many = moments(table(5000, 6, 6))
    assert many == pytest.approx(np.cov(table(5000, 6, 6).T), abs=1e-4)


@given(st.integers(1, 40), st.integers(1, 12), st.floats(0.05, 1.0), st.integers(0, 9))
def test_no_more_is_asked_than_allowed(drafts: int, probes: int, share: float, seed: int) -> None:
    pilot, others, each = spend(drafts, probes, share, seed)
    assert sorted(pilot + others) == list(range(drafts))
    assert 0 <= each <= probes
    asked = len(pilot) * probes + len(others) * each
    if probes == 1 or share == 1:
        assert (len(pilot), asked) == (drafts, drafts * probes)
    else:
        assert asked <= max(share * drafts * probes, min(drafts, 3) * probes)
        assert len(pilot) >= min(drafts, 3)
