"""What token rows have in common at their beginning, such as the turn that a chat template puts in front of all."""

from collections.abc import Sequence


def common_prefix(rows: Sequence[list[int]], leave: int) -> int:
    """How many tokens all rows begin with; at least `leave` of each are not counted. 0 for a single row."""
    if len(rows) < 2:
        return 0
    first, last = min(rows), max(rows)
    limit = max(0, min(map(len, rows)) - leave)
    return next((index for index in range(limit) if first[index] != last[index]), limit)
