"""What is written down about a stage: what it was given when it began, and what it took when it was done."""

import contextlib
import datetime
import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arte import __version__, machine
from arte.atomic import replace_text
from arte.recipe import StageName


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Record):
    """Token counts of a stage's work; null where they were not counted."""

    tokens_in: int | None = None
    tokens_out: int | None = None


class Given(_Record):
    """given.json: written first into a partial folder, so that a later process knows whose work it is."""

    name: str
    fingerprint: str
    given: dict[str, Any]
    redone: int
    """How often the stage was done again by --redo; part of the fingerprint, so that later stages follow."""
    started: float = Field(default_factory=time.time)
    """Of the first session, in seconds since the epoch."""
    session_started: float = 0.0
    seconds_before: float = 0.0
    """Of the sessions that were cut short, each up to its last written file."""

    def seconds_until(self, end: float) -> float:
        """Seconds of all sessions, the last one cut short at `end` (seconds since the epoch)."""
        return self.seconds_before + max(0.0, end - self.session_started)


class StageRecord(_Record):
    """stage.json: written last, so a folder that holds it is whole."""

    name: str
    fingerprint: str
    given: dict[str, Any]
    redone: int
    seconds: float
    """Summed over the sessions it took."""
    tokens_in: int | None
    tokens_out: int | None
    peak_rss_bytes: int
    """The most memory that the finishing process held in this stage; of all its stages so far where the system cannot
    count anew (macOS). Processes that it starts are not counted."""
    started: datetime.datetime
    versions: dict[str, str]


class Finished(StageRecord):
    """A whole stage, as the pipeline hands it on."""

    path: Path
    kept: bool
    """Whether an earlier process had done it."""


RecordType = TypeVar("RecordType", bound=_Record)


def stage_of(name: str) -> StageName:
    """The stage that a folder is, or is one of several of: `distill/arte`, `align-shuffled_pairs`."""
    return cast(StageName, name.partition("/")[0].partition("-")[0])


def fingerprint(name: str, given: Mapping[str, Any], redone: int = 0) -> str:
    """SHA-256 of the canonical JSON of a stage's name, what it was given and ARTE's version.

    Raises TypeError or ValueError for what JSON cannot hold (a set or a path has no stable form).
    """
    everything = {"name": name, "arte_version": __version__, "given": dict(given), "redone": redone}
    text = json.dumps(everything, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def versions() -> dict[str, str]:
    """ARTE, Python and the libraries whose version can change a result."""
    return {"arte": __version__, "python": platform.python_version(), **machine.versions()}


def last_written(folder: Path) -> float:
    """When a file below was last written, in seconds since the epoch: the end of a killed session, nearly."""
    return max((path.lstat().st_mtime for path in folder.rglob("*")), default=0.0)


def count_peak_anew() -> None:
    """Has `peak_rss_bytes` forget what was held before, where the system can: Linux, proc(5), clear_refs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_rss_bytes() -> int:
    """The most memory that this process has held since it began, or since `count_peak_anew`."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts kilobytes on Linux, bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write(record: _Record, path: Path) -> None:
    """Replaces the file in one step."""
    replace_text(path, record.model_dump_json(indent=2) + "\n")


def read(path: Path, record_type: type[RecordType]) -> RecordType | None:
    """The record, or None where there is none that can be read: the folder then is not whole."""
    try:
        return record_type.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
