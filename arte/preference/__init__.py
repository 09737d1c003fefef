"""How the student's preference is measured: a draft is shown to it as the single in-context example before each probe.

ARTE (arXiv 2406.19227) section 3.2: the score of a rationale is what the student makes of held-out probes with it.
"""

from typing import Protocol

from arte.rows import Example, Item


class Score(Protocol):
    """A way to put a number on a draft, probe by probe."""

    probes: list[Item]

    def values(self, example: Example | None) -> list[float]:
        """One value for each probe, in order, with `example` in front of it; None: with nothing in front of it."""
        ...
