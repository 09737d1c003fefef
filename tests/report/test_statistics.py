from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arte.report.statistics import Spread, paired_bootstrap, wilson


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        # (k + z²/2 ± z √(k(n−k)/n + z²/4)) / (n + z²), z² = 3.8415
        (8, 10, 0.4902, 0.9433),  # (9.9207 ± 3.1355) / 13.8415
        (0, 10, 0.0, 0.2775),  # (1.9207 ± 1.9207) / 13.8415
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),  # (51.9207 ± 9.9842) / 103.8415
    ],
)
def test_wilson_by_hand(correct: int, n: int, low: float, high: float) -> None:
    found = wilson(correct, n)
    assert found is not None
    assert found == pytest.approx((low, high), abs=1e-4)


def test_nothing_measured_is_null() -> None:
    assert wilson(0, 0) is None
    assert paired_bootstrap([], []) is None
    assert Spread.of([]) is None


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="11 correct of 10"):
        wilson(11, 10)
    with pytest.raises(ValueError, match="2 values against 1"):
        paired_bootstrap([1, 0], [1])


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    correct, n = case
    found, mirrored = wilson(correct, n), wilson(n - correct, n)
    assert found is not None
    assert mirrored is not None
    assert 0 <= found[0] <= correct / n <= found[1] <= 1
    assert found[0] < found[1]
    assert isclose(found[0], 1 - mirrored[1], abs_tol=1e-9)


def test_bootstrap_of_equal_answers_is_zero_and_certain_of_nothing() -> None:
    found = paired_bootstrap([True, False, True], [True, False, True])
    assert found is not None
    assert (found.difference, found.ci95, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_bootstrap_where_a_always_wins_has_the_smallest_p() -> None:
    found = paired_bootstrap([True] * 20, [False] * 20, resamples=999)
    assert found is not None
    assert (found.difference, found.ci95) == (1.0, (1.0, 1.0))
    assert found.p == pytest.approx(2 * (0 + 1) / (999 + 1))


def test_bootstrap_interval_is_the_normal_one_for_many_items() -> None:
    # 300 wins, 200 losses, 500 ties of 1000: mean 0.1, variance 0.5 − 0.01 = 0.49,
    # standard error √(0.49/1000) = 0.02214
    a = [True] * 300 + [False] * 200 + [True] * 500
    b = [False] * 300 + [True] * 200 + [True] * 500
    found = paired_bootstrap(a, b)
    assert found is not None
    assert found.difference == pytest.approx(0.1)
    assert found.ci95 == pytest.approx((0.1 - 1.96 * 0.02214, 0.1 + 1.96 * 0.02214), abs=0.002)


def test_pairing_narrows_the_interval() -> None:
    # The same two accuracies (50 % and 55 %), once with a right wherever b is, once with the two unrelated.
    b = [True, False] * 100
    nested = paired_bootstrap([right or place < 20 for place, right in enumerate(b)], b)
    unrelated = paired_bootstrap([place < 110 for place in range(200)], b)
    assert nested is not None
    assert unrelated is not None
    assert nested.difference == unrelated.difference == pytest.approx(0.05)
    assert nested.ci95[1] - nested.ci95[0] < 0.5 * (unrelated.ci95[1] - unrelated.ci95[0])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(0, 3))
def test_bootstrap_is_seeded_bounded_and_mirrors(answers: list[tuple[bool, bool]], seed: int) -> None:
    a, b = [first for first, _ in answers], [second for _, second in answers]
    found, again, mirrored = (paired_bootstrap(*pair, resamples=500, seed=seed) for pair in ((a, b), (a, b), (b, a)))
    assert found is not None
    assert mirrored is not None
    assert found == again
    assert 0 < found.p <= 1
    assert -1 <= found.ci95[0] <= found.ci95[1] <= 1
    assert found.difference == -mirrored.difference


def test_spread_by_hand() -> None:
    # Sorted 1 2 3 4 10: the middle is 3; 90 % of the way along is place 3.6, so 4 + 0.6 × 6 = 7.6.
    found = Spread.of([4, 1, 10, 2, 3])
    assert found is not None
    assert found.p90 == pytest.approx(7.6)
    assert (found.count, found.median, found.min, found.max) == (5, 3, 1, 10)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_spread_is_ordered(values: list[float]) -> None:
    found = Spread.of(values)
    assert found is not None
    assert found.count == len(values)
    assert found.min <= found.median <= found.max
    assert found.min <= found.p90 <= found.max
