"""The run folder: one process at a time, stages whole or absent, a killed run goes on where it was.

A stage works in `NAME.partial/`, where `given.json` stands from the start; when its work is done, `stage.json` is
written there last and the folder becomes `NAME/`. The fingerprint is that of everything the work was given: settings
by value, earlier stages by their fingerprint, so a change flows downstream by itself.
"""

import contextlib
import datetime
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from arte import config, disk
from arte.atomic import sync, sync_tree
from arte.errors import WorkspaceError
from arte.jsonl import COMMITTED_SUFFIX
from arte.recipe import Recipe, StageName
from arte.stage_record import (
    Figures,
    Finished,
    Given,
    StageRecord,
    count_peak_anew,
    fingerprint,
    last_written,
    peak_rss_bytes,
    read,
    stage_of,
    versions,
    write,
)

__all__ = ["Figures", "Finished", "StageFolder", "StageRecord", "Workspace"]

Work = Callable[["StageFolder"], Figures | None]

_GIVEN, _RECORD = "given.json", "stage.json"


class StageFolder(NamedTuple):
    """Where a stage works."""

    path: Path
    """The partial folder. Everything in it becomes the stage's folder when the work returns."""
    resumed: bool
    """Whether an earlier process began this very work; its files are there."""


class Workspace:
    """A run folder held by this process. Made by `Workspace.open`."""

    def __init__(self, root: Path, redo: frozenset[StageName]) -> None:
        self.root = root
        self._redo = redo

    @classmethod
    @contextlib.contextmanager
    def open(cls, root: Path, recipe: Recipe, redo: frozenset[StageName] = frozenset()) -> Iterator["Workspace"]:
        """Holds the run folder until the block ends, made if need be, with the resolved recipe in recipe.yaml.

        Stages named in `redo` are done again even if nothing changed, and so is what depends on them.
        Raises WorkspaceError where another process holds the folder, or it is read-only or full.
        """
        with disk.errors_for(root):
            disk.make(root)
            lock = filelock.FileLock(root / ".lock")
            with _held(lock, root):
                disk.check_free(root)
                config.save(recipe, root / "recipe.yaml")
                (root / ".holder").write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
                workspace = cls(root, redo)
                try:
                    yield workspace
                finally:
                    with contextlib.suppress(OSError):
                        (root / ".holder").unlink()

    def stage(self, name: str, given: Mapping[str, Any], work: Work) -> Finished:
        """The finished stage: kept where it was done with the same `given`, else worked, or taken up again.

        `name` is its folder: that of a stage, or of one of several of it, `distill/arte` or `align-shuffled_pairs`.
        `given` holds JSON values: settings sections dumped, fingerprints of the stages it reads. `work` returns its
        token counts, or None where it has none; what it raises leaves the partial folder to be taken up.
        Raises WorkspaceError where the disk is full or read-only.
        """
        whole, partial, old = (self.root / f"{name}{suffix}" for suffix in ("", ".partial", ".old"))
        with disk.errors_for(self.root):
            whole.parent.mkdir(exist_ok=True)
            _remove(old)
            done = read(whole / _RECORD, StageRecord)
            redone = (done.redone if done else 0) + (stage_of(name) in self._redo)
            this = Given(name=name, given=dict(given), redone=redone, fingerprint=fingerprint(name, given, redone))
            if done and done.fingerprint == this.fingerprint:
                _remove(partial)
                return _finished(done, whole, kept=True)
            ready = read(partial / _RECORD, StageRecord)
            kept = ready is not None and ready.fingerprint == this.fingerprint
            if not kept:
                ready = self._work(partial, this, work)
            _publish(partial, whole, old)
            assert ready is not None
            return _finished(ready, whole, kept)

    def _work(self, partial: Path, this: Given, work: Work) -> StageRecord:
        begun = read(partial / _GIVEN, Given)
        resumed = begun is not None and begun.fingerprint == this.fingerprint
        if begun is not None and resumed:
            this = begun.model_copy(update={"seconds_before": begun.seconds_until(last_written(partial))})
        else:
            _remove(partial)
            partial.mkdir()
        write(this.model_copy(update={"session_started": time.time()}), partial / _GIVEN)
        clock = time.monotonic()
        count_peak_anew()
        figures = work(StageFolder(partial, resumed)) or Figures()
        record = StageRecord(
            name=this.name,
            fingerprint=this.fingerprint,
            given=this.given,
            redone=this.redone,
            seconds=this.seconds_before + time.monotonic() - clock,
            tokens_in=figures.tokens_in,
            tokens_out=figures.tokens_out,
            peak_rss_bytes=peak_rss_bytes(),
            started=datetime.datetime.fromtimestamp(this.started, datetime.UTC),
            versions=versions(),
        )
        sync_tree(partial)
        write(record, partial / _RECORD)
        return record


def _publish(partial: Path, whole: Path, old: Path) -> None:
    """Makes the partial folder, stage.json in place, the whole one. A kill at any point is mended by the next call."""
    for path in (partial / _GIVEN, *partial.rglob(f"*{COMMITTED_SUFFIX}")):
        path.unlink(missing_ok=True)
    if whole.exists():
        whole.rename(old)  # out of the way in one step: a folder being deleted is neither whole nor absent
    partial.rename(whole)
    sync(whole.parent)
    _remove(old)


def _finished(record: StageRecord, path: Path, kept: bool) -> Finished:
    return Finished(**dict(record), path=path, kept=kept)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _held(lock: filelock.FileLock, root: Path) -> Iterator[None]:
    """The lock is the kernel's: it ends with the process, however that ends."""
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        try:
            holder = (root / ".holder").read_text(encoding="utf-8")
        except OSError:
            holder = "another process"
        raise WorkspaceError(
            f"{root}: in use by {holder}; wait for it, end it, or choose another folder with --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
