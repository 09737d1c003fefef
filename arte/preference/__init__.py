"""How the student's preference is measured: a table of drafts by probes, each value what a draft is worth to a probe.

ARTE (arXiv 2406.19227) section 3.2: the score of a rationale is what the student makes of held-out probes with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from arte.rows import Example


class Score(Protocol):
    """A way to value a draft; more is better."""

    @property
    def columns(self) -> Sequence[str]:
        """What the values of a draft are of, in order: the probes' ids, or `draft` where a score asks no probe."""
        ...

    def table(self, examples: Sequence[Example | None], places: Sequence[int] | None = None) -> list[list[float]]:
        """A row for each draft: one value for each column, or for those at `places` alone. None: with no draft at
        all."""
        ...


class DraftByDraft(ABC):
    """What a score does that gains nothing by asking about several drafts together."""

    @abstractmethod
    def values(self, example: Example | None, places: Sequence[int] | None = None) -> list[float]:
        """The row of one draft."""

    def table(self, examples: Sequence[Example | None], places: Sequence[int] | None = None) -> list[list[float]]:
        """The rows of the drafts, one after another."""
        return [self.values(example, places) for example in examples]
