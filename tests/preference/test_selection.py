from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from arte.preference.selection import choose, clustered, covered

TABLE = np.array([
    [5.0, 5.0, 0.0],
    [4.9, 4.9, 0.0],
    [4.0, 4.5, 0.1],
    [0.0, 0.0, 3.0],
    [0.1, 0.0, 1.0],
])  # fmt: skip


def test_by_hand() -> None:
    assert choose(TABLE, 3, "best", 0) == [0, 1, 2]
    # 0 reaches (5, 5, 0); 3 raises the third by 3; nothing is left to raise: of (4.9 4.9), (4 4.5), (0.1 0) the first
    # again is best alone, then draft 4 with 1 - 0 on the third, then 2.
    assert covered(TABLE, 5) == [0, 3, 1, 4, 2]
    assert choose(TABLE, 2, "covered", 0) == [0, 3]
    assert choose(TABLE, 9, "random", 1) != choose(TABLE, 9, "random", 2)


def test_greedy_is_near_the_best_choice() -> None:
    """Against every choice of 3 of 9 drafts: never under 1 - 1/e of the best, and mostly equal to it."""
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(50):
        table = draw.normal(size=(9, 5))
        gains = table - table.min(axis=0)
        values = {subset: gains[list(subset)].max(axis=0).sum() for subset in combinations(range(9), 3)}
        shares.append(gains[covered(table, 3)].max(axis=0).sum() / max(values.values()))
    assert min(shares) >= 1 - 1 / np.e
    assert np.mean(np.array(shares) > 0.999) > 0.5


def test_where_kinds_differ_coverage_and_clusters_hold_both_and_the_best_hold_one() -> None:
    """Probes of two kinds; 40 drafts that help one kind a little more than 40 others help the other."""
    draw = np.random.default_rng(1)
    first = np.hstack([draw.normal(1.2, 0.1, (40, 6)), draw.normal(0, 0.1, (40, 6))])
    second = np.hstack([draw.normal(0, 0.1, (40, 6)), draw.normal(0.8, 0.1, (40, 6))])
    table = np.vstack([first, second])
    held = {how: sum(draft >= 40 for draft in choose(table, 24, how, 0)) for how in ("best", "covered", "clustered")}
    assert held["best"] == 0
    assert 8 <= held["covered"] <= 16
    assert 6 <= held["clustered"] <= 18


@given(
    table=arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.floats(-3, 3, width=32)),
    count=st.integers(1, 15),
    how=st.sampled_from(["random", "best", "covered", "clustered"]),
)
def test_any_table_gives_so_many_different_drafts(table: np.ndarray, count: int, how: str) -> None:
    chosen = choose(table, count, how, seed=3)  # type: ignore[arg-type]
    assert len(chosen) == len(set(chosen)) == min(count, len(table))
    assert chosen == choose(table, count, how, seed=3)  # type: ignore[arg-type]
    assert set(chosen) <= set(range(len(table)))


def test_drafts_that_are_all_alike_are_taken_in_their_order() -> None:
    assert covered(np.ones((4, 3)), 3) == [0, 1, 2]
    assert sorted(clustered(np.ones((4, 3)), 4, seed=0)) == [0, 1, 2, 3]
    assert choose(np.array([[1.0], [3.0], [2.0]]), 2, "covered", 0) == [1, 2]


def test_the_first_of_each_layer_of_one_probe_is_the_best() -> None:
    assert covered(np.array([[1.0], [3.0], [2.0], [-1.0]]), 4) == pytest.approx([1, 2, 0, 3])
