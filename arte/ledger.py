"""What a run has spent: tokens, money and time, a line for every call of an engine, and the limits that it keeps.

`ledger.jsonl` stands in the run folder itself: what was spent on a stage that was thrown away was spent all the same.
"""

import json
import time
from pathlib import Path

from arte.errors import LimitReached
from arte.jsonl import RowLog
from arte.recipe import StageName
from arte.recipe_engines import Limits
from arte.rows import Row
from arte.stage_record import Given, StageRecord, last_written, read, stage_of

FILE = "ledger.jsonl"


class Call(Row):
    """One call of an engine. `stage` is the folder's name; money is in the currency of limits.money."""

    stage: str
    engine: str
    model: str
    requests: int
    tokens_in: int
    tokens_out: int
    too_long: int
    """Requests that were not answered because they do not fit into the model's context."""
    seconds: float
    money: float


class Ledger:
    """The calls of a run, those of earlier processes too."""

    def __init__(self, run: Path, limits: Limits) -> None:
        self.limits = limits
        self._log = RowLog(run / FILE, Call)
        self._seconds_before = seconds_taken(run)
        self._began = time.monotonic()
        self._slowest: dict[str, float] = {}

    @property
    def calls(self) -> list[Call]:
        """All calls, in order."""
        return self._log.rows

    @property
    def tokens(self) -> int:
        """Read and written together."""
        return sum(call.tokens_in + call.tokens_out for call in self.calls)

    @property
    def money(self) -> float:
        return sum(call.money for call in self.calls)

    @property
    def seconds(self) -> float:
        """Of all stages, and of this process."""
        return self._seconds_before + time.monotonic() - self._began

    def seconds_left(self) -> float:
        """Until limits.hours; endless where there is none."""
        return float("inf") if self.limits.hours is None else self.limits.hours * 3600 - self.seconds

    def add(self, call: Call) -> None:
        """Writes a call down; it outlives this process when this returns."""
        self._log.append_batch([call])
        self._slowest[call.stage] = max(self._slowest.get(call.stage, 0.0), call.seconds)

    def allow(self, stage: str, tokens: int = 0, money: float = 0.0) -> None:
        """Before a call that may take so much at most, and as long as the stage's slowest call so far.

        Raises LimitReached where a limit might be passed.
        """
        limits = self.limits
        if limits.tokens is not None and self.tokens + tokens > limits.tokens:
            raise LimitReached(_stops("tokens", f"{limits.tokens}", f"{self.tokens:,}", stage, f"{tokens:,}"))
        if limits.money is not None and self.money + money > limits.money:
            raise LimitReached(_stops("money", f"{limits.money:g}", f"{self.money:.4g}", stage, f"{money:.4g}"))
        slowest = self._slowest.get(stage, 0.0)
        if self.seconds_left() <= slowest:
            spent = f"{self.seconds / 3600:.2f}"
            raise LimitReached(_stops("hours", f"{limits.hours:g}", spent, stage, f"{slowest / 3600:.2f}"))


def calls_of(run: Path) -> list[Call]:
    """The ledger of a run folder, as far as it can be read; the last line may have been cut by a kill."""
    found = []
    for line in (run / FILE).read_text(encoding="utf-8").splitlines() if (run / FILE).exists() else []:
        try:
            found.append(Call.model_validate(json.loads(line)))
        except ValueError:
            break
    return found


def seconds_taken(run: Path) -> float:
    """By all stages on disk, those that were cut short up to their last written file."""
    whole = [record for path in run.rglob("stage.json") if (record := read(path, StageRecord)) is not None]
    begun = [(given, path.parent) for path in run.rglob("given.json") if (given := read(path, Given)) is not None]
    return sum(record.seconds for record in whole) + sum(given.seconds_until(last_written(at)) for given, at in begun)


def by_stage(calls: list[Call]) -> dict[tuple[StageName, str, str], Call]:
    """Sums, by stage, engine and model, in order of the first call."""
    sums: dict[tuple[StageName, str, str], Call] = {}
    for call in calls:
        key = (stage_of(call.stage), call.engine, call.model)
        before = sums.get(key)
        counted = {name: getattr(call, name) for name in COUNTED}
        if before is not None:
            counted = {name: getattr(before, name) + value for name, value in counted.items()}
        sums[key] = Call(stage=key[0], engine=call.engine, model=call.model, **counted)
    return sums


COUNTED = ("requests", "tokens_in", "tokens_out", "too_long", "seconds", "money")


def _stops(limit: str, most: str, spent: str, stage: str, more: str) -> str:
    return (
        f"limits.{limit}={most}: {spent} are spent, and the next step of {stage} may take {more} more. What is done is "
        f"kept: the same command with a higher limits.{limit} goes on"
    )
