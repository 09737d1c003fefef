"""How the student's preference is measured: a table of drafts by probes, each value what a draft is worth to a probe.

ARTE (arXiv 2406.19227) section 3.2: the score of a rationale is what the student makes of held-out probes with it.
"""

from collections.abc import Sequence
from typing import Protocol

from arte.rows import Example


class Score(Protocol):
    """A way to value a draft; more is better."""

    @property
    def columns(self) -> Sequence[str]:
        """What the values of a draft are of, in order: the probes' ids, or `draft` where a score asks no probe."""
        ...

    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        """One value for each column, or for those at `places` alone. None: the values with no draft at all."""
        ...
