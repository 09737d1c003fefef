"""The smallest file that holds a device's budget, and what keeps a better one from it.

A line that is open (an estimate that reaches over its limit, a figure that cannot be estimated) neither holds nor
misses. A file with a miss is not chosen. Among the others those with the fewest open lines come first, then the
smallest: load time is open in every estimate, so that to demand all lines held would leave nothing to choose.
"""

from collections.abc import Sequence
from typing import NamedTuple

from arte_export.verdicts import Line, Verdict

MISSED = ("fail", "likely miss")


class Candidate(NamedTuple):
    """A file with its size, its verdict on the device, and the points it lost against the torch model, if known."""

    file: str
    bytes: int
    verdict: Verdict
    accuracy_loss_points: float | None


class Recommendation(NamedTuple):
    """`chosen` is None where every file misses. The lists are texts of lines of the verdicts."""

    chosen: Candidate | None
    other: Candidate | None
    """Of a choice: the next better file that misses, if any. Else: the file that comes nearest to holding."""
    missed: list[str]
    """By `other`."""
    unknown: list[str] = []  # noqa: RUF012 (a NamedTuple's default; never written to)
    """Open lines of the chosen file: to be sure of them, measure on the device."""


def holds(verdict: Verdict) -> bool:
    """Whether no line is missed. Without a budget every file holds; an open line is not a miss."""
    return not _missed(verdict)


def recommend(candidates: Sequence[Candidate]) -> Recommendation:
    """Chooses among at least one candidate; of two files of one size, the one that lost less.

    A file is better than the chosen one if it lost less accuracy, or, where the accuracy of either is not known, if it
    is larger. The next better is the one of them that is nearest in size.
    """
    holding = [each for each in candidates if holds(each.verdict)]
    missing = [each for each in candidates if not holds(each.verdict)]
    if not holding:
        nearest = min(missing, key=_distance)
        return Recommendation(None, nearest, _texts(_missed(nearest.verdict)))
    chosen = min(holding, key=lambda each: (len(_open(each.verdict)), each.bytes, _loss(each)))
    unknown = _texts(_open(chosen.verdict))
    better = [each for each in missing if _is_better(each, chosen)]
    if not better:
        return Recommendation(chosen, None, [], unknown)
    following = min(better, key=lambda each: (each.bytes, _loss(each)))
    return Recommendation(chosen, following, _texts(_missed(following.verdict)), unknown)


def _is_better(each: Candidate, chosen: Candidate) -> bool:
    if each.accuracy_loss_points is None or chosen.accuracy_loss_points is None:
        return each.bytes > chosen.bytes
    return each.accuracy_loss_points < chosen.accuracy_loss_points


def _distance(each: Candidate) -> tuple[int, float, int]:
    """Lines missed, then by how much of their limits in all, then size."""
    missed = _missed(each.verdict)
    short = [abs(line.value - line.limit) / (line.limit or 1.0) if line.value is not None else 1.0 for line in missed]
    return len(missed), sum(short), each.bytes


def _missed(verdict: Verdict) -> list[Line]:
    return [line for line in verdict.lines if line.result in MISSED]


def _open(verdict: Verdict) -> list[Line]:
    return [line for line in verdict.lines if line.result == "open"]


def _texts(lines: Sequence[Line]) -> list[str]:
    return [line.text for line in lines]


def _loss(each: Candidate) -> float:
    return float("inf") if each.accuracy_loss_points is None else each.accuracy_loss_points
