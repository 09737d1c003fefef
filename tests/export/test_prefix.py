import pytest
from arte_export.prefix import common_prefix
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("rows", "leave", "shared"),
    [
        ([[1, 2, 3], [1, 2, 4]], 1, 2),
        ([[1, 2, 3], [1, 2, 4]], 2, 1),
        ([[1, 2], [1, 2, 4]], 1, 1),
        ([[1, 2], [1, 2]], 0, 2),
        ([[5], [1, 2]], 2, 0),
        ([[1, 2, 3]], 1, 0),
        ([], 1, 0),
    ],
)
def test_by_hand(rows: list[list[int]], leave: int, shared: int) -> None:
    assert common_prefix(rows, leave) == shared


@given(st.lists(st.lists(st.integers(0, 2), min_size=1), min_size=2, max_size=5), st.integers(0, 3))
def test_it_is_shared_and_as_long_as_can_be(rows: list[list[int]], leave: int) -> None:
    shared = common_prefix(rows, leave)
    assert len({tuple(row[:shared]) for row in rows}) == 1
    shortest = min(map(len, rows))
    assert shared <= max(0, shortest - leave)
    if shared < shortest - leave:
        assert len({tuple(row[: shared + 1]) for row in rows}) > 1
