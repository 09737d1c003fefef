"""Killed with SIGKILL at any moment, the same call goes on: no row lost or twice, no stage but whole or absent."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arte.stage_record import StageRecord
from arte.workspace import Finished
from tests.workspace import drafting

FORK = multiprocessing.get_context("fork")
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system has such a folder: some thousand waits for a disk say nothing about a kill."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as path:
        yield Path(path)


def rows(folder: Path) -> bytes:
    return (folder / "drafts.jsonl").read_bytes()


def alike(one: Finished, other: Finished) -> bool:
    """Equal but for how long it took and where it lies."""
    changing = {"seconds", "peak_rss_bytes", "started", "path", "kept"}
    return one.model_dump(exclude=changing) == other.model_dump(exclude=changing)


def check_whole_or_absent(root: Path, contents: dict[str, bytes]) -> int:
    """Counts the whole stages; one that has its final name must be complete, and one of `contents` to the byte."""
    whole = 0
    for folder in (root / "elicit", root / "prefer"):
        if folder.exists():
            record = StageRecord.model_validate_json((folder / "stage.json").read_bytes())
            assert rows(folder) == contents[record.fingerprint]
            assert sorted(path.name for path in folder.iterdir()) == ["drafts.jsonl", "stage.json", "summary.txt"]
            whole += 1
    return whole


def killed_at(step: int, root: Path, work: Callable[[], Any]) -> bool:
    """Runs `work` in a forked process that kills itself at its `step`-th file-system call below `root`."""

    def child() -> None:
        seen = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event in FILE_EVENTS and arguments and str(root) in os.fsdecode(arguments[0]):
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in FILE_EVENTS and isinstance(arguments[0], str | bytes | os.PathLike):
                count(event, arguments)

        sys.addaudithook(hook)
        work()

    process = FORK.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("before", ["nothing", "an older run"])
def test_killed_at_every_file_system_step(folder: Path, before: str) -> None:
    batches = 2
    uninterrupted = drafting.run(folder / "uninterrupted", batches, seed=1)
    contents = {
        uninterrupted.fingerprint: rows(folder / "uninterrupted" / "prefer"),
        uninterrupted.given["elicit"]: rows(folder / "uninterrupted" / "elicit"),
    }
    older = drafting.run(folder / "older", batches, seed=0)
    contents[older.fingerprint] = rows(folder / "older" / "prefer")
    contents[older.given["elicit"]] = rows(folder / "older" / "elicit")
    assert len(contents) == 4

    step, resumed_whole = 0, Counter[int]()
    while True:
        step += 1
        root = folder / f"step{step}"
        if before == "an older run":
            shutil.copytree(folder / "older", root)
        journal: list[int] = []
        if not killed_at(step, root, lambda root=root: drafting.run(root, batches, seed=1)):  # type: ignore[misc]
            break
        resumed_whole[check_whole_or_absent(root, contents)] += 1
        finished = drafting.run(root, batches, seed=1, before=journal.append)
        assert alike(finished, uninterrupted)
        assert check_whole_or_absent(root, contents) == 2
        assert rows(root / "elicit") == contents[finished.given["elicit"]]
        assert rows(root / "prefer") == contents[finished.fingerprint]
        assert sorted(path.name for path in root.iterdir() if not path.name.startswith(".")) == [
            "elicit",
            "prefer",
            "recipe.yaml",
        ]
        assert journal == list(range(batches))[batches - len(journal) :]
        shutil.rmtree(root)
    assert step > 40  # lock, recipe, both stages: given, batches, commits, record, renames
    assert resumed_whole[2] >= 1
    assert before == "an older run" or min(resumed_whole[0], resumed_whole[1]) > 10


def test_killed_at_random_moments_again_and_again(tmp_path: Path) -> None:
    """A fresh interpreter, killed up to twelve times on the way; what each session computed is written down."""
    batches, chance = 40, random.Random(5)
    uninterrupted = drafting.run(tmp_path / "uninterrupted", batches)
    root, journal = tmp_path / "killed", tmp_path / "journal"
    journal.touch()
    command = [sys.executable, drafting.__file__, str(root), str(batches), "0.02", str(journal)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    kills = 0
    while True:
        begun = len(journal.read_text().split())
        process = subprocess.Popen(command, env=environment)
        wait_until(lambda begun=begun: len(journal.read_text().split()) > begun, process)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.15))
        if kills < 12 and process.poll() is None:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.wait() == 0
        break
    assert kills >= 5
    assert rows(root / "elicit") == rows(tmp_path / "uninterrupted" / "elicit")
    finished = drafting.run(root, batches)
    assert finished.kept
    assert alike(finished, uninterrupted)

    computed = Counter(int(line) for line in journal.read_text().split())
    assert set(computed) == set(range(batches))
    assert sum(computed.values()) - batches <= kills  # each kill costs at most the batch in flight


def wait_until(reached: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while not reached() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
